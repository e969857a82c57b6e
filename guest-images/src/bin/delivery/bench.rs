//! Where interrupts arrive: each one is noted, and taken one at a time by who waits for it.
//!
//! Waiting is bounded by the time stamp counter and by a count of looks, so that a machine that delivers nothing, or
//! whose counter stands still, costs time and no more.

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use guest_images::runtime::{
    cpu::tsc,
    interrupts,
    lapic::{self, reg},
};

use crate::{Parts, ioapic, lines, local_apic, pic};

/// The handler of all vectors: notes that one arrived. Whoever waits for it ends it.
pub(crate) fn record(vector: u8, _stack: u64) {
    ARRIVED.store(NOTED | u32::from(vector), SeqCst);
}

/// The bench that every line works on.
pub(crate) struct Bench {
    /// Base of the serial port, whose transmitter interrupt is the line that the bench drives.
    pub(crate) serial: u16,
    /// The local APIC ends each interrupt by itself while it delivers it, as that of one software KVM does: nothing is
    /// ever in service, and a level-triggered interrupt comes once more before its line can be lowered.
    pub(crate) ends_itself: bool,
    /// The local APIC's timer was seen to fire, so that it can end a halt.
    pub(crate) has_timer: bool,
    /// How much more waiting in vain is allowed, in ticks of the time stamp counter.
    patience: u64,
    text: Text,
}

impl Bench {
    pub(crate) fn new(serial: u16) -> Self {
        Self {
            serial,
            ends_itself: false,
            has_timer: false,
            patience: PATIENCE_TICKS,
            text: Text {
                bytes: [0; TEXT_LENGTH],
                length: 0,
            },
        }
    }

    /// Silences every source and takes what is still on its way.
    pub(crate) fn calm(&self, has: &Parts) {
        lapic::write(reg::LVT_TIMER, lapic::LVT_MASKED);
        lapic::write(reg::INITIAL_COUNT, 0);
        lapic::write(reg::LVT_LINT0, lapic::LVT_MASKED);
        lapic::write(reg::TASK_PRIORITY, 0);
        lines::serial_down(self.serial);
        if has.pit {
            lines::pit_one_shot(0);
        }
        if has.rtc {
            lines::rtc_off();
        }
        if has.pic {
            pic::init();
        }
        if has.ioapic {
            ioapic::mask_all();
        }
        // A CPU in software may hold an interrupt back until it halts.
        if self.has_timer {
            local_apic::alarm();
            for _ in 0..STRAY_MAX {
                ARRIVED.store(0, SeqCst);
                interrupts::halt();
                lapic::eoi();
                if taken() == Some(local_apic::ALARM) {
                    break;
                }
            }
        }
        // An EOI too many does no harm, and reading what is in service would cost more.
        for _ in 0..IN_SERVICE_MAX {
            lapic::eoi();
        }
    }

    /// Waits until an interrupt arrives; its vector.
    pub(crate) fn wait(&mut self) -> Option<u8> {
        let budget = WAIT_TICKS.min(self.patience).max(IMPATIENT_TICKS);
        let vector = look(budget);
        if vector.is_none() {
            self.patience = self.patience.saturating_sub(budget);
        }
        vector
    }

    /// Complains unless the next interrupt is `vector`.
    pub(crate) fn expect(&mut self, what: &str, vector: u8) {
        match self.wait() {
            Some(came) if came == vector => {}
            Some(came) => self.wrong(format_args!("{what}: vector={came:#x} wanted={vector:#x}")),
            None => self.wrong(format_args!("{what}: nothing came, wanted={vector:#x}")),
        }
    }

    /// What comes within a while, should anything.
    pub(crate) fn glance(&self) -> Option<u8> {
        look(QUIET_TICKS)
    }

    /// Complains when an interrupt comes within a while.
    pub(crate) fn expect_quiet(&mut self, what: &str) {
        if let Some(vector) = look(QUIET_TICKS) {
            self.wrong(format_args!("{what}: vector={vector:#x} wanted=none"));
        }
    }

    /// Complains when an interrupt comes within a while, but for those that a local APIC which ends them by itself has
    /// asked for already.
    pub(crate) fn expect_last(&mut self, what: &str, vector: u8) {
        for _ in 0..if self.ends_itself { AHEAD_MAX } else { 0 } {
            match look(QUIET_TICKS) {
                None => return,
                Some(came) if came == vector => lapic::eoi(),
                Some(came) => self.wrong(format_args!("{what}: vector={came:#x} wanted={vector:#x} or none")),
            }
        }
        self.expect_quiet(what);
    }

