//! Split virtqueues: requests that work, and rings that break the rules.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::virtio as clause;
use crate::driver::virtio_mmio::{self as driver, Descriptor, Queue, Transport, reg, status};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::RNG,
    level: Level::Must,
    features: &[Feature::VirtioMmio, Feature::VirtioModern],
    needs: Caps::QUEUES,
    setup: MODERN,
    body: Body::Bus(rng_fills),
};

const MODERN: Setup = Setup {
    modern: true,
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};
const LEGACY: Setup = Setup {
    modern: false,
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "virtqueue/before-driver-ok/not-consumed",
        title: "Before DRIVER_OK a notification consumes nothing.",
        clause: &clause::BEFORE_DRIVER_OK,
        body: Body::Bus(before_driver_ok),
        ..AREA
    },
    Case {
        id: "virtqueue/chain/all-buffers",
        title: "All buffers of a chain are filled before it is returned.",
        clause: &clause::USED_RING,
        body: Body::Bus(chain_fills),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/avail-jump",
        title: "An avail index that jumps past the queue's size does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_avail_jump),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/head-out-of-range",
        title: "A head past the descriptor table does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_head),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/huge-buffer",
        title: "A buffer of nearly 4 GiB where no memory is does not stop the machine.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_huge_buffer),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/indirect-in-indirect",
        title: "An indirect table within an indirect table does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_nested),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/loop",
        title: "A chain that bites its own tail does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_loop),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/needs-reset",
        title: "A device with a broken ring asks for a reset.",
        clause: &clause::NEEDS_RESET,
        level: Level::Should,
        body: Body::Bus(hostile_needs_reset),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/next-out-of-range",
        title: "A chain that leaves the descriptor table does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_next),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/ring-outside-ram",
        title: "Rings where no memory is do no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_rings),
        ..AREA
    },
    Case {
        id: "virtqueue/hostile/unmapped-buffer",
        title: "Buffers where no memory is, or that wrap, do no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_buffers),
        ..AREA
    },
    Case {
        id: "virtqueue/indirect/filled",
        title: "A buffer in an indirect table is filled.",
        clause: &clause::INDIRECT,
        body: Body::Bus(indirect_filled),
        ..AREA
    },
    Case {
        id: "virtqueue/interrupt/acknowledge",
        title: "Reading InterruptStatus clears nothing, and acknowledging clears what is given.",
        clause: &clause::INTERRUPT_ACK,
        body: Body::Bus(interrupt_acknowledge),
        ..AREA
    },
    Case {
        id: "virtqueue/interrupt/line",
        title: "The transport's line rises with the used buffer and falls with the acknowledgement.",
        clause: &clause::INTERRUPT_ACK,
        needs: Caps::QUEUES.with(Caps::LINES),
        body: Body::Bus(interrupt_line),
        ..AREA
    },
    Case {
        id: "virtqueue/interrupt/suppressed",
        title: "With the avail ring's no-interrupt flag no interrupt comes.",
        clause: &clause::NO_INTERRUPT,
        level: Level::Should,
        body: Body::Bus(interrupt_suppressed),
        ..AREA
    },
    Case {
        id: "virtqueue/legacy/filled",
        title: "A legacy queue works: page number, page size and alignment say where its rings are.",
        clause: &clause::LEGACY_PFN,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(legacy_filled),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/works-again",
        title: "After a reset the queue can be set up and used again from the start.",
        clause: &clause::RESET_CLEARS,
        body: Body::Bus(reset_works_again),
        ..AREA
    },
    Case {
        id: "virtqueue/rng/fills",
        title: "The entropy device fills a buffer and returns its length.",
        ..AREA
    },
    Case {
        id: "virtqueue/used/wraps",
        title: "Indices go on past the queue's size, and entries wrap around it.",
        clause: &clause::USED_RING,
        body: Body::Bus(used_wraps),
        ..AREA
    },
];

