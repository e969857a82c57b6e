//! The memory map given to the guest.
//!
//! Source: the machine as first specified: RAM as it lies, without holes for firmware or video (the firmware carves
//! them out); under KVM the reservation for the kernel's own pages comes first.

use super::ram::{HIGH_BASE, RamLayout};

/// One range of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// First guest-physical address.
    pub address: u64,
    /// Length in bytes.
    pub length_bytes: u64,
    /// What it is: [`RAM`] or [`RESERVED`].
    pub kind: u32,
}

/// The entries in the order the guest reads them, which is not sorted by address.
pub fn entries(ram: &RamLayout, kvm: bool) -> Vec<Entry> {
    let reserved = kvm.then_some(KVM_PAGES);
    let ram = [(0, ram.below_4g_bytes), (HIGH_BASE, ram.above_4g_bytes)];
    let ram = ram.into_iter().filter(|range| range.1 != 0);
    let ram = ram.map(|(address, length_bytes)| Entry {
        address,
        length_bytes,
        kind: RAM,
    });
    reserved.into_iter().chain(ram).collect()
}

/// The contents of the fw_cfg file `etc/e820`: 20 bytes an entry, no count.
pub fn file(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(Entry::bytes).collect()
}

/// The contents of the legacy fw_cfg key: a count and sixteen slots, reservations only.
pub fn legacy_table(entries: &[Entry]) -> Vec<u8> {
    let reserved: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == RESERVED).collect();
    let mut bytes = (reserved.len() as u32).to_le_bytes().to_vec();
    bytes.extend(reserved.iter().flat_map(|entry| entry.bytes()));
    bytes.resize(4 + LEGACY_SLOTS * ENTRY_BYTES, 0);
    bytes
}

impl Entry {
    fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length_bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.kind.to_le_bytes());
        bytes
    }
}

/// Type of usable RAM.
pub const RAM: u32 = 1;

/// Type of a range not to be used.
pub const RESERVED: u32 = 2;

/// Where KVM keeps its identity map and task state segment on CPUs that need them.
pub const KVM_PAGES: Entry = Entry {
    address: 0xfeff_c000,
    length_bytes: 0x4000,
    kind: RESERVED,
};

const ENTRY_BYTES: usize = 20;
const LEGACY_SLOTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(below_4g_bytes: u64, above_4g_bytes: u64) -> RamLayout {
        RamLayout {
            below_4g_bytes,
            above_4g_bytes,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn file_has_ram_as_it_lies() {
        let file = file(&entries(&layout(128 << 20, 0), false));
        assert_eq!(file, *b"\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\x01\0\0\0");
    }

    #[test]
    fn kvm_reservation_comes_first() {
        let entries = entries(&layout(2 << 30, 1 << 30), true);
        let starts: Vec<u64> = entries.iter().map(|entry| entry.address).collect();
        assert_eq!(starts, [0xfeff_c000, 0, 1 << 32]);
        let table = legacy_table(&entries);
        assert_eq!(
            (table.len(), &table[..12]),
            (324, &b"\x01\0\0\0\0\xc0\xff\xfe\0\0\0\0"[..])
        );
    }
}
