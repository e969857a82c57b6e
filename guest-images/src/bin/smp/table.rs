//! The MultiProcessor table: which CPUs the machine announces.
//!
//! Source: Intel MultiProcessor Specification 1.4, chapter 4. Firmware in use leaves the count of entries 0, so the
//! length of the table bounds the walk.

use guest_images::runtime::memory;

/// What the table says.
pub(crate) struct Table {
    /// Address of the configuration table.
    pub(crate) address: u64,
    /// Count of entries as the header has it.
    pub(crate) entries: u16,
    /// Address of the local APICs.
    pub(crate) local_apic: u32,
    /// Bytes of pointer and table each sum to 0.
    pub(crate) sums: bool,
    /// IDs of the enabled CPUs, in order.
    ids: [u8; CPUS_MAX],
    cpus: usize,
    /// CPUs marked as the one that firmware starts on.
    pub(crate) bootstraps: u32,
    /// Enabled IOAPICs.
    pub(crate) ioapics: u32,
}

impl Table {
    /// Looks in the places that the specification names; `None` when there is no table or it is cut short.
    pub(crate) fn find() -> Option<Self> {
        let places = [(0x9_fc00, 0xa_0000), (0xf_0000, 0x10_0000)];
        let mut pointers = places.into_iter().flat_map(|(start, end)| (start..end).step_by(16));
        let pointer = pointers.find_map(|address| {
            let mut bytes = [0; 16];
            memory::read(address, &mut bytes).ok()?;
            (bytes.starts_with(b"_MP_")).then_some(bytes)
        })?;
        let address = u64::from(u32_at(&pointer, 4));
        let mut header = [0; HEADER_LENGTH];
        memory::read(address, &mut header).ok()?;
        let length = usize::from(u16_at(&header, 4));
        if !header.starts_with(b"PCMP") || !(HEADER_LENGTH..=TABLE_LENGTH_MAX).contains(&length) {
            return None;
        }
        let mut bytes = [0; TABLE_LENGTH_MAX];
        let bytes = bytes.get_mut(..length)?;
        memory::read(address, bytes).ok()?;
        let mut table = Self {
            address,
            entries: u16_at(bytes, 34),
            local_apic: u32_at(bytes, 36),
            sums: sum(&pointer) == 0 && sum(bytes) == 0,
            ids: [0; CPUS_MAX],
            cpus: 0,
            bootstraps: 0,
            ioapics: 0,
        };
        table.walk(bytes.get(HEADER_LENGTH..)?)?;
        Some(table)
    }

    fn walk(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some(&kind) = rest.first() {
            let length = if kind == CPU { 20 } else { 8 };
            let (entry, after) = rest.split_at_checked(length)?;
            match (kind, entry) {
                (CPU, [_, id, _, flags, ..]) if flags & 1 != 0 => {
                    *self.ids.get_mut(self.cpus)? = *id;
                    self.cpus += 1;
                    self.bootstraps += u32::from(flags >> 1 & 1);
                }
                (IOAPIC, [_, _, _, flags, ..]) => self.ioapics += u32::from(flags & 1),
                _ => {}
            }
            rest = after;
        }
        Some(())
    }

    /// IDs of the enabled CPUs.
    pub(crate) fn ids(&self) -> &[u8] {
        self.ids.get(..self.cpus).unwrap_or_default()
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

const CPU: u8 = 0;
const IOAPIC: u8 = 2;
const HEADER_LENGTH: usize = 44;

/// As many as 8-bit IDs tell apart, without the one that means all.
const CPUS_MAX: usize = 255;

/// 255 CPUs and some dozen other entries.
const TABLE_LENGTH_MAX: usize = 6144;
