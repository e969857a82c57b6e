//! A disk: what it holds, and whether it keeps what is written.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::{Ends, Machine, Report, files};

pub(super) fn blk(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let mut disks = files::entries("/sys/block").into_iter();
    let Some(disk) = disks.find(|disk| files::name(disk).starts_with("vd")) else {
        return Err(Ends::Absent("the kernel found no virtio disk".to_owned()));
    };
    let name = files::name(&disk);
    let sectors = files::needed(disk.join("size"))?;
    let is_read_only = files::field(disk.join("ro")) == "1";
    report.fact(
        "blk",
        format_args!("name={name} sectors={sectors} read-only={}", u8::from(is_read_only)),
    );
    let sectors: u64 = sectors.parse().map_err(Ends::wrong("sectors"))?;
    if sectors < 2 * BLOCK_SECTORS {
        return Err(Ends::Wrong(format!(
            "a disk of {sectors} sectors is too small to be tried"
        )));
    }

    let path = format!("/dev/{name}");
    let disk = open(&path, false).map_err(Ends::wrong("open the disk"))?;
    let last = sectors / BLOCK_SECTORS - 1;
    for block in [0, last] {
        let bytes = read(&disk, block)?;
        for sector in [0, BLOCK_SECTORS - 1] {
            let at = (sector * SECTOR_BYTES) as usize;
            let data = Hex(&bytes.0[at..at + SHOWN_BYTES]);
            report.fact(
                "blk-sector",
                format_args!("index={} data={data}", block * BLOCK_SECTORS + sector),
            );
        }
    }
    if is_read_only {
        return Ok(());
    }

    // The last block, so that a disk with something at its start still has it.
    let mut written = read(&disk, last)?;
    for (index, byte) in written.0.iter_mut().enumerate() {
        *byte ^= (0x5a + 31 * index + index / 256) as u8;
    }
    let writer = open(&path, true).map_err(Ends::wrong("open the disk for writing"))?;
    writer
        .write_all_at(&written.0, last * BLOCK_BYTES)
        .map_err(Ends::wrong("write a block"))?;
    writer.sync_all().map_err(Ends::wrong("flush the disk"))?;
    drop((disk, writer));
    let disk = open(&path, false).map_err(Ends::wrong("open the disk again"))?;
    let back = read(&disk, last)?;
    let data = Hex(&written.0[..SHOWN_BYTES]);
    report.fact(
        "blk-written",
        format_args!("index={} data={data}", last * BLOCK_SECTORS),
    );
    let same = back
        .0
        .iter()
        .zip(&written.0)
        .take_while(|(back, written)| back == written)
        .count();
    report.expect(
        same == written.0.len(),
        format_args!("byte {same} of the block written reads back as another"),
    );
    // The block before it is not the one that was written.
    let before = read(&disk, last - 1)?;
    report.expect(
        before.0 != written.0,
        format_args!("the write changed another block, too"),
    );
    Ok(())
}

/// Without the kernel's cache, so that each access reaches the device.
fn open(path: &str, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_DIRECT)
        .open(path)
}

fn read(disk: &File, block: u64) -> Result<Box<Block>, Ends> {
    let mut bytes = Box::new(Block([0; BLOCK_BYTES as usize]));
    let what = format!("read block {block}");
    disk.read_exact_at(&mut bytes.0, block * BLOCK_BYTES)
        .map_err(Ends::wrong(&what))?;
    Ok(bytes)
}

/// One transfer, aligned as a disk wants it.
#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES as usize]);

/// Bytes as one hexadecimal word.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const SECTOR_BYTES: u64 = 512;
const BLOCK_SECTORS: u64 = 8;
const BLOCK_BYTES: u64 = BLOCK_SECTORS * SECTOR_BYTES;

/// Bytes shown of a sector: neighbouring sectors differ in them.
const SHOWN_BYTES: usize = 16;
