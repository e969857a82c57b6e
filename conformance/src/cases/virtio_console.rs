//! The console with one port. What is sent comes back, in pieces as the peer likes.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::virtio as clause;
use crate::driver::virtio_console::{EMERG_WR, EMERG_WRITE, ID_CONSOLE, receive};
use crate::driver::virtio_mmio::{Descriptor, INDIRECT_DESC, Transport, reg, status};
use crate::driver::virtio_pair::{FILL, Pair, SLOTS, received_at, sent_at, writable_parts};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;
use crate::subject::peer;

mod held;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::CONSOLE_PORT,
    level: Level::Must,
    features: &[Feature::VirtioMmio, Feature::VirtioModern],
    needs: Caps::QUEUES,
    setup: MODERN,
    body: Body::Bus(echo_short),
};

const MODERN: Setup = Setup {
    modern: true,
    devices: &[peer::CONSOLE],
    ..Setup::DEFAULT
};
const LEGACY: Setup = Setup {
    modern: false,
    devices: &[peer::CONSOLE],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "virtio-console/device/type",
        title: "The console has type 3.",
        clause: &clause::DEVICE_ID,
        needs: Caps::NONE,
        body: Body::Bus(device_type),
        ..AREA
    },
    Case {
        id: "virtio-console/echo/held",
        title: "A text that waits for the driver's buffers comes whole and in order once they are there.",
        body: Body::Bus(held::echo),
        ..AREA
    },
    Case {
        id: "virtio-console/echo/long",
        title: "A text longer than any buffer goes out and comes back whole and in order.",
        body: Body::Bus(echo_long),
        ..AREA
    },
    Case {
        id: "virtio-console/echo/short",
        title: "Bytes go out and come back, of every value.",
        ..AREA
    },
    Case {
        id: "virtio-console/emergency/allowed",
        title: "Characters written to emerg_wr before DRIVER_OK, and while nobody reads, do no harm.",
        clause: &clause::CONSOLE_EMERGENCY_ALLOWED,
        body: Body::Bus(held::emergency),
        ..AREA
    },
    Case {
        id: "virtio-console/emergency/other-fields",
        title: "What is written to other fields than emerg_wr is not sent.",
        clause: &clause::CONSOLE_CONFIG,
        body: Body::Bus(emergency_other),
        ..AREA
    },
    Case {
        id: "virtio-console/emergency/running",
        title: "A character written to emerg_wr is sent.",
        clause: &clause::CONSOLE_EMERGENCY,
        level: Level::Should,
        body: Body::Bus(emergency_running),
        ..AREA
    },
    Case {
        id: "virtio-console/emergency/unconfigured",
        title: "A character written to emerg_wr before DRIVER_OK is sent.",
        clause: &clause::CONSOLE_EMERGENCY,
        level: Level::Should,
        body: Body::Bus(emergency_unconfigured),
        ..AREA
    },
    Case {
        id: "virtio-console/features/reserved",
        title: "The console offers no bit that is reserved without a meaning.",
        clause: &clause::FEATURES_RESERVED,
        level: Level::Should,
        needs: Caps::NONE,
        body: Body::Bus(features_reserved),
        ..AREA
    },
    Case {
        id: "virtio-console/hostile/receive-not-writable",
        title: "A buffer to receive into that the console cannot write does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_receive),
        ..AREA
    },
    Case {
        id: "virtio-console/hostile/transmit-writable",
        title: "A request to send that the console is to write does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_transmit),
        ..AREA
    },
    Case {
        id: "virtio-console/legacy/echo",
        title: "A legacy driver sends bytes and gets them back.",
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(legacy_echo),
        ..AREA
    },
    Case {
        id: "virtio-console/legacy/indirect",
        title: "A legacy driver's bytes are sent out of an indirect table.",
        clause: &clause::INDIRECT,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(held::legacy_indirect),
        ..AREA
    },
    Case {
        id: "virtio-console/receive/late-buffers",
        title: "Bytes that come while there is no buffer wait for one.",
        level: Level::Should,
        body: Body::Bus(receive_late),
        ..AREA
    },
    Case {
        id: "virtio-console/receive/notifies",
        title: "Bytes that arrive are a used buffer notification.",
        clause: &clause::USED_RING,
        body: Body::Bus(receive_notifies),
        ..AREA
    },
    Case {
        id: "virtio-console/receive/scattered",
        title: "A buffer of the console may be cut into descriptors anywhere.",
        clause: &clause::FRAMING,
        body: Body::Bus(receive_scattered),
        ..AREA
    },
    Case {
        id: "virtio-console/receive/used-length",
        title: "The length of a buffer that came back is what was written to it, from its start on.",
        clause: &clause::USED_LENGTH,
        body: Body::Bus(receive_length),
        ..AREA
    },
    Case {
        id: "virtio-console/reset/held",
        title: "What waited to be sent at a reset is not used on the next driver's queue.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(held::reset),
        ..AREA
    },
    Case {
        id: "virtio-console/reset/quiet",
        title: "Bytes that come after a reset stay out of the buffers of before.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_quiet),
        ..AREA
    },
    Case {
        id: "virtio-console/transmit/indirect",
        title: "Bytes are sent out of an indirect table.",
        clause: &clause::INDIRECT,
        body: Body::Bus(transmit_indirect),
        ..AREA
    },
    Case {
        id: "virtio-console/transmit/scattered",
        title: "A request to send may be cut into descriptors anywhere.",
        clause: &clause::FRAMING,
        body: Body::Bus(transmit_scattered),
        ..AREA
    },
    Case {
        id: "virtio-console/transmit/uses-buffer",
        title: "The buffer of bytes that were sent comes back, and nothing was written to it.",
        body: Body::Bus(transmit_uses),
        ..AREA
    },
];

