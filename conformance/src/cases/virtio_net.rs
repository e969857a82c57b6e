//! The network device. What is sent comes back, in order or not, some time after its buffer was used.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::virtio as clause;
use crate::driver::virtio_mmio::{Descriptor, INDIRECT_DESC, Transport, reg, status};
use crate::driver::virtio_net::{
    BUFFER_BYTES, HEADER_BYTES, ID_NET, LEGACY_HEADER_BYTES, LINK_UP, NEEDS, config, feature, frame, header, packet,
};
use crate::driver::virtio_pair::{FILL, Pair, SLOT_BYTES, SLOTS, received_at, sent_at, writable_parts};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;
use crate::subject::peer;

mod many;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::NET_RECEIVE,
    level: Level::Must,
    features: &[Feature::VirtioMmio, Feature::VirtioModern],
    needs: Caps::QUEUES,
    setup: MODERN,
    body: Body::Bus(receive_frames),
};

const MODERN: Setup = Setup {
    modern: true,
    devices: &[peer::NETWORK],
    ..Setup::DEFAULT
};
const LEGACY: Setup = Setup {
    modern: false,
    devices: &[peer::NETWORK],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "virtio-net/config/legacy-mac",
        title: "The address that a legacy driver writes is the one that it reads.",
        clause: &clause::NET_MAC_LEGACY,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        needs: Caps::NONE,
        setup: LEGACY,
        body: Body::Bus(config_legacy_mac),
        ..AREA
    },
    Case {
        id: "virtio-net/config/link-up",
        title: "The status says that the link is up.",
        clause: &clause::NET_STATUS,
        needs: Caps::NONE,
        body: Body::Bus(config_link),
        ..AREA
    },
    Case {
        id: "virtio-net/config/mac",
        title: "The configuration space begins with the address that the device was given.",
        clause: &clause::NET_MAC,
        needs: Caps::NONE,
        body: Body::Bus(config_mac),
        ..AREA
    },
    Case {
        id: "virtio-net/config/read-only",
        title: "A modern driver cannot write address or status.",
        clause: &clause::NET_CONFIG_READ_ONLY,
        needs: Caps::NONE,
        body: Body::Bus(config_read_only),
        ..AREA
    },
    Case {
        id: "virtio-net/device/type",
        title: "The network device has type 1.",
        clause: &clause::DEVICE_ID,
        needs: Caps::NONE,
        body: Body::Bus(device_type),
        ..AREA
    },
    Case {
        id: "virtio-net/features/complete",
        title: "Each feature that the network device offers comes with what it requires.",
        clause: &clause::FEATURES_NEED,
        needs: Caps::NONE,
        body: Body::Bus(features_complete),
        ..AREA
    },
    Case {
        id: "virtio-net/features/reserved",
        title: "The network device offers no bit that is reserved without a meaning.",
        clause: &clause::FEATURES_RESERVED,
        level: Level::Should,
        needs: Caps::NONE,
        body: Body::Bus(features_reserved),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/huge-frame",
        title: "A frame longer than any network carries does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_huge),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/huge-frame-mergeable",
        title: "A frame longer than any network carries does no harm to buffers that may be merged.",
        clause: &clause::SURVIVES,
        body: Body::Bus(many::huge),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/receive-not-writable",
        title: "A buffer to receive into that the device cannot write does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_receive),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/receive-too-small",
        title: "A buffer too small for a frame does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_small),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/receive-without-header",
        title: "A buffer too small for the header of a frame does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_tiny),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/short-header",
        title: "A request to send that is too short for its header does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_header),
        ..AREA
    },
    Case {
        id: "virtio-net/hostile/transmit-writable",
        title: "A request to send that the device is to write does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_transmit),
        ..AREA
    },
    Case {
        id: "virtio-net/legacy/any-layout",
        title: "A legacy driver that accepted ANY_LAYOUT puts header and frame into one buffer.",
        clause: &clause::FRAMING,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(many::legacy_any_layout),
        ..AREA
    },
    Case {
        id: "virtio-net/legacy/header",
        title: "The header of a legacy device has 10 bytes.",
        clause: &clause::NET_LEGACY_HEADER,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(legacy_header),
        ..AREA
    },
    Case {
        id: "virtio-net/legacy/header-mergeable",
        title: "The header of a legacy device with mergeable buffers has 12 bytes.",
        clause: &clause::NET_LEGACY_HEADER,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(legacy_header_mergeable),
        ..AREA
    },
    Case {
        id: "virtio-net/legacy/indirect",
        title: "A legacy driver's frame is sent out of an indirect table.",
        clause: &clause::INDIRECT,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(many::legacy_indirect),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/burst",
        title: "Frames that were sent with one notification all arrive, where there is a buffer for each.",
        body: Body::Bus(many::burst),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/frames",
        title: "Frames of every size up to 1514 bytes arrive unchanged, and their lengths count the header.",
        ..AREA
    },
    Case {
        id: "virtio-net/receive/header-without-offload",
        title: "The header of a frame says nothing that was not negotiated.",
        clause: &clause::NET_HEADER,
        body: Body::Bus(receive_header),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/keeps-up",
        title: "Frames arrive one as the other, however many went before.",
        body: Body::Bus(many::keeps_up),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/late-buffers",
        title: "A frame that finds no buffer waits or is lost, and later ones arrive.",
        body: Body::Bus(receive_late),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/merged",
        title: "A frame is spread over mergeable buffers, each but the last full, and their number is told.",
        clause: &clause::NET_MERGED,
        body: Body::Bus(receive_merged),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/notifies",
        title: "A frame that arrives is a used buffer notification.",
        clause: &clause::USED_RING,
        body: Body::Bus(receive_notifies),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/num-buffers",
        title: "A frame in a buffer that is not mergeable says that it has one.",
        clause: &clause::NET_NUM_BUFFERS,
        body: Body::Bus(receive_num_buffers),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/scattered",
        title: "A buffer to receive into may be cut into descriptors anywhere.",
        clause: &clause::FRAMING,
        body: Body::Bus(receive_scattered),
        ..AREA
    },
    Case {
        id: "virtio-net/receive/unmerged",
        title: "A frame is not spread over buffers that were not said to be mergeable.",
        clause: &clause::NET_UNMERGED,
        body: Body::Bus(many::unmerged),
        ..AREA
    },
    Case {
        id: "virtio-net/reset/quiet",
        title: "A frame that comes after a reset stays out of the buffers of before.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_quiet),
        ..AREA
    },
    Case {
        id: "virtio-net/transmit/indirect",
        title: "A frame is sent out of an indirect table.",
        clause: &clause::INDIRECT,
        body: Body::Bus(transmit_indirect),
        ..AREA
    },
    Case {
        id: "virtio-net/transmit/scattered",
        title: "Header and frame may be cut into descriptors anywhere.",
        clause: &clause::FRAMING,
        body: Body::Bus(transmit_scattered),
        ..AREA
    },
    Case {
        id: "virtio-net/transmit/uses-buffer",
        title: "The buffer of a frame that was sent comes back, and nothing was written to it.",
        clause: &clause::NET_TRANSMIT,
        body: Body::Bus(transmit_uses),
        ..AREA
    },
];

