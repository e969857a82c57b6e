//! The local APIC's own interrupts.
//!
//! Source: Intel SDM volume 3, 12.5.4 "APIC Timer", 12.6 "Issuing Interprocessor Interrupts", 12.8.3 "Interrupt, Task,
//! and Processor Priority".

use guest_images::runtime::{
    interrupts,
    lapic::{self, command, reg},
};

use crate::{Parts, bench, bench::Bench};

/// The timer fires once, counts down to 0, and stays there.
pub(crate) fn one_shot(bench: &mut Bench, _: &Parts) {
    start_timer(u32::from(TIMER), MILLISECOND);
    bench.expect("timer", TIMER);
    lapic::eoi();
    bench.expect_value("current-count", lapic::read(reg::CURRENT_COUNT), 0);
    bench.expect_quiet("after the only shot");
}

/// The timer fires again and again, until it is masked.
pub(crate) fn periodic(bench: &mut Bench, _: &Parts) {
    start_timer(u32::from(TIMER) | lapic::LVT_PERIODIC, MILLISECOND);
    for _ in 0..3 {
        bench.expect("timer", TIMER);
        lapic::eoi();
    }
    lapic::write(
        reg::LVT_TIMER,
        u32::from(TIMER) | lapic::LVT_PERIODIC | lapic::LVT_MASKED,
    );
    // One may have come before the mask.
    if lapic::has_vector(reg::IRR, TIMER) {
        bench.expect("timer", TIMER);
        lapic::eoi();
    }
    bench.expect_quiet("masked timer");
}

/// A CPU interrupts itself, by shorthand and by its ID; the interrupt waits for IF.
pub(crate) fn to_self(bench: &mut Bench, _: &Parts) {
    for (what, destination, to) in [("shorthand", 0, command::SELF), ("id", lapic::id(), 0)] {
        lapic::send(destination, u32::from(LOW) | command::ASSERT | to);
        let is_requested = bench::until(|| lapic::has_vector(reg::IRR, LOW));
        bench.expect_value("requested", u32::from(is_requested), 1);
        bench.expect(what, LOW);
        lapic::eoi();
        bench.expect_quiet("after the only one");
    }
}

/// Whether the timer fires at all.
pub(crate) fn has_timer(bench: &mut Bench) -> bool {
    alarm();
    let fires = bench.wait() == Some(ALARM);
    lapic::eoi();
    fires
}

/// Makes a halt end soon.
pub(crate) fn alarm() {
    start_timer(u32::from(ALARM), MILLISECOND / 20);
}

/// Whether the local APIC ends interrupts by itself: one that was just delivered is not in service.
pub(crate) fn ends_itself(bench: &mut Bench) -> bool {
    send(LOW);
    let ends = bench.wait() == Some(LOW) && !lapic::has_vector(reg::ISR, LOW);
    lapic::eoi();
    ends
}

/// An interrupt is in service until its EOI, and a second one of its vector waits for that.
pub(crate) fn eoi(bench: &mut Bench, _: &Parts) {
    send(LOW);
    bench.expect("first", LOW);
    bench.expect_value("in-service", u32::from(lapic::has_vector(reg::ISR, LOW)), 1);
    send(LOW);
    bench.expect_quiet("before EOI");
    lapic::eoi();
    bench.expect("after EOI", LOW);
    lapic::eoi();
    bench.expect_value("in-service after EOI", u32::from(lapic::has_vector(reg::ISR, LOW)), 0);
    bench.expect_quiet("after the last");
}

/// An NMI does not wait for IF, and needs no EOI.
pub(crate) fn nmi(bench: &mut Bench, _: &Parts) {
    bench.listen();
    lapic::send(lapic::id(), command::NMI | command::ASSERT);
    let came = bench::until(|| bench::taken() == Some(interrupts::NMI));
    bench.expect_value("nmi", u32::from(came), 1);
    bench.expect_quiet("after the only one");
}

/// Of two that wait the higher class comes first.
pub(crate) fn priority(bench: &mut Bench, _: &Parts) {
    send(LOW);
    send(HIGH);
    bench.expect("higher first", HIGH);
    lapic::eoi();
    bench.expect("lower behind it", LOW);
    lapic::eoi();
    bench.expect_quiet("after both");
}

/// One in service holds back its class and those below until its EOI, not those above; an EOI ends the highest.
pub(crate) fn nesting(bench: &mut Bench, _: &Parts) {
    send(LOW);
    bench.expect("lower", LOW);
    send(HIGH);
    bench.expect("higher with lower in service", HIGH);
    send(LOW);
    bench.expect_quiet("lower with both in service");
    lapic::eoi();
    bench.expect_quiet("lower with itself in service");
    lapic::eoi();
    bench.expect("lower after both EOIs", LOW);
    lapic::eoi();
    bench.expect_quiet("after all");
}

/// The task priority holds back its own class and those below, not those above.
pub(crate) fn task_priority(bench: &mut Bench, _: &Parts) {
    lapic::write(reg::TASK_PRIORITY, u32::from(LOW) & 0xf0);
    send(LOW);
    bench.expect_quiet("class of the task priority");
    send(HIGH);
    bench.expect("class above the task priority", HIGH);
    lapic::eoi();
    bench.expect_quiet("class of the task priority still");
    lapic::write(reg::TASK_PRIORITY, 0);
    bench.expect("task priority lowered", LOW);
    lapic::eoi();
}

/// The timer wakes a halted CPU.
pub(crate) fn halt(bench: &mut Bench, _: &Parts) {
    start_timer(u32::from(TIMER), 10 * MILLISECOND);
    bench.expect_wake("timer", TIMER);
    lapic::eoi();
    bench.expect_quiet("after waking");
}

/// Makes a halt end after a second or so.
pub(crate) fn guard() {
    start_timer(u32::from(GUARD), 1000 * MILLISECOND);
}

fn send(vector: u8) {
    lapic::send(0, u32::from(vector) | command::ASSERT | command::SELF);
}

fn start_timer(local_vector: u32, count: u32) {
    lapic::write(reg::DIVIDE, DIVIDE_BY_1);
    lapic::write(reg::LVT_TIMER, local_vector);
    lapic::write(reg::INITIAL_COUNT, count);
}

const TIMER: u8 = 0x71;
const LOW: u8 = 0x52;
const HIGH: u8 = 0x93;

/// Ends a halt that waits for what is still on its way: of the lowest class, so that it comes last.
pub(crate) const ALARM: u8 = 0x42;

/// Ends a halt that should have ended otherwise. The lowest class, so that it never comes instead of another.
const GUARD: u8 = 0x41;

const DIVIDE_BY_1: u32 = 0x0b;

/// At 1 GHz, the usual rate of a virtual timer.
const MILLISECOND: u32 = 1_000_000;