/// Bytes of a buffer to receive into, where it does not matter.
const BUFFER_BYTES: u32 = 64;

/// Makes a case not apply where the device does not offer what it is about.
fn need(p: &mut Probe<'_>, bit: u32, name: &str) -> Result<(), Stop> {
    let offered = Transport::first_device(p).features(p, 0)?;
    if offered & bit == 0 {
        return Err(Stop::NotApplicable(format!("the device does not offer {name}")));
    }
    Ok(())
}

/// A started console with buffers to receive into.
fn start(p: &mut Probe<'_>, features: u32) -> Result<Pair, Stop> {
    let mut pair = Pair::start(p, features)?;
    give_all(p, &mut pair)?;
    Ok(pair)
}

fn give_all(p: &mut Probe<'_>, pair: &mut Pair) -> Result<(), Stop> {
    for _ in 0..SLOTS {
        pair.give(p, BUFFER_BYTES)?;
    }
    Ok(())
}

/// Wants bytes to come back from buffer number `number` on; returns the number of the next.
fn want(p: &mut Probe<'_>, pair: &mut Pair, number: u16, bytes: &[u8]) -> Result<u16, Stop> {
    let (got, next) = receive(p, pair, number, bytes.len(), BUFFER_BYTES)?;
    p.check_bytes("bytes that came back", &got, bytes);
    Ok(next)
}

fn works_after_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = start(p, 0)?;
    pair.send(p, b"still here?")?;
    pair.wait_sent(p)?;
    want(p, &mut pair, 0, b"still here?")?;
    Ok(())
}

/// Looks for a while at a device that may complete, ask for a reset, or do nothing.
fn look(p: &mut Probe<'_>, pair: &Pair) -> Result<(), Stop> {
    for _ in 0..HOSTILE_LOOKS_MAX {
        let needs_reset = pair.transport.status(p)? & status::DEVICE_NEEDS_RESET != 0;
        if needs_reset || pair.transmit.used_idx(p)? != 0 {
            break;
        }
    }
    Ok(())
}

/// Looks at a device that may well never answer.
const HOSTILE_LOOKS_MAX: usize = 100;

fn device_type(p: &mut Probe<'_>) -> Result<(), Stop> {
    let id = Transport::first_device(p).read(p, reg::DEVICE_ID)?;
    p.check_eq("DeviceID", id, ID_CONSOLE);
    Ok(())
}

