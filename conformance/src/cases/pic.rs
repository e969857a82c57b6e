//! The 8259A pair and its edge/level registers.
//!
//! What the chips do is seen through their ports: IRR, ISR, IMR and polls, which acknowledge as a CPU does. Three kinds
//! of inputs can be driven: the timer's (IR0) everywhere, the serial port's (IR4) where it is not the suite's own, and
//! those of transports (the slave's) where queues are processed. Vectors are for CPUs; `vector` takes a CPU's part
//! where a subject lets it.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{i8259a as clause, microvm};
use crate::driver::pic::{
    self, ELCR_1, ELCR_2, EOI, EOI_SPECIFIC, ICW1, ICW1_LTIM, ICW1_NO_ICW4, ICW1_SINGLE, ICW4, ICW4_AEOI, ICW4_SFNM,
    IR_CASCADE, IR_SERIAL, IR_TIMER, MASTER, NO_OPERATION, OCW3, POLL, READ_IRR, READ_ISR, ROTATE_AEOI, ROTATE_EOI,
    ROTATE_SPECIFIC, SET_PRIORITY, SLAVE, SPECIAL_MASK_OFF, SPECIAL_MASK_ON,
};
use crate::driver::virtio_mmio::{Descriptor, Queue, Transport, reg};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

mod vector;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::OCW1,
    level: Level::Must,
    features: &[Feature::Pic, Feature::Pit],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(mask_holds),
};

/// The timer's and the serial port's inputs can both be driven.
const LINES_HERE: Caps = Caps::SERIAL;
const SERIAL_QUEUES: Caps = Caps::SERIAL.with(Caps::QUEUES);

const WITH_SERIAL: &[Feature] = &[Feature::Pic, Feature::Pit, Feature::SerialLine];

