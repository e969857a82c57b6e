//! Files of `/proc` and `/sys`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Ends;

/// A file's text without white space at its ends; at most [`BYTES_MAX`].
pub(super) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The same; the error names the file.
pub(super) fn needed(path: impl AsRef<Path>) -> Result<String, Ends> {
    let path = path.as_ref();
    text(path).map_err(|error| Ends::Wrong(format!("read {}: {error}", path.display())))
}

/// The same as an unquoted field; `?` when it cannot be read.
pub(super) fn field(path: impl AsRef<Path>) -> String {
    text(path).unwrap_or_else(|_| "?".to_owned())
}

/// A folder's entries, sorted by the number at their end, then by name; none when there is no such folder.
pub(super) fn entries(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_by_key(|path| (number(&name(path)), name(path)));
    paths
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The last part of what a symbolic link points at.
pub(super) fn target(link: impl AsRef<Path>) -> Option<String> {
    fs::read_link(link).ok().map(|path| name(&path))
}

fn number(name: &str) -> u64 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(0)
}

/// Longest file that is read; those of the kernel end by themselves.
const BYTES_MAX: u64 = 1 << 20;