/// RAM that no image of ours uses: rings, then buffers.
const RING: u64 = 0x40_0000;
const BUFFER: u64 = 0x41_0000;
const TABLE: u64 = 0x42_0000;
/// Guest-physical address with nothing there in any profile.
const NOWHERE: u64 = 0xd000_0000;
const SIZE: u16 = 8;
const LENGTH: u32 = 32;
const FILL: u8 = 0;

/// A modern entropy device with one queue of eight, ready to go.
fn start(p: &mut Probe<'_>, features: u32) -> Result<(Transport, Queue), Stop> {
    let (transport, queue) = (Transport::first_device(p), Queue::at(RING, SIZE));
    transport.negotiate(p, features)?;
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    Ok((transport, queue))
}

fn notify(p: &mut Probe<'_>, transport: Transport) -> Result<(), Stop> {
    transport.write(p, reg::QUEUE_NOTIFY, 0)
}

/// Whether the device has used `want` chains. A device may complete later than it is notified, but on this machine's
/// entropy source a bounded number of looks is enough.
fn settle(p: &mut Probe<'_>, queue: &Queue, want: u16) -> Result<u16, Stop> {
    let mut got = queue.used_idx(p)?;
    for _ in 0..LOOKS_MAX {
        if got == want {
            break;
        }
        got = queue.used_idx(p)?;
    }
    Ok(got)
}

const LOOKS_MAX: usize = 200;

fn check_random(p: &mut Probe<'_>, gpa: u64, length: usize) -> Result<(), Stop> {
    let bytes = p.read_memory(gpa, length)?;
    let random = bytes.iter().any(|byte| *byte != FILL);
    p.check("buffer", random, "as it was", "random bytes");
    Ok(())
}

/// One request of one buffer, from entry 0 of a fresh queue.
fn request(p: &mut Probe<'_>, transport: Transport, queue: &Queue) -> Result<(), Stop> {
    p.write_memory(BUFFER, &[FILL; LENGTH as usize])?;
    queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
    queue.offer(p, 0, &[0])?;
    notify(p, transport)?;
    let used = settle(p, queue, 1)?;
    p.require_eq("used index", used, 1u16)?;
    let (head, length) = queue.used_entry(p, 0)?;
    p.check_eq("head returned", head, 0u32);
    p.check(
        "bytes written",
        (1..=LENGTH).contains(&length),
        length.to_string(),
        format!("1..={LENGTH}"),
    );
    check_random(p, BUFFER, length.clamp(1, LENGTH) as usize)
}

fn rng_fills(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    request(p, transport, &queue)
}

fn before_driver_ok(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = (Transport::first_device(p), Queue::at(RING, SIZE));
    transport.negotiate(p, 0)?;
    queue.clear(p)?;
    queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
    queue.offer(p, 0, &[0])?;
    transport.set_queue(p, &queue)?;
    notify(p, transport)?;
    let (used, pending) = (queue.used_idx(p)?, transport.read(p, reg::INTERRUPT_STATUS)?);
    p.check_eq("used index before DRIVER_OK", used, 0u16);
    p.check_eq("InterruptStatus before DRIVER_OK", pending, 0u32);
    transport.driver_ok(p)?;
    notify(p, transport)?;
    let used = settle(p, &queue, 1)?;
    p.check_eq("used index after DRIVER_OK", used, 1u16);
    Ok(())
}

fn chain_fills(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    p.write_memory(BUFFER, &[FILL; 96])?;
    for (index, next) in [(3, Some(5)), (5, Some(1)), (1, None)] {
        let mut descriptor = Descriptor::writable(BUFFER + 32 * u64::from(index % 3), LENGTH);
        if let Some(next) = next {
            descriptor = Descriptor {
                flags: descriptor.flags | driver::NEXT,
                next,
                ..descriptor
            };
        }
        queue.describe(p, index, descriptor)?;
    }
    queue.offer(p, 0, &[3])?;
    notify(p, transport)?;
    let used = settle(p, &queue, 1)?;
    p.require_eq("used index", used, 1u16)?;
    let (head, length) = queue.used_entry(p, 0)?;
    p.check_eq("head returned", head, 3u32);
    p.check(
        "bytes written",
        (1..=96).contains(&length),
        length.to_string(),
        "1..=96",
    );
    check_random(p, BUFFER, 32)
}