fn features_reserved(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let id = transport.read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_CONSOLE)?;
    let low = transport.features(p, 0)?;
    let high = transport.features(p, 1)?;
    p.check_eq("reserved bits of word 0", low & RESERVED_WORD_0, 0u32);
    p.check_eq("reserved bits of word 1", high & RESERVED_WORD_1, 0u32);
    Ok(())
}

/// Bits 24 to 27, 30 and 31: of legacy devices, or of nobody.
const RESERVED_WORD_0: u32 = 0xcf00_0000;
/// Bits 41 to 49.
const RESERVED_WORD_1: u32 = 0x0003_fe00;

fn echo_short(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = start(p, 0)?;
    let mut number = 0;
    for first in [0x00, 0x40, 0x80, 0xc0] {
        p.point(format!("from {first:#04x}"));
        let bytes: Vec<u8> = (first..=first + 0x3f).collect();
        pair.send(p, &bytes)?;
        pair.wait_sent(p)?;
        number = want(p, &mut pair, number, &bytes)?;
    }
    Ok(())
}

fn echo_long(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = start(p, 0)?;
    let text: Vec<u8> = (0..2000).map(|at: usize| (at * 7 / 5) as u8).collect();
    pair.send(p, &text)?;
    want(p, &mut pair, 0, &text)?;
    pair.wait_sent(p)?;
    Ok(())
}

fn transmit_uses(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    for number in 0..2 * SLOTS {
        p.point(format!("request {number}"));
        pair.send(p, b"some bytes")?;
        let (slot, used_bytes) = pair.wait_sent(p)?;
        p.check_eq("slot returned", slot, number % SLOTS);
        p.check_eq("length in the used ring", used_bytes, 0u32);
    }
    Ok(())
}

fn transmit_scattered(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = start(p, 0)?;
    let text = b"a text in four parts";
    pair.send_parts(p, text, &[1, 2, 10, 7])?;
    pair.wait_sent(p)?;
    want(p, &mut pair, 0, text)?;
    Ok(())
}

fn transmit_indirect(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, INDIRECT_DESC, "INDIRECT_DESC")?;
    let mut pair = start(p, INDIRECT_DESC)?;
    let text = b"a text in three parts";
    pair.send_indirect(p, text, &[8, 12, 1])?;
    let (_, used_bytes) = pair.wait_sent(p)?;
    p.check_eq("length in the used ring", used_bytes, 0u32);
    want(p, &mut pair, 0, text)?;
    Ok(())
}

fn receive_scattered(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    p.write_memory(received_at(0), &[FILL; 64])?;
    pair.give_chain(p, &writable_parts(0, &[1, 2, 3, 58]))?;
    pair.send(p, b"eight ch")?;
    pair.wait_sent(p)?;
    let received = pair.wait_received(p, 0)?;
    let start = b"eight ch".get(..received.bytes.len()).unwrap_or(b"eight ch");
    p.check_bytes("bytes that came back", &received.bytes, start);
    p.check("length in the used ring", received.used_bytes != 0, "0", "1 or more");
    Ok(())
}

fn receive_length(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.give(p, BUFFER_BYTES)?;
    pair.send(p, b"12345")?;
    pair.wait_sent(p)?;
    let received = pair.wait_received(p, 0)?;
    let fits = (1..=5).contains(&received.used_bytes);
    p.check(
        "length in the used ring",
        fits,
        received.used_bytes.to_string(),
        "1 to 5",
    );
    let memory = p.read_memory(received_at(0), BUFFER_BYTES as usize)?;
    let (written, rest) = memory.split_at(received.used_bytes.min(5) as usize);
    p.check_bytes("bytes that came back", written, &b"12345"[..written.len()]);
    p.check_bytes("rest of the buffer", rest, &vec![FILL; rest.len()]);
    Ok(())
}

fn receive_notifies(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = start(p, 0)?;
    // The transmit queue asks for no notification: what comes is the receive queue's.
    p.write_memory(pair.transmit.avail, &1_u16.to_le_bytes())?;
    pair.send(p, b"ring")?;
    pair.wait_sent(p)?;
    pair.wait_received(p, 0)?;
    let interrupts = pair.transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("used buffer notification in InterruptStatus", interrupts & 1, 1u32);
    Ok(())
}

