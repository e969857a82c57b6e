//! How often the guest left to us, by kind of exit and by device.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::board::Board;
use crate::device::Space;

/// Counters that CPUs bump without a lock.
pub(super) struct Counters {
    kinds: [AtomicU64; Kind::ALL.len()],
    /// Sorted by space and base.
    ranges: Vec<Range>,
    names: Vec<String>,
    /// For each name, and for nobody: accesses by kind.
    devices: Vec<[AtomicU64; ACCESSES.len()]>,
}

/// Kinds of exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PortIn,
    PortOut,
    MmioRead,
    MmioWrite,
    Eoi,
    IrqWindow,
    Interrupted,
    Reset,
}

/// Kinds that are accesses: the first ones.
const ACCESSES: [Kind; 4] = [Kind::PortIn, Kind::PortOut, Kind::MmioRead, Kind::MmioWrite];

struct Range {
    space: Space,
    base: u64,
    length: u64,
    device: usize,
}

impl Counters {
    /// Counters for the devices of a board, all zero.
    pub(super) fn new(board: &Board) -> Counters {
        let mut ranges = Vec::new();
        let mut names = Vec::new();
        for slot in board.slots() {
            let Some(device) = board.device(slot) else {
                continue;
            };
            let index = names.len();
            names.push(slot.to_string());
            ranges.extend(device.regions().iter().map(|region| Range {
                space: region.space,
                base: region.base,
                length: region.length,
                device: index,
            }));
        }
        ranges.sort_by_key(|range| (range.space, range.base));
        let devices = (0..=names.len()).map(|_| Default::default()).collect();
        Counters {
            kinds: Default::default(),
            ranges,
            names,
            devices,
        }
    }

    /// Counts an exit that is not an access.
    pub(super) fn count(&self, kind: Kind) {
        self.kinds[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an exit that is an access; a string instruction's exit counts once.
    pub(super) fn count_access(&self, kind: Kind, space: Space, address: u64) {
        self.count(kind);
        let after = self
            .ranges
            .partition_point(|range| (range.space, range.base) <= (space, address));
        let range = after.checked_sub(1).map(|index| &self.ranges[index]);
        let range = range.filter(|range| range.space == space && address - range.base < range.length);
        let device = range.map_or(self.names.len(), |range| range.device);
        if let Some(count) = self.devices[device].get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts so far as fields of a JSON object: `exits` by kind, `devices` each by kind, in board order and
    /// `nobody` last, and `kvm`, KVM's own. What did not occur is left out.
    pub(super) fn json(&self, kvm: &BTreeMap<String, u64>) -> String {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let kinds = Kind::ALL
            .iter()
            .map(|kind| (kind.name(), count(&self.kinds[*kind as usize])));
        let names = self.names.iter().map(String::as_str).chain(["nobody"]);
        let mut devices = String::new();
        for (name, counts) in names.zip(&self.devices) {
            let counts = object(ACCESSES.iter().zip(counts).map(|(kind, own)| (kind.name(), count(own))));
            if counts != "{}" {
                let comma = if devices.is_empty() { "" } else { "," };
                let _to_a_string = write!(devices, "{comma}\"{name}\":{counts}");
            }
        }
        let kvm = object(kvm.iter().map(|(name, count)| (name.as_str(), *count)));
        format!("\"exits\":{},\"devices\":{{{devices}}},\"kvm\":{kvm}", object(kinds))
    }
}

impl Kind {
    pub(super) const ALL: [Kind; 8] = [
        Kind::PortIn,
        Kind::PortOut,
        Kind::MmioRead,
        Kind::MmioWrite,
        Kind::Eoi,
        Kind::IrqWindow,
        Kind::Interrupted,
        Kind::Reset,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::PortIn => "port_in",
            Kind::PortOut => "port_out",
            Kind::MmioRead => "mmio_read",
            Kind::MmioWrite => "mmio_write",
            Kind::Eoi => "eoi",
            Kind::IrqWindow => "irq_window",
            Kind::Interrupted => "interrupted",
            Kind::Reset => "reset",
        }
    }
}

/// Names are our own words: none needs escaping.
fn object<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut text = String::from("{");
    for (name, count) in counts {
        if count != 0 {
            let comma = if text.len() == 1 { "" } else { "," };
            let _to_a_string = write!(text, "{comma}\"{name}\":{count}");
        }
    }
    text.push('}');
    text
}
