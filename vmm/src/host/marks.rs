//! The boot-marks file: one JSON object in a line for each phase of the VMM itself, for each mark of the guest, and for
//! the end of the run. Times count from the start of the process, whose line tells the host's monotonic clock then.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// An open boot-marks file.
#[derive(Debug)]
pub struct BootMarks {
    file: File,
    started: Instant,
    written: usize,
}

impl BootMarks {
    /// Creates or empties the file; times count from `started`. `phases` are those that are over, each with its end.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn create(path: &Path, started: Instant, phases: &[(&str, Instant)]) -> Result<BootMarks, String> {
        let file =
            File::create(path).map_err(|error| format!("--boot-marks {}: create it: {error}", path.display()))?;
        let mut marks = BootMarks {
            file,
            started,
            written: 0,
        };
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32);
        let monotonic_ns = now.saturating_sub(started.elapsed()).as_nanos();
        marks.line(
            "\"phase\":\"process\"",
            started,
            &format!(",\"monotonic_ns\":{monotonic_ns}"),
        );
        for &(phase, at) in phases {
            marks.line(&format!("\"phase\":\"{phase}\""), at, "");
        }
        Ok(marks)
    }

    /// Notes that a phase of the VMM is over.
    pub fn phase(&mut self, phase: &str) {
        self.line(&format!("\"phase\":\"{phase}\""), Instant::now(), "");
    }

    /// Notes a mark and the exits so far, fields of a JSON object. Marks past [`MARKS_MAX`] are left out: they are the
    /// guest's to send, the disk is the user's.
    pub fn mark(&mut self, mark: u8, exits: &str) {
        if self.written < MARKS_MAX {
            self.written += 1;
            self.line(&format!("\"mark\":{mark}"), Instant::now(), &format!(",{exits}"));
        }
    }

    /// Notes the end of the run.
    pub fn end(&mut self, reason: &str, status: u8, exits: &str) {
        let rest = format!(",\"status\":{status},{exits}");
        self.line(&format!("\"end\":\"{reason}\""), Instant::now(), &rest);
    }

    fn line(&mut self, first: &str, at: Instant, rest: &str) {
        let ns = at.saturating_duration_since(self.started).as_nanos();
        // Straight to the file, so that a killed run keeps its marks. A full disk loses them; the guest runs on.
        let _lost = self
            .file
            .write_all(format!("{{{first},\"ns\":{ns}{rest}}}\n").as_bytes());
    }
}

/// Most marks written in one run.
pub const MARKS_MAX: usize = 65_536;
