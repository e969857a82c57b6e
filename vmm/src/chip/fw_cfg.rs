//! fw_cfg: the table through which the machine hands its configuration and the kernel to the firmware.
//!
//! Source: QEMU's documentation of the fw_cfg device (ports, DMA interface, file directory); the handling of odd widths
//! and of faults as measured on the machine as first released.
//! Deviations: DMA reaches only RAM, where the original also reaches device registers: such a transfer ends in ERROR.
//! The upper half of the DMA address does not survive a reset. Every item is read-only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::{Access, Ctx, Device, Region, Space};
use crate::inspect::Inspector;
use crate::memory::Memory;
use crate::units::Width;

/// What fw_cfg holds: items under numbered keys, and files under names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    keyed: BTreeMap<u16, Arc<[u8]>>,
    files: Vec<(String, Arc<[u8]>)>,
}

/// One item as the guest can select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The selector.
    pub key: u16,
    /// The file's name; `None` for an item that has only a key.
    pub file: Option<&'a str>,
    /// The contents.
    pub bytes: &'a [u8],
}

/// A file that fw_cfg cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The directory has no room for the name.
    #[error("fw_cfg file name '{0}' is too long (max. {FILE_NAME_LENGTH_MAX} char)")]
    NameTooLong(String),
    /// The directory could not show the name.
    #[error("fw_cfg file name {0:?} is empty or holds a NUL byte")]
    NameInvalid(String),
    /// The name is taken.
    #[error("duplicate fw_cfg file name: {0}")]
    Duplicate(String),
    /// The directory is full.
    #[error("fw_cfg file '{0}' is one too many: there is room for {FILE_COUNT_MAX}")]
    TooMany(String),
    /// The directory's size field has 32 bits.
    #[error("fw_cfg file '{0}' is larger than 4 GiB")]
    TooLarge(String),
}

/// The device. Its items are fixed when it is made: nothing on this machine changes one afterwards.
#[derive(Clone, Debug)]
pub struct FwCfg {
    // Configuration, fixed at construction.
    regions: [Region; 2],
    items: Items,
    directory: Arc<[u8]>,
    // State, all of it.
    state: State,
}

/// What a guest can change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// The selector as written; keys past the last file are kept as [`KEY_INVALID`].
    key: u16,
    /// Offset of the next byte in the selected item.
    offset: usize,
    /// DMA address register.
    dma_address: u64,
}

impl Items {
    /// No items.
    pub fn new() -> Items {
        Items::default()
    }

    /// Puts `bytes` under `key`, in place of what was there. Keys of files and of the directory are not for this.
    pub fn set(&mut self, key: u16, bytes: impl Into<Arc<[u8]>>) {
        let index = key & KEY_MASK;
        assert!(
            index < key::FILE_FIRST && index != key::FILE_DIR,
            "key {key:#x} is fw_cfg's own"
        );
        self.keyed.insert(key, bytes.into());
    }

    /// Adds a file. The order of names decides its key, so keys move as files are added.
    ///
    /// # Errors
    /// [`FileError`] when the directory cannot hold it.
    pub fn add_file(&mut self, name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<(), FileError> {
        let bytes = bytes.into();
        if FILE_NAME_LENGTH_MAX < name.len() {
            return Err(FileError::NameTooLong(name.to_owned()));
        }
        if name.is_empty() || name.contains('\0') {
            return Err(FileError::NameInvalid(name.to_owned()));
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(FileError::TooLarge(name.to_owned()));
        }
        let Err(place) = self.files.binary_search_by(|(other, _)| other.as_str().cmp(name)) else {
            return Err(FileError::Duplicate(name.to_owned()));
        };
        if self.files.len() == FILE_COUNT_MAX {
            return Err(FileError::TooMany(name.to_owned()));
        }
        self.files.insert(place, (name.to_owned(), bytes));
        Ok(())
    }

    /// The contents under `key`, by its exact number; the directory is not among the items.
    pub fn get(&self, key: u16) -> Option<&Arc<[u8]>> {
        let file = key
            .checked_sub(key::FILE_FIRST)
            .and_then(|index| self.files.get(usize::from(index)));
        file.map(|(_, bytes)| bytes).or_else(|| self.keyed.get(&key))
    }

    /// The contents of the file of that name.
    pub fn file(&self, name: &str) -> Option<&Arc<[u8]>> {
        let file = self.files.iter().find(|(other, _)| other == name);
        file.map(|(_, bytes)| bytes)
    }

    /// Everything a guest can select except the directory, ascending by key.
    pub fn all(&self) -> Vec<Item<'_>> {
        let keyed = self.keyed.iter().map(|(&key, bytes)| Item { key, file: None, bytes });
        let files = self.files.iter().zip(key::FILE_FIRST..);
        let files = files.map(|((name, bytes), key)| Item {
            key,
            file: Some(name),
            bytes,
        });
        let mut all: Vec<Item<'_>> = keyed.chain(files).collect();
        all.sort_by_key(|item| item.key);
        all
    }