/// Makes a case not apply where the device does not offer what it is about.
fn need(p: &mut Probe<'_>, bit: u32, name: &str) -> Result<(), Stop> {
    let offered = Transport::first_device(p).features(p, 0)?;
    if offered & bit == 0 {
        return Err(Stop::NotApplicable(format!("the device does not offer {name}")));
    }
    Ok(())
}

/// Compares a frame, or what else came, without printing all of it.
fn check_frame(p: &mut Probe<'_>, what: &str, got: &[u8], want: &[u8]) {
    let differ = got.iter().zip(want).position(|(got, want)| got != want);
    let (got_text, want_text) = match differ {
        Some(at) => (
            format!("{:#04x} at byte {at}", got[at]),
            format!("{:#04x} at byte {at}", want[at]),
        ),
        None => (format!("{} bytes", got.len()), format!("{} bytes", want.len())),
    };
    p.check(what, got == want, got_text, want_text);
}

/// Sends a frame of `length` bytes and wants it back in buffer number `number`, unchanged.
fn exchange(p: &mut Probe<'_>, pair: &mut Pair, number: u16, seed: u8, length: usize) -> Result<Vec<u8>, Stop> {
    let frame = frame(seed, length);
    pair.send(p, &packet(HEADER_BYTES, &frame))?;
    pair.wait_sent(p)?;
    let received = pair.wait_received(p, number)?;
    p.check_eq(
        "length in the used ring",
        received.used_bytes,
        (HEADER_BYTES + frame.len()) as u32,
    );
    let (header, got) = received.bytes.split_at(HEADER_BYTES.min(received.bytes.len()));
    check_frame(p, "frame", got, &frame);
    Ok(header.to_vec())
}