/// So many that the interrupts of the two highest transports are the slave's in every profile.
const RNGS: Setup = Setup {
    modern: true,
    devices: &["virtio-rng"; 5],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "pic/auto-eoi/nothing-in-service",
        title: "In automatic EOI mode an acknowledged interrupt is not in service.",
        clause: &clause::AUTO_EOI,
        body: Body::Bus(auto_eoi),
        ..AREA
    },
    Case {
        id: "pic/auto-eoi/rotates",
        title: "With rotation in automatic EOI mode the input acknowledged becomes the lowest.",
        clause: &clause::ROTATION,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(auto_eoi_rotates),
        ..AREA
    },
    Case {
        id: "pic/cascade/masked-slave",
        title: "An input masked at the slave does not reach the master.",
        clause: &clause::CASCADE,
        needs: Caps::QUEUES,
        setup: RNGS,
        body: Body::Bus(cascade_masked),
        ..AREA
    },
    Case {
        id: "pic/cascade/nesting",
        title: "While the master serves the slave's input no other input of the slave gets through.",
        clause: &clause::CASCADE,
        needs: Caps::QUEUES,
        setup: RNGS,
        body: Body::Bus(cascade_nesting),
        ..AREA
    },
    Case {
        id: "pic/cascade/request",
        title: "A request at the slave is one at the master's IR2, and each acknowledges its own.",
        clause: &clause::CASCADE,
        needs: Caps::QUEUES,
        setup: RNGS,
        body: Body::Bus(cascade_request),
        ..AREA
    },
    Case {
        id: "pic/edge/icw1-forgets",
        title: "After ICW1 an input has to rise again, though it is high.",
        clause: &clause::ICW1,
        body: Body::Bus(edge_icw1_forgets),
        ..AREA
    },
    Case {
        id: "pic/edge/level-is-once",
        title: "An edge-triggered input that stays high is not requested again.",
        clause: &clause::TRIGGER,
        body: Body::Bus(edge_once),
        ..AREA
    },
    Case {
        id: "pic/edge/short-pulse",
        title: "Whether an edge-triggered input stays requested when it falls before it is acknowledged.",
        clause: &clause::TRIGGER,
        level: Level::May,
        features: WITH_SERIAL,
        needs: Caps::SERIAL,
        body: Body::Bus(edge_short_pulse),
        ..AREA
    },
    Case {
        id: "pic/elcr/bits",
        title: "The edge/level registers hold the bits of all inputs but 0, 1, 2, 8 and 13.",
        clause: &microvm::ELCR,
        body: Body::Bus(elcr_bits),
        ..AREA
    },
    Case {
        id: "pic/elcr/icw1-keeps",
        title: "An initialisation leaves the edge/level registers alone.",
        clause: &microvm::ELCR,
        body: Body::Bus(elcr_icw1_keeps),
        ..AREA
    },
    Case {
        id: "pic/elcr/reset-clears",
        title: "A system reset makes every input edge-triggered.",
        clause: &microvm::ELCR_RESET,
        needs: Caps::RESET,
        body: Body::Bus(elcr_reset),
        ..AREA
    },
    Case {
        id: "pic/eoi/non-specific",
        title: "A non-specific EOI ends the service of the highest priority.",
        clause: &clause::EOI,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(eoi_non_specific),
        ..AREA
    },
    Case {
        id: "pic/eoi/nothing-in-service",
        title: "An EOI with nothing in service leaves requests and masks.",
        clause: &clause::EOI,
        body: Body::Bus(eoi_idle),
        ..AREA
    },
    Case {
        id: "pic/eoi/one-at-a-time",
        title: "An interrupt in service stays there until its EOI.",
        clause: &clause::EOI,
        body: Body::Bus(eoi_one),
        ..AREA
    },
    Case {
        id: "pic/eoi/other-chip",
        title: "An EOI to the slave leaves the master's in-service bits.",
        clause: &clause::EOI,
        body: Body::Bus(eoi_other_chip),
        ..AREA
    },
    Case {
        id: "pic/eoi/specific",
        title: "A specific EOI ends the service of the input named.",
        clause: &clause::EOI,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(eoi_specific),
        ..AREA
    },
    Case {
        id: "pic/eoi/specific-other",
        title: "A specific EOI for another input changes nothing.",
        clause: &clause::EOI,
        body: Body::Bus(eoi_specific_other),
        ..AREA
    },
    Case {
        id: "pic/icw/clears-imr",
        title: "ICW1 clears the interrupt mask.",
        clause: &clause::ICW1,
        body: Body::Bus(icw_clears_imr),
        ..AREA
    },
    Case {
        id: "pic/icw/clears-special-mask",
        title: "ICW1 ends special mask mode.",
        clause: &clause::ICW1,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(icw_clears_special_mask),
        ..AREA
    },
    Case {
        id: "pic/icw/four-words",
        title: "The three words after ICW1 are not taken for masks, the fourth is.",
        clause: &clause::ICW_SEQUENCE,
        body: Body::Bus(icw_four_words),
        ..AREA
    },
    Case {
        id: "pic/icw/level-bit",
        title: "Whether LTIM makes inputs level-triggered beside the edge/level registers.",
        clause: &clause::TRIGGER,
        level: Level::May,
        features: WITH_SERIAL,
        needs: Caps::SERIAL,
        body: Body::Bus(icw_ltim),
        ..AREA
    },
    Case {
        id: "pic/icw/level-request-stays",
        title: "ICW1 leaves the request of a level-triggered input that is high.",
        clause: &clause::TRIGGER,
        features: WITH_SERIAL,
        needs: Caps::SERIAL,
        body: Body::Bus(icw_level_request),
        ..AREA
    },
    Case {
        id: "pic/icw/resets-priority",
        title: "ICW1 gives IR7 the lowest priority again.",
        clause: &clause::ICW1,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(icw_resets_priority),
        ..AREA
    },
    Case {
        id: "pic/icw/restart",
        title: "ICW1 within an initialisation begins another.",
        clause: &clause::ICW_SEQUENCE,
        body: Body::Bus(icw_restart),
        ..AREA
    },
    Case {
        id: "pic/icw/selects-irr",
        title: "After ICW1 reads give IRR, whatever was selected before.",
        clause: &clause::ICW1,
        body: Body::Bus(icw_selects_irr),
        ..AREA
    },
    Case {
        id: "pic/icw/single",
        title: "With SNGL no ICW3 follows.",
        clause: &clause::ICW_SEQUENCE,
        body: Body::Bus(icw_single),
        ..AREA
    },
    Case {
        id: "pic/icw/without-icw4",
        title: "With IC4 clear no ICW4 follows.",
        clause: &clause::ICW_SEQUENCE,
        body: Body::Bus(icw_without_icw4),
        ..AREA
    },
    Case {
        id: "pic/icw/without-icw4-clears",
        title: "With IC4 clear automatic EOI is off.",
        clause: &clause::ICW4,
        body: Body::Bus(icw_without_icw4_clears),
        ..AREA
    },
    Case {
        id: "pic/level/again-after-eoi",
        title: "A level-triggered input that is still high after its EOI is requested again.",
        clause: &clause::TRIGGER,
        features: WITH_SERIAL,
        needs: Caps::SERIAL,
        body: Body::Bus(level_again),
        ..AREA
    },
    Case {
        id: "pic/level/follows-line",
        title: "A level-triggered input is requested while it is high and no longer.",
        clause: &clause::TRIGGER,
        features: WITH_SERIAL,
        needs: Caps::SERIAL,
        body: Body::Bus(level_follows),
        ..AREA
    },
    Case {
        id: "pic/level/from-the-write",
        title: "An input is level-triggered from the write to its edge/level register on, and its edge is forgotten.",
        clause: &clause::TRIGGER,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(level_from_write),
        ..AREA
    },
    Case {
        id: "pic/level/transport",
        title: "A transport's level-triggered interrupt is requested until its driver acknowledges it.",
        clause: &clause::TRIGGER,
        needs: Caps::QUEUES,
        setup: RNGS,
        body: Body::Bus(level_transport),
        ..AREA
    },
    Case {
        id: "pic/mask/holds",
        title: "Each chip's mask register holds all 256 values.",
        clause: &clause::OCW1,
        body: Body::Bus(mask_holds),
        ..AREA
    },
    Case {
        id: "pic/mask/independent",
        title: "The two chips have masks of their own.",
        clause: &clause::OCW1,
        body: Body::Bus(mask_independent),
        ..AREA
    },
    Case {
        id: "pic/mask/keeps-request",
        title: "A masked input keeps its request and is acknowledged once unmasked.",
        clause: &clause::OCW1,
        body: Body::Bus(mask_keeps_request),
        ..AREA
    },
    Case {
        id: "pic/mask/leaves-others",
        title: "Masking one input lets another through.",
        clause: &clause::OCW1,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(mask_leaves_others),
        ..AREA
    },
    Case {
        id: "pic/nesting/higher-interrupts",
        title: "An input of a higher priority is acknowledged while a lower one is in service.",
        clause: &clause::NESTING,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(nesting_higher),
        ..AREA
    },
    Case {
        id: "pic/nesting/lower-waits",
        title: "An input of a lower priority waits for the EOI.",
        clause: &clause::NESTING,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(nesting_lower),
        ..AREA
    },
    Case {
        id: "pic/nesting/same-waits",
        title: "An input does not interrupt its own service.",
        clause: &clause::NESTING,
        body: Body::Bus(nesting_same),
        ..AREA
    },
    Case {
        id: "pic/ocw2/no-operation",
        title: "OCW2 without a command changes nothing in service.",
        clause: &clause::OCW2,
        body: Body::Bus(ocw2_no_operation),
        ..AREA
    },
    Case {
        id: "pic/ocw3/isr-select",
        title: "OCW3 selects ISR or IRR for reading.",
        clause: &clause::READ_STATUS,
        body: Body::Bus(ocw3_select),
        ..AREA
    },
    Case {
        id: "pic/ocw3/remembered",
        title: "The register selected for reading is remembered.",
        clause: &clause::READ_STATUS,
        body: Body::Bus(ocw3_remembered),
        ..AREA
    },
    Case {
        id: "pic/poll/acknowledges",
        title: "A poll takes the request into service and names it.",
        clause: &clause::POLL,
        body: Body::Bus(poll_acknowledges),
        ..AREA
    },
    Case {
        id: "pic/poll/idle",
        title: "A poll with nothing requested says so.",
        clause: &clause::POLL,
        body: Body::Bus(poll_idle),
        ..AREA
    },
    Case {
        id: "pic/poll/mask-port",
        title: "The read after a poll command is the poll at either port.",
        clause: &clause::POLL,
        body: Body::Bus(poll_mask_port),
        ..AREA
    },
    Case {
        id: "pic/poll/once",
        title: "Only the first read after a poll command is a poll.",
        clause: &clause::POLL,
        body: Body::Bus(poll_once),
        ..AREA
    },
    Case {
        id: "pic/poll/priority",
        title: "Polls name the requests by their priority.",
        clause: &clause::POLL,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(poll_priority),
        ..AREA
    },
    Case {
        id: "pic/ports/wide-read",
        title: "A word read at a chip's first port gives both of its registers.",
        clause: &microvm::PORT_STRADDLE,
        level: Level::Should,
        body: Body::Bus(ports_wide),
        ..AREA
    },
    Case {
        id: "pic/power-on/registers",
        title: "At power-on nothing is masked, requested, in service or level-triggered.",
        clause: &microvm::PIC_POWER_ON,
        level: Level::Should,
        needs: Caps::FROZEN,
        body: Body::Bus(power_on),
        ..AREA
    },
    Case {
        id: "pic/reset/registers",
        title: "A system reset clears masks, in-service bits and edge/level registers.",
        clause: &microvm::PIC_POWER_ON,
        level: Level::Should,
        needs: Caps::RESET,
        body: Body::Bus(reset),
        ..AREA
    },
    Case {
        id: "pic/rotation/non-specific-eoi",
        title: "Rotating on a non-specific EOI makes the input just served the lowest.",
        clause: &clause::ROTATION,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(rotate_eoi),
        ..AREA
    },
    Case {
        id: "pic/rotation/set-priority",
        title: "Setting the priority makes the input named the lowest.",
        clause: &clause::ROTATION,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(set_priority),
        ..AREA
    },
    Case {
        id: "pic/rotation/specific-eoi",
        title: "Rotating on a specific EOI ends the service of the input named and makes it the lowest.",
        clause: &clause::ROTATION,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(rotate_specific),
        ..AREA
    },
    Case {
        id: "pic/rotation/specific-eoi-other",
        title: "Rotating on a specific EOI names one input of eight, whose service alone it ends.",
        clause: &clause::ROTATION,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(rotate_specific_other),
        ..AREA
    },
    Case {
        id: "pic/special-fully-nested/master-order",
        title: "In special fully nested mode the master's own inputs of lower priority still wait for the slave's EOI.",
        clause: &clause::SPECIAL_FULLY_NESTED,
        features: WITH_SERIAL,
        needs: SERIAL_QUEUES,
        setup: RNGS,
        body: Body::Bus(sfnm_master_order),
        ..AREA
    },
    Case {
        id: "pic/special-fully-nested/slave-again",
        title: "In special fully nested mode a higher input of the slave in service gets through.",
        clause: &clause::SPECIAL_FULLY_NESTED,
        needs: Caps::QUEUES,
        setup: RNGS,
        body: Body::Bus(sfnm_slave_again),
        ..AREA
    },
    Case {
        id: "pic/special-mask/enable-bit",
        title: "Special mask mode changes only where ESMM says so.",
        clause: &clause::SPECIAL_MASK,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(special_mask_enable),
        ..AREA
    },
    Case {
        id: "pic/special-mask/lets-through",
        title: "In special mask mode a masked in-service bit keeps nothing back.",
        clause: &clause::SPECIAL_MASK,
        features: WITH_SERIAL,
        needs: LINES_HERE,
        body: Body::Bus(special_mask),
        ..AREA
    },
    Case {
        id: "pic/special-mask/non-specific-eoi",
        title: "In special mask mode a non-specific EOI leaves a masked in-service bit.",
        clause: &clause::SPECIAL_MASK,
        body: Body::Bus(special_mask_eoi),
        ..AREA
    },
    vector::CASCADE,
    vector::DEFAULT_IR7,
    vector::ICW2,
    vector::INT,
];