    /// The directory as the guest reads it under [`key::FILE_DIR`].
    pub fn directory(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DIRECTORY_BYTES);
        bytes.extend((self.files.len() as u32).to_be_bytes());
        for ((name, contents), key) in self.files.iter().zip(key::FILE_FIRST..) {
            bytes.extend((contents.len() as u32).to_be_bytes());
            bytes.extend(key.to_be_bytes());
            bytes.extend([0; 2]);
            let mut field = [0; FILE_NAME_LENGTH_MAX + 1];
            field[..name.len()].copy_from_slice(name.as_bytes());
            bytes.extend(field);
        }
        bytes.resize(DIRECTORY_BYTES, 0);
        bytes
    }
}

impl FwCfg {
    /// The device with these items.
    pub fn new(items: Items) -> FwCfg {
        FwCfg {
            regions: [
                Region::dword(Space::Port, PORT_SELECTOR, 2),
                Region::dword(Space::Port, PORT_DMA, 8),
            ],
            directory: items.directory().into(),
            items,
            state: State::default(),
        }
    }

    /// What it holds.
    pub fn items(&self) -> &Items {
        &self.items
    }

    fn select(&mut self, key: u16) {
        let valid = key & KEY_MASK < key::FILE_FIRST + FILE_COUNT_MAX as u16;
        // Bit 14 means nothing, as if it had not been written.
        self.state.key = if valid {
            key & (KEY_MASK | key::ARCH_LOCAL)
        } else {
            KEY_INVALID
        };
        self.state.offset = 0;
    }

    /// What is left of the selected item; empty when nothing is there.
    fn rest(&self) -> &[u8] {
        let item = match self.state.key {
            key::FILE_DIR => Some(&self.directory),
            key => self.items.get(key),
        };
        item.and_then(|item| item.get(self.state.offset..)).unwrap_or_default()
    }

    fn next_byte(&mut self) -> u8 {
        let byte = self.rest().first().copied();
        self.state.offset += usize::from(byte.is_some());
        byte.unwrap_or_default()
    }

