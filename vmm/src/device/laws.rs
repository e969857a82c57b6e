//! Laws that hold for every device, and the bench they are tried on.
//!
//! A device's tests call [`check_laws`] (or [`check_laws_keeping`], when the machine model keeps some of its state over
//! a reset) with a function that makes the device at power-on. [`Bench`] is also a handy place for a device's own
//! tests: it routes accesses through the real address map and ticks the device at its deadlines.

use super::{Access, Ctx, Device, Event, Space};
use crate::bus::{AddressMap, Cut};
use crate::inspect::Inspector;
use crate::irq::{GSI_COUNT, LineChange, Lines};
use crate::memory::Memory;
use crate::units::{Nanos, Width};

/// One device alone on a bus, with 64 KiB of RAM at address 0, under virtual time.
pub(crate) struct Bench<D> {
    /// The device.
    pub(crate) device: D,
    /// Virtual time.
    pub(crate) now: Nanos,
    /// The interrupt lines.
    pub(crate) lines: Lines,
    /// Guest memory.
    pub(crate) memory: Memory,
    /// What the device told the outside world and no test has taken yet.
    pub(crate) events: Vec<Event>,
    map: AddressMap<()>,
}

impl<D: Device> Bench<D> {
    /// Puts a device on the bench at time 0.
    pub(crate) fn new(device: D) -> Bench<D> {
        let mut map = AddressMap::new();
        map.add((), device.regions())
            .expect("a device's regions do not overlap");
        Bench {
            device,
            now: Nanos(0),
            lines: Lines::default(),
            memory: Memory::new(&[(0, RAM_BYTES)]).expect("64 KiB fit"),
            events: Vec::new(),
            map,
        }
    }

    /// Runs `act` with the device and its context.
    pub(crate) fn with<R>(&mut self, act: impl FnOnce(&mut D, &mut Ctx<'_>) -> R) -> R {
        let mut ctx = Ctx {
            now: self.now,
            lines: &mut self.lines,
            memory: &self.memory,
            events: &mut self.events,
        };
        act(&mut self.device, &mut ctx)
    }

    /// Reads through the address map; where the device is not, the result's bytes are 0xff.
    pub(crate) fn read(&mut self, space: Space, address: u64, width: Width) -> u64 {
        let mut value = 0;
        let mut cut = Cut::new(space, address, width);
        while let Some(piece) = cut.next(&self.map) {
            let part = match piece.target {
                Some(((), region, offset)) => {
                    let at = Access {
                        region,
                        offset,
                        width: piece.width,
                    };
                    self.with(|device, ctx| device.read(at, ctx))
                }
                None => u64::MAX,
            };
            value |= (part & piece.width.mask()) << (8 * piece.shift_bytes);
        }
        value
    }

    /// Writes through the address map.
    pub(crate) fn write(&mut self, space: Space, address: u64, width: Width, value: u64) {
        let mut cut = Cut::new(space, address, width);
        while let Some(piece) = cut.next(&self.map) {
            let Some(((), region, offset)) = piece.target else {
                continue;
            };
            let at = Access {
                region,
                offset,
                width: piece.width,
            };
            let part = value >> (8 * piece.shift_bytes) & piece.width.mask();
            self.with(|device, ctx| device.write(at, part, ctx));
        }
    }

    /// Reads one byte from a port.
    pub(crate) fn inb(&mut self, port: u16) -> u8 {
        self.read(Space::Port, u64::from(port), Width::Byte) as u8
    }

    /// Writes one byte to a port.
    pub(crate) fn outb(&mut self, port: u16, value: u8) {
        self.write(Space::Port, u64::from(port), Width::Byte, u64::from(value));
    }

    /// Lets `by` pass and ticks the device at each of its deadlines on the way.
    pub(crate) fn advance(&mut self, by: Nanos) {
        let target = self.now + by;
        while let Some(deadline) = self.device.deadline().filter(|deadline| *deadline <= target) {
            self.now = self.now.max(deadline);
            self.tick();
        }
        self.now = target;
    }

    /// Lets `by` pass and ticks once at the end, if the device was due by then: a host that came late.
    pub(crate) fn advance_late(&mut self, by: Nanos) {
        self.now = self.now + by;
        while self.device.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.tick();
        }
    }

    /// System reset.
    pub(crate) fn reset(&mut self) {
        self.with(|device, ctx| device.reset(ctx));
    }