fn auto_eoi(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::initialize(p, ICW1, ICW4_AEOI)?;
    for round in 1..=2 {
        p.point(format!("round {round}"));
        pic::raise_timer(p)?;
        pic::check_acknowledged(p, "poll", MASTER, Some(IR_TIMER))?;
        let isr = pic::isr(p, MASTER)?;
        p.check_eq("ISR", isr, 0u8);
    }
    Ok(())
}

/// Both inputs stay requested by turns; each round the one just served has to wait for the other.
fn auto_eoi_rotates(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::initialize(p, ICW1, ICW4_AEOI)?;
    p.outb(MASTER, ROTATE_AEOI)?;
    raise_both(p)?;
    pic::check_acknowledged(p, "first", MASTER, Some(IR_TIMER))?;
    pic::raise_timer(p)?;
    pic::check_acknowledged(p, "second", MASTER, Some(IR_SERIAL))?;
    pic::raise_serial(p)?;
    pic::check_acknowledged(p, "third", MASTER, Some(IR_TIMER))?;
    // The mode is left: now IR0, which is the lowest, stays so.
    p.outb(MASTER, 0)?;
    pic::check_acknowledged(p, "fourth", MASTER, Some(IR_SERIAL))?;
    raise_both(p)?;
    pic::check_acknowledged(p, "fifth, without rotation", MASTER, Some(IR_SERIAL))
}

