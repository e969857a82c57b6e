//! The PVH start info: what the loader hands over at the entry.
//!
//! Source: Xen, public/arch-x86/hvm/start_info.h, version 1.

use core::fmt;

/// `hvm_start_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// [`MAGIC`].
    pub magic: u32,
    /// 1 for the fields here; 0 has no memory map.
    pub version: u32,
    /// `SIF_*` flags.
    pub flags: u32,
    /// Number of modules.
    pub modules: u32,
    /// Address of the list of modules.
    pub module_list: u64,
    /// Address of the command line, 0 for none.
    pub command_line: u64,
    /// Address of the ACPI RSDP, 0 for none.
    pub rsdp: u64,
    /// Address of the memory map.
    pub memory_map: u64,
    /// Number of its entries.
    pub memory_map_entries: u32,
    /// Must be zero.
    pub reserved: u32,
}

impl StartInfo {
    /// Reads the structure out of its bytes.
    pub fn from_bytes(bytes: &[u8; START_INFO_LENGTH]) -> Self {
        Self {
            magic: u32_at(bytes, 0),
            version: u32_at(bytes, 4),
            flags: u32_at(bytes, 8),
            modules: u32_at(bytes, 12),
            module_list: u64_at(bytes, 16),
            command_line: u64_at(bytes, 24),
            rsdp: u64_at(bytes, 32),
            memory_map: u64_at(bytes, 40),
            memory_map_entries: u32_at(bytes, 48),
            reserved: u32_at(bytes, 52),
        }
    }
}

/// `hvm_modlist_entry`; the first module is the initial RAM disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Address of its bytes.
    pub base: u64,
    /// Number of its bytes.
    pub size: u64,
    /// Address of its command line, 0 for none.
    pub command_line: u64,
}

impl Module {
    /// Reads the structure out of its bytes.
    pub fn from_bytes(bytes: &[u8; MODULE_LENGTH]) -> Self {
        Self {
            base: u64_at(bytes, 0),
            size: u64_at(bytes, 8),
            command_line: u64_at(bytes, 16),
        }
    }
}

/// `hvm_memmap_table_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEntry {
    /// First address.
    pub base: u64,
    /// Number of bytes.
    pub size: u64,
    /// Type as in e820: [`RAM`] or one of the others.
    pub kind: u32,
}

impl MemoryEntry {
    /// Reads the structure out of its bytes.
    pub fn from_bytes(bytes: &[u8; MEMORY_ENTRY_LENGTH]) -> Self {
        Self {
            base: u64_at(bytes, 0),
            size: u64_at(bytes, 8),
            kind: u32_at(bytes, 16),
        }
    }

    fn contains(&self, address: u64) -> bool {
        address >= self.base && address - self.base < self.size
    }
}

/// What no memory map may be, whatever the machine. Numbers are positions in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The entry ends behind the last address.
    Wraps(usize),
    /// The two entries, numbered in order of the map, share an address.
    Overlap(usize, usize),
    /// No RAM at this address.
    NoRamAt(u64),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wraps(index) => write!(f, "entry={index} wraps"),
            Self::Overlap(first, second) => write!(f, "entry={first} entry={second} overlap"),
            Self::NoRamAt(address) => write!(f, "no-ram-at={address:#x}"),
        }
    }
}

/// Hands each complaint about `map` to `complain`. Empty entries say nothing and are passed over: firmware in use ends
/// its map with one.
pub fn judge_memory_map(map: &[MemoryEntry], mut complain: impl FnMut(Complaint)) {
    for (index, entry) in map.iter().enumerate().filter(|(_, entry)| entry.size != 0) {
        if entry.base.checked_add(entry.size - 1).is_none() {
            complain(Complaint::Wraps(index));
        }
        for (earlier, other) in map.iter().enumerate().take(index).filter(|(_, other)| other.size != 0) {
            if entry.contains(other.base) || other.contains(entry.base) {
                complain(Complaint::Overlap(earlier, index));
            }
        }
    }
    for address in [LOW_RAM, ONE_MIB] {
        if !map.iter().any(|entry| entry.kind == RAM && entry.contains(address)) {
            complain(Complaint::NoRamAt(address));
        }
    }
}