    /// Complains unless the register holds that value.
    pub(crate) fn expect_value(&mut self, what: &str, value: u32, wanted: u32) {
        if value != wanted {
            self.wrong(format_args!("{what}={value:#x} wanted={wanted:#x}"));
        }
    }

    /// Forgets what arrived; [`taken`] tells what does from now on.
    pub(crate) fn listen(&self) {
        ARRIVED.store(0, SeqCst);
    }

    /// Halts; complains unless `vector` ends that. Without a timer to end a halt that nothing else ends, does not.
    pub(crate) fn expect_wake(&mut self, what: &str, vector: u8) {
        if !self.has_timer {
            return self.wrong(format_args!("{what}: no timer, so no halt"));
        }
        ARRIVED.store(0, SeqCst);
        interrupts::halt();
        match taken() {
            Some(came) if came == vector => {}
            Some(came) => self.wrong(format_args!("{what}: woken by vector={came:#x} wanted={vector:#x}")),
            None => self.wrong(format_args!("{what}: woken by nothing, wanted={vector:#x}")),
        }
    }

    /// Complains. The serial port may be in use as a line, so the text is kept.
    pub(crate) fn wrong(&mut self, text: fmt::Arguments<'_>) {
        let _cut = writeln!(self.text, "{text}");
    }

    /// Hands over the complaints of a line, one by one.
    pub(crate) fn complaints(&mut self, mut tell: impl FnMut(&str)) {
        let length = core::mem::take(&mut self.text.length);
        let text = self.text.bytes.get(..length).unwrap_or_default();
        str::from_utf8(text)
            .unwrap_or("complaints without text")
            .lines()
            .for_each(&mut tell);
    }
}

/// Opens windows until one lets an interrupt in, or the time is over.
fn look(budget: u64) -> Option<u8> {
    ARRIVED.store(0, SeqCst);
    let begin = tsc();
    for looks in 0..LOOKS_MAX {
        interrupts::window();
        if let Some(vector) = taken() {
            return Some(vector);
        }
        if LOOKS_MIN < looks && budget < tsc().wrapping_sub(begin) {
            break;
        }
    }
    None
}

/// The vector that arrived since the last wait began.
pub(crate) fn taken() -> Option<u8> {
    let arrived = ARRIVED.load(SeqCst);
    (arrived & NOTED != 0).then_some(arrived as u8)
}

/// Text of limited length; what does not fit is cut off.
struct Text {
    bytes: [u8; TEXT_LENGTH],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(room) = self.bytes.get_mut(self.length..) else {
            return Ok(());
        };
        for (space, &byte) in room.iter_mut().zip(text.as_bytes()) {
            *space = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Waits for `condition` about as long as [`Bench::wait`] does; whether it came true.
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> bool {
    let begin = tsc();
    for _ in 0..LOOKS_MAX {
        if condition() {
            return true;
        }
        if WAIT_TICKS < tsc().wrapping_sub(begin) {
            break;
        }
    }
    false
}

/// The vector that arrived last, with [`NOTED`] set.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
const NOTED: u32 = 1 << 8;

/// One to two seconds on a CPU of our days.
const WAIT_TICKS: u64 = 1 << 32;

/// Some milliseconds: several periods of the timers used here.
const QUIET_TICKS: u64 = 1 << 23;

/// How long each wait takes when there was too much waiting in vain.
const IMPATIENT_TICKS: u64 = 1 << 28;

/// All waiting in vain that one run may cost.
const PATIENCE_TICKS: u64 = 1 << 34;

/// Looks that even the shortest wait takes, should the counter run fast.
const LOOKS_MIN: u32 = 20;

/// Looks after which the longest wait ends, should the counter stand still.
const LOOKS_MAX: u32 = 1 << 28;

/// Interrupts that silencing takes.
const STRAY_MAX: u32 = 8;

/// Level-triggered interrupts that are under way when their line falls: one taken, one asked for.
const AHEAD_MAX: u32 = 2;

/// Interrupts that a line leaves in service at most.
const IN_SERVICE_MAX: u32 = 4;

const TEXT_LENGTH: usize = 2048;
