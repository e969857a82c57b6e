//! Files that a user names, read within a bound: a device or a log in the place of a file fills no memory.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// As [`std::fs::read`], and when the file is larger.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes_max < bytes.len() as u64 {
        let limit = match bytes_max >> 20 {
            0 => format!("{} KiB", bytes_max >> 10),
            mib => format!("{mib} MiB"),
        };
        return Err(Error::other(format!("the file is larger than {limit}")));
    }
    Ok(bytes)
}

/// Reads a file of at most `bytes_max` bytes as text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not text (UTF-8)"))
}

/// Most bytes of a file that people write: expectations, settled differences, lists.
pub const WRITTEN_BYTES_MAX: u64 = 4 << 20;

/// Most bytes of a report. A complete run with every transcript is a tenth of it.
pub const REPORT_BYTES_MAX: u64 = 1 << 30;

/// Most bytes of a recording, packed or as text.
pub const RECORDING_BYTES_MAX: u64 = 256 << 20;