/// A device that may be broken works after a reset.
fn works_after_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.give(p, BUFFER_BYTES)?;
    exchange(p, &mut pair, 0, 0x3c, 100)?;
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
    p.check_eq("DeviceID", id, ID_NET);
    Ok(())
}

fn config_mac(p: &mut Probe<'_>) -> Result<(), Stop> {
    // Without the feature a driver makes up an address of its own.
    let transport = Transport::first_device(p);
    let offered = transport.features(p, 0)?;
    p.require_eq("MAC offered", offered & feature::MAC, feature::MAC)?;
    let mut mac = Vec::new();
    for at in 0..peer::MAC.len() as u64 {
        mac.push(p.load(transport.base + reg::CONFIG + config::MAC + at, Width::Byte)? as u8);
    }
    p.check_bytes("mac", &mac, &peer::MAC);
    Ok(())
}

fn config_link(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::STATUS, "STATUS")?;
    let transport = Transport::first_device(p);
    transport.negotiate(p, feature::STATUS)?;
    let status = p.load(transport.base + reg::CONFIG + config::STATUS, Width::Word)?;
    p.check_eq("status", status, LINK_UP);
    Ok(())
}

/// The first bytes of the configuration space, address and status.
fn config_bytes(p: &mut Probe<'_>, transport: Transport) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    for at in 0..config::STATUS + 2 {
        bytes.push(p.load(transport.base + reg::CONFIG + at, Width::Byte)? as u8);
    }
    Ok(bytes)
}

fn config_read_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    // Address and status mean something with their features only.
    let features = transport.features(p, 0)? & (feature::MAC | feature::STATUS);
    transport.negotiate(p, features)?;
    let before = config_bytes(p, transport)?;
    for (at, byte) in (0..config::STATUS + 2).zip(0x5a..) {
        p.store(transport.base + reg::CONFIG + at, Width::Byte, byte)?;
    }
    let after = config_bytes(p, transport)?;
    p.check_bytes("address and status after writes", &after, &before);
    p.require_eq("MAC offered", features & feature::MAC, feature::MAC)?;
    p.check_bytes("address", &after[..peer::MAC.len()], &peer::MAC);
    Ok(())
}

fn config_legacy_mac(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.acknowledge(p)?;
    transport.accept(p, 0, feature::MAC)?;
    let mac = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
    // As the specification tells of such drivers: from the first byte to the last.
    for (at, byte) in (config::MAC..).zip(mac) {
        p.store(transport.base + reg::CONFIG + at, Width::Byte, u64::from(byte))?;
    }
    let got = config_bytes(p, transport)?;
    p.check_bytes("address that was written", &got[..mac.len()], &mac);
    Ok(())
}

