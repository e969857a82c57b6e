//! Split virtqueues: requests that work, and rings that break the rules.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::virtio as clause;
use crate::driver::virtio_mmio::{self as driver, Descriptor, Queue, Transport, reg, status};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

mod event_idx;
mod rules;

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
const TWO: Setup = Setup {
    modern: true,
    devices: &["virtio-rng", "virtio-rng"],
    ..Setup::DEFAULT
};
const LEGACY: Setup = Setup {
    modern: false,
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "virtqueue/address/above-4g",
        title: "A queue and its buffer may lie above 4 GiB.",
        clause: &clause::QUEUE_ADDRESS,
        setup: Setup {
            ram_bytes: 4 << 30,
            ..MODERN
        },
        body: Body::Bus(address_above_4g),
        ..AREA
    },
    Case {
        id: "virtqueue/address/halves",
        title: "Each half of a queue's addresses can be written on its own, in any order.",
        clause: &clause::QUEUE_ADDRESS,
        body: Body::Bus(event_idx::address_halves),
        ..AREA
    },
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
        id: "virtqueue/event-idx/after-features-ok",
        title: "An event index that is accepted after FEATURES_OK changes nothing.",
        clause: &clause::FEATURES_FINAL,
        level: Level::Should,
        body: Body::Bus(event_idx::after_features_ok),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/at-event",
        title: "With the event index a notification comes with the entry that used_event names.",
        clause: &clause::USED_EVENT,
        body: Body::Bus(event_idx::at_event),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/avail-event",
        title: "A driver that notifies only when avail_event asks for it has all its requests served.",
        clause: &clause::AVAIL_EVENT,
        body: Body::Bus(event_idx::avail_event),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/before-event",
        title: "With the event index no notification comes before the entry that used_event names.",
        clause: &clause::USED_EVENT_QUIET,
        level: Level::Should,
        body: Body::Bus(event_idx::before_event),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/flag-ignored",
        title: "With the event index the no-interrupt flag says nothing.",
        clause: &clause::USED_EVENT,
        body: Body::Bus(event_idx::flag_ignored),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/not-negotiated",
        title: "Without the event index used_event says nothing.",
        clause: &clause::INTERRUPT,
        body: Body::Bus(event_idx::not_negotiated),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/past-event",
        title: "With the event index no notification comes past the entry that used_event names.",
        clause: &clause::USED_EVENT_QUIET,
        level: Level::Should,
        body: Body::Bus(event_idx::past_event),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/used-flags",
        title: "With the event index the used ring's flags are 0.",
        clause: &clause::AVAIL_EVENT,
        body: Body::Bus(event_idx::used_flags),
        ..AREA
    },
    Case {
        id: "virtqueue/event-idx/within-batch",
        title: "With the event index a notification comes when the entry was one of several.",
        clause: &clause::USED_EVENT,
        body: Body::Bus(event_idx::within_batch),
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
        id: "virtqueue/legacy/avail-event",
        title: "A legacy driver that notifies only when avail_event asks for it has all its requests served.",
        clause: &clause::AVAIL_EVENT,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(event_idx::legacy_avail_event),
        ..AREA
    },
    Case {
        id: "virtqueue/legacy/bad-registers",
        title: "Sizes and alignments that no queue can have do no harm.",
        clause: &clause::SURVIVES,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(rules::legacy_registers),
        ..AREA
    },
    Case {
        id: "virtqueue/legacy/feature-words",
        title: "A legacy driver's second word of features leaves the first as it was.",
        clause: &clause::LEGACY_FEATURES,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(event_idx::legacy_feature_words),
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
        id: "virtqueue/legacy/notify-on-empty",
        title: "A legacy device that ran out of requests says so in spite of the no-interrupt flag.",
        clause: &clause::NOTIFY_ON_EMPTY,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(event_idx::notify_on_empty),
        ..AREA
    },
    Case {
        id: "virtqueue/legacy/reset-during-io",
        title: "A legacy device that was reset with requests waiting forgets its queue and lets their buffers be.",
        clause: &clause::RESET_QUIET,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(legacy_reset),
        ..AREA
    },
    Case {
        id: "virtqueue/legacy/size-and-align",
        title: "The rings of a legacy queue lie as its size and alignment say.",
        clause: &clause::LEGACY_LAYOUT,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(event_idx::legacy_layout),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/acknowledge",
        title: "The line of a device that asks for a reset falls when the driver acknowledges.",
        clause: &clause::INTERRUPT_ACK,
        needs: Caps::QUEUES.with(Caps::LINES),
        body: Body::Bus(needs_reset_acknowledge),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/cleared",
        title: "A reset takes back the request for a reset and its interrupt.",
        clause: &clause::STATUS_RESET,
        body: Body::Bus(needs_reset_cleared),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/generation",
        title: "A device that asks for a reset has not changed its configuration.",
        clause: &clause::CONFIG_GENERATION,
        level: Level::Should,
        body: Body::Bus(needs_reset_generation),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/interrupt-status",
        title: "InterruptStatus of a device that asks for a reset tells of no used buffer.",
        clause: &clause::INTERRUPT_EVENTS,
        body: Body::Bus(rules::needs_reset_events),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/line",
        title: "A device that asks for a reset raises its line.",
        clause: &clause::NEEDS_RESET_NOTIFIED,
        needs: Caps::QUEUES.with(Caps::LINES),
        body: Body::Bus(needs_reset_line),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/notified",
        title: "A device that asks for a reset says so with a configuration change, whatever broke its ring.",
        clause: &clause::NEEDS_RESET_NOTIFIED,
        body: Body::Bus(needs_reset_notified),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/notified-plainly",
        title: "A driver that accepted VERSION_1 alone is told by a configuration change, too, to reset the device.",
        clause: &clause::NEEDS_RESET_NOTIFIED,
        body: Body::Bus(rules::needs_reset_plain),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/other-device",
        title: "A broken ring of one device does not stop another.",
        clause: &clause::SURVIVES,
        setup: TWO,
        body: Body::Bus(needs_reset_other),
        ..AREA
    },
    Case {
        id: "virtqueue/needs-reset/serves-or-asks",
        title: "A device whose ring breaks the rules goes on or asks for a reset, and does not stop in silence.",
        clause: &clause::NEEDS_RESET,
        level: Level::Should,
        body: Body::Bus(needs_reset_serves_or_asks),
        ..AREA
    },
    Case {
        id: "virtqueue/notify/spurious",
        title: "Notifications when there is nothing new do no harm.",
        clause: &clause::NOTIFY_SPURIOUS,
        body: Body::Bus(event_idx::spurious),
        ..AREA
    },
    Case {
        id: "virtqueue/ready/taken-back",
        title: "A queue whose QueueReady was taken back is not accessed.",
        clause: &clause::QUEUE_NOT_READY,
        body: Body::Bus(rules::ready_taken_back),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/before-acknowledge",
        title: "A reset takes back an interrupt that nobody acknowledged.",
        clause: &clause::RESET_CLEARS,
        body: Body::Bus(reset_before_acknowledge),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/before-notify",
        title: "Requests that were made available before a reset and not notified are not carried out after it.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_before_notify),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/full-ring",
        title: "A reset right behind the notification of a full ring leaves nothing of it.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_full_ring),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/half-processed",
        title: "A ring that was half processed at a reset is not touched when another takes its place.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_half_processed),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/line",
        title: "A reset lowers the line of an interrupt that nobody acknowledged.",
        clause: &clause::RESET_CLEARS,
        needs: Caps::QUEUES.with(Caps::LINES),
        body: Body::Bus(reset_line),
        ..AREA
    },
    Case {
        id: "virtqueue/reset/system",
        title: "A reset of the machine right behind a notification leaves a device without a queue, and memory alone.",
        clause: &clause::RESET_QUIET,
        needs: Caps::QUEUES.with(Caps::RESET),
        body: Body::Bus(reset_system),
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
        id: "virtqueue/rng/random",
        title: "The entropy device's bytes look random: no word twice, and each bit as often 0 as 1.",
        clause: &clause::RNG,
        body: Body::Bus(rules::random),
        ..AREA
    },
    Case {
        id: "virtqueue/used/flags",
        title: "The flags of a used ring are 0 or 1, whatever stood there.",
        clause: &clause::USED_FLAGS,
        body: Body::Bus(rules::used_flags),
        ..AREA
    },
    Case {
        id: "virtqueue/used/index-wraps",
        title: "The indices of a ring go from 65535 to 0.",
        clause: &clause::INDEX_WRAPS,
        body: Body::Bus(event_idx::index_wraps),
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
/// The ring of a second driver.
const SECOND_RING: u64 = 0x43_0000;
/// Its buffer.
const SECOND_BUFFER: u64 = 0x44_0000;
const TABLE: u64 = 0x42_0000;
/// Guest-physical address with nothing there in any profile.
const NOWHERE: u64 = 0xd000_0000;
const SIZE: u16 = 8;
const LENGTH: u32 = 32;
const FILL: u8 = 0;

/// A modern entropy device with one queue of eight, ready to go.
fn start(p: &mut Probe<'_>, features: u32) -> Result<(Transport, Queue), Stop> {
    let transport = Transport::first_device(p);
    let queue = start_at(p, transport, RING, features)?;
    Ok((transport, queue))
}

fn start_at(p: &mut Probe<'_>, transport: Transport, ring: u64, features: u32) -> Result<Queue, Stop> {
    let queue = Queue::at(ring, SIZE);
    transport.negotiate(p, features)?;
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    Ok(queue)
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
    request_into(p, transport, queue, BUFFER)
}

fn request_into(p: &mut Probe<'_>, transport: Transport, queue: &Queue, buffer: u64) -> Result<(), Stop> {
    p.write_memory(buffer, &[FILL; LENGTH as usize])?;
    queue.describe(p, 0, Descriptor::writable(buffer, LENGTH))?;
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
    check_random(p, buffer, length.clamp(1, LENGTH) as usize)
}

fn rng_fills(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    request(p, transport, &queue)
}

fn address_above_4g(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let queue = start_at(p, transport, ABOVE_4G + RING, 0)?;
    request_into(p, transport, &queue, ABOVE_4G + BUFFER)
}

/// Where RAM goes on behind the split.
const ABOVE_4G: u64 = 1 << 32;

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

/// Offers as many requests as the queue has descriptors, from entry 0 of a fresh queue, each with a buffer of its own
/// from [`BUFFER`] on; notifies nobody.
fn offer_all(p: &mut Probe<'_>, queue: &Queue) -> Result<(), Stop> {
    let heads: Vec<u16> = (0..queue.size).collect();
    p.write_memory(BUFFER, &[FILL; BUFFERS_BYTES])?;
    for &head in &heads {
        let at = BUFFER + u64::from(LENGTH) * u64::from(head);
        queue.describe(p, head, Descriptor::writable(at, LENGTH))?;
    }
    queue.offer(p, 0, &heads)
}

const BUFFERS_BYTES: usize = LENGTH as usize * SIZE as usize;

/// Resets the device and waits until it is: then the memory of the old queue is the driver's again, who fills the
/// buffers anew.
fn reset(p: &mut Probe<'_>, transport: Transport) -> Result<(), Stop> {
    transport.write(p, reg::STATUS, 0)?;
    let mut got = transport.status(p)?;
    for _ in 0..LOOKS_MAX {
        if got == 0 {
            break;
        }
        got = transport.status(p)?;
    }
    p.require_eq("Status after the reset", got, 0u32)?;
    p.write_memory(BUFFER, &[FILL; BUFFERS_BYTES])
}

/// A second driver with a ring and a buffer of its own gets what it asks for, and the first one's buffers stay.
fn second_driver(p: &mut Probe<'_>, transport: Transport) -> Result<(), Stop> {
    let queue = start_at(p, transport, SECOND_RING, 0)?;
    request_into(p, transport, &queue, SECOND_BUFFER)?;
    old_buffers_stay(p)
}

fn old_buffers_stay(p: &mut Probe<'_>) -> Result<(), Stop> {
    let bytes = p.read_memory(BUFFER, BUFFERS_BYTES)?;
    let changed = bytes.iter().position(|&byte| byte != FILL);
    let got = changed.map_or_else(|| "as they were".to_owned(), |at| format!("byte {at} changed"));
    p.check("buffers of before the reset", changed.is_none(), got, "as they were");
    Ok(())
}

fn reset_before_notify(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    offer_all(p, &queue)?;
    reset(p, transport)?;
    second_driver(p, transport)
}

fn reset_before_acknowledge(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    request(p, transport, &queue)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.require_eq("InterruptStatus before the reset", pending & 1, 1u32)?;
    reset(p, transport)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus after the reset", pending, 0u32);
    start(p, 0)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus after DRIVER_OK", pending, 0u32);
    Ok(())
}

fn reset_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    let gsi = p.layout().transport_gsi(transport.index);
    request(p, transport, &queue)?;
    p.line_events()?;
    reset(p, transport)?;
    let events = p.line_events()?;
    let levels: Vec<bool> = events
        .iter()
        .filter(|event| event.gsi == gsi)
        .map(|event| event.level)
        .collect();
    p.check(
        "changes of the line",
        levels == [false],
        format!("{levels:?}"),
        "[false]",
    );
    Ok(())
}

