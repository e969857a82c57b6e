//! The interval timer: three counters fed by one 1.193182 MHz clock. OUT of counter 0 drives an interrupt line.
//!
//! Source: Intel 8254 Programmable Interval Timer, "Programming the 8254" and "Mode Definitions". The machine has no
//! port 0x61: the gates of counters 0 and 1 are high, that of counter 2 is low, and nothing observes OUT 1 and OUT 2
//! but the read-back command.
//!
//! Deviations: the machine model counts by formula from the moment a count is written, in each of its releases;
//! guests time themselves by it, so it is kept where the data sheet says otherwise:
//! - A count is loaded when its last byte is written, not at the next clock, and takes effect at once even while
//!   another runs. NULL COUNT (status bit 6) therefore always reads 0, even between control word and count.
//! - GATE has no effect: counter 2 counts though its gate is low, and modes 1 and 5 start when the count is written,
//!   not at a rise of the gate that never comes.
//! - OUT is a function of the clocks since the load; the one-clock pulses of modes 2, 4 and 5 are high instead of low.
//!   A control word alone does not move the line; the next transition, still at the old time, sees the new mode.
//! - The line of mode 2 is low from clock N to N + 1 of each period and high otherwise, one clock later than OUT of the
//!   data sheet, while the status byte shows the formula above.
//! - The first byte of a two-byte count does not stop counting in mode 0.
//! - Mode 3 reads back `N - 2 * clocks mod N`; silicon counts odd N by twos from the even number below.
//! - Clocks fall on whole nanoseconds rounded down and two transitions are at least 1 ns apart, so that an edge may
//!   come 1 ns before its clock, and a transition may change nothing.
//!
//! Deviations from QEMU, which the data sheet overrules:
//! - BCD counts in decades; QEMU keeps the bit and counts binary.
//! - Modes 6 and 7 count as 2 and 3 ("don't care"), and read back as written. QEMU counts 6 and 7 as 2 with OUT of 0.
//! - A control word unlatches the count ("held until it is read, or until the counter is reprogrammed"); QEMU keeps it.
//! - Mode 2 never skips an edge; QEMU does where a clock falls on a whole nanosecond.
//! - The one-shot pulse of mode 1 is low, and OUT stays high behind it; QEMU before 8.2 has it the other way round.

use crate::device::{Access, Ctx, Device, Region};
use crate::inspect::Inspector;
use crate::irq::Line;
use crate::units::Nanos;

/// First of the four ports.
pub const PORT: u16 = 0x40;

/// The clock of all three counters.
pub const FREQUENCY_HZ: u64 = 1_193_182;

/// Transitions of OUT that one [`Device::tick`] plays back one by one. A host that wakes later than that many loses
/// the edges in between, never the level or the phase.
pub const TRANSITIONS_PER_TICK_MAX: usize = 1024;

/// The interval timer.
#[derive(Clone, Debug)]
pub struct Pit {
    // Configuration, fixed at construction.
    regions: [Region; 1],
    // Connections.
    out_0: Line,
    // State, all of it.
    state: State,
}

/// The whole device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    counters: [Counter; 3],
    /// When OUT of counter 0 changes next; `None` while it never does.
    next_transition: Option<Nanos>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counter {
    /// M2..M0 as written, 0..=7.
    mode: u8,
    bcd: bool,
    /// RW1 and RW0; 0 only before the first control word, and then low bytes are transferred.
    access: u8,
    /// Clocks until terminal count, 1..=0x10000.
    count: u32,
    loaded_at: Nanos,
    /// The low byte of a two-byte count whose high byte is awaited.
    written_low: Option<u8>,
    /// Whether the next unlatched read gives the high byte of a two-byte count.
    reads_high: bool,
    latched_count: Option<LatchedCount>,
    latched_status: Option<u8>,
}

/// A latched count with at least one byte left to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LatchedCount {
    value: u16,
    /// Which bytes are left, as RW1 and RW0.
    left: u8,
}

