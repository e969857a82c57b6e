//! How often the guest left to us, by kind of exit and by device.

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
    /// One for each name, and one for nobody.
    devices: Vec<AtomicU64>,
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
        let devices = (0..=names.len()).map(|_| AtomicU64::new(0)).collect();
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
        self.devices[device].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts by kind as a JSON object, kinds that did not occur left out.
    pub(super) fn kinds_json(&self) -> String {
        object(Kind::ALL.iter().map(|&kind| (kind.name(), &self.kinds[kind as usize])))
    }

    /// The counts by device as a JSON object, in board order and `nobody` last.
    pub(super) fn devices_json(&self) -> String {
        let names = self.names.iter().map(String::as_str).chain(["nobody"]);
        object(names.zip(&self.devices))
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
fn object<'a>(counts: impl Iterator<Item = (&'a str, &'a AtomicU64)>) -> String {
    let mut text = String::from("{");
    for (name, count) in counts {
        let count = count.load(Ordering::Relaxed);
        if count != 0 {
            let comma = if text.len() == 1 { "" } else { "," };
            let _to_a_string = write!(text, "{comma}\"{name}\":{count}");
        }
    }
    text.push('}');
    text
}
