//! Interrupts through the 8259 pair and LINT0.
//!
//! Source: Intel 8259A, "Interrupt Sequence", "Operation Command Words", "Cascade Mode", "Edge and Level Triggered
//! Modes"; Intel 82371AB (PIIX4), "Interrupt Controller", for ELCR.

use guest_images::runtime::{
    lapic::{self, reg},
    port,
};

use crate::{
    Parts, bench,
    bench::Bench,
    lines::{self, PIT_IRQ, RTC_IRQ, SERIAL_IRQ},
    local_apic, virtio as rng,
};

/// A chip is where the mask register holds what is written.
pub(crate) fn is_there() -> bool {
    [0xa5, 0x5a].into_iter().all(|value| {
        port::write_byte(MASTER + 1, value);
        port::read_byte(MASTER + 1) == value
    })
}

/// Initialises both chips: vectors from [`BASE`] on, edges, all masked. Edges seen before are forgotten.
pub(crate) fn init() {
    port::write_byte(ELCR, 0);
    port::write_byte(ELCR + 1, 0);
    for (base, vector, cascade) in [(MASTER, BASE, 4), (SLAVE, BASE + 8, 2)] {
        port::write_byte(base, 0x11);
        port::write_byte(base + 1, vector);
        port::write_byte(base + 1, cascade);
        port::write_byte(base + 1, 0x01);
    }
    unmask(&[]);
}

/// Wires INT to the CPU and unmasks these inputs alone.
fn open(irqs: &[u8]) {
    lapic::write(reg::LVT_LINT0, lapic::LVT_EXT_INT);
    unmask(irqs);
}

fn unmask(irqs: &[u8]) {
    let mut mask = irqs.iter().fold(0xffffu16, |mask, irq| mask & !(1 << irq));
    if mask & 0xff00 != 0xff00 {
        mask &= !(1 << CASCADE);
    }
    let [master, slave] = mask.to_le_bytes();
    port::write_byte(MASTER + 1, master);
    port::write_byte(SLAVE + 1, slave);
}

/// Non-specific EOI for an input; the slave's goes to both chips.
fn eoi(irq: u8) {
    if 8 <= irq {
        port::write_byte(SLAVE, EOI);
    }
    port::write_byte(MASTER, EOI);
}

fn in_service(chip: u16) -> u32 {
    port::write_byte(chip, READ_ISR);
    u32::from(port::read_byte(chip))
}

fn requested(chip: u16) -> u32 {
    port::write_byte(chip, READ_IRR);
    u32::from(port::read_byte(chip))
}

fn vector(irq: u8) -> u8 {
    BASE + irq
}

/// The timer ticks again and again.
pub(crate) fn tick(bench: &mut Bench, _: &Parts) {
    lines::pit_periodic(lines::PIT_MILLISECOND);
    open(&[PIT_IRQ]);
    for _ in 0..4 {
        bench.expect("tick", vector(PIT_IRQ));
        eoi(PIT_IRQ);
    }
}

/// An input in service is not delivered again before its EOI, and then is.
pub(crate) fn eoi_needed(bench: &mut Bench, _: &Parts) {
    lines::pit_periodic(lines::PIT_MILLISECOND);
    open(&[PIT_IRQ]);
    bench.expect("tick", vector(PIT_IRQ));
    bench.expect_value("in-service", in_service(MASTER), 1 << PIT_IRQ);
    bench.expect_quiet("before EOI");
    eoi(PIT_IRQ);
    bench.expect("after EOI", vector(PIT_IRQ));
    eoi(PIT_IRQ);
}

/// A masked request waits, and is delivered when its mask goes.
pub(crate) fn mask(bench: &mut Bench, _: &Parts) {
    lines::pit_one_shot(lines::PIT_MILLISECOND);
    open(&[]);
    let came = bench::until(|| requested(MASTER) & 1 << PIT_IRQ != 0);
    bench.expect_value("requested", u32::from(came), 1);
    bench.expect_quiet("masked");
    unmask(&[PIT_IRQ]);
    bench.expect("unmasked", vector(PIT_IRQ));
    eoi(PIT_IRQ);
}

/// The local APIC's mask of LINT0 holds the PIC's INT back, and lets it through later.
pub(crate) fn lint0(bench: &mut Bench, _: &Parts) {
    unmask(&[SERIAL_IRQ]);
    lines::serial_up(bench.serial);
    bench.expect_quiet("LINT0 masked");
    lapic::write(reg::LVT_LINT0, lapic::LVT_EXT_INT);
    bench.expect("LINT0 unmasked", vector(SERIAL_IRQ));
    eoi(SERIAL_IRQ);
}

/// A rising edge interrupts once, however long the line stays up.
pub(crate) fn edge(bench: &mut Bench, _: &Parts) {
    open(&[SERIAL_IRQ]);
    for _ in 0..2 {
        lines::serial_up(bench.serial);
        bench.expect("edge", vector(SERIAL_IRQ));
        eoi(SERIAL_IRQ);
        bench.expect_quiet("line still up");
        lines::serial_down(bench.serial);
    }
    bench.expect_quiet("line down");
}

/// A level interrupts again after each EOI while the line is up, and not when it is down.
pub(crate) fn level(bench: &mut Bench, _: &Parts) {
    port::write_byte(ELCR, 1 << SERIAL_IRQ);
    open(&[SERIAL_IRQ]);
    lines::serial_up(bench.serial);
    for _ in 0..3 {
        bench.expect("level", vector(SERIAL_IRQ));
        bench.expect_quiet("before EOI");
        eoi(SERIAL_IRQ);
    }
    bench.expect("level still", vector(SERIAL_IRQ));
    lines::serial_down(bench.serial);
    eoi(SERIAL_IRQ);
    bench.expect_quiet("line down");
}