impl Pit {
    /// A timer after power-on at virtual time 0: every counter runs in mode 3 over 0x10000 clocks, so `out_0` ticks at
    /// 18.2 Hz without being programmed.
    pub fn new(out_0: Line) -> Pit {
        Pit {
            regions: [Region::byte_ports(PORT, 4)],
            out_0,
            state: State::power_on(Nanos(0)),
        }
    }

    /// The state, for comparison.
    pub fn state(&self) -> &State {
        &self.state
    }

    fn write_control(&mut self, value: u8, now: Nanos) {
        let select = value >> reg::SC_SHIFT;
        if select == reg::SC_READ_BACK {
            for (index, counter) in self.state.counters.iter_mut().enumerate() {
                if value & reg::CNT_0 << index == 0 {
                    continue;
                }
                if value & reg::NOT_COUNT == 0 {
                    counter.latch_count(now);
                }
                if value & reg::NOT_STATUS == 0 {
                    counter.latch_status(now);
                }
            }
            return;
        }
        let counter = &mut self.state.counters[usize::from(select)];
        match value >> reg::RW_SHIFT & reg::RW_MASK {
            reg::RW_LATCH => counter.latch_count(now),
            access => counter.program(access, value >> reg::M_SHIFT & reg::M_MASK, value & reg::BCD != 0),
        }
    }

    fn write_counter(&mut self, index: usize, value: u8, ctx: &mut Ctx<'_>) {
        let counter = &mut self.state.counters[index];
        let written = match (counter.access, counter.written_low.take()) {
            (reg::RW_HIGH, _) => u16::from(value) << 8,
            (reg::RW_BOTH, None) => {
                counter.written_low = Some(value);
                return;
            }
            (reg::RW_BOTH, Some(low)) => u16::from_le_bytes([low, value]),
            _ => u16::from(value),
        };
        counter.load(written, ctx.now);
        if index == 0 {
            self.update_out(ctx.now, ctx);
        }
    }

    /// Drives the line as OUT of counter 0 is at `at`, and looks ahead from there.
    fn update_out(&mut self, at: Nanos, ctx: &mut Ctx<'_>) {
        let counter = &self.state.counters[0];
        ctx.lines.set(self.out_0, counter.out(at));
        self.state.next_transition = counter.next_transition(at);
    }
}

impl Device for Pit {
    fn name(&self) -> &'static str {
        "pit"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, ctx: &mut Ctx<'_>) -> u64 {
        match self.state.counters.get_mut(at.offset as usize) {
            Some(counter) => u64::from(counter.read(ctx.now)),
            // The control word register is write-only.
            None => 0,
        }
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        match at.offset {
            0..=2 => self.write_counter(at.offset as usize, value as u8, ctx),
            _ => self.write_control(value as u8, ctx.now),
        }
    }

    fn deadline(&self) -> Option<Nanos> {
        self.state.next_transition
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..TRANSITIONS_PER_TICK_MAX {
            match self.state.next_transition {
                Some(next) if next <= ctx.now => self.update_out(next, ctx),
                _ => return,
            }
        }
        // So many are periodic, and two periods are enough to bring line and phase back.
        let two_periods = nanos_up(2 * u64::from(self.state.counters[0].count));
        self.update_out(Nanos(ctx.now.0.saturating_sub(two_periods)), ctx);
        while let Some(next) = self.state.next_transition
            && next <= ctx.now
        {
            self.update_out(next, ctx);
        }
    }

    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        self.state = State::power_on(ctx.now);
        // OUT is high in mode 3, but the line stays low up to the first transition, as at power-on.
        ctx.lines.set(self.out_0, false);
    }

    fn inspect(&self, out: &mut Inspector) {
        for (index, counter) in self.state.counters.iter().enumerate() {
            out.within(&format!("counter_{index}"), |out| counter.inspect(out));
        }
        if let Some(next) = self.state.next_transition {
            out.text("next_transition", next);
        }
    }
}

impl State {
    fn power_on(now: Nanos) -> State {
        let counter = Counter::power_on(now);
        State {
            counters: [counter; 3],
            next_transition: counter.next_transition(now),
        }
    }
}

