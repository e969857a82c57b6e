//! Interrupts through the IOAPIC.
//!
//! Source: Intel 82093AA, 3.2.4 "IOREDTBL"; Intel SDM volume 3, 12.6.2 "Determining IPI Destination".

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use guest_images::runtime::{
    interrupts,
    lapic::{self, reg},
    memory,
};
use guest_protocol::Width;

use crate::{
    Parts, bench,
    bench::Bench,
    lines::{self, PIT_PIN, RTC_IRQ, SERIAL_IRQ},
    local_apic, pic, virtio as rng,
};

/// 0x1X are the versions of 82093AA and its successors, 0x2X those with an EOI register.
pub(crate) fn is_there() -> bool {
    matches!(register(1) & 0xf0, 0x10 | 0x20)
}

/// Masks every pin that is in use, at first all of them.
pub(crate) fn mask_all() {
    let used = USED.load(Relaxed);
    for pin in (0..PINS).filter(|pin| used & 1 << pin != 0) {
        set(pin, MASKED, 0);
    }
    USED.store(0, Relaxed);
}

/// Programs a pin: `low` is the low half of its entry, and the destination the top byte of the high one.
pub(crate) fn set(pin: u8, low: u32, destination: u32) {
    USED.fetch_or(1 << pin, Relaxed);
    // Masked until the entry is whole.
    set_register(entry(pin), MASKED);
    set_register(entry(pin) + 1, destination << 24);
    set_register(entry(pin), low);
}

/// Changes the low half of a pin's entry alone.
fn set_low(pin: u8, low: u32) {
    set_register(entry(pin), low);
}

fn low(pin: u8) -> u32 {
    register(entry(pin))
}

fn entry(pin: u8) -> u32 {
    0x10 + 2 * u32::from(pin)
}

/// The physical destination that this CPU is.
pub(crate) fn own_destination() -> u32 {
    lapic::id()
}

/// Without an IOAPIC the window reads as nothing that a version could be.
fn register(index: u32) -> u32 {
    let _no_device = memory::store(IOAPIC + IOREGSEL, Width::Long, u64::from(index));
    memory::load(IOAPIC + IOWIN, Width::Long).unwrap_or_default() as u32
}

fn set_register(index: u32, value: u32) {
    let _no_device = memory::store(IOAPIC + IOREGSEL, Width::Long, u64::from(index));
    let _no_device = memory::store(IOAPIC + IOWIN, Width::Long, u64::from(value));
}

/// An edge interrupts once, and sets no remote IRR.
pub(crate) fn edge(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR, own_destination());
    for _ in 0..2 {
        lines::serial_up(bench.serial);
        bench.expect("edge", VECTOR as u8);
        bench.expect_value("remote-irr", low(SERIAL_IRQ) & REMOTE_IRR, 0);
        lapic::eoi();
        bench.expect_quiet("line still up");
        lines::serial_down(bench.serial);
    }
    bench.expect_quiet("line down");
}

/// An edge at a masked pin is lost; the next one behind the mask comes.
pub(crate) fn mask_edge(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR | MASKED, own_destination());
    lines::serial_up(bench.serial);
    bench.expect_quiet("masked");
    set_low(SERIAL_IRQ, VECTOR);
    bench.expect_quiet("unmasked behind the edge");
    lines::serial_down(bench.serial);
    lines::serial_up(bench.serial);
    bench.expect("next edge", VECTOR as u8);
    lapic::eoi();
}

/// A level at a masked pin stays quiet, and is delivered when its mask goes.
pub(crate) fn mask_level(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR | LEVEL | MASKED, own_destination());
    lines::serial_up(bench.serial);
    bench.expect_quiet("masked");
    bench.expect_value("remote-irr masked", low(SERIAL_IRQ) & REMOTE_IRR, 0);
    set_low(SERIAL_IRQ, VECTOR | LEVEL);
    bench.expect("unmasked", VECTOR as u8);
    lines::serial_down(bench.serial);
    lapic::eoi();
    bench.expect_last("line down", VECTOR as u8);
}

/// A line that is still up at the EOI interrupts again, and one that is down does not.
pub(crate) fn level(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR | LEVEL, own_destination());
    lines::serial_up(bench.serial);
    for _ in 0..4 {
        bench.expect("level", VECTOR as u8);
        lapic::eoi();
    }
    bench.expect("level still", VECTOR as u8);
    lines::serial_down(bench.serial);
    lapic::eoi();
    bench.expect_last("line down", VECTOR as u8);
}

/// A level sets remote IRR, which stays until the EOI and holds the next interrupt back, whatever the line does.
pub(crate) fn remote_irr(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR | LEVEL, own_destination());
    for _ in 0..2 {
        lines::serial_up(bench.serial);
        bench.expect("level", VECTOR as u8);
        bench.expect_value("remote-irr", low(SERIAL_IRQ) & REMOTE_IRR, REMOTE_IRR);
        bench.expect_quiet("before EOI");
        lines::serial_down(bench.serial);
        bench.expect_value(
            "remote-irr with the line down",
            low(SERIAL_IRQ) & REMOTE_IRR,
            REMOTE_IRR,
        );
        lapic::eoi();
        let is_clear = bench::until(|| low(SERIAL_IRQ) & REMOTE_IRR == 0);
        bench.expect_value("remote-irr clear after EOI", u32::from(is_clear), 1);
        bench.expect_quiet("line down");
    }
}