fn cascade_request(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    let ir = raise_transport(p, 0)?;
    let (master, slave) = (pic::irr(p, MASTER)?, pic::irr(p, SLAVE)?);
    p.check_eq("master's IRR", master & !1, 1u8 << IR_CASCADE);
    p.check_eq("slave's IRR", slave, 1u8 << ir);
    p.outb(MASTER + 1, 0x01)?;
    pic::check_acknowledged(p, "poll of the master", MASTER, Some(IR_CASCADE))?;
    pic::check_acknowledged(p, "poll of the slave", SLAVE, Some(ir))?;
    let (master, slave) = (pic::isr(p, MASTER)?, pic::isr(p, SLAVE)?);
    p.check_eq("master's ISR", master, 1u8 << IR_CASCADE);
    p.check_eq("slave's ISR", slave, 1u8 << ir);
    Ok(())
}

fn cascade_masked(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(SLAVE + 1, 0xff)?;
    let ir = raise_transport(p, 0)?;
    let (master, slave) = (pic::irr(p, MASTER)?, pic::irr(p, SLAVE)?);
    p.check_eq("slave's IRR", slave, 1u8 << ir);
    p.check_eq("master's IRR, IR2", master & 1 << IR_CASCADE, 0u8);
    p.outb(SLAVE + 1, !(1u8 << ir))?;
    let master = pic::irr(p, MASTER)?;
    p.check_eq(
        "master's IRR, IR2, once unmasked",
        master & 1 << IR_CASCADE,
        1u8 << IR_CASCADE,
    );
    Ok(())
}

/// The lower transport's input has the higher priority.
fn cascade_nesting(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    let first = raise_transport(p, 0)?;
    p.outb(MASTER + 1, 0x01)?;
    pic::check_acknowledged(p, "poll of the master", MASTER, Some(IR_CASCADE))?;
    pic::check_acknowledged(p, "poll of the slave", SLAVE, Some(first))?;
    raise_transport(p, 1)?;
    pic::check_acknowledged(p, "poll of the master while it serves IR2", MASTER, None)?;
    p.outb(MASTER, EOI)?;
    pic::check_acknowledged(p, "poll of the master after its EOI", MASTER, Some(IR_CASCADE))
}

fn edge_icw1_forgets(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_timer(p)?;
    let before = pic::irr(p, MASTER)?;
    p.check_eq("IRR before ICW1", before, 1u8 << IR_TIMER);
    pic::initialize(p, ICW1, ICW4)?;
    let after = pic::irr(p, MASTER)?;
    p.check_eq("IRR after ICW1", after, 0u8);
    pic::raise_timer(p)?;
    let again = pic::irr(p, MASTER)?;
    p.check_eq("IRR after another rise", again, 1u8 << IR_TIMER);
    Ok(())
}

fn edge_once(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_timer(p)?;
    pic::check_acknowledged(p, "poll after the rise", MASTER, Some(IR_TIMER))?;
    p.outb(MASTER, EOI)?;
    let irr = pic::irr(p, MASTER)?;
    p.check_eq("IRR while the line stays high", irr, 0u8);
    pic::check_acknowledged(p, "poll while the line stays high", MASTER, None)?;
    pic::raise_timer(p)?;
    pic::check_acknowledged(p, "poll after another rise", MASTER, Some(IR_TIMER))
}

/// The data sheet wants the line high until the acknowledge; many machines latch the edge.
fn edge_short_pulse(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_serial(p)?;
    let high = pic::irr(p, MASTER)?;
    p.require_eq("IRR while the line is high", high, 1u8 << IR_SERIAL)?;
    pic::lower_serial(p)?;
    let low = pic::irr(p, MASTER)?;
    let open = low & !(1 << IR_SERIAL) == 0;
    p.check("IRR after the line fell", open, format!("{low:#x}"), "0 or 0x10");
    p.note(if low == 0 {
        "a request falls with its line"
    } else {
        "a request stays when its line falls"
    });
    Ok(())
}

fn elcr_bits(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (port, mask) in [(ELCR_1, 0xf8u8), (ELCR_2, 0xde)] {
        for value in 0..=0xffu8 {
            p.point(format!("port {port:#x} written {value:#x}"));
            p.outb(port, value)?;
            let got = p.inb(port)?;
            p.check_eq("edge/level register", got, value & mask);
        }
    }
    Ok(())
}

fn elcr_icw1_keeps(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(ELCR_1, 0xa8)?;
    p.outb(ELCR_2, 0x5a)?;
    pic::start(p)?;
    let (first, second) = (p.inb(ELCR_1)?, p.inb(ELCR_2)?);
    p.check_eq("port 0x4d0", first, 0xa8u8);
    p.check_eq("port 0x4d1", second, 0x5au8);
    Ok(())
}

fn eoi_non_specific(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_both(p)?;
    p.outb(MASTER, EOI)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR after the first EOI", isr, 1u8 << IR_SERIAL);
    p.outb(MASTER, EOI)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR after the second EOI", isr, 0u8);
    Ok(())
}

fn eoi_specific(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_both(p)?;
    p.outb(MASTER, EOI_SPECIFIC | IR_SERIAL)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR after the EOI for IR4", isr, 1u8 << IR_TIMER);
    p.outb(MASTER, EOI_SPECIFIC | IR_TIMER)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR after the EOI for IR0", isr, 0u8);
    Ok(())
}

fn eoi_specific_other(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    for input in 1..8 {
        p.point(format!("EOI for IR{input}"));
        p.outb(MASTER, EOI_SPECIFIC | input)?;
        let isr = pic::isr(p, MASTER)?;
        p.check_eq("ISR", isr, 1u8 << IR_TIMER);
    }
    Ok(())
}

fn eoi_one(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER + 1, 0xff)?;
    p.outb(MASTER + 1, 0x00)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR after masking and unmasking", isr, 1u8 << IR_TIMER);
    p.outb(MASTER, EOI)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR after EOI", isr, 0u8);
    Ok(())
}

fn eoi_other_chip(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    for command in [EOI, EOI_SPECIFIC | IR_TIMER] {
        p.point(format!("OCW2 {command:#x} to the slave"));
        p.outb(SLAVE, command)?;
        let isr = pic::isr(p, MASTER)?;
        p.check_eq("master's ISR", isr, 1u8 << IR_TIMER);
    }
    Ok(())
}