    /// Takes what the device told the outside world.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the changes of the lines since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<LineChange> {
        self.lines.take_changes()
    }

    /// The device's whole state, one `name = value` line each.
    pub(crate) fn inspect(&self) -> Inspector {
        let mut out = Inspector::new();
        self.device.inspect(&mut out);
        out
    }

    /// What the guest reads at every address of the device, ascending, byte by byte, and the levels of all lines.
    fn visible(&mut self) -> (Vec<u64>, Vec<bool>) {
        let mut values = Vec::new();
        for region in self.device.regions().to_vec() {
            for offset in 0..region.length {
                values.push(self.read(region.space, region.base + offset, Width::Byte));
            }
        }
        (values, (0..GSI_COUNT).map(|gsi| self.lines.level(gsi)).collect())
    }

    fn tick(&mut self) {
        self.with(|device, ctx| device.tick(ctx));
        let next = self.device.deadline();
        assert!(
            next.is_none_or(|deadline| self.now < deadline),
            "{}: a tick at {} left the deadline at {next:?}, time would stand still",
            self.device.name(),
            self.now
        );
    }

    /// Does `steps` random things to the device: writes, reads, input line changes and short waits.
    fn disturb(&mut self, seed: u64, steps: usize) {
        let mut random = Random(seed);
        let regions = self.device.regions().to_vec();
        let inputs = self.device.inputs().to_vec();
        for _ in 0..steps {
            let region = regions[random.below(regions.len() as u64) as usize];
            let address = region.base + random.below(region.length);
            let width = Width::ALL[random.below(4) as usize];
            match random.below(8) {
                0..4 => {
                    let value = random.next() & width.mask();
                    self.write(region.space, address, width, value);
                }
                4..6 => {
                    self.read(region.space, address, width);
                }
                6 => self.advance(Nanos(random.next() >> (34 + random.below(30)))),
                _ if inputs.is_empty() => {}
                _ => {
                    let gsi = inputs[random.below(inputs.len() as u64) as usize];
                    let level = random.below(2) == 1;
                    self.with(|device, ctx| device.line(gsi, level, ctx));
                }
            }
        }
    }
}

/// Checks every law for a device that keeps nothing over a reset.
pub(crate) fn check_laws<D: Device>(make: impl Fn() -> D) {
    check_laws_keeping(make, &[]);
}

/// Checks every law for a device that keeps part of its state over a reset: everything that [`Device::inspect`] shows
/// under a name starting with one of `kept`.
pub(crate) fn check_laws_keeping<D: Device>(make: impl Fn() -> D, kept: &[&str]) {
    power_on_is_a_reset_state(&make);
    reset_forgets_all_but(&make, kept);
    every_access_is_answered(&make);
    waiting_twice_is_waiting_once(&make);
    late_tick_catches_up(&make);
}

fn power_on_is_a_reset_state<D: Device>(make: &impl Fn() -> D) {
    let mut bench = Bench::new(make());
    let power_on = bench.inspect();
    bench.reset();
    assert_eq!(
        bench.inspect(),
        power_on,
        "a reset right after power-on changes nothing"
    );
    assert_quiet(&bench);
}

/// A device that lived through anything looks after a reset like one that was left alone until then.
fn reset_forgets_all_but<D: Device>(make: &impl Fn() -> D, kept: &[&str]) {
    for seed in SEEDS {
        let mut bench = Bench::new(make());
        bench.disturb(seed, STEPS);
        bench.reset();
        assert_quiet(&bench);
        let once = bench.inspect();
        bench.reset();
        assert_eq!(bench.inspect(), once, "seed {seed}: a second reset changes nothing");

        let mut calm = Bench::new(make());
        calm.advance(bench.now);
        calm.reset();
        assert_eq!(
            without(&bench.inspect(), kept),
            without(&calm.inspect(), kept),
            "seed {seed}: state that is not kept is as after power-on"
        );
        if kept.is_empty() {
            assert_eq!(
                bench.visible(),
                calm.visible(),
                "seed {seed}: registers are as after power-on"
            );
        }
    }
}

/// Every byte at every address in every width, each followed by reads, with time passing now and then. What is asked
/// is only that the device answers: no panic, no endless loop.
fn every_access_is_answered<D: Device>(make: &impl Fn() -> D) {
    let mut bench = Bench::new(make());
    let regions = bench.device.regions().to_vec();
    for region in &regions {
        for offset in 0..region.length {
            for byte in 0..=u8::MAX {
                for width in Width::ALL {
                    let value = u64::from_ne_bytes([byte; 8]) & width.mask();
                    bench.write(region.space, region.base + offset, width, value);
                    let reads = if region.length <= SMALL_REGION {
                        0..region.length
                    } else {
                        offset..offset + 1
                    };
                    for back in reads {
                        bench.read(region.space, region.base + back, width);
                    }
                }
            }
            bench.advance(Nanos(1_000_003));
            bench.visible();
        }
    }
    // Addresses around the regions: a straddling access reaches the device in part.
    for region in &regions {
        for address in [
            region.base.wrapping_sub(1),
            region.base + region.length - 1,
            region.base + region.length,
        ] {
            for width in Width::ALL {
                bench.write(region.space, address, width, width.mask());
                bench.read(region.space, address, width);
            }
        }
    }
    bench.reset();
    assert_quiet(&bench);
}

