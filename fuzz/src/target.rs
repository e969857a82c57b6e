//! What a target is: a machine, the addresses its programs use, and the states it must reach.

use std::ops::Range;

use conformance::case;
use conformance::program::Action;
use vmm::board::config::{Config, OnOffAuto};
use vmm::board::profile::MICROVM_2019;
use vmm::machine::Machine;

use crate::canary::{Canary, Watch};
use crate::execution::Guard;

/// One fuzz target.
#[derive(Debug)]
pub struct Target {
    /// The device's one short word.
    pub name: &'static str,
    /// One line for `fuzz list`.
    pub title: &'static str,
    /// The machines a program may ask for, 1..=256 of them.
    pub setups: &'static [Setup],
    /// How many of them, from the last on, are so costly that few inputs shall have them; not all.
    pub setups_rare: u8,
    /// Where port accesses mostly go, at most [`WINDOWS_MAX`].
    pub ports: &'static [Window],
    /// Where memory accesses mostly go, at most [`WINDOWS_MAX`].
    pub memory: &'static [Window],
    /// The 16-byte structure in guest memory that the device reads.
    pub record: Record,
    /// States that a campaign must reach, at most 32.
    pub canaries: &'static [Canary],
    /// Makes what tells whether a canary is reached.
    pub watch: fn() -> Box<dyn Watch>,
    /// Tells where an action may let the device write by DMA.
    pub guard: Guard,
    /// Areas of the suite whose cases are seeds.
    pub areas: &'static [&'static str],
    /// The set-up that comes nearest to a case's, by name; `None` when the case is about something else.
    pub setup_of: fn(&case::Setup) -> Option<&'static str>,
}

/// A machine that programs of a target may ask for.
#[derive(Debug)]
pub struct Setup {
    /// One word.
    pub name: &'static str,
    /// The same machine as options of `microvm`.
    pub options: &'static str,
    /// Makes it.
    pub config: fn() -> Config,
}

/// A range of addresses that an input names by a short number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The address of number 0.
    pub base: u64,
    /// From one number to the next.
    pub unit_bytes: u64,
    /// How many numbers there are, at least 1. Up to 256 the number takes one byte, above two.
    pub count: u32,
}

/// A structure of 16 bytes with a short form in inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Descriptor of a split virtqueue: address, length, flags, next. Virtio 1.2, 2.7.5.
    SplitDescriptor,
    /// fw_cfg's DMA descriptor, big-endian: control, length, address.
    FwCfgDma,
}

impl Target {
    /// The set-up that an input's first byte asks for.
    pub fn setup_of_byte(&self, byte: u8) -> u8 {
        let count = self.setups.len() as u8;
        if byte < count {
            byte
        } else {
            byte % (count - self.setups_rare)
        }
    }

    /// The number of a set-up.
    pub fn setup(&self, name: &str) -> Option<u8> {
        self.setups
            .iter()
            .position(|setup| setup.name == name)
            .map(|index| index as u8)
    }
}

impl Window {
    /// The address of a number; numbers past the last start over.
    pub fn address(&self, number: u16) -> u64 {
        self.base + self.unit_bytes * (u64::from(number) % u64::from(self.count))
    }

    /// The number of an address.
    pub fn number(&self, address: u64) -> Option<u16> {
        let offset = address.checked_sub(self.base)?;
        let number = offset / self.unit_bytes;
        (offset.is_multiple_of(self.unit_bytes) && number < u64::from(self.count)).then_some(number as u16)
    }
}

/// A machine without the devices that a target is not about: they only cost time. The IOAPIC stays, so that lines lead
/// somewhere.
pub fn small(config: Config) -> Config {
    Config {
        ram_bytes: RAM_BYTES,
        pit: OnOffAuto::Off,
        pic: OnOffAuto::Off,
        rtc: OnOffAuto::Off,
        isa_serial: false,
        ..config
    }
}

/// The machine of a register target: nothing but what it is about, and RAM for nothing.
pub fn registers() -> Config {
    Config {
        rtc_start_seconds: START_SECONDS,
        ram_bytes: REGISTERS_RAM_BYTES,
        ..small(Config::new(&MICROVM_2019))
    }
}

/// No DMA.
pub fn no_guard(_machine: &Machine, _action: &Action) -> Option<Vec<Range<u64>>> {
    None
}

/// RAM of a register target: no program has any use for it.
const REGISTERS_RAM_BYTES: u64 = 64 << 10;

/// 2020-02-28T23:59:50, as the cases of the suite have it: a leap day's eve.
const START_SECONDS: i64 = 1_582_934_390;

/// RAM of every target's machine: what the cases' addresses and [`SCRATCH`] need, and no more.
pub const RAM_BYTES: u64 = 5 << 20;

/// RAM where rings, descriptors and buffers mostly lie: as the cases of the suite have it, in units of 16 bytes.
pub const SCRATCH: Window = Window {
    base: 0x40_0000,
    unit_bytes: 16,
    count: 0x1_0000,
};

/// Most windows of one kind.
pub const WINDOWS_MAX: usize = 7;