fn features_complete(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let id = transport.read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_NET)?;
    let offered = transport.features(p, 0)?;
    for (name, bit, needs) in NEEDS {
        p.point(name);
        let holds = offered & bit == 0 || offered & needs != 0;
        p.check(
            "features that it requires",
            holds,
            format!("{:#x}", offered & needs),
            format!("one of {needs:#x}"),
        );
    }
    Ok(())
}

fn features_reserved(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let id = transport.read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_NET)?;
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

fn transmit_uses(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    for number in 0..2 * SLOTS {
        p.point(format!("frame {number}"));
        pair.send(p, &packet(HEADER_BYTES, &frame(number as u8, 60)))?;
        let (slot, used_bytes) = pair.wait_sent(p)?;
        p.check_eq("slot returned", slot, number % SLOTS);
        p.check_eq("length in the used ring", used_bytes, 0u32);
    }
    Ok(())
}

fn transmit_scattered(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.give(p, BUFFER_BYTES)?;
    pair.give(p, BUFFER_BYTES)?;
    for (number, lengths) in [[1, 10, 2, 187], [12, 13, 1, 174]].into_iter().enumerate() {
        p.point(format!("{lengths:?}"));
        let frame = frame(number as u8 + 1, 188);
        pair.send_parts(p, &packet(HEADER_BYTES, &frame), &lengths)?;
        pair.wait_sent(p)?;
        let received = pair.wait_received(p, number as u16)?;
        check_frame(
            p,
            "frame",
            received.bytes.get(HEADER_BYTES..).unwrap_or_default(),
            &frame,
        );
    }
    Ok(())
}

fn transmit_indirect(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, INDIRECT_DESC, "INDIRECT_DESC")?;
    let mut pair = Pair::start(p, INDIRECT_DESC)?;
    pair.give(p, BUFFER_BYTES)?;
    let frame = frame(5, 300);
    pair.send_indirect(p, &packet(HEADER_BYTES, &frame), &[12, 100, 200])?;
    let (_, used_bytes) = pair.wait_sent(p)?;
    p.check_eq("length in the used ring", used_bytes, 0u32);
    let received = pair.wait_received(p, 0)?;
    check_frame(
        p,
        "frame",
        received.bytes.get(HEADER_BYTES..).unwrap_or_default(),
        &frame,
    );
    Ok(())
}

fn receive_frames(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    for (number, length) in [60, 61, 128, 1000, 1513, 1514].into_iter().enumerate() {
        p.point(format!("{length} bytes"));
        pair.give(p, BUFFER_BYTES)?;
        exchange(p, &mut pair, number as u16, number as u8, length)?;
    }
    Ok(())
}

fn receive_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.give(p, BUFFER_BYTES)?;
    let got = exchange(p, &mut pair, 0, 1, 90)?;
    let field = |at: usize| got.get(at).copied().unwrap_or(FILL);
    p.check_eq("flags", field(header::FLAGS), 0u8);
    p.check_eq("gso_type", field(header::GSO_TYPE), 0u8);
    Ok(())
}

fn receive_num_buffers(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.give(p, BUFFER_BYTES)?;
    let got = exchange(p, &mut pair, 0, 1, 90)?;
    let field = got.get(header::NUM_BUFFERS..header::NUM_BUFFERS + 2);
    p.check_bytes("num_buffers", field.unwrap_or_default(), &[1, 0]);
    Ok(())
}

fn receive_merged(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::MRG_RXBUF, "MRG_RXBUF")?;
    let mut pair = Pair::start(p, feature::MRG_RXBUF)?;
    for length in [200, 300, 400] {
        pair.give(p, length)?;
    }
    let frame = frame(9, 600);
    pair.send(p, &packet(HEADER_BYTES, &frame))?;
    pair.wait_sent(p)?;
    let mut got = Vec::new();
    for (number, want) in [200, 300, 112].into_iter().enumerate() {
        p.point(format!("buffer {number}"));
        let received = pair.wait_received(p, number as u16)?;
        p.check_eq("length in the used ring", received.used_bytes, want as u32);
        got.extend(received.bytes);
    }
    let (header, rest) = got.split_at(HEADER_BYTES.min(got.len()));
    let field = header.get(header::NUM_BUFFERS..header::NUM_BUFFERS + 2);
    p.check_bytes("num_buffers", field.unwrap_or_default(), &[3, 0]);
    check_frame(p, "frame", rest, &frame);
    Ok(())
}