fn indirect_filled(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, driver::INDIRECT_DESC)?;
    p.write_memory(BUFFER, &[FILL; LENGTH as usize])?;
    p.write_memory(TABLE, &Descriptor::writable(BUFFER, LENGTH).bytes())?;
    queue.describe(
        p,
        2,
        Descriptor {
            address: TABLE,
            length: 16,
            flags: driver::INDIRECT,
            next: 0,
        },
    )?;
    queue.offer(p, 0, &[2])?;
    notify(p, transport)?;
    let used = settle(p, &queue, 1)?;
    p.require_eq("used index", used, 1u16)?;
    let (head, _) = queue.used_entry(p, 0)?;
    p.check_eq("head returned", head, 2u32);
    check_random(p, BUFFER, LENGTH as usize)
}

fn interrupt_acknowledge(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    request(p, transport, &queue)?;
    for read in 1..=2 {
        p.point(format!("read {read}"));
        let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
        p.check_eq("InterruptStatus", pending, 1u32);
    }
    transport.write(p, reg::INTERRUPT_ACK, 2)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus after acknowledging another bit", pending, 1u32);
    transport.write(p, reg::INTERRUPT_ACK, 1)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus after acknowledging", pending, 0u32);
    Ok(())
}

fn interrupt_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    let gsi = p.layout().transport_gsi(transport.index);
    p.line_events()?;
    request(p, transport, &queue)?;
    let levels = |events: Vec<crate::machine::LineEvent>| -> Vec<bool> {
        events
            .into_iter()
            .filter(|event| event.gsi == gsi)
            .map(|event| event.level)
            .collect()
    };
    let raised = levels(p.line_events()?);
    p.check("changes of the line", raised == [true], format!("{raised:?}"), "[true]");
    transport.write(p, reg::INTERRUPT_ACK, 1)?;
    let lowered = levels(p.line_events()?);
    p.check(
        "changes of the line after acknowledging",
        lowered == [false],
        format!("{lowered:?}"),
        "[false]",
    );
    Ok(())
}

fn interrupt_suppressed(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    p.write_memory(queue.avail, &1u16.to_le_bytes())?;
    queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
    queue.offer(p, 0, &[0])?;
    notify(p, transport)?;
    let used = settle(p, &queue, 1)?;
    p.require_eq("used index", used, 1u16)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus", pending, 0u32);
    Ok(())
}

fn legacy_filled(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let queue = transport.start_legacy(p, RING, SIZE)?;
    request(p, transport, &queue)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus", pending & 1, 1u32);
    Ok(())
}

fn reset_works_again(p: &mut Probe<'_>) -> Result<(), Stop> {
    for round in 1..=3 {
        p.point(format!("round {round}"));
        let (transport, queue) = start(p, 0)?;
        request(p, transport, &queue)?;
    }
    Ok(())
}

fn used_wraps(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    for request in 0..2 * SIZE + 1 {
        p.point(format!("request {request}"));
        let head = request % 3;
        queue.describe(p, head, Descriptor::writable(BUFFER, LENGTH))?;
        queue.offer(p, request, &[head])?;
        notify(p, transport)?;
        let used = settle(p, &queue, request + 1)?;
        p.require_eq("used index", used, request + 1)?;
        let (returned, _) = queue.used_entry(p, request)?;
        p.check_eq("head returned", returned, u32::from(head));
    }
    Ok(())
}

/// Whatever the ring did to the device, a reset brings it back.
fn recovers(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    request(p, transport, &queue)
}

fn hostile_head(p: &mut Probe<'_>) -> Result<(), Stop> {
    for head in [SIZE, 0x7fff, 0xffff] {
        p.point(format!("head {head:#x}"));
        let (transport, queue) = start(p, 0)?;
        queue.offer(p, 0, &[head])?;
        notify(p, transport)?;
        recovers(p)?;
    }
    Ok(())
}