/// A physical destination is a CPU's ID: this CPU's reaches it, another does not.
pub(crate) fn physical(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR, own_destination() ^ 0x7e);
    lines::serial_up(bench.serial);
    bench.expect_quiet("the ID of no CPU");
    lines::serial_down(bench.serial);
    set(SERIAL_IRQ, VECTOR, own_destination());
    lines::serial_up(bench.serial);
    bench.expect("own ID", VECTOR as u8);
    lapic::eoi();
}

/// A logical destination is a set: those whose logical ID shares a bit with it are reached.
pub(crate) fn logical(bench: &mut Bench, _: &Parts) {
    lapic::write(reg::DESTINATION_FORMAT, u32::MAX);
    lapic::write(reg::LOGICAL_DESTINATION, 0x08 << 24);
    for (destination, is_reached) in [(0x08, true), (0x77, false), (0x18, true), (0xff, true), (0x04, false)] {
        set(SERIAL_IRQ, VECTOR | LOGICAL, destination);
        lines::serial_up(bench.serial);
        if is_reached {
            bench.expect("set with this CPU", VECTOR as u8);
            lapic::eoi();
        } else {
            bench.expect_quiet("set without this CPU");
        }
        lines::serial_down(bench.serial);
    }
}

/// A pin with delivery mode NMI does not wait for IF, whatever its vector.
pub(crate) fn nmi(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR | NMI, own_destination());
    bench.listen();
    lines::serial_up(bench.serial);
    let came = bench::until(|| bench::taken() == Some(interrupts::NMI));
    bench.expect_value("nmi", u32::from(came), 1);
    bench.expect_quiet("after the only one");
}

/// A pin with delivery mode ExtINT comes with the PIC's vector: the default IR7 when the PIC has no request.
pub(crate) fn extint(bench: &mut Bench, _: &Parts) {
    set(SERIAL_IRQ, VECTOR | EXT_INT, own_destination());
    lines::serial_up(bench.serial);
    bench.expect("ExtINT", pic::BASE + pic::SPURIOUS);
}

/// The timer ticks again and again, on the pin that interrupt 0 is wired to.
pub(crate) fn tick(bench: &mut Bench, _: &Parts) {
    lines::pit_periodic(lines::PIT_MILLISECOND);
    set(PIT_PIN, VECTOR, own_destination());
    for _ in 0..4 {
        bench.expect("tick", VECTOR as u8);
        lapic::eoi();
    }
    set(PIT_PIN, MASKED, 0);
    if lapic::has_vector(reg::IRR, VECTOR as u8) {
        bench.expect("tick before the mask", VECTOR as u8);
        lapic::eoi();
    }
    set(0, VECTOR, own_destination());
    bench.expect_quiet("pin 0");
}

/// The RTC's periodic interrupt comes again when register C was read.
pub(crate) fn rtc(bench: &mut Bench, _: &Parts) {
    set(RTC_IRQ, VECTOR, own_destination());
    lines::rtc_periodic(lines::RTC_64_HZ);
    for _ in 0..3 {
        bench.expect("periodic", VECTOR as u8);
        let c = lines::rtc_lower() & lines::REGISTER_C_PERIODIC;
        bench.expect_value("register-c", u32::from(c), u32::from(lines::REGISTER_C_PERIODIC));
        lapic::eoi();
    }
}

/// The RTC holds its line until register C is read, so that no further period is a further edge.
pub(crate) fn rtc_held(bench: &mut Bench, _: &Parts) {
    set(RTC_IRQ, VECTOR, own_destination());
    lines::rtc_periodic(lines::RTC_1024_HZ);
    bench.expect("periodic", VECTOR as u8);
    lapic::eoi();
    bench.expect_quiet("register C not read");
    lines::rtc_lower();
    bench.expect("register C read", VECTOR as u8);
    lapic::eoi();
}

/// A device's completed request holds its line until it is acknowledged there.
pub(crate) fn virtio(bench: &mut Bench, has: &Parts) {
    let Some(mut device) = has.virtio.as_ref().and_then(rng::Rng::start) else {
        return bench.wrong(format_args!("the entropy device refuses its driver"));
    };
    let pin = device.irq();
    set(pin, VECTOR | LEVEL, own_destination());
    for _ in 0..2 {
        device.request();
        bench.expect("completion", VECTOR as u8);
        lapic::eoi();
        bench.expect("completion not acknowledged", VECTOR as u8);
        device.judge(bench);
        lapic::eoi();
        bench.expect_last("acknowledged", VECTOR as u8);
    }
    device.stop();
}

/// The timer wakes a halted CPU.
pub(crate) fn halt(bench: &mut Bench, _: &Parts) {
    local_apic::guard();
    set(PIT_PIN, VECTOR, own_destination());
    lines::pit_one_shot(10 * lines::PIT_MILLISECOND);
    bench.expect_wake("timer", VECTOR as u8);
    lapic::eoi();
}

/// The vector that all pins here use.
const VECTOR: u32 = 0x61;

const PINS: u8 = 24;

/// Pins that were programmed since they were masked last.
static USED: AtomicU32 = AtomicU32::new((1 << PINS) - 1);

const NMI: u32 = 4 << 8;
const EXT_INT: u32 = 7 << 8;
const LOGICAL: u32 = 1 << 11;
const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

const IOAPIC: u64 = 0xfec0_0000;
const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