fn receive_scattered(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    p.write_memory(received_at(0), &[FILL; SLOT_BYTES])?;
    pair.give_chain(p, &writable_parts(0, &[12, 20, 1, 1600]))?;
    exchange(p, &mut pair, 0, 4, 700)?;
    let behind = p.read_memory(received_at(0) + 712, 8)?;
    p.check_bytes("memory behind the frame", &behind, &[FILL; 8]);
    Ok(())
}

fn receive_notifies(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.give(p, BUFFER_BYTES)?;
    // The transmit queue asks for no notification: what comes is the receive queue's.
    p.write_memory(pair.transmit.avail, &1_u16.to_le_bytes())?;
    exchange(p, &mut pair, 0, 4, 64)?;
    let interrupts = pair.transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("used buffer notification in InterruptStatus", interrupts & 1, 1u32);
    Ok(())
}

fn receive_late(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    let (early, late) = (frame(1, 80), frame(2, 81));
    pair.send(p, &packet(HEADER_BYTES, &early))?;
    pair.wait_sent(p)?;
    let used = pair.look_received(p, 1)?;
    p.check_eq("buffers used while there are none", used, 0u16);
    pair.give(p, BUFFER_BYTES)?;
    pair.give(p, BUFFER_BYTES)?;
    pair.look_received(p, 1)?;
    pair.send(p, &packet(HEADER_BYTES, &late))?;
    pair.wait_sent(p)?;
    let mut received = pair.wait_received(p, 0)?;
    if received.bytes.get(HEADER_BYTES..) == Some(&early[..]) {
        received = pair.wait_received(p, 1)?;
    }
    check_frame(
        p,
        "later frame",
        received.bytes.get(HEADER_BYTES..).unwrap_or_default(),
        &late,
    );
    Ok(())
}

fn hostile_small(p: &mut Probe<'_>) -> Result<(), Stop> {
    receive_into(p, &[12, 13, 40, 211])
}

fn hostile_tiny(p: &mut Probe<'_>) -> Result<(), Stop> {
    receive_into(p, &[1, 10, 11])
}

/// Lets a frame of 212 bytes with its header come to a buffer of fewer.
fn receive_into(p: &mut Probe<'_>, lengths: &[u32]) -> Result<(), Stop> {
    for &length in lengths {
        p.point(format!("{length} bytes"));
        let mut pair = Pair::start(p, 0)?;
        p.write_memory(received_at(0), &[FILL; 512])?;
        pair.give(p, length)?;
        pair.send(p, &packet(HEADER_BYTES, &frame(1, 200)))?;
        pair.look_received(p, 1)?;
        let behind = p.read_memory(received_at(0) + u64::from(length), 64)?;
        p.check_bytes("memory behind the buffer", &behind, &[FILL; 64]);
    }
    works_after_reset(p)
}

fn hostile_receive(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    p.write_memory(received_at(0), &[FILL; 256])?;
    let readable = Descriptor {
        flags: 0,
        ..Descriptor::writable(received_at(0), BUFFER_BYTES)
    };
    pair.give_chain(p, &[readable])?;
    pair.send(p, &packet(HEADER_BYTES, &frame(1, 200)))?;
    look(p, &pair)?;
    let got = p.read_memory(received_at(0), 256)?;
    check_frame(p, "memory that the device may only read", &got, &[FILL; 256]);
    works_after_reset(p)
}