impl Counter {
    fn power_on(now: Nanos) -> Counter {
        Counter {
            mode: 3,
            bcd: false,
            access: 0,
            count: 0x1_0000,
            loaded_at: now,
            written_low: None,
            reads_high: false,
            latched_count: None,
            latched_status: None,
        }
    }

    fn program(&mut self, access: u8, mode: u8, bcd: bool) {
        // The count goes on as it is, seen through the new mode, until another is written.
        *self = Counter {
            mode,
            bcd,
            access,
            written_low: None,
            reads_high: false,
            latched_count: None,
            ..*self
        };
    }

    fn load(&mut self, written: u16, now: Nanos) {
        let clocks = if self.bcd {
            from_bcd(written)
        } else {
            u32::from(written)
        };
        self.count = if clocks == 0 { self.modulus() } else { clocks };
        self.loaded_at = now;
    }

    fn latch_count(&mut self, now: Nanos) {
        if self.latched_count.is_none() && self.access != 0 {
            let value = self.value(now);
            let left = self.access;
            self.latched_count = Some(LatchedCount { value, left });
        }
    }

    fn latch_status(&mut self, now: Nanos) {
        let out = if self.out(now) { reg::OUTPUT } else { 0 };
        let mode = self.access << reg::RW_SHIFT | self.mode << reg::M_SHIFT | u8::from(self.bcd);
        self.latched_status.get_or_insert(out | mode);
    }

    fn read(&mut self, now: Nanos) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        if let Some(latched) = self.latched_count.take() {
            let [low, high] = latched.value.to_le_bytes();
            if latched.left == reg::RW_BOTH {
                let left = reg::RW_HIGH;
                self.latched_count = Some(LatchedCount { left, ..latched });
            }
            return if latched.left == reg::RW_HIGH { high } else { low };
        }
        let [low, high] = self.value(now).to_le_bytes();
        match self.access {
            reg::RW_HIGH => high,
            reg::RW_BOTH => {
                self.reads_high = !self.reads_high;
                if self.reads_high { low } else { high }
            }
            _ => low,
        }
    }

    /// The count as it reads at `now`.
    fn value(&self, now: Nanos) -> u16 {
        let clocks = self.clocks(now);
        let count = u64::from(self.count);
        let modulus = u64::from(self.modulus());
        let left = match self.behaviour() {
            2 => count - clocks % count,
            3 => count - 2 * clocks % count,
            // Past terminal count the counter goes on through all its values.
            _ => (count % modulus + modulus - clocks % modulus) % modulus,
        };
        if self.bcd { to_bcd(left) } else { left as u16 }
    }

    /// The level of OUT at `now`.
    fn out(&self, now: Nanos) -> bool {
        let clocks = self.clocks(now);
        let count = u64::from(self.count);
        match self.behaviour() {
            0 | 1 => count <= clocks,
            2 => clocks != 0 && clocks.is_multiple_of(count),
            3 => clocks % count < count.div_ceil(2),
            _ => clocks == count,
        }
    }

    /// When OUT changes next after `now`, always later than `now`; `None` when it stays as it is.
    fn next_transition(&self, now: Nanos) -> Option<Nanos> {
        let clocks = self.clocks(now);
        let count = u64::from(self.count);
        let period_start = clocks - clocks % count;
        let clock = match self.behaviour() {
            0 | 1 if clocks < count => count,
            // A period of one clock is illegal in mode 2, and has nothing to change in either mode.
            2 if count == 1 && clocks != 0 => return None,
            3 if count == 1 => return None,
            2 => {
                let high = clocks != 0 && clocks == period_start;
                let clock = period_start + count + u64::from(!high);
                // The nanosecond before the clock. Were it the one of the clock, which it is where both coincide, this
                // edge would be passed over.
                return self.instant(nanos_up(clock) - 1, now);
            }
            3 if clocks - period_start < count.div_ceil(2) => period_start + count.div_ceil(2),
            3 => period_start + count,
            4 | 5 if clocks < count => count,
            4 | 5 if clocks == count => count + 1,
            _ => return None,
        };
        self.instant(nanos_down(clock), now)
    }

    /// The instant `after_load_ns` after the load, but always later than `now`; `None` at the end of time.
    fn instant(&self, after_load_ns: u64, now: Nanos) -> Option<Nanos> {
        let at = self.loaded_at.saturating_add(Nanos(after_load_ns));
        let at = at.max(now.saturating_add(Nanos(1)));
        (now < at).then_some(at)
    }

    /// Whole clocks since the count was loaded.
    fn clocks(&self, now: Nanos) -> u64 {
        let elapsed = u128::from(now.0.saturating_sub(self.loaded_at.0));
        (elapsed * u128::from(FREQUENCY_HZ) / u128::from(Nanos::SECOND.0)) as u64
    }

    /// The mode that is counted by: the upper bit of 6 and 7 does not matter.
    fn behaviour(&self) -> u8 {
        if self.mode < 6 { self.mode } else { self.mode & 3 }
    }

    /// How many values the counter has; also what a count of 0 stands for.
    fn modulus(&self) -> u32 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    fn inspect(&self, out: &mut Inspector) {
        out.text("mode", self.mode);
        out.text("bcd", self.bcd);
        out.text("rw", self.access);
        out.hex("count", self.count);
        out.text("loaded_at", self.loaded_at);
        out.text("reads_high", self.reads_high);
        if let Some(low) = self.written_low {
            out.hex("written_low", low);
        }
        if let Some(latched) = self.latched_count {
            out.hex("latched_count", latched.value);
            out.text("latched_rw", latched.left);
        }
        if let Some(status) = self.latched_status {
            out.hex("latched_status", status);
        }
    }
}