fn reset_full_ring(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    offer_all(p, &queue)?;
    notify(p, transport)?;
    reset(p, transport)?;
    // The second driver takes the same place, and finds the device at its beginning.
    let queue = start_at(p, transport, RING, 0)?;
    request_into(p, transport, &queue, SECOND_BUFFER)?;
    old_buffers_stay(p)
}

fn reset_half_processed(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    offer_all(p, &queue)?;
    // The first half, then the rest without a notification.
    p.write_memory(queue.avail + 2, &(SIZE / 2).to_le_bytes())?;
    notify(p, transport)?;
    let used = settle(p, &queue, SIZE / 2)?;
    p.require_eq("used index", used, SIZE / 2)?;
    p.write_memory(queue.avail + 2, &SIZE.to_le_bytes())?;
    reset(p, transport)?;
    let before = queue.used_idx(p)?;
    second_driver(p, transport)?;
    let after = queue.used_idx(p)?;
    p.check_eq("used index of the first driver's ring", after, before);
    Ok(())
}

fn reset_system(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    offer_all(p, &queue)?;
    notify(p, transport)?;
    p.reset()?;
    for (name, offset) in [
        ("Status", reg::STATUS),
        ("InterruptStatus", reg::INTERRUPT_STATUS),
        ("QueueReady", reg::QUEUE_READY),
    ] {
        let got = transport.read(p, offset)?;
        p.check_eq(&format!("{name} after the reset"), got, 0u32);
    }
    p.write_memory(BUFFER, &[FILL; BUFFERS_BYTES])?;
    second_driver(p, transport)
}

