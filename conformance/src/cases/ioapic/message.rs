//! The messages that the IOAPIC sends to the local APICs, where a subject shows them, and the storm that it breaks.

use super::{LINE, LINE_FEATURES, PIN, VECTOR, check_remote_irr, deliver_level, require_eoi};
use crate::case::{Body, Case, Feature};
use crate::clause::{i82093aa as clause, microvm};
use crate::driver::ioapic::{self, EOI, EXTINT, INIT, LEVEL, LOGICAL, LOWEST_PRIORITY, MASKED, NMI, SMI};
use crate::driver::pic;
use crate::machine::{Caps, Output, Stop, Wire};
use crate::probe::Probe;

pub(super) const STORM_PAUSES: Case = Case {
    id: "ioapic/eoi/storm-pauses",
    title: "A pin that interrupts again at 10000 EOIs in a row pauses for 10 ms; a quiet EOI starts the count anew.",
    clause: &microvm::IOAPIC_STORM,
    features: LINE_FEATURES,
    needs: LINE.with(Caps::FROZEN),
    body: Body::Bus(storm_pauses),
    ..super::AREA
};

pub(super) const EDGE_ONCE: Case = Case {
    id: "ioapic/message/edge-once",
    title: "Each rise of an edge-triggered pin sends one message, and one behind the mask none, then or later.",
    clause: &clause::TRIGGER_MODE,
    features: LINE_FEATURES,
    needs: SEEN,
    body: Body::Bus(edge_once),
    ..super::AREA
};

pub(super) const EXTINT_VECTOR: Case = Case {
    id: "ioapic/message/extint-vector",
    title: "A message with delivery mode ExtINT has the CPU take the 8259's vector, and no other message does.",
    clause: &clause::EXTINT,
    features: &[Feature::Ioapic, Feature::Pic, Feature::Pit, Feature::SerialLine],
    needs: SEEN,
    body: Body::Bus(extint_vector),
    ..super::AREA
};

pub(super) const FIELDS: Case = Case {
    id: "ioapic/message/fields",
    title: "A message carries each bit of destination and vector, and the modes of its entry.",
    clause: &clause::MESSAGE,
    features: LINE_FEATURES,
    needs: SEEN,
    body: Body::Bus(fields),
    ..super::AREA
};

pub(super) const LEVEL_AGAIN: Case = Case {
    id: "ioapic/message/level-again",
    title: "A level-triggered pin sends a message as it rises and at each EOI while it is up, and no other.",
    clause: &clause::TRIGGER_MODE,
    features: LINE_FEATURES,
    needs: SEEN,
    body: Body::Bus(level_again),
    ..super::AREA
};

/// The serial port drives the pin, and what is sent can be seen.
const SEEN: Caps = LINE.with(Caps::OUTPUTS);

/// Deliveries in a row at EOI until the pin pauses.
const STORM: usize = 10_000;
const PAUSE_NS: u64 = 10_000_000;

/// EOIs with the pin up, each of which sends the interrupt again.
fn eois(p: &mut Probe<'_>, count: usize) -> Result<(), Stop> {
    (0..count).try_for_each(|_| p.writel(EOI, VECTOR))
}

fn storm_pauses(p: &mut Probe<'_>) -> Result<(), Stop> {
    require_eoi(p)?;
    deliver_level(p)?;
    eois(p, STORM - 1)?;
    check_remote_irr(p, "before the last EOI of a storm", true)?;
    eois(p, 1)?;
    check_remote_irr(p, "after it", false)?;
    eois(p, 1)?;
    check_remote_irr(p, "after an EOI within the pause", false)?;
    if p.caps().missing(Caps::CLOCK).is_empty() {
        p.advance(PAUSE_NS - 1)?;
        check_remote_irr(p, "before the pause ends", false)?;
        p.advance(1)?;
    } else {
        // A write to the entry has it looked at anew.
        ioapic::write(p, ioapic::low(PIN), LEVEL | VECTOR)?;
    }
    check_remote_irr(p, "after the pause", true)?;
    // Not a storm: the pin is low at an EOI in between.
    eois(p, 100)?;
    pic::lower_serial(p)?;
    eois(p, 1)?;
    check_remote_irr(p, "after an EOI with the pin low", false)?;
    pic::raise_serial(p)?;
    eois(p, STORM - 1)?;
    check_remote_irr(p, "with fewer in a row than a storm has", true)
}

/// The messages since the last call: address and data.
fn messages(p: &mut Probe<'_>) -> Result<Vec<(u64, u32)>, Stop> {
    let outputs = p.outputs()?.into_iter();
    let messages = outputs.filter_map(|output| match output {
        Output::Message { address, data } => Some((address, data)),
        _ => None,
    });
    Ok(messages.collect())
}

/// Checks the messages since the last call.
fn check_sent(p: &mut Probe<'_>, when: &str, want: &[(u64, u32)]) -> Result<(), Stop> {
    let got = messages(p)?;
    p.check(
        &format!("messages {when}"),
        got == want,
        format!("{got:x?}"),
        format!("{want:x?}"),
    );
    Ok(())
}