fn hostile_next(p: &mut Probe<'_>) -> Result<(), Stop> {
    for next in [SIZE, 0x7fff, 0xffff] {
        p.point(format!("next {next:#x}"));
        let (transport, queue) = start(p, 0)?;
        let flags = driver::WRITE | driver::NEXT;
        queue.describe(
            p,
            0,
            Descriptor {
                flags,
                next,
                ..Descriptor::writable(BUFFER, LENGTH)
            },
        )?;
        queue.offer(p, 0, &[0])?;
        notify(p, transport)?;
        recovers(p)?;
    }
    Ok(())
}

fn hostile_loop(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (first, second) in [(0, 0), (0, 1)] {
        p.point(format!("{first} to {second} and back"));
        let (transport, queue) = start(p, 0)?;
        let flags = driver::WRITE | driver::NEXT;
        queue.describe(
            p,
            first,
            Descriptor {
                flags,
                next: second,
                ..Descriptor::writable(BUFFER, LENGTH)
            },
        )?;
        queue.describe(
            p,
            second,
            Descriptor {
                flags,
                next: first,
                ..Descriptor::writable(BUFFER, LENGTH)
            },
        )?;
        queue.offer(p, 0, &[first])?;
        notify(p, transport)?;
        recovers(p)?;
    }
    Ok(())
}

fn hostile_avail_jump(p: &mut Probe<'_>) -> Result<(), Stop> {
    for idx in [SIZE + 1, 0x8000, 0xffff] {
        p.point(format!("index {idx:#x}"));
        let (transport, queue) = start(p, 0)?;
        queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
        p.write_memory(queue.avail + 2, &idx.to_le_bytes())?;
        notify(p, transport)?;
        recovers(p)?;
    }
    Ok(())
}

fn hostile_nested(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, driver::INDIRECT_DESC)?;
    let nested = Descriptor {
        address: TABLE,
        length: 16,
        flags: driver::INDIRECT,
        next: 0,
    };
    p.write_memory(TABLE, &nested.bytes())?;
    queue.describe(p, 0, nested)?;
    queue.offer(p, 0, &[0])?;
    notify(p, transport)?;
    recovers(p)
}

fn hostile_rings(p: &mut Probe<'_>) -> Result<(), Stop> {
    let end = p.layout().ram_split(p.setup().ram_bytes, None).0;
    for gpa in [NOWHERE, end - 0x1000, 0xffff_ffff_ffff_0000, p.layout().virtio_base] {
        p.point(format!("{gpa:#x}"));
        let transport = Transport::first_device(p);
        transport.negotiate(p, 0)?;
        let queue = Queue {
            desc: gpa,
            avail: gpa.wrapping_add(0x1000),
            used: gpa.wrapping_add(0x2000),
            size: SIZE,
        };
        transport.set_queue(p, &queue)?;
        transport.driver_ok(p)?;
        notify(p, transport)?;
        recovers(p)?;
    }
    Ok(())
}

fn hostile_huge_buffer(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    queue.describe(p, 0, Descriptor::writable(NOWHERE, u32::MAX))?;
    queue.offer(p, 0, &[0])?;
    notify(p, transport)?;
    recovers(p)
}

fn hostile_buffers(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (address, length) in [(NOWHERE, LENGTH), (u64::MAX - 3, LENGTH), (BUFFER, 0)] {
        p.point(format!("{length:#x} bytes at {address:#x}"));
        let (transport, queue) = start(p, 0)?;
        queue.describe(p, 0, Descriptor::writable(address, length))?;
        queue.offer(p, 0, &[0])?;
        notify(p, transport)?;
        recovers(p)?;
    }
    Ok(())
}

fn hostile_needs_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    queue.offer(p, 0, &[SIZE])?;
    notify(p, transport)?;
    let got = transport.status(p)?;
    p.check_eq(
        "DEVICE_NEEDS_RESET",
        got & status::DEVICE_NEEDS_RESET,
        status::DEVICE_NEEDS_RESET,
    );
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("configuration interrupt", pending & 2, 2u32);
    Ok(())
}
