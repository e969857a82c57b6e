//! fw_cfg: selector, data port, directory and DMA.
//!
//! Source: QEMU Firmware Configuration (fw_cfg) Device; keys as in the machine model's item list.

use crate::machine::Stop;
use crate::probe::Probe;

/// Selector port, 16 bits.
pub const SELECTOR: u16 = 0x510;
/// Data port, 8 bits.
pub const DATA: u16 = 0x511;
/// DMA address, high half (big endian).
pub const DMA_HIGH: u16 = 0x514;
/// DMA address, low half (big endian); writing it starts the transfer.
pub const DMA_LOW: u16 = 0x518;

/// Keys of the fixed items.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0x00;
    /// Feature bitmap.
    pub const ID: u16 = 0x01;
    /// UUID, 16 bytes.
    pub const UUID: u16 = 0x02;
    /// RAM size, u64.
    pub const RAM_SIZE: u16 = 0x03;
    /// CPUs present, u16.
    pub const NB_CPUS: u16 = 0x05;
    /// Lowest load address of the kernel, u32.
    pub const KERNEL_ADDR: u16 = 0x07;
    /// Bytes of the kernel's load range, u32.
    pub const KERNEL_SIZE: u16 = 0x08;
    /// Bytes of the initial RAM disk, u32.
    pub const INITRD_SIZE: u16 = 0x0b;
    /// Most CPUs there can be, u16.
    pub const MAX_CPUS: u16 = 0x0f;
    /// The kernel's entry point, u32.
    pub const KERNEL_ENTRY: u16 = 0x10;
    /// A bzImage behind its setup part.
    pub const KERNEL_DATA: u16 = 0x11;
    /// Where the command line is to lie, u32.
    pub const CMDLINE_ADDR: u16 = 0x13;
    /// Bytes of the command line with its NUL, u32.
    pub const CMDLINE_SIZE: u16 = 0x14;
    /// The command line with its NUL.
    pub const CMDLINE_DATA: u16 = 0x15;
    /// Where the setup part is to lie, u32.
    pub const SETUP_ADDR: u16 = 0x16;
    /// Bytes of the setup part, u32.
    pub const SETUP_SIZE: u16 = 0x17;
    /// The setup part, its header filled in.
    pub const SETUP_DATA: u16 = 0x18;
    /// The file directory.
    pub const FILE_DIR: u16 = 0x19;
    /// First selector of a file.
    pub const FILE_FIRST: u16 = 0x20;
    /// x86: whether the timer interrupt is overridden, u32.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// x86: legacy e820 reservations.
    pub const E820_TABLE: u16 = 0x8003;
}

/// Bits of a DMA control word.
pub mod control {
    /// The transfer failed.
    pub const ERROR: u32 = 1 << 0;
    /// Copy to the buffer.
    pub const READ: u32 = 1 << 1;
    /// Move the offset.
    pub const SKIP: u32 = 1 << 2;
    /// Take the selector from the upper half.
    pub const SELECT: u32 = 1 << 3;
    /// Copy from the buffer.
    pub const WRITE: u32 = 1 << 4;
}

/// Bytes of the directory item: a count and 32 slots of 64 bytes.
pub const DIRECTORY_LENGTH_BYTES: usize = 4 + 32 * ENTRY_LENGTH_BYTES;
/// Bytes of one directory entry.
pub const ENTRY_LENGTH_BYTES: usize = 64;
/// Most files this suite looks at; more means the count is nonsense.
pub const FILES_MAX: u32 = 256;

/// One directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Bytes of the file.
    pub size: u32,
    /// Its selector.
    pub select: u16,
    /// Must be zero.
    pub reserved: u16,
    /// Name up to the NUL.
    pub name: String,
    /// The whole name field, 56 bytes.
    pub field: Vec<u8>,
}

/// Selects an item.
///
/// # Errors
/// As every access of the probe; the same for all functions here.
pub fn select(p: &mut Probe<'_>, key: u16) -> Result<(), Stop> {
    p.outw(SELECTOR, key)
}

/// Reads the next `count` bytes by single byte accesses.
pub fn bytes(p: &mut Probe<'_>, count: usize) -> Result<Vec<u8>, Stop> {
    p.inb_many(DATA, count)
}