fn legacy_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let queue = transport.start_legacy(p, RING, SIZE)?;
    offer_all(p, &queue)?;
    notify(p, transport)?;
    reset(p, transport)?;
    let page = transport.read(p, reg::QUEUE_PFN)?;
    p.check_eq("QueuePFN after the reset", page, 0u32);
    let queue = transport.start_legacy(p, SECOND_RING, SIZE)?;
    request_into(p, transport, &queue, SECOND_BUFFER)?;
    old_buffers_stay(p)
}

/// A way to break the rules of a ring: fills a fresh queue, up to the notification.
type Breach = fn(&mut Probe<'_>, &Queue) -> Result<(), Stop>;

const BREACHES: [(&str, Breach); 9] = [
    ("avail index past the size", |p, queue| {
        queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
        p.write_memory(queue.avail + 2, &(SIZE + 1).to_le_bytes())
    }),
    ("head outside the table", |p, queue| queue.offer(p, 0, &[SIZE])),
    ("next outside the table", |p, queue| {
        offer_chain(p, queue, &[(driver::WRITE, SIZE)])
    }),
    ("loop", |p, queue| {
        offer_chain(p, queue, &[(driver::WRITE, 1), (driver::WRITE, 0)])
    }),
    ("empty buffer", |p, queue| {
        queue.describe(p, 0, Descriptor::writable(BUFFER, 0))?;
        queue.offer(p, 0, &[0])
    }),
    ("buffer where no memory is", |p, queue| {
        queue.describe(p, 0, Descriptor::writable(NOWHERE, LENGTH))?;
        queue.offer(p, 0, &[0])
    }),
    ("readable buffer after a writable one", |p, queue| {
        queue.describe(
            p,
            1,
            Descriptor {
                flags: 0,
                ..Descriptor::writable(BUFFER, LENGTH)
            },
        )?;
        offer_chain(p, queue, &[(driver::WRITE, 1)])
    }),
    ("table within a table", |p, queue| {
        let table = indirect(16);
        p.write_memory(TABLE, &table.bytes())?;
        queue.describe(p, 0, table)?;
        queue.offer(p, 0, &[0])
    }),
    ("table of half a descriptor", |p, queue| {
        p.write_memory(TABLE, &Descriptor::writable(BUFFER, LENGTH).bytes())?;
        queue.describe(p, 0, indirect(8))?;
        queue.offer(p, 0, &[0])
    }),
];

fn indirect(length: u32) -> Descriptor {
    Descriptor {
        address: TABLE,
        length,
        flags: driver::INDIRECT,
        next: 0,
    }
}

/// Offers the chain from descriptor 0 on, whose descriptors have these flags and go on with these others.
fn offer_chain(p: &mut Probe<'_>, queue: &Queue, parts: &[(u16, u16)]) -> Result<(), Stop> {
    for (index, &(flags, next)) in (0..).zip(parts) {
        let descriptor = Descriptor {
            flags: flags | driver::NEXT,
            next,
            ..Descriptor::writable(BUFFER, LENGTH)
        };
        queue.describe(p, index, descriptor)?;
    }
    queue.offer(p, 0, &[0])
}

/// What a device made of a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    AsksForReset,
    Serves,
    Silent,
}