    /// Carries out the descriptor at `gpa`, all at once.
    ///
    /// One transfer touches at most the 4 GiB its 32-bit length names, and of those only what is RAM: zero-filling
    /// costs the host a look at that much (a second or two for all of it) and allocates nothing beyond guest RAM
    /// itself.
    fn transfer(&mut self, gpa: u64, memory: &Memory) {
        let mut descriptor = [0; DESCRIPTOR_BYTES];
        if memory.read(gpa, &mut descriptor).is_err() {
            write_where_ram(memory, gpa, &dma::ERROR.to_be_bytes());
            return;
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3, address @ ..] = descriptor;
        let control = u32::from_be_bytes([c0, c1, c2, c3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let address = u64::from_be_bytes(address);
        if control & dma::SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let available = self.rest().len().min(length);
        let done = if control & dma::READ != 0 {
            write_where_ram(memory, address, &self.rest()[..available])
                && zero_where_ram(memory, address.wrapping_add(available as u64), length - available)
        } else {
            // No item can be written; a write of nothing is no write.
            control & dma::WRITE == 0 || length == 0
        };
        if control & (dma::READ | dma::WRITE | dma::SKIP) != 0 {
            self.state.offset += available;
        }
        let status = if done { 0 } else { dma::ERROR };
        write_where_ram(memory, gpa, &status.to_be_bytes());
    }
}

impl Device for FwCfg {
    fn name(&self) -> &'static str {
        "fw_cfg"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        match (at.region, at.width) {
            (REGION_SELECTOR, Width::Byte) => u64::from(self.next_byte()),
            (REGION_SELECTOR, _) => 0,
            _ => {
                let mut bytes = [0; 8];
                for (byte, signature) in bytes[..at.width.bytes()]
                    .iter_mut()
                    .zip(SIGNATURE_DMA.iter().skip(at.offset as usize))
                {
                    *byte = *signature;
                }
                u64::from_le_bytes(bytes)
            }
        }
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        match (at.region, at.offset, at.width) {
            (REGION_SELECTOR, 0, Width::Word) => self.select(value as u16),
            (REGION_DMA, 0, Width::Dword) => self.state.dma_address = u64::from((value as u32).swap_bytes()) << 32,
            (REGION_DMA, 4, Width::Dword) => {
                let gpa = self.state.dma_address | u64::from((value as u32).swap_bytes());
                self.state.dma_address = 0;
                self.transfer(gpa, ctx.memory);
            }
            (REGION_DMA, 0, Width::Qword) => {
                self.state.dma_address = 0;
                self.transfer(value.swap_bytes(), ctx.memory);
            }
            _ => {}
        }
    }

    fn reset(&mut self, _ctx: &mut Ctx<'_>) {
        self.state = State::default();
    }

    fn inspect(&self, out: &mut Inspector) {
        let State {
            key,
            offset,
            dma_address,
        } = self.state;
        out.hex("key", key);
        out.hex("offset", offset as u64);
        out.hex("dma_address", dma_address);
    }
}

/// Writes the part of `bytes` that meets RAM; true when that was all of it.
fn write_where_ram(memory: &Memory, gpa: u64, bytes: &[u8]) -> bool {
    let mut written = 0;
    for (start, length) in ram_parts(memory, gpa, bytes.len()) {
        let offset = start.wrapping_sub(gpa) as usize;
        if memory.write(start, &bytes[offset..offset + length]).is_ok() {
            written += length;
        }
    }
    written == bytes.len()
}

/// Zeroes the part of `length` bytes that is RAM; true when that was all of it. What is zero already is only looked at,
/// so that memory the guest has never used takes no host memory now.
fn zero_where_ram(memory: &Memory, gpa: u64, length: usize) -> bool {
    let mut zeroed = 0;
    let mut present = vec![0; ZEROS.len().min(length)];
    for (mut start, part) in ram_parts(memory, gpa, length) {
        let mut left = part;
        while 0 < left {
            let chunk = left.min(ZEROS.len());
            let present = &mut present[..chunk];
            let is_zero = memory.read(start, present).is_ok() && *present == ZEROS[..chunk];
            if is_zero || memory.write(start, &ZEROS[..chunk]).is_ok() {
                zeroed += chunk;
            }
            start += chunk as u64;
            left -= chunk;
        }
    }
    zeroed == length
}

/// The parts of `length` bytes from `gpa` on that are RAM, in the order of the transfer, which goes on at address 0
/// after the last one. `length` is at most 4 GiB.
fn ram_parts(memory: &Memory, gpa: u64, length: usize) -> Vec<(u64, usize)> {
    let to_the_top = u64::MAX - gpa;
    let length = length as u64;
    let before_wrap = if to_the_top < length { to_the_top + 1 } else { length };
    let mut parts = Vec::new();
    for (from, span) in [(gpa, before_wrap), (0, length - before_wrap)] {
        for (base, size) in memory.ranges() {
            let start = from.max(base);
            // Both ends are kept as offsets from `start`, which cannot overflow.
            let in_span = span.saturating_sub(start - from);
            let in_ram = size.saturating_sub(start - base);
            let part = in_span.min(in_ram);
            if part != 0 {
                parts.push((start, part as usize));
            }
        }
    }
    parts
}

/// Longest file name, its terminating NUL not counted.
pub const FILE_NAME_LENGTH_MAX: usize = 55;

/// Most files.
pub const FILE_COUNT_MAX: usize = 32;

/// Size of the directory: it always has room for all files.
pub const DIRECTORY_BYTES: usize = 4 + 64 * FILE_COUNT_MAX;

/// The contents of [`key::ID`]: the traditional interface and DMA.
pub const ID_TRADITIONAL_AND_DMA: u32 = 3;

/// Selectors.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0x00;
    /// Which interfaces there are, u32.
    pub const ID: u16 = 0x01;
    /// The machine's UUID, 16 bytes.
    pub const UUID: u16 = 0x02;
    /// RAM in bytes, u64.
    pub const RAM_SIZE: u16 = 0x03;
    /// 1 without a display, u16.
    pub const NOGRAPHIC: u16 = 0x04;
    /// CPUs present, u16.
    pub const NB_CPUS: u16 = 0x05;
    /// Where the kernel goes, u32.
    pub const KERNEL_ADDR: u16 = 0x07;
    /// Size of the kernel, u32.
    pub const KERNEL_SIZE: u16 = 0x08;
    /// Where the initial RAM disk goes, u32.
    pub const INITRD_ADDR: u16 = 0x0a;
    /// Size of the initial RAM disk, u32.
    pub const INITRD_SIZE: u16 = 0x0b;
    /// 1 when the user asked for a boot menu, u16.
    pub const BOOT_MENU: u16 = 0x0e;
    /// Most CPUs there can be, u16.
    pub const MAX_CPUS: u16 = 0x0f;
    /// Where the kernel is entered, u32.
    pub const KERNEL_ENTRY: u16 = 0x10;
    /// The kernel without its setup part.
    pub const KERNEL_DATA: u16 = 0x11;
    /// The initial RAM disk.
    pub const INITRD_DATA: u16 = 0x12;
    /// Where the command line goes, u32.
    pub const CMDLINE_ADDR: u16 = 0x13;
    /// Size of the command line with its NUL, u32.
    pub const CMDLINE_SIZE: u16 = 0x14;
    /// The command line with its NUL.
    pub const CMDLINE_DATA: u16 = 0x15;
    /// Where the kernel's setup part goes, u32.
    pub const SETUP_ADDR: u16 = 0x16;
    /// Size of the setup part, u32.
    pub const SETUP_SIZE: u16 = 0x17;
    /// The setup part.
    pub const SETUP_DATA: u16 = 0x18;
    /// The file directory.
    pub const FILE_DIR: u16 = 0x19;
    /// The first file.
    pub const FILE_FIRST: u16 = 0x20;
    /// Bit of keys whose meaning belongs to the architecture.
    pub const ARCH_LOCAL: u16 = 0x8000;
    /// 1: interrupt 0 arrives at IOAPIC pin 2, u32.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// The legacy table of reserved ranges.
    pub const E820_TABLE: u16 = 0x8003;