fn eoi_idle(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER + 1, 0x5a)?;
    pic::raise_timer(p)?;
    p.outb(MASTER, EOI)?;
    p.outb(MASTER, EOI_SPECIFIC | IR_TIMER)?;
    let (mask, irr, isr) = (p.inb(MASTER + 1)?, pic::irr(p, MASTER)?, pic::isr(p, MASTER)?);
    p.check_eq("IMR", mask, 0x5au8);
    p.check_eq("IRR", irr, 1u8 << IR_TIMER);
    p.check_eq("ISR", isr, 0u8);
    Ok(())
}

fn icw_clears_imr(p: &mut Probe<'_>) -> Result<(), Stop> {
    for port in [MASTER, SLAVE] {
        p.point(format!("port {port:#x}"));
        p.outb(port + 1, 0xff)?;
        let before = p.inb(port + 1)?;
        p.check_eq("IMR before ICW1", before, 0xffu8);
        p.outb(port, ICW1)?;
        let after = p.inb(port + 1)?;
        p.check_eq("IMR after ICW1", after, 0u8);
    }
    Ok(())
}

/// Writes the words of an initialisation to the odd port of both chips, and then a mask. Words that no step takes
/// would become the mask, which is looked at after each.
fn check_words(p: &mut Probe<'_>, icw1: u8, words: &[u8]) -> Result<(), Stop> {
    for port in [MASTER, SLAVE] {
        p.point(format!("port {port:#x}"));
        p.outb(port, icw1)?;
        for (index, word) in words.iter().enumerate() {
            p.outb(port + 1, *word)?;
            let mask = p.inb(port + 1)?;
            p.check_eq(&format!("IMR after ICW word {}", index + 2), mask, 0u8);
        }
        p.outb(port + 1, 0xa5)?;
        let mask = p.inb(port + 1)?;
        p.check_eq("IMR after OCW1", mask, 0xa5u8);
    }
    Ok(())
}

fn icw_four_words(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_words(p, ICW1, &[0x20, 0x04, ICW4])
}

fn icw_without_icw4(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_words(p, ICW1_NO_ICW4, &[0x20, 0x04])
}

fn icw_single(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_words(p, ICW1_SINGLE, &[0x20, ICW4])
}

fn icw_restart(p: &mut Probe<'_>) -> Result<(), Stop> {
    for port in [MASTER, SLAVE] {
        p.outb(port, ICW1)?;
        p.outb(port + 1, 0x40)?;
        p.outb(port + 1, 0x04)?;
    }
    check_words(p, ICW1, &[0x20, 0x04, ICW4])
}

fn icw_without_icw4_clears(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::initialize(p, ICW1, ICW4_AEOI)?;
    p.outb(MASTER, ICW1_NO_ICW4)?;
    p.outb(MASTER + 1, 0x20)?;
    p.outb(MASTER + 1, 0x04)?;
    pic::raise_timer(p)?;
    pic::check_acknowledged(p, "poll", MASTER, Some(IR_TIMER))?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR: no automatic EOI", isr, 1u8 << IR_TIMER);
    Ok(())
}

fn icw_clears_special_mask(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER, SPECIAL_MASK_ON)?;
    pic::initialize(p, ICW1, ICW4)?;
    serve_timer_started(p)?;
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    pic::raise_serial(p)?;
    pic::check_acknowledged(p, "poll while IR0 is in service and masked", MASTER, None)
}

fn icw_resets_priority(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER, SET_PRIORITY | IR_TIMER)?;
    pic::initialize(p, ICW1, ICW4)?;
    raise_both(p)?;
    pic::check_acknowledged(p, "first", MASTER, Some(IR_TIMER))
}

fn icw_selects_irr(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR, which is selected", isr, 1u8 << IR_TIMER);
    pic::initialize(p, ICW1, ICW4)?;
    pic::raise_timer(p)?;
    let got = p.inb(MASTER)?;
    p.check_eq("IRR", got, 1u8 << IR_TIMER);
    Ok(())
}

/// A chip with edge/level registers has LTIM disabled in some machines and honours it in others.
fn icw_ltim(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::initialize(p, ICW1_LTIM, ICW4)?;
    pic::raise_serial(p)?;
    let high = pic::irr(p, MASTER)?;
    p.require_eq(
        "IRR, IR4, while the line is high",
        high & 1 << IR_SERIAL,
        1u8 << IR_SERIAL,
    )?;
    pic::check_acknowledged(p, "poll", MASTER, Some(IR_SERIAL))?;
    let served = pic::irr(p, MASTER)?;
    let level = served & 1 << IR_SERIAL != 0;
    p.note(if level { "LTIM is honoured" } else { "LTIM is ignored" });
    Ok(())
}

/// ICW1 resets the edge sense circuit, which such an input does not use.
fn icw_level_request(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(ELCR_1, 1 << IR_SERIAL)?;
    pic::start(p)?;
    pic::raise_serial(p)?;
    for round in 1..=2 {
        p.point(format!("round {round}"));
        pic::initialize(p, ICW1, ICW4)?;
        let irr = pic::irr(p, MASTER)?;
        p.check_eq("IRR, IR4", irr & 1 << IR_SERIAL, 1u8 << IR_SERIAL);
    }
    pic::lower_serial(p)?;
    let irr = pic::irr(p, MASTER)?;
    p.check_eq("IRR, IR4, once the line is low", irr & 1 << IR_SERIAL, 0u8);
    Ok(())
}

fn level_follows(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(ELCR_1, 1 << IR_SERIAL)?;
    pic::start(p)?;
    for round in 1..=2 {
        p.point(format!("round {round}"));
        pic::raise_serial(p)?;
        let high = pic::irr(p, MASTER)?;
        p.check_eq("IRR while the line is high", high, 1u8 << IR_SERIAL);
        pic::lower_serial(p)?;
        let low = pic::irr(p, MASTER)?;
        p.check_eq("IRR once it is low", low, 0u8);
    }
    Ok(())
}