/// Selects an item and reads its first `count` bytes.
pub fn item(p: &mut Probe<'_>, key: u16, count: usize) -> Result<Vec<u8>, Stop> {
    select(p, key)?;
    bytes(p, count)
}

/// An item of 2, 4 or 8 bytes as a little-endian number.
pub fn number(p: &mut Probe<'_>, key: u16, count: usize) -> Result<u64, Stop> {
    let bytes = item(p, key, count)?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Reads the directory.
pub fn directory(p: &mut Probe<'_>) -> Result<Vec<File>, Stop> {
    let count = item(p, key::FILE_DIR, 4)?;
    let count = u32::from_be_bytes([count[0], count[1], count[2], count[3]]);
    if FILES_MAX < count {
        p.check_eq("number of files", count, FILES_MAX);
        return Err(Stop::NotMet);
    }
    (0..count)
        .map(|_| bytes(p, ENTRY_LENGTH_BYTES).map(|entry| File::parse(&entry)))
        .collect()
}

/// Finds a file, which the rest of the body stands on.
pub fn file(p: &mut Probe<'_>, name: &str) -> Result<File, Stop> {
    let files = directory(p)?;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let found = files.iter().find(|file| file.name == name).cloned();
    p.check("file in the directory", found.is_some(), names.join(" "), name);
    found.ok_or(Stop::NotMet)
}

/// Reads a whole file of at most `count_max` bytes.
pub fn contents(p: &mut Probe<'_>, name: &str, count_max: usize) -> Result<Vec<u8>, Stop> {
    let file = file(p, name)?;
    item(p, file.select, (file.size as usize).min(count_max))
}

/// The kernel command line as the guest gets it, without its NUL; the size key is the rest's foundation.
pub fn command_line(p: &mut Probe<'_>) -> Result<String, Stop> {
    let size = number(p, key::CMDLINE_SIZE, 4)?;
    if size == 0 || CMDLINE_LENGTH_MAX < size {
        p.check(
            "command line size",
            false,
            format!("{size:#x}"),
            format!("1..={CMDLINE_LENGTH_MAX:#x}"),
        );
        return Err(Stop::NotMet);
    }
    let bytes = item(p, key::CMDLINE_DATA, size as usize)?;
    p.check_eq("byte after the command line", bytes[bytes.len() - 1], 0u8);
    Ok(String::from_utf8_lossy(&bytes[..bytes.len() - 1]).into_owned())
}

/// Puts a DMA descriptor at `gpa` and starts the transfer; returns the control word afterwards.
pub fn dma(p: &mut Probe<'_>, gpa: u64, control: u32, length: u32, address: u64) -> Result<u32, Stop> {
    p.write_memory(gpa, &descriptor(control, length, address))?;
    start(p, gpa)?;
    control_word(p, gpa)
}

/// The 16 bytes of a descriptor.
pub fn descriptor(control: u32, length: u32, address: u64) -> Vec<u8> {
    [
        control.to_be_bytes().as_slice(),
        &length.to_be_bytes(),
        &address.to_be_bytes(),
    ]
    .concat()
}

/// Writes the descriptor's address, high half first.
pub fn start(p: &mut Probe<'_>, gpa: u64) -> Result<(), Stop> {
    p.outl(DMA_HIGH, ((gpa >> 32) as u32).swap_bytes())?;
    p.outl(DMA_LOW, (gpa as u32).swap_bytes())
}

/// The control word of a descriptor in memory.
pub fn control_word(p: &mut Probe<'_>, gpa: u64) -> Result<u32, Stop> {
    let bytes = p.read_memory(gpa, 4)?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

impl File {
    fn parse(entry: &[u8]) -> File {
        let field = entry[8..].to_vec();
        let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
        File {
            size: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
            select: u16::from_be_bytes([entry[4], entry[5]]),
            reserved: u16::from_be_bytes([entry[6], entry[7]]),
            name: String::from_utf8_lossy(name).into_owned(),
            field,
        }
    }
}

const CMDLINE_LENGTH_MAX: u64 = 4096;
