//! What a boot costs, in counts that do not depend on how busy the host is: exits from the guest to the VMM, between
//! the marks of the image `toll`, whose accesses are known (guest-images/README.md).

use std::sync::Arc;

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{kvm, touchstone};
use crate::machine::{Caps, Stop};
use crate::marks::{BootMarks, Exits, Mark};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &kvm::EXIT_IO,
    level: Level::Should,
    features: &[Feature::Serial],
    needs: Caps::EXITS,
    setup: Setup::DEFAULT,
    body: toll(marks_in_order),
};

const fn toll(judge: fn(&mut Probe<'_>) -> Result<(), Stop>) -> Body {
    Body::Guest { image: "toll", judge }
}

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "boot-time/exits/before-kernel",
        title: "Until the kernel's first access the guest has left to the VMM for nothing.",
        clause: &kvm::RUN,
        body: toll(before_kernel),
        ..AREA
    },
    Case {
        id: "boot-time/exits/console-byte",
        title: "A byte to the console costs one exit.",
        body: toll(console_byte),
        ..AREA
    },
    Case {
        id: "boot-time/exits/kvm-total",
        title: "How often the CPU leaves the guest in all, with what KVM handles itself, is the host's matter.",
        clause: &kvm::STATS,
        level: Level::May,
        body: toll(kvm_total),
        ..AREA
    },
    Case {
        id: "boot-time/exits/status-read",
        title: "A read of the console's status costs one exit.",
        body: toll(status_read),
        ..AREA
    },
    Case {
        id: "boot-time/exits/total",
        title: "A boot costs as many exits as the kernel makes accesses.",
        clause: &kvm::RUN,
        body: toll(total),
        ..AREA
    },
    Case {
        id: "boot-time/marks/in-order",
        title: "The kernel's marks reach the port that the command line named, each once and in order.",
        clause: &touchstone::BOOT_MARKS,
        ..AREA
    },
];

/// The three marks, once they are known to be those.
fn marks(p: &mut Probe<'_>) -> Result<(Arc<BootMarks>, [Mark; 3]), Stop> {
    let Some(marks) = p.facts().boot_marks.clone() else {
        return Err(Stop::Unavailable("the subject left no boot marks".to_owned()));
    };
    let values: Vec<u8> = marks.marks.iter().map(|mark| mark.value).collect();
    let holds = values == [RUNNING, CONSOLE, DONE];
    p.check(
        "boot marks",
        holds,
        format!("{values:?}"),
        format!("{:?}", [RUNNING, CONSOLE, DONE]),
    );
    match <[Mark; 3]>::try_from(marks.marks.clone()) {
        Ok(three) if holds => Ok((marks, three)),
        _ => Err(Stop::NotMet),
    }
}

fn marks_in_order(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (marks, [running, console, done]) = marks(p)?;
    let end_ns = marks.end.as_ref().map_or(u64::MAX, |end| end.ns);
    let times = [running.ns, console.ns, done.ns, end_ns];
    p.check(
        "times of the marks and the end",
        times.is_sorted(),
        format!("{times:?}"),
        "none before another",
    );
    Ok(())
}

fn before_kernel(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (_, [running, ..]) = marks(p)?;
    let mark = Exits {
        kinds: [("port_out".to_owned(), 1)].into(),
        ..Exits::default()
    };
    let before = running.exits.since(&mark);
    p.check_eq(
        "accesses before the first mark",
        before.total() - before.beside_accesses(),
        0u64,
    );
    // On a slow host the tick of an 8254 that runs from power-on comes before the kernel.
    few_beside(p, &before, BYTES / 2)
}

fn console_byte(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (_, [running, console, _]) = marks(p)?;
    each_costs_one(p, &console.exits.since(&running.exits), "port_out", BYTES)
}

fn status_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (_, [_, console, done]) = marks(p)?;
    each_costs_one(p, &done.exits.since(&console.exits), "port_in", READS)
}

/// Between two marks nothing but accesses to the console costs exits, and each of them one.
fn each_costs_one(p: &mut Probe<'_>, exits: &Exits, kind: &str, accesses: u64) -> Result<(), Stop> {
    let to_console = exits.devices.get("serial").and_then(|kinds| kinds.get(kind)).copied();
    p.check_eq("exits for the console", to_console.unwrap_or_default(), accesses);
    let all_accesses = exits.total() - exits.beside_accesses();
    // The second mark is an access, too.
    p.check_eq("exits for accesses", all_accesses, accesses + 1);
    few_beside(p, exits, accesses)
}

fn total(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (marks, _) = marks(p)?;
    let Some(end) = &marks.end else {
        return Err(Stop::Unavailable("the subject did not tell of its end".to_owned()));
    };
    let accesses = BYTES + READS + MARKS + EXIT;
    p.check_eq(
        "exits for accesses",
        end.exits.total() - end.exits.beside_accesses(),
        accesses,
    );
    few_beside(p, &end.exits, accesses)
}

/// A signal now and then may end a run of the guest; one for every eighth access is a habit.
fn few_beside(p: &mut Probe<'_>, exits: &Exits, accesses: u64) -> Result<(), Stop> {
    let (beside, most) = (exits.beside_accesses(), accesses / 8);
    p.check(
        "exits for nothing the guest did",
        beside <= most,
        beside.to_string(),
        format!("{most} at most"),
    );
    Ok(())
}

fn kvm_total(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (marks, _) = marks(p)?;
    let all = marks.end.as_ref().and_then(|end| end.exits.kvm.get("exits").copied());
    let Some(all) = all else {
        return Err(Stop::Unavailable("KVM has no statistics here".to_owned()));
    };
    let accesses = BYTES + READS + MARKS + EXIT;
    // What came to the VMM left the guest before.
    p.check(
        "exits that KVM counts",
        accesses <= all,
        all.to_string(),
        format!("{accesses} or more"),
    );
    p.note(format!(
        "{all} exits by KVM's own count, {accesses} of them accesses of the kernel"
    ));
    Ok(())
}

/// The image's marks.
const RUNNING: u8 = 1;
const CONSOLE: u8 = 2;
const DONE: u8 = 3;

/// The image's accesses: bytes to the transmitter, reads of the line status register, marks, and the end.
const BYTES: u64 = 64;
const READS: u64 = 32;
const MARKS: u64 = 3;
const EXIT: u64 = 1;