/// SDM, "Message Address Register Format": fixed bits, physical destination 0.
const ADDRESS: u64 = 0xfee0_0000;
/// The same, "Message Data Register Format": level-triggered, asserted.
const ASSERTED: u32 = 0xc000;

const EDGE: (u64, u32) = (ADDRESS, VECTOR);

fn edge_once(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), VECTOR)?;
    messages(p)?;
    for round in 1..=3 {
        p.point(format!("rise {round}"));
        pic::raise_serial(p)?;
        check_sent(p, "as the pin rises", &[EDGE])?;
        ioapic::write(p, ioapic::low(PIN), VECTOR)?;
        check_sent(p, "as its entry is written again", &[])?;
        pic::lower_serial(p)?;
        check_sent(p, "as it falls", &[])?;
    }
    p.point("behind the mask");
    ioapic::write(p, ioapic::low(PIN), MASKED | VECTOR)?;
    pic::raise_serial(p)?;
    check_sent(p, "as the pin rises", &[])?;
    ioapic::write(p, ioapic::low(PIN), VECTOR)?;
    check_sent(p, "as the mask goes", &[])?;
    pic::raise_serial(p)?;
    check_sent(p, "as it rises again", &[EDGE])
}

fn level_again(p: &mut Probe<'_>) -> Result<(), Stop> {
    require_eoi(p)?;
    let level = (ADDRESS, ASSERTED | VECTOR);
    messages(p)?;
    deliver_level(p)?;
    check_sent(p, "as the pin rises", &[level])?;
    ioapic::write(p, ioapic::low(PIN), LEVEL | VECTOR)?;
    check_sent(p, "as its entry is written again", &[])?;
    for round in 1..=3 {
        p.point(format!("EOI {round}"));
        p.writel(EOI, VECTOR + 1)?;
        check_sent(p, "at another vector's EOI", &[])?;
        p.writel(EOI, VECTOR)?;
        check_sent(p, "at its EOI", &[level])?;
    }
    pic::lower_serial(p)?;
    p.writel(EOI, VECTOR)?;
    check_sent(p, "at the EOI with the pin low", &[])?;
    pic::raise_serial(p)?;
    check_sent(p, "as it rises again", &[level])
}

fn fields(p: &mut Probe<'_>) -> Result<(), Stop> {
    require_eoi(p)?;
    let plain = (VECTOR, 0, ADDRESS, VECTOR);
    let destinations = (0..8).flat_map(|bit| {
        let (high, address) = (1 << (24 + bit), ADDRESS | 1 << (12 + bit));
        [
            (VECTOR, high, address, VECTOR),
            (VECTOR | LOGICAL, high, address | 4, VECTOR),
        ]
    });
    let vectors = (4..8).map(|bit| 1 << bit).chain([0x11, 0x12, 0x14, 0x18, 0xfe]);
    let vectors = vectors.map(|vector| (vector, 0, ADDRESS, vector));
    let modes = [0, LOWEST_PRIORITY, SMI, NMI, INIT, EXTINT].map(|mode| (mode | VECTOR, 0, ADDRESS, mode | VECTOR));
    let levels = [0, LOWEST_PRIORITY].map(|mode| (LEVEL | mode | VECTOR, 0, ADDRESS, ASSERTED | mode | VECTOR));
    // An edge even if programmed as level.
    let edges = [NMI, INIT].map(|mode| (LEVEL | mode | VECTOR, 0, ADDRESS, mode | VECTOR));
    let entries = [plain].into_iter().chain(destinations).chain(vectors);
    for (low, high, address, data) in entries.chain(modes).chain(levels).chain(edges) {
        p.point(format!("entry {high:08x} {low:08x}"));
        pic::lower_serial(p)?;
        ioapic::write(p, ioapic::low(PIN) + 1, high)?;
        ioapic::write(p, ioapic::low(PIN), low)?;
        messages(p)?;
        pic::raise_serial(p)?;
        check_sent(p, "as the pin rises", &[(address, data)])?;
        pic::lower_serial(p)?;
        p.writel(EOI, VECTOR)?;
    }
    Ok(())
}

fn extint_vector(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (mode, want) in [(EXTINT, Some(0x24u8)), (0, None), (NMI, None), (EXTINT, Some(0x24))] {
        p.point(format!("delivery mode {}", mode >> 8));
        pic::start(p)?;
        pic::lower_serial(p)?;
        ioapic::write(p, ioapic::low(PIN), mode | VECTOR)?;
        pic::raise_serial(p)?;
        let got = p.acknowledge(Wire::ExtInt)?;
        p.check("vector", got == want, format!("{got:x?}"), format!("{want:x?}"));
        let again = p.acknowledge(Wire::ExtInt)?;
        p.check(
            "vector without another message",
            again.is_none(),
            format!("{again:x?}"),
            "none",
        );
    }
    Ok(())
}