fn level_again(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(ELCR_1, 1 << IR_SERIAL)?;
    pic::start(p)?;
    pic::raise_serial(p)?;
    for round in 1..=3 {
        p.point(format!("round {round}"));
        pic::check_acknowledged(p, "poll", MASTER, Some(IR_SERIAL))?;
        pic::check_acknowledged(p, "poll while it is in service", MASTER, None)?;
        p.outb(MASTER, EOI)?;
    }
    pic::lower_serial(p)?;
    pic::check_acknowledged(p, "poll once the line is low", MASTER, None)
}

fn level_transport(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ir = transport_input(p, transport(p, 0));
    p.outb(ELCR_2, 1 << ir)?;
    pic::start(p)?;
    raise_transport(p, 0)?;
    let high = pic::irr(p, SLAVE)?;
    p.check_eq("slave's IRR", high, 1u8 << ir);
    pic::check_acknowledged(p, "poll", SLAVE, Some(ir))?;
    p.outb(SLAVE, EOI)?;
    let still = pic::irr(p, SLAVE)?;
    p.check_eq("slave's IRR after EOI", still, 1u8 << ir);
    transport(p, 0).write(p, reg::INTERRUPT_ACK, 1)?;
    let low = pic::irr(p, SLAVE)?;
    p.check_eq("slave's IRR after InterruptACK", low, 0u8);
    Ok(())
}

fn mask_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    for port in [MASTER + 1, SLAVE + 1] {
        for value in 0..=0xffu8 {
            p.point(format!("port {port:#x} written {value:#x}"));
            p.outb(port, value)?;
            let got = p.inb(port)?;
            p.check_eq("IMR", got, value);
        }
    }
    Ok(())
}

fn mask_independent(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (master, slave) in [(0x0fu8, 0xf0u8), (0xaa, 0x55), (0xff, 0x00)] {
        p.point(format!("{master:#x} and {slave:#x}"));
        p.outb(MASTER + 1, master)?;
        p.outb(SLAVE + 1, slave)?;
        let (first, second) = (p.inb(MASTER + 1)?, p.inb(SLAVE + 1)?);
        p.check_eq("master's IMR", first, master);
        p.check_eq("slave's IMR", second, slave);
    }
    Ok(())
}

fn mask_keeps_request(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    pic::raise_timer(p)?;
    let irr = pic::irr(p, MASTER)?;
    p.check_eq("IRR", irr, 1u8 << IR_TIMER);
    pic::check_acknowledged(p, "poll while masked", MASTER, None)?;
    p.outb(MASTER + 1, 0)?;
    pic::check_acknowledged(p, "poll once unmasked", MASTER, Some(IR_TIMER))
}

fn mask_leaves_others(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    raise_both(p)?;
    pic::check_acknowledged(p, "poll with IR0 masked", MASTER, Some(IR_SERIAL))
}

fn nesting_higher(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_serial(p)?;
    pic::check_acknowledged(p, "first", MASTER, Some(IR_SERIAL))?;
    pic::raise_timer(p)?;
    pic::check_acknowledged(p, "while IR4 is in service", MASTER, Some(IR_TIMER))
}

fn nesting_lower(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    pic::raise_serial(p)?;
    let irr = pic::irr(p, MASTER)?;
    p.check_eq("IRR", irr, 1u8 << IR_SERIAL);
    pic::check_acknowledged(p, "while IR0 is in service", MASTER, None)?;
    p.outb(MASTER, EOI)?;
    pic::check_acknowledged(p, "after EOI", MASTER, Some(IR_SERIAL))
}

fn nesting_same(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    pic::raise_timer(p)?;
    let irr = pic::irr(p, MASTER)?;
    p.check_eq("IRR after another rise", irr, 1u8 << IR_TIMER);
    pic::check_acknowledged(p, "while IR0 is in service", MASTER, None)?;
    p.outb(MASTER, EOI)?;
    pic::check_acknowledged(p, "after EOI", MASTER, Some(IR_TIMER))
}

fn ocw2_no_operation(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    for level in 0..8 {
        p.point(format!("level {level}"));
        p.outb(MASTER, NO_OPERATION | level)?;
        let isr = pic::isr(p, MASTER)?;
        p.check_eq("ISR", isr, 1u8 << IR_TIMER);
    }
    Ok(())
}

fn ocw3_select(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_timer(p)?;
    let (irr, isr) = (pic::irr(p, MASTER)?, pic::isr(p, MASTER)?);
    p.check_eq("IRR with a request", irr, 1u8 << IR_TIMER);
    p.check_eq("ISR with a request", isr, 0u8);
    pic::check_acknowledged(p, "poll", MASTER, Some(IR_TIMER))?;
    let (irr, isr) = (pic::irr(p, MASTER)?, pic::isr(p, MASTER)?);
    p.check_eq("IRR once in service", irr, 0u8);
    p.check_eq("ISR once in service", isr, 1u8 << IR_TIMER);
    Ok(())
}

fn ocw3_remembered(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    for (select, want) in [(READ_ISR, 1u8 << IR_TIMER), (READ_IRR, 0)] {
        p.outb(MASTER, select)?;
        for after in [OCW3, OCW3, EOI_SPECIFIC | 7] {
            p.point(format!("select {select:#x}, then {after:#x}"));
            p.outb(MASTER, after)?;
            let got = p.inb(MASTER)?;
            p.check_eq("register selected", got, want);
        }
    }
    Ok(())
}

fn poll_idle(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    // Where time passes the timer's line rises by itself, sooner or later.
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    for port in [MASTER, SLAVE] {
        p.point(format!("port {port:#x}"));
        pic::check_acknowledged(p, "poll", port, None)?;
        let isr = pic::isr(p, port)?;
        p.check_eq("ISR", isr, 0u8);
    }
    Ok(())
}

fn poll_acknowledges(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_timer(p)?;
    let got = pic::poll(p, MASTER)?;
    p.check_eq("bit 7 and the input", got & 0x87, 0x80u8 | IR_TIMER);
    let (irr, isr) = (pic::irr(p, MASTER)?, pic::isr(p, MASTER)?);
    p.check_eq("IRR", irr, 0u8);
    p.check_eq("ISR", isr, 1u8 << IR_TIMER);
    Ok(())
}

