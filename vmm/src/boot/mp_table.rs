//! The MultiProcessor table: CPUs, the ISA bus and the wiring of the IOAPIC, for kernels started without firmware.
//!
//! Source: Intel MultiProcessor Specification 1.4, chapter 4. Contents as the machine's firmware (qboot) writes them:
//! ISA interrupts are wired to the pin of their number except the timer, which sits on pin 2.
//! Deviations: the entry count is filled in (qboot leaves 0 and kernels that trust it see no CPU); the table lies at
//! 0xf0000 instead of behind its pointer, where more than forty CPUs would run over the end of base memory.

use crate::memory::Memory;

/// Guest-physical address of the floating pointer: the last KiB of base memory, where kernels look for it.
pub const POINTER_ADDRESS: u64 = 0x9_fc00;

/// Guest-physical address of the table, in the range kernels know as ROM.
pub const TABLE_ADDRESS: u64 = 0xf_0000;

/// Most CPUs the table can name: an 8-bit APIC ID less the broadcast ID.
pub const CPUS_MAX: u16 = 255;

/// Writes pointer and table for CPUs with APIC IDs 0..`cpus`; CPUs past [`CPUS_MAX`] are left out. Returns whether both
/// lie in RAM.
pub fn write(memory: &Memory, cpus: u16) -> bool {
    let table = table(cpus.min(CPUS_MAX));
    let mut pointer = Vec::with_capacity(16);
    pointer.extend(b"_MP_");
    pointer.extend((TABLE_ADDRESS as u32).to_le_bytes());
    pointer.extend([1, REVISION_1_4, 0, 0, 0, 0, 0, 0]);
    pointer[10] = checksum(&pointer);
    memory.write(POINTER_ADDRESS, &pointer).is_ok() && memory.write(TABLE_ADDRESS, &table).is_ok()
}

fn table(cpus: u16) -> Vec<u8> {
    // The firmware numbers the IOAPIC past the CPUs, though its hardware ID register starts as 0; kernels program it.
    let ioapic_id = (cpus + 1).min(0xff) as u8;
    let mut entries = Vec::new();
    let mut count: u16 = 0;
    let mut add = |entry: &[u8]| {
        entries.extend_from_slice(entry);
        count += 1;
    };
    for id in 0..cpus {
        let bootstrap = if id == 0 { 2 } else { 0 };
        let mut cpu = [0; 20];
        cpu[..4].copy_from_slice(&[entry::CPU, id as u8, LAPIC_VERSION, CPU_ENABLED | bootstrap]);
        add(&cpu);
    }
    add(b"\x01\x00ISA   ");
    let mut ioapic = [entry::IOAPIC, ioapic_id, IOAPIC_VERSION, 1, 0, 0, 0, 0];
    ioapic[4..].copy_from_slice(&IOAPIC_ADDRESS.to_le_bytes());
    add(&ioapic);
    for irq in (0..16).filter(|&irq| irq != 2) {
        let pin = if irq == 0 { 2 } else { irq };
        add(&[entry::IO_INTERRUPT, interrupt::INT, 0, 0, 0, irq, ioapic_id, pin]);
    }
    add(&[entry::LOCAL_INTERRUPT, interrupt::EXT_INT, 0, 0, 0, 0, 0, 0]);
    add(&[entry::LOCAL_INTERRUPT, interrupt::NMI, 0, 0, 0, 0, 0xff, 1]);

    let mut table = Vec::with_capacity(HEADER_BYTES + entries.len());
    table.extend(b"PCMP");
    table.extend(((HEADER_BYTES + entries.len()) as u16).to_le_bytes());
    table.extend([REVISION_1_4, 0]);
    table.extend(b"MICROVM ");
    table.extend(b"000000000000");
    table.extend([0; 6]);
    table.extend(count.to_le_bytes());
    table.extend(LAPIC_ADDRESS.to_le_bytes());
    table.extend([0; 4]);
    table.extend(entries);
    table[7] = checksum(&table);
    table
}

/// The byte that makes all bytes sum to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

mod entry {
    pub(super) const CPU: u8 = 0;
    pub(super) const IOAPIC: u8 = 2;
    pub(super) const IO_INTERRUPT: u8 = 3;
    pub(super) const LOCAL_INTERRUPT: u8 = 4;
}

mod interrupt {
    pub(super) const INT: u8 = 0;
    pub(super) const NMI: u8 = 1;
    pub(super) const EXT_INT: u8 = 3;
}

const HEADER_BYTES: usize = 44;
const REVISION_1_4: u8 = 4;
const CPU_ENABLED: u8 = 1;
const LAPIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x20;
const LAPIC_ADDRESS: u32 = 0xfee0_0000;
const IOAPIC_ADDRESS: u32 = 0xfec0_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_sums_to_zero_and_counts_its_entries() {
        for cpus in [1, 2, 255] {
            let table = table(cpus);
            assert_eq!(checksum(&table), 0);
            assert_eq!(u16::from_le_bytes([table[4], table[5]]) as usize, table.len());
            let count = u16::from_le_bytes([table[34], table[35]]);
            assert_eq!(
                count,
                cpus + 1 + 1 + 15 + 2,
                "CPUs, bus, IOAPIC, interrupts, local interrupts"
            );
            assert_eq!(
                table.len(),
                HEADER_BYTES + 20 * usize::from(cpus) + 8 * usize::from(count - cpus)
            );
        }
    }

    #[test]
    fn pointer_needs_base_memory() {
        let small = Memory::new(&[(0, 0x8_0000)]).expect("512 KiB fit");
        assert!(!write(&small, 1));
    }
}
