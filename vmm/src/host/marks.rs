//! The boot-marks file: one JSON object in a line for each mark, and one at the end of the run.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// An open boot-marks file.
#[derive(Debug)]
pub struct BootMarks {
    file: File,
    started: Instant,
    written: usize,
}

impl BootMarks {
    /// Creates or empties the file; times count from `started`.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn create(path: &Path, started: Instant) -> Result<BootMarks, String> {
        let file =
            File::create(path).map_err(|error| format!("--boot-marks {}: create it: {error}", path.display()))?;
        Ok(BootMarks {
            file,
            started,
            written: 0,
        })
    }

    /// Notes a mark and the exits so far, a JSON object. Marks past [`MARKS_MAX`] are left out: they are the guest's to
    /// send, the disk is the user's.
    pub fn mark(&mut self, mark: u8, exits: &str) {
        if self.written < MARKS_MAX {
            self.written += 1;
            self.line(&format!("\"mark\":{mark}"), &format!("\"exits\":{exits}"));
        }
    }

    /// Notes the end of the run.
    pub fn end(&mut self, reason: &str, status: u8, exits: &str, devices: &str) {
        let rest = format!("\"status\":{status},\"exits\":{exits},\"devices\":{devices}");
        self.line(&format!("\"end\":\"{reason}\""), &rest);
    }

    fn line(&mut self, first: &str, rest: &str) {
        let ns = self.started.elapsed().min(Duration::from_nanos(u64::MAX)).as_nanos();
        // Straight to the file, so that a killed run keeps its marks. A full disk loses them; the guest runs on.
        let _lost = self
            .file
            .write_all(format!("{{{first},\"ns\":{ns},{rest}}}\n").as_bytes());
    }
}

/// Most marks written in one run.
pub const MARKS_MAX: usize = 65_536;