fn poll_mask_port(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER + 1, 0x42)?;
    pic::raise_timer(p)?;
    p.outb(MASTER, POLL)?;
    let got = p.inb(MASTER + 1)?;
    p.check_eq("poll at port 0x21", got & 0x87, 0x80u8 | IR_TIMER);
    let mask = p.inb(MASTER + 1)?;
    p.check_eq("IMR afterwards", mask, 0x42u8);
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR", isr, 1u8 << IR_TIMER);
    Ok(())
}

fn poll_once(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    p.outb(MASTER, READ_ISR)?;
    pic::raise_timer(p)?;
    p.outb(MASTER, POLL)?;
    let first = p.inb(MASTER)?;
    p.check_eq("the first read", first & 0x87, 0x80u8 | IR_TIMER);
    for read in 2..=3 {
        p.point(format!("read {read}"));
        let got = p.inb(MASTER)?;
        p.check_eq("ISR", got, 1u8 << IR_TIMER);
    }
    Ok(())
}

fn poll_priority(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    raise_both(p)?;
    pic::check_acknowledged(p, "first", MASTER, Some(IR_TIMER))?;
    p.outb(MASTER, EOI)?;
    pic::check_acknowledged(p, "second", MASTER, Some(IR_SERIAL))?;
    p.outb(MASTER, EOI)?;
    pic::check_acknowledged(p, "third", MASTER, None)
}

fn ports_wide(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER, READ_ISR)?;
    p.outb(MASTER + 1, 0xc3)?;
    let got = p.inw(MASTER)?;
    p.check_eq("ISR and IMR", got, 0xc300u16 | 1 << IR_TIMER);
    Ok(())
}

fn power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.facts().reserved.is_empty() {
        return Err(Stop::Unavailable("a guest has run before the first access".to_owned()));
    }
    check_cleared(p)
}

fn reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    for (port, value) in [(MASTER + 1, 0xff), (SLAVE + 1, 0xff), (ELCR_1, 0x20), (ELCR_2, 0x40)] {
        p.outb(port, value)?;
        let got = p.inb(port)?;
        p.require_eq("register before the reset", got, value)?;
    }
    p.reset()?;
    check_cleared(p)
}

fn check_cleared(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, port) in [
        ("master's IRR", MASTER),
        ("master's IMR", MASTER + 1),
        ("slave's IRR", SLAVE),
        ("slave's IMR", SLAVE + 1),
        ("port 0x4d0", ELCR_1),
        ("port 0x4d1", ELCR_2),
    ] {
        let got = p.inb(port)?;
        p.check_eq(name, got, 0u8);
    }
    for port in [MASTER, SLAVE] {
        let isr = pic::isr(p, port)?;
        p.check_eq("ISR", isr, 0u8);
    }
    p.outb(MASTER + 1, 0x5a)?;
    let mask = p.inb(MASTER + 1)?;
    p.check_eq("IMR, which is there", mask, 0x5au8);
    Ok(())
}

fn rotate_eoi(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER, ROTATE_EOI)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR", isr, 0u8);
    raise_both(p)?;
    pic::check_acknowledged(p, "first, IR0 being the lowest", MASTER, Some(IR_SERIAL))?;
    p.outb(MASTER, EOI)?;
    pic::check_acknowledged(p, "second", MASTER, Some(IR_TIMER))
}

fn rotate_specific(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER, ROTATE_SPECIFIC | IR_TIMER)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR", isr, 0u8);
    raise_both(p)?;
    pic::check_acknowledged(p, "first, IR0 being the lowest", MASTER, Some(IR_SERIAL))
}

/// IR4 is in service, and no other.
fn rotate_specific_other(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_serial(p)?;
    pic::check_acknowledged(p, "poll", MASTER, Some(IR_SERIAL))?;
    for other in (0..8).filter(|input| *input != IR_SERIAL) {
        p.point(format!("IR{other}"));
        p.outb(MASTER, ROTATE_SPECIFIC | other)?;
        let isr = pic::isr(p, MASTER)?;
        p.check_eq("ISR after a command for another input", isr, 1u8 << IR_SERIAL);
    }
    p.point("IR4");
    p.outb(MASTER, ROTATE_SPECIFIC | IR_SERIAL)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR", isr, 0u8);
    raise_both(p)?;
    pic::check_acknowledged(p, "first, IR4 being the lowest", MASTER, Some(IR_TIMER))
}

fn set_priority(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (lowest, want) in [(0, IR_SERIAL), (3, IR_SERIAL), (4, IR_TIMER), (7, IR_TIMER)] {
        p.point(format!("IR{lowest} lowest"));
        pic::start(p)?;
        p.outb(MASTER, SET_PRIORITY | lowest)?;
        raise_both(p)?;
        pic::check_acknowledged(p, "first", MASTER, Some(want))?;
    }
    Ok(())
}

/// IR2 is in service; IR4, lower than it, has to wait in special fully nested mode as in any other.
fn sfnm_master_order(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::initialize(p, ICW1, ICW4_SFNM)?;
    p.outb(MASTER + 1, 0x01)?;
    let ir = raise_transport(p, 0)?;
    pic::check_acknowledged(p, "poll of the master", MASTER, Some(IR_CASCADE))?;
    pic::check_acknowledged(p, "poll of the slave", SLAVE, Some(ir))?;
    pic::raise_serial(p)?;
    let irr = pic::irr(p, MASTER)?;
    p.check_eq("master's IRR, IR4", irr & 1 << IR_SERIAL, 1u8 << IR_SERIAL);
    pic::check_acknowledged(p, "poll of the master while it serves IR2", MASTER, None)
}

