//! The lab's initramfs: everything it takes along.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType};

/// An initramfs that grows.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<PathBuf>,
}

impl Archive {
    /// Adds a file, and the folders above it that are not there yet. `path` has no `/` in front.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
        for folder in above.into_iter().rev().filter(|folder| folder.parent().is_some()) {
            if self.folders.insert(folder.to_owned()) {
                self.entry(&folder.to_string_lossy(), ModeFileType::Directory, &[])?;
            }
        }
        self.entry(path, ModeFileType::Regular, content)
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let length = content
            .len()
            .try_into()
            .with_context(|| format!("{name} is too large"))?;
        let entry = Builder::new(name)
            .ino(self.entries)
            .mode(0o755)
            .set_mode_file_type(kind);
        let mut writer = entry.write(std::mem::take(&mut self.bytes), length);
        let written = writer.write_all(content).and_then(|()| writer.finish());
        self.bytes = written.with_context(|| format!("pack {name}"))?;
        Ok(())
    }

    /// The whole archive.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        cpio::newc::trailer(self.bytes).context("end the archive")
    }
}
