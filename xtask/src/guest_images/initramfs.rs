//! The initramfs: one archive with one static program, the same bytes from the same toolchain.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType};

use super::{Place, TARGET, folder};

/// Builds `/init` and packs it; returns the archive.
pub(super) fn build(place: &Place) -> Result<PathBuf> {
    let program = build_program(place, "init", "init")?;
    let program = fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let archive = pack(&program)?;
    let folder = folder(&place.target);
    let (file, new) = (folder.join(FILE), folder.join(format!("{FILE}.{}", std::process::id())));
    // In one step: a run that is under way may be reading it.
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&new, archive))
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// Builds a static program that may be the first of a Linux.
pub(super) fn build_program(place: &Place, feature: &str, name: &str) -> Result<PathBuf> {
    // A static program without a dynamic linker, at a fixed address, that any 64-bit CPU runs.
    let flags = [
        "-Ctarget-feature=+crt-static",
        "-Crelocation-model=static",
        "-Ctarget-cpu=x86-64",
        "-Cstrip=symbols",
        "-Clink-arg=-Wl,--build-id=none",
    ];
    // A folder of its own: with the other images' flags it would be built anew each time.
    let target = place.target.join("guest-init");
    place.cargo_build(&target, feature, &["--bin", name], &flags)?;
    Ok(target.join(TARGET).join("guest").join(name))
}

/// Owner, time and number of each entry are always the same.
fn pack(program: &[u8]) -> Result<Vec<u8>> {
    let folders = ["dev", "proc", "sys"];
    let mut archive = Vec::new();
    for (index, name) in folders.iter().enumerate() {
        let entry = Builder::new(name)
            .ino(index as u32 + 1)
            .mode(0o755)
            .set_mode_file_type(ModeFileType::Directory);
        archive = entry.write(archive, 0).finish().context("pack a folder")?;
    }
    // The kernel opens it for the first program before that has mounted anything.
    let console = Builder::new("dev/console")
        .ino(4)
        .mode(0o600)
        .set_mode_file_type(ModeFileType::Char);
    let console = console.rdev_major(5).rdev_minor(1);
    archive = console.write(archive, 0).finish().context("pack the console")?;
    let init = Builder::new("init")
        .ino(5)
        .mode(0o755)
        .set_mode_file_type(ModeFileType::Regular);
    let mut writer = init.write(archive, program.len().try_into().context("the program is too large")?);
    std::io::Write::write_all(&mut writer, program).context("pack the program")?;
    archive = writer.finish().context("pack the program")?;
    cpio::newc::trailer(archive).context("end the archive")
}

/// The archive's name in the folder of the images.
const FILE: &str = "initramfs.cpio";
