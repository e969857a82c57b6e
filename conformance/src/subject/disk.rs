//! The disk of a block device: every subject gets the same bytes, fresh at each power-on.

use std::io;
use std::path::Path;

use crate::case::Setup;
use crate::machine::{Broken, Stop};

/// Bytes of a disk.
pub const BYTES: usize = 1 << 20;

/// Bytes of a sector.
const SECTOR_BYTES: usize = 512;

/// Most changed sectors that [`changes`] tells of.
pub const CHANGES_MAX: usize = 64;

/// Byte `at` of a disk as it is at power-on: no two neighbouring sectors look alike.
pub fn byte(at: usize) -> u8 {
    (7 * at + at / 512) as u8
}

/// A whole disk as it is at power-on.
pub fn image() -> Vec<u8> {
    (0..BYTES).map(byte).collect()
}

/// Writes an image for each device of a set-up that is to have one, and returns where: one entry for each device.
///
/// # Errors
/// As writing a file.
pub fn write_images(folder: &Path, setup: &Setup) -> io::Result<Vec<Option<String>>> {
    let mut paths = Vec::new();
    for (index, device) in setup.devices.iter().enumerate() {
        paths.push(if is_disk(device) {
            let path = folder.join(format!("disk{index}.img"));
            std::fs::write(&path, image())?;
            Some(path.display().to_string())
        } else {
            None
        });
    }
    Ok(paths)
}

/// What a guest changed on a disk, as facts of a report: one line for each sector, [`CHANGES_MAX`] at most.
///
/// # Errors
/// [`Broken::Transport`] when the image cannot be read or has another size.
pub fn changes(path: &Path) -> Result<String, Stop> {
    let transport = |problem: String| Broken::Transport(format!("read the disk image after the run: {problem}"));
    let bytes = std::fs::read(path).map_err(|error| transport(error.to_string()))?;
    if bytes.len() != BYTES {
        return Err(transport(format!("it has {} bytes now", bytes.len())).into());
    }
    let image = image();
    let sectors = bytes.chunks(SECTOR_BYTES).zip(image.chunks(SECTOR_BYTES)).enumerate();
    let changed = sectors.filter(|(_, (now, before))| now != before).take(CHANGES_MAX);
    let line = |(index, (now, _)): (usize, (&[u8], &[u8]))| {
        let data: String = now.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("# host-disk: index={index} data={data}\n")
    };
    Ok(changed.map(line).collect())
}

/// Whether a device of a set-up has a disk.
pub fn is_disk(device: &str) -> bool {
    [DEVICE, DEVICE_READ_ONLY].contains(&device)
}

/// A block device, as a set-up names it.
pub const DEVICE: &str = "virtio-blk";

/// A block device that the driver may only read.
pub const DEVICE_READ_ONLY: &str = "virtio-blk-ro";