/// A level that goes before the CPU took it leaves at most the default IR7, which is not in service.
pub(crate) fn withdrawn(bench: &mut Bench, _: &Parts) {
    port::write_byte(ELCR, 1 << SERIAL_IRQ);
    open(&[SERIAL_IRQ]);
    lines::serial_up(bench.serial);
    lines::serial_down(bench.serial);
    match bench.glance() {
        None => {}
        Some(came) if came == vector(SPURIOUS) => {}
        Some(came) => bench.wrong(format_args!("withdrawn: vector={came:#x}")),
    }
    bench.expect_value("in-service", in_service(MASTER), 0);
    // The pair still works.
    lines::serial_up(bench.serial);
    bench.expect("raised again", vector(SERIAL_IRQ));
    lines::serial_down(bench.serial);
    eoi(SERIAL_IRQ);
}

/// Of two requests the lower number comes first; the other waits for its EOI.
pub(crate) fn priority(bench: &mut Bench, _: &Parts) {
    lines::pit_one_shot(lines::PIT_MILLISECOND);
    lines::serial_up(bench.serial);
    let both = 1 << PIT_IRQ | 1 << SERIAL_IRQ;
    let came = bench::until(|| requested(MASTER) & both == both);
    bench.expect_value("requested", u32::from(came), 1);
    open(&[PIT_IRQ, SERIAL_IRQ]);
    bench.expect("lower number first", vector(PIT_IRQ));
    bench.expect_quiet("higher number with lower in service");
    eoi(PIT_IRQ);
    bench.expect("higher number after EOI", vector(SERIAL_IRQ));
    eoi(SERIAL_IRQ);
}

/// A lower number interrupts the service of a higher one; a non-specific EOI ends the lower number's.
pub(crate) fn nesting(bench: &mut Bench, _: &Parts) {
    open(&[SERIAL_IRQ]);
    lines::serial_up(bench.serial);
    bench.expect("higher number", vector(SERIAL_IRQ));
    lines::pit_one_shot(lines::PIT_MILLISECOND);
    unmask(&[PIT_IRQ, SERIAL_IRQ]);
    bench.expect("lower number with higher in service", vector(PIT_IRQ));
    bench.expect_value("in-service", in_service(MASTER), 1 << PIT_IRQ | 1 << SERIAL_IRQ);
    eoi(PIT_IRQ);
    bench.expect_value("in-service after EOI", in_service(MASTER), 1 << SERIAL_IRQ);
    eoi(SERIAL_IRQ);
    bench.expect_value("in-service after both EOIs", in_service(MASTER), 0);
}

/// The slave's input comes with the slave's vector, is in service in both chips, and needs both EOIs.
pub(crate) fn cascade(bench: &mut Bench, _: &Parts) {
    open(&[RTC_IRQ]);
    lines::rtc_periodic(lines::RTC_1024_HZ);
    bench.expect("periodic", vector(RTC_IRQ));
    bench.expect_value("master in-service", in_service(MASTER), 1 << CASCADE);
    bench.expect_value("slave in-service", in_service(SLAVE), 1 << (RTC_IRQ - 8));
    port::write_byte(SLAVE, EOI);
    let c = lines::rtc_lower() & lines::REGISTER_C_PERIODIC;
    bench.expect_value("register-c", u32::from(c), u32::from(lines::REGISTER_C_PERIODIC));
    bench.expect_quiet("with the slave's EOI alone");
    port::write_byte(MASTER, EOI);
    for _ in 0..2 {
        lines::rtc_lower();
        bench.expect("periodic after both EOIs", vector(RTC_IRQ));
        eoi(RTC_IRQ);
    }
}

/// A device's completed request interrupts until it is acknowledged there.
pub(crate) fn virtio(bench: &mut Bench, has: &Parts) {
    let Some(mut device) = has.virtio.as_ref().and_then(rng::Rng::start) else {
        return bench.wrong(format_args!("the entropy device refuses its driver"));
    };
    let irq = device.irq();
    if 16 <= irq {
        return bench.wrong(format_args!("irq={irq} is no input of the 8259 pair"));
    }
    open(&[irq]);
    for _ in 0..2 {
        device.request();
        bench.expect("completion", vector(irq));
        device.judge(bench);
        eoi(irq);
    }
    bench.expect_quiet("after the last");
    device.stop();
}

/// The timer wakes a halted CPU.
pub(crate) fn halt(bench: &mut Bench, _: &Parts) {
    local_apic::guard();
    open(&[PIT_IRQ]);
    lines::pit_one_shot(10 * lines::PIT_MILLISECOND);
    bench.expect_wake("timer", vector(PIT_IRQ));
    eoi(PIT_IRQ);
}

/// Vector of input 0.
pub(crate) const BASE: u8 = 0x30;

/// The input whose vector stands for a request that went.
pub(crate) const SPURIOUS: u8 = 7;

/// The master's input that the slave is wired to.
const CASCADE: u8 = 2;

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;
const ELCR: u16 = 0x4d0;

const EOI: u8 = 0x20;
const READ_IRR: u8 = 0x0a;
const READ_ISR: u8 = 0x0b;