    /// The key's name in the documents; `None` for a file or an unknown key.
    pub fn name(key: u16) -> Option<&'static str> {
        Some(match key {
            SIGNATURE => "SIGNATURE",
            ID => "ID",
            UUID => "UUID",
            RAM_SIZE => "RAM_SIZE",
            NOGRAPHIC => "NOGRAPHIC",
            NB_CPUS => "NB_CPUS",
            KERNEL_ADDR => "KERNEL_ADDR",
            KERNEL_SIZE => "KERNEL_SIZE",
            INITRD_ADDR => "INITRD_ADDR",
            INITRD_SIZE => "INITRD_SIZE",
            BOOT_MENU => "BOOT_MENU",
            MAX_CPUS => "MAX_CPUS",
            KERNEL_ENTRY => "KERNEL_ENTRY",
            KERNEL_DATA => "KERNEL_DATA",
            INITRD_DATA => "INITRD_DATA",
            CMDLINE_ADDR => "CMDLINE_ADDR",
            CMDLINE_SIZE => "CMDLINE_SIZE",
            CMDLINE_DATA => "CMDLINE_DATA",
            SETUP_ADDR => "SETUP_ADDR",
            SETUP_SIZE => "SETUP_SIZE",
            SETUP_DATA => "SETUP_DATA",
            FILE_DIR => "FILE_DIR",
            IRQ0_OVERRIDE => "IRQ0_OVERRIDE",
            E820_TABLE => "E820_TABLE",
            _ => return None,
        })
    }
}

/// Bits of a DMA descriptor's control word.
pub mod dma {
    /// The transfer failed; set by the device.
    pub const ERROR: u32 = 1 << 0;
    /// Copy from the item to memory.
    pub const READ: u32 = 1 << 1;
    /// Move the offset without copying.
    pub const SKIP: u32 = 1 << 2;
    /// Select the key in bits 31:16 first.
    pub const SELECT: u32 = 1 << 3;
    /// Copy from memory to the item.
    pub const WRITE: u32 = 1 << 4;
}

const PORT_SELECTOR: u64 = 0x510;
const PORT_DMA: u64 = 0x514;
const REGION_SELECTOR: usize = 0;
const REGION_DMA: usize = 1;

/// What the DMA address register reads as.
const SIGNATURE_DMA: [u8; 8] = *b"QEMU CFG";

/// Bits of a selector that index a table.
const KEY_MASK: u16 = 0x3fff;

/// The selector kept for every key beyond the tables: nothing is there.
const KEY_INVALID: u16 = 0xffff;

const DESCRIPTOR_BYTES: usize = 16;

/// Zeroes are written in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

#[cfg(test)]
mod tests;