fn hostile_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    for length in [1, 10, 11] {
        p.point(format!("{length} bytes"));
        let mut pair = Pair::start(p, 0)?;
        pair.give(p, BUFFER_BYTES)?;
        pair.send(p, &vec![0; length])?;
        look(p, &pair)?;
        let used = pair.look_received(p, 1)?;
        p.check_eq("frames that came", used, 0u16);
    }
    works_after_reset(p)
}

fn hostile_transmit(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    p.write_memory(sent_at(0), &[FILL; 256])?;
    pair.send_chain(p, &[Descriptor::writable(sent_at(0), 256)])?;
    look(p, &pair)?;
    let got = p.read_memory(sent_at(0), 256)?;
    check_frame(p, "buffer in the transmit queue", &got, &[FILL; 256]);
    works_after_reset(p)
}

fn hostile_huge(p: &mut Probe<'_>) -> Result<(), Stop> {
    // One and the same MiB, four times over.
    let part = Descriptor {
        flags: 0,
        ..Descriptor::writable(0x50_0000, 1 << 20)
    };
    for parts in [1, 4] {
        p.point(format!("{parts} MiB"));
        let mut pair = Pair::start(p, 0)?;
        pair.give(p, BUFFER_BYTES)?;
        pair.send_chain(p, &vec![part; parts])?;
        look(p, &pair)?;
        let used = pair.look_received(p, 1)?;
        p.check_eq("frames that came", used, 0u16);
    }
    works_after_reset(p)
}

fn reset_quiet(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    for _ in 0..SLOTS {
        pair.give(p, BUFFER_BYTES)?;
    }
    pair.transport.write(p, reg::STATUS, 0)?;
    let mut pair = Pair::start(p, 0)?;
    // From here on the buffers are the driver's again.
    for slot in 0..SLOTS {
        p.write_memory(received_at(slot), &[FILL; 256])?;
    }
    pair.send(p, &packet(HEADER_BYTES, &frame(7, 200)))?;
    pair.wait_sent(p)?;
    let used = pair.look_received(p, 1)?;
    p.check_eq("buffers used while there are none", used, 0u16);
    for slot in 0..SLOTS {
        let got = p.read_memory(received_at(slot), 256)?;
        check_frame(p, "buffer of before the reset", &got, &[FILL; 256]);
    }
    Ok(())
}

/// A legacy device puts its header of `header_bytes` before a frame, and takes as much off one that is sent.
fn legacy(p: &mut Probe<'_>, features: u32, header_bytes: usize) -> Result<Vec<u8>, Stop> {
    let mut pair = Pair::start_legacy(p, features)?;
    // A legacy driver gives the header a descriptor of its own.
    p.write_memory(received_at(0), &[FILL; SLOT_BYTES])?;
    pair.give_chain(p, &writable_parts(0, &[header_bytes as u32, 1514]))?;
    let frame = frame(3, 120);
    pair.send_parts(p, &packet(header_bytes, &frame), &[header_bytes, frame.len()])?;
    let (_, used_bytes) = pair.wait_sent(p)?;
    p.check_eq("length of the request to send in the used ring", used_bytes, 0u32);
    let received = pair.wait_received(p, 0)?;
    p.check_eq(
        "length in the used ring",
        received.used_bytes,
        (header_bytes + frame.len()) as u32,
    );
    let (header, got) = received.bytes.split_at(header_bytes.min(received.bytes.len()));
    check_frame(p, "frame", got, &frame);
    Ok(header.to_vec())
}

fn legacy_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = legacy(p, 0, LEGACY_HEADER_BYTES)?;
    p.check_bytes("header", &got, &[0; LEGACY_HEADER_BYTES]);
    Ok(())
}

fn legacy_header_mergeable(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::MRG_RXBUF, "MRG_RXBUF")?;
    let got = legacy(p, feature::MRG_RXBUF, HEADER_BYTES)?;
    let field = got.get(header::NUM_BUFFERS..);
    p.check_bytes("num_buffers", field.unwrap_or_default(), &[1, 0]);
    Ok(())
}