fn waiting_twice_is_waiting_once<D: Device>(make: &impl Fn() -> D) {
    for seed in SEEDS {
        let (first, second) = waits(seed);
        let mut twice = Bench::new(make());
        twice.disturb(seed, STEPS);
        twice.advance(first);
        twice.advance(second);
        let mut once = Bench::new(make());
        once.disturb(seed, STEPS);
        once.advance(first + second);
        let what = format!("seed {seed}: {first} and then {second} is like both at once");
        assert_eq!(twice.inspect(), once.inspect(), "{what}");
        assert_eq!(twice.visible(), once.visible(), "{what}");
    }
}

/// Registers and line levels are a matter of time, not of how often somebody looked.
fn late_tick_catches_up<D: Device>(make: &impl Fn() -> D) {
    for seed in SEEDS {
        let (first, second) = waits(seed);
        let mut prompt = Bench::new(make());
        prompt.disturb(seed, STEPS);
        prompt.advance(first + second);
        let mut late = Bench::new(make());
        late.disturb(seed, STEPS);
        late.advance_late(first + second);
        assert_eq!(
            late.visible(),
            prompt.visible(),
            "seed {seed}: one tick after {first} + {second} brings the device up to date"
        );
    }
}

fn assert_quiet<D: Device>(bench: &Bench<D>) {
    for gsi in 0..GSI_COUNT {
        assert!(!bench.lines.level(gsi), "line {gsi} is high after a reset");
    }
}

fn without(state: &Inspector, kept: &[&str]) -> Vec<(String, String)> {
    state
        .values()
        .filter(|(name, _)| !kept.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Two waits of any magnitude up to a second.
fn waits(seed: u64) -> (Nanos, Nanos) {
    let mut random = Random(!seed);
    let mut wait = || Nanos(random.next() >> (34 + random.below(30)));
    (wait(), wait())
}

/// Steele's SplitMix64, enough to disturb a device.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const RAM_BYTES: u64 = 0x1_0000;
/// Each law that needs chance is tried with these.
const SEEDS: std::ops::Range<u64> = 0..24;
/// Random actions before a law is tried.
const STEPS: usize = 300;
/// Regions up to this length are read back whole after each write.
const SMALL_REGION: u64 = 16;

/// The laws themselves are tried on a device that breaks them.
mod tests {
    use super::*;
    use crate::device::Region;
    use crate::irq::Line;

    /// One register that drives line 3 while it is odd.
    struct Latch {
        regions: [Region; 1],
        value: u8,
        forgets: bool,
    }

    impl Device for Latch {
        fn name(&self) -> &'static str {
            "latch"
        }

        fn regions(&self) -> &[Region] {
            &self.regions
        }

        fn read(&mut self, _at: Access, _ctx: &mut Ctx<'_>) -> u64 {
            u64::from(self.value)
        }

        fn write(&mut self, _at: Access, value: u64, ctx: &mut Ctx<'_>) {
            self.value = value as u8;
            ctx.lines.set(Line { gsi: 3, source: 0 }, value & 1 == 1);
        }

        fn reset(&mut self, ctx: &mut Ctx<'_>) {
            ctx.lines.set(Line { gsi: 3, source: 0 }, false);
            if self.forgets {
                self.value = 0;
            }
        }

        fn inspect(&self, out: &mut Inspector) {
            out.hex("value", self.value);
        }
    }

    fn latch(forgets: bool) -> Latch {
        Latch {
            regions: [Region::byte_ports(0x60, 1)],
            value: 0,
            forgets,
        }
    }

    #[test]
    fn lawful_device_passes() {
        check_laws(|| latch(true));
    }

    #[test]
    fn device_that_remembers_is_caught_unless_it_says_so() {
        let caught = std::panic::catch_unwind(|| check_laws(|| latch(false)));
        assert!(caught.is_err(), "the value survives a reset unannounced");
        check_laws_keeping(|| latch(false), &["value"]);
    }
}