fn sfnm_slave_again(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::initialize(p, ICW1, ICW4_SFNM)?;
    p.outb(MASTER + 1, 0x01)?;
    let first = raise_transport(p, 0)?;
    pic::check_acknowledged(p, "poll of the master", MASTER, Some(IR_CASCADE))?;
    pic::check_acknowledged(p, "poll of the slave", SLAVE, Some(first))?;
    let second = raise_transport(p, 1)?;
    p.require_eq("the second input, of higher priority", second, first - 1)?;
    pic::check_acknowledged(p, "poll of the master while it serves IR2", MASTER, Some(IR_CASCADE))?;
    pic::check_acknowledged(p, "poll of the slave again", SLAVE, Some(second))
}

fn special_mask(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    pic::raise_serial(p)?;
    pic::check_acknowledged(p, "poll without the mode", MASTER, None)?;
    p.outb(MASTER, SPECIAL_MASK_ON)?;
    pic::check_acknowledged(p, "poll in the mode", MASTER, Some(IR_SERIAL))?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR", isr, 1u8 << IR_TIMER | 1 << IR_SERIAL);
    Ok(())
}

/// SMM (bit 5) alone says nothing; ESMM (bit 6) without it leaves the mode.
fn special_mask_enable(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    pic::raise_serial(p)?;
    p.outb(MASTER, SPECIAL_MASK_ON & !0x40)?;
    pic::check_acknowledged(p, "poll after SMM without ESMM", MASTER, None)?;
    p.outb(MASTER, SPECIAL_MASK_ON)?;
    p.outb(MASTER, SPECIAL_MASK_OFF)?;
    pic::check_acknowledged(p, "poll after the mode was left", MASTER, None)?;
    p.outb(MASTER, SPECIAL_MASK_ON)?;
    p.outb(MASTER, OCW3)?;
    pic::check_acknowledged(p, "poll after OCW3 without ESMM", MASTER, Some(IR_SERIAL))
}

fn special_mask_eoi(p: &mut Probe<'_>) -> Result<(), Stop> {
    serve_timer(p)?;
    p.outb(MASTER + 1, 1 << IR_TIMER)?;
    p.outb(MASTER, SPECIAL_MASK_ON)?;
    p.outb(MASTER, EOI)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR: masked, so not cleared", isr, 1u8 << IR_TIMER);
    p.outb(MASTER + 1, 0)?;
    p.outb(MASTER, EOI)?;
    let isr = pic::isr(p, MASTER)?;
    p.check_eq("ISR once unmasked", isr, 0u8);
    Ok(())
}

/// A fresh pair whose master has IR0 in service.
fn serve_timer(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    serve_timer_started(p)
}

fn serve_timer_started(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::raise_timer(p)?;
    let got = pic::poll(p, MASTER)?;
    p.require_eq("poll with IR0 requested", got & 0x87, 0x80u8 | IR_TIMER)
}

/// A fresh pair whose master has IR4 in service and, on top of it, IR0.
fn serve_both(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    for (input, raise) in [
        (IR_SERIAL, pic::raise_serial as fn(&mut Probe<'_>) -> Result<(), Stop>),
        (IR_TIMER, pic::raise_timer),
    ] {
        raise(p)?;
        let got = pic::poll(p, MASTER)?;
        p.require_eq("poll", got & 0x87, 0x80 | input)?;
    }
    let isr = pic::isr(p, MASTER)?;
    p.require_eq("ISR", isr, 1u8 << IR_TIMER | 1 << IR_SERIAL)
}

fn raise_both(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::raise_serial(p)?;
    pic::raise_timer(p)
}

/// The highest transport that has a device, or the one so many below it.
fn transport(p: &Probe<'_>, below: u8) -> Transport {
    let numbers = 0..p.setup().devices.len() as u8;
    let by_rule = numbers.map(|number| p.layout().transport_of_device(number)).max();
    let highest = p.facts().transports.iter().copied().max().or(by_rule);
    Transport::at(p, highest.unwrap_or_default().saturating_sub(below))
}

/// The slave's input that a transport drives.
fn transport_input(p: &Probe<'_>, transport: Transport) -> u8 {
    p.layout().transport_gsi(transport.index).saturating_sub(8)
}

/// Makes an entropy device interrupt, and gives the slave's input it drives.
fn raise_transport(p: &mut Probe<'_>, below: u8) -> Result<u8, Stop> {
    let transport = transport(p, below);
    let queue = Queue::at(RINGS + 0x4000 * u64::from(below), 8);
    transport.negotiate(p, 0)?;
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    queue.describe(p, 0, Descriptor::writable(queue.used + 0x1000, 16))?;
    queue.offer(p, 0, &[0])?;
    transport.write(p, reg::QUEUE_NOTIFY, 0)?;
    let mut pending = 0;
    for _ in 0..LOOKS_MAX {
        pending = transport.read(p, reg::INTERRUPT_STATUS)?;
        if pending != 0 {
            break;
        }
    }
    p.require_eq("InterruptStatus", pending, 1u32)?;
    Ok(transport_input(p, transport))
}

const RINGS: u64 = 0x40_0000;
const LOOKS_MAX: usize = 200;

fn elcr_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (port, value) in [(ELCR_1, 0xf8u8), (ELCR_2, 0xde)] {
        p.outb(port, value)?;
        let before = p.inb(port)?;
        p.require_eq("edge/level register before the reset", before, value)?;
    }
    p.reset()?;
    for port in [ELCR_1, ELCR_2] {
        p.point(format!("port {port:#x}"));
        let after = p.inb(port)?;
        p.check_eq("edge/level register", after, 0u8);
    }
    Ok(())
}

/// IR0, which cannot be level-triggered, stays requested throughout.
fn level_from_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::start(p)?;
    pic::raise_timer(p)?;
    pic::raise_serial(p)?;
    pic::lower_serial(p)?;
    for elcr in [1 << IR_SERIAL, 0] {
        p.outb(ELCR_1, elcr)?;
        let low = pic::irr(p, MASTER)?;
        p.check_eq(
            &format!("IRR with {elcr:#x} written while IR4 is low"),
            low,
            1u8 << IR_TIMER,
        );
    }
    Ok(())
}