fn receive_late(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.send(p, b"early")?;
    pair.wait_sent(p)?;
    let used = pair.look_received(p, 1)?;
    p.check_eq("buffers used while there are none", used, 0u16);
    give_all(p, &mut pair)?;
    want(p, &mut pair, 0, b"early")?;
    Ok(())
}

fn emergency_running(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, EMERG_WRITE, "EMERG_WRITE")?;
    let mut pair = Pair::start(p, EMERG_WRITE)?;
    pair.transport.write(p, reg::CONFIG + EMERG_WR, u32::from(b'!'))?;
    give_all(p, &mut pair)?;
    want(p, &mut pair, 0, b"!")?;
    Ok(())
}

fn emergency_unconfigured(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, EMERG_WRITE, "EMERG_WRITE")?;
    let mut pair = Pair::prepare(p, 0)?;
    pair.transport.write(p, reg::CONFIG + EMERG_WR, u32::from(b'?'))?;
    pair.transport.driver_ok(p)?;
    give_all(p, &mut pair)?;
    want(p, &mut pair, 0, b"?")?;
    Ok(())
}

fn emergency_other(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    let config = pair.transport.base + reg::CONFIG;
    for at in 0..EMERG_WR {
        p.store(config + at, Width::Byte, u64::from(b'a') + at)?;
    }
    for at in (0..EMERG_WR).step_by(4) {
        p.store(config + at, Width::Dword, 0x7878_7878)?;
    }
    give_all(p, &mut pair)?;
    pair.send(p, b"sent")?;
    pair.wait_sent(p)?;
    want(p, &mut pair, 0, b"sent")?;
    Ok(())
}

fn hostile_receive(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    p.write_memory(received_at(0), &[FILL; 64])?;
    let readable = Descriptor {
        flags: 0,
        ..Descriptor::writable(received_at(0), 64)
    };
    pair.give_chain(p, &[readable])?;
    pair.send(p, b"nowhere")?;
    look(p, &pair)?;
    pair.look_received(p, 1)?;
    let got = p.read_memory(received_at(0), 64)?;
    p.check_bytes("memory that the device may only read", &got, &[FILL; 64]);
    // What waits at the peer may still come: only that the console is alive is asked.
    let mut pair = start(p, 0)?;
    pair.send(p, b"again")?;
    pair.wait_sent(p)?;
    pair.wait_received(p, 0)?;
    Ok(())
}

fn hostile_transmit(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = start(p, 0)?;
    p.write_memory(sent_at(0), &[FILL; 64])?;
    pair.send_chain(p, &[Descriptor::writable(sent_at(0), 64)])?;
    look(p, &pair)?;
    let got = p.read_memory(sent_at(0), 64)?;
    p.check_bytes("buffer in the transmit queue", &got, &[FILL; 64]);
    works_after_reset(p)
}

fn reset_quiet(p: &mut Probe<'_>) -> Result<(), Stop> {
    let pair = start(p, 0)?;
    pair.transport.write(p, reg::STATUS, 0)?;
    let mut pair = Pair::start(p, 0)?;
    // From here on the buffers are the driver's again.
    for slot in 0..SLOTS {
        p.write_memory(received_at(slot), &[FILL; 64])?;
    }
    pair.send(p, b"after the reset")?;
    pair.wait_sent(p)?;
    let used = pair.look_received(p, 1)?;
    p.check_eq("buffers used while there are none", used, 0u16);
    for slot in 0..SLOTS {
        let got = p.read_memory(received_at(slot), 64)?;
        p.check_bytes("buffer of before the reset", &got, &[FILL; 64]);
    }
    Ok(())
}

fn legacy_echo(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start_legacy(p, 0)?;
    give_all(p, &mut pair)?;
    pair.send(p, b"legacy")?;
    let (_, used_bytes) = pair.wait_sent(p)?;
    p.check_eq("length in the used ring", used_bytes, 0u32);
    want(p, &mut pair, 0, b"legacy")?;
    Ok(())
}