/// Breaks the rules on a fresh device, and looks a bounded number of times for what comes of it.
fn react(p: &mut Probe<'_>, breach: Breach) -> Result<(Transport, Reaction), Stop> {
    react_with(p, driver::INDIRECT_DESC, breach)
}

fn react_with(p: &mut Probe<'_>, features: u32, breach: Breach) -> Result<(Transport, Reaction), Stop> {
    let (transport, queue) = start(p, features)?;
    breach(p, &queue)?;
    notify(p, transport)?;
    for _ in 0..LOOKS_MAX {
        if transport.status(p)? & status::DEVICE_NEEDS_RESET != 0 {
            return Ok((transport, Reaction::AsksForReset));
        }
        if queue.used_idx(p)? != 0 {
            return Ok((transport, Reaction::Serves));
        }
    }
    Ok((transport, Reaction::Silent))
}

/// Breaks a ring so that the device asks for a reset; a case about that does not apply to one that never does.
fn break_ring(p: &mut Probe<'_>) -> Result<Transport, Stop> {
    let (_, breach) = BREACHES[1];
    match react(p, breach)? {
        (transport, Reaction::AsksForReset) => Ok(transport),
        _ => Err(never_asks()),
    }
}

fn never_asks() -> Stop {
    Stop::NotApplicable("the device never asks for a reset".to_owned())
}

