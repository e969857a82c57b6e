//! INT and the INTA cycle, where a subject lets a case take the CPU's part.

use super::{LINES_HERE, RNGS, WITH_SERIAL, raise_transport};
use crate::case::{Body, Case, Feature};
use crate::clause::i8259a as clause;
use crate::driver::ioapic::{self, EXTINT};
use crate::driver::pic::{self, ELCR_1, EOI, ICW1, ICW4, IR_CASCADE, IR_SERIAL, IR_TIMER, MASTER, SLAVE};
use crate::driver::serial;
use crate::machine::{Caps, Output, Stop, Wire};
use crate::probe::Probe;

pub(super) const CASCADE: Case = Case {
    id: "pic/vector/cascade",
    title: "An interrupt of the slave comes with the slave's vector and is in service in both chips.",
    clause: &clause::VECTOR,
    features: &[Feature::Pic, Feature::Pit, Feature::VirtioModern],
    needs: Caps::QUEUES.with(Caps::OUTPUTS),
    setup: RNGS,
    body: Body::Bus(cascade),
    ..super::AREA
};

pub(super) const DEFAULT_IR7: Case = Case {
    id: "pic/vector/default-ir7",
    title: "A request that is gone at the INTA cycle is answered with the vector of IR7, and nothing enters service.",
    clause: &clause::DEFAULT_IR7,
    features: &[Feature::Pic, Feature::Pit, Feature::Ioapic, Feature::SerialLine],
    needs: LINES_HERE.with(Caps::OUTPUTS),
    body: Body::Bus(default_ir7),
    ..super::AREA
};

pub(super) const ICW2: Case = Case {
    id: "pic/vector/icw2",
    title: "A vector is the upper five bits of ICW2 and the number of the input, for each ICW2.",
    clause: &clause::VECTOR,
    features: WITH_SERIAL,
    needs: LINES_HERE.with(Caps::OUTPUTS),
    body: Body::Bus(icw2),
    ..super::AREA
};

pub(super) const INT: Case = Case {
    id: "pic/vector/int",
    title: "INT is high while a request waits that is neither masked nor held back by one in service.",
    clause: &clause::INT,
    features: WITH_SERIAL,
    needs: LINES_HERE.with(Caps::OUTPUTS),
    body: Body::Bus(int),
    ..super::AREA
};

fn check_vector(p: &mut Probe<'_>, what: &str, wire: Wire, want: Option<u8>) -> Result<(), Stop> {
    let got = p.acknowledge(wire)?;
    p.check(what, got == want, format!("{got:x?}"), format!("{want:x?}"));
    Ok(())
}

/// Checks the levels that INT took since the last call.
fn check_int(p: &mut Probe<'_>, when: &str, want: &[bool]) -> Result<(), Stop> {
    let outputs = p.outputs()?.into_iter();
    let levels = outputs.filter_map(|output| match output {
        Output::Int { level } => Some(level),
        _ => None,
    });
    let got: Vec<bool> = levels.collect();
    p.check(
        &format!("levels of INT {when}"),
        got == want,
        format!("{got:?}"),
        format!("{want:?}"),
    );
    Ok(())
}

fn int(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outputs()?;
    check_vector(p, "vector while nothing waits", Wire::Int, None)?;
    pic::raise_serial(p)?;
    check_int(p, "as IR4 rises", &[true])?;
    p.outb(MASTER + 1, 0x10)?;
    check_int(p, "as it is masked", &[false])?;
    check_vector(p, "vector while it is masked", Wire::Int, None)?;
    p.outb(MASTER + 1, 0)?;
    check_int(p, "as it is unmasked", &[true])?;
    check_vector(p, "vector of IR4", Wire::Int, Some(0x20 | IR_SERIAL))?;
    check_int(p, "as it is acknowledged", &[false])?;
    check_vector(p, "vector while it is in service", Wire::Int, None)?;
    pic::raise_serial(p)?;
    check_int(p, "as IR4 rises again in service", &[])?;
    pic::raise_timer(p)?;
    check_int(p, "as IR0 rises", &[true])?;
    check_vector(p, "vector of IR0", Wire::Int, Some(0x20 | IR_TIMER))?;
    check_int(p, "as it is acknowledged", &[false])?;
    p.outb(MASTER, EOI)?;
    check_int(p, "as IR0 leaves service", &[])?;
    p.outb(MASTER, EOI)?;
    check_int(p, "as IR4 leaves service", &[true])?;
    check_vector(p, "vector of IR4", Wire::Int, Some(0x20 | IR_SERIAL))
}

fn icw2(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    for icw2 in (0..=0xff_u8).step_by(8).flat_map(|base| [base, base | 7]) {
        p.point(format!("ICW2 {icw2:#x}"));
        for (port, word) in [(MASTER, ICW1), (MASTER + 1, icw2), (MASTER + 1, 4), (MASTER + 1, ICW4)] {
            p.outb(port, word)?;
        }
        pic::raise_serial(p)?;
        check_vector(p, "vector of IR4", Wire::Int, Some(icw2 & 0xf8 | IR_SERIAL))?;
        pic::raise_timer(p)?;
        check_vector(p, "vector of IR0", Wire::Int, Some(icw2 & 0xf8 | IR_TIMER))?;
        let isr = pic::isr(p, MASTER)?;
        p.check_eq("ISR", isr, 1u8 << IR_TIMER | 1 << IR_SERIAL);
    }
    Ok(())
}

fn cascade(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    let ir = raise_transport(p, 0)?;
    p.outb(MASTER + 1, 0x01)?;
    check_vector(p, "vector", Wire::Int, Some(0x28 | ir))?;
    let (master, slave) = (pic::isr(p, MASTER)?, pic::isr(p, SLAVE)?);
    p.check_eq("master's ISR", master, 1u8 << IR_CASCADE);
    p.check_eq("slave's ISR", slave, 1u8 << ir);
    check_vector(p, "vector while it is in service", Wire::Int, None)
}

/// The IOAPIC's pin of the serial port asks for the cycle, so that it comes though INT has fallen.
fn default_ir7(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(ELCR_1, 1 << IR_SERIAL)?;
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(serial::GSI), EXTINT)?;
    pic::raise_serial(p)?;
    pic::lower_serial(p)?;
    check_vector(p, "vector", Wire::ExtInt, Some(0x27))?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR", isr, 0u8);
    Ok(())
}