/// The instant of a clock counted from the load, in whole nanoseconds rounded down.
fn nanos_down(clock: u64) -> u64 {
    let scaled = u128::from(clock) * u128::from(Nanos::SECOND.0);
    u64::try_from(scaled / u128::from(FREQUENCY_HZ)).unwrap_or(u64::MAX)
}

/// The instant of a clock counted from the load, in whole nanoseconds rounded up.
fn nanos_up(clock: u64) -> u64 {
    let scaled = u128::from(clock) * u128::from(Nanos::SECOND.0);
    u64::try_from(scaled.div_ceil(u128::from(FREQUENCY_HZ))).unwrap_or(u64::MAX)
}

/// Four decades as a number. Digits above 9 are undefined; here they count as what they are.
fn from_bcd(bcd: u16) -> u32 {
    let digit = |shift: u32| u32::from(bcd >> shift & 0xf);
    digit(12) * 1000 + digit(8) * 100 + digit(4) * 10 + digit(0)
}

/// The last four decades of a number.
fn to_bcd(value: u64) -> u16 {
    let digit = |unit: u64| (value / unit % 10) as u16;
    digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
}

/// The control word and the status byte, named as in the 8254 data sheet.
mod reg {
    pub(super) const BCD: u8 = 1 << 0;
    pub(super) const M_SHIFT: u32 = 1;
    pub(super) const M_MASK: u8 = 7;
    pub(super) const RW_SHIFT: u32 = 4;
    pub(super) const RW_MASK: u8 = 3;
    pub(super) const RW_LATCH: u8 = 0;
    pub(super) const RW_HIGH: u8 = 2;
    pub(super) const RW_BOTH: u8 = 3;
    pub(super) const SC_SHIFT: u32 = 6;
    pub(super) const SC_READ_BACK: u8 = 3;

    // The read-back command.
    pub(super) const CNT_0: u8 = 1 << 1;
    pub(super) const NOT_STATUS: u8 = 1 << 4;
    pub(super) const NOT_COUNT: u8 = 1 << 5;

    // The status byte; its lower bits are those of the control word.
    pub(super) const OUTPUT: u8 = 1 << 7;
}

#[cfg(test)]
mod tests;