fn needs_reset_serves_or_asks(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, breach) in BREACHES {
        p.point(name);
        let (_, reaction) = react(p, breach)?;
        let got = format!("{reaction:?}");
        p.check("reaction", reaction != Reaction::Silent, got, "AsksForReset or Serves");
    }
    Ok(())
}

fn needs_reset_notified(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut asked = false;
    for (name, breach) in BREACHES {
        p.point(name);
        let (transport, reaction) = react(p, breach)?;
        if reaction == Reaction::AsksForReset {
            asked = true;
            let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
            p.check_eq("configuration change in InterruptStatus", pending & 2, 2u32);
        }
    }
    if asked { Ok(()) } else { Err(never_asks()) }
}

fn needs_reset_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let gsi = p.layout().transport_gsi(transport.index);
    p.line_events()?;
    break_ring(p)?;
    let raised = p.line_events()?.iter().any(|event| event.gsi == gsi && event.level);
    p.check_eq("line rose", raised, true);
    Ok(())
}

fn needs_reset_acknowledge(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = break_ring(p)?;
    let gsi = p.layout().transport_gsi(transport.index);
    p.line_events()?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    transport.write(p, reg::INTERRUPT_ACK, pending)?;
    let fell = p.line_events()?.iter().any(|event| event.gsi == gsi && !event.level);
    p.check_eq("line fell with the acknowledgement", fell, true);
    Ok(())
}

fn needs_reset_cleared(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = break_ring(p)?;
    reset(p, transport)?;
    let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
    p.check_eq("InterruptStatus after the reset", pending, 0u32);
    second_driver(p, transport)
}

fn needs_reset_generation(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let before = transport.read(p, reg::CONFIG_GENERATION)?;
    break_ring(p)?;
    let after = transport.read(p, reg::CONFIG_GENERATION)?;
    p.check_eq("ConfigGeneration", after, before);
    Ok(())
}

fn needs_reset_other(p: &mut Probe<'_>) -> Result<(), Stop> {
    let second = p.facts().transports.get(1).copied();
    let second = Transport::at(p, second.unwrap_or_else(|| p.layout().transport_of_device(1)));
    let queue = start_at(p, second, SECOND_RING, 0)?;
    for (name, breach) in BREACHES {
        p.point(name);
        react(p, breach)?;
    }
    request_into(p, second, &queue, SECOND_BUFFER)
}