/// Whether the entries that are not empty ascend. No document demands it, and qboot's map under KVM does not.
pub fn is_sorted(map: &[MemoryEntry]) -> bool {
    map.iter()
        .filter(|entry| entry.size != 0)
        .is_sorted_by_key(|entry| entry.base)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..offset + 4]
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}

/// `XEN_HVM_START_MAGIC_VALUE`.
pub const MAGIC: u32 = 0x336e_c578;

/// Bytes of [`StartInfo`] version 1.
pub const START_INFO_LENGTH: usize = 56;

/// Bytes of [`Module`].
pub const MODULE_LENGTH: usize = 32;

/// Bytes of [`MemoryEntry`].
pub const MEMORY_ENTRY_LENGTH: usize = 24;

/// Type of ordinary memory.
pub const RAM: u32 = 1;

/// Behind the interrupt table and the BIOS data area of a PC, where every loader leaves RAM.
const LOW_RAM: u64 = 0x1000;

const ONE_MIB: u64 = 0x10_0000;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn start_info_is_read_field_by_field() {
        let mut bytes = [0; START_INFO_LENGTH];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let info = StartInfo::from_bytes(&bytes);
        assert_eq!(info.magic, 0x0302_0100);
        assert_eq!(info.modules, 0x0f0e_0d0c);
        assert_eq!(info.module_list, 0x1716_1514_1312_1110);
        assert_eq!(info.memory_map, 0x2f2e_2d2c_2b2a_2928);
        assert_eq!((info.memory_map_entries, info.reserved), (0x3332_3130, 0x3736_3534));
    }

    #[test]
    fn map_of_qboot_with_its_empty_last_entry_is_right() {
        let map = [
            entry(0, 0x9fc00, 1),
            entry(0x9fc00, 0x400, 2),
            entry(0xd0000, 0x20000, 4),
            entry(0xf0000, 0x10000, 2),
            entry(0x10_0000, 0x7f0_0000, 1),
            entry(0, 0, 0),
        ];
        assert_eq!(complaints(&map), []);
        assert!(is_sorted(&map));
    }

    #[test]
    fn order_is_no_complaint_but_is_told() {
        let map = [
            entry(0, 0x9fc00, 1),
            entry(0xfeff_c000, 0x4000, 2),
            entry(0x10_0000, 0x7f0_0000, 1),
        ];
        assert_eq!(complaints(&map), []);
        assert!(!is_sorted(&map));
    }

    #[test]
    fn wrong_maps_are_named() {
        assert_eq!(
            complaints(&[]),
            [Complaint::NoRamAt(0x1000), Complaint::NoRamAt(0x10_0000)]
        );
        let whole = entry(0, 0x200_0000, 1);
        assert_eq!(
            complaints(&[whole, entry(0x1ff_ffff, 1, 2)]),
            [Complaint::Overlap(0, 1)]
        );
        let inside = entry(0x10_0000, 0x1000, 2);
        assert_eq!(
            complaints(&[inside, entry(0x300_0000, 1, 2), whole]),
            [Complaint::Overlap(0, 2)]
        );
        assert_eq!(complaints(&[whole, entry(u64::MAX, 2, 1)]), [Complaint::Wraps(1)]);
        assert_eq!(complaints(&[whole, entry(u64::MAX, 1, 1)]), []);
    }

    fn complaints(map: &[MemoryEntry]) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        judge_memory_map(map, |complaint| complaints.push(complaint));
        complaints
    }

    fn entry(base: u64, size: u64, kind: u32) -> MemoryEntry {
        MemoryEntry { base, size, kind }
    }
}
