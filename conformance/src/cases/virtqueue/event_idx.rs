//! When a device tells its driver of used buffers, and when it wants to be told of available ones.

use super::{
    BUFFER, Descriptor, LENGTH, Probe, Queue, RING, SIZE, Stop, Transport, driver, notify, reg, request, settle, start,
};

/// Serves request `number` of one buffer, and wants it back.
fn serve(p: &mut Probe<'_>, transport: Transport, queue: &Queue, number: u16) -> Result<(), Stop> {
    queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
    queue.offer(p, number, &[0])?;
    notify(p, transport)?;
    let used = settle(p, queue, number.wrapping_add(1))?;
    p.require_eq("used index", used, number.wrapping_add(1))
}

/// Serves a request, and says whether the driver was told of it.
fn told(p: &mut Probe<'_>, transport: Transport, queue: &Queue, number: u16) -> Result<u32, Stop> {
    transport.write(p, reg::INTERRUPT_ACK, 1)?;
    serve(p, transport, queue, number)?;
    Ok(transport.read(p, reg::INTERRUPT_STATUS)? & 1)
}

/// A started device that accepted EVENT_IDX; the cases do not apply to one that does not offer it.
fn start_with_event(p: &mut Probe<'_>) -> Result<(Transport, Queue), Stop> {
    need(p, driver::EVENT_IDX, "VIRTIO_F_EVENT_IDX")?;
    start(p, driver::EVENT_IDX)
}

fn need(p: &mut Probe<'_>, bit: u32, name: &str) -> Result<(), Stop> {
    let offered = Transport::first_device(p).features(p, 0)?;
    if offered & bit == 0 {
        return Err(Stop::NotApplicable(format!("the device does not offer {name}")));
    }
    Ok(())
}

pub(super) fn at_event(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_with_event(p)?;
    queue.set_used_event(p, 2)?;
    for number in 0..2 {
        serve(p, transport, &queue, number)?;
    }
    let got = told(p, transport, &queue, 2)?;
    p.check_eq("InterruptStatus after the entry of used_event", got, 1u32);
    Ok(())
}

pub(super) fn before_event(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_with_event(p)?;
    queue.set_used_event(p, 2)?;
    for number in 0..2 {
        p.point(format!("request {number}"));
        let got = told(p, transport, &queue, number)?;
        p.check_eq("InterruptStatus before the entry of used_event", got, 0u32);
    }
    Ok(())
}

pub(super) fn past_event(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_with_event(p)?;
    queue.set_used_event(p, 0)?;
    serve(p, transport, &queue, 0)?;
    for number in 1..3 {
        p.point(format!("request {number}"));
        let got = told(p, transport, &queue, number)?;
        p.check_eq("InterruptStatus past the entry of used_event", got, 0u32);
    }
    Ok(())
}

pub(super) fn within_batch(p: &mut Probe<'_>) -> Result<(), Stop> {
    for event in 0..4 {
        p.point(format!("used_event {event}"));
        let (transport, queue) = start_with_event(p)?;
        queue.set_used_event(p, event)?;
        for head in 0..4 {
            queue.describe(p, head, Descriptor::writable(BUFFER, LENGTH))?;
        }
        queue.offer(p, 0, &[0, 1, 2, 3])?;
        notify(p, transport)?;
        let used = settle(p, &queue, 4)?;
        p.require_eq("used index", used, 4u16)?;
        let got = transport.read(p, reg::INTERRUPT_STATUS)?;
        p.check_eq("InterruptStatus", got & 1, 1u32);
    }
    Ok(())
}

pub(super) fn flag_ignored(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_with_event(p)?;
    queue.set_avail_flags(p, driver::NO_INTERRUPT)?;
    queue.set_used_event(p, 0)?;
    let got = told(p, transport, &queue, 0)?;
    p.check_eq("InterruptStatus with the no-interrupt flag", got, 1u32);
    Ok(())
}

pub(super) fn not_negotiated(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    for (number, event) in [(0, 0x8000), (1, 0), (2, 3)] {
        p.point(format!("request {number}, used_event {event:#x}"));
        queue.set_used_event(p, event)?;
        let got = told(p, transport, &queue, number)?;
        p.check_eq("InterruptStatus", got, 1u32);
    }
    Ok(())
}

/// A driver that notifies only when the device's `avail_event` asks for it.
pub(super) fn avail_event(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_with_event(p)?;
    serve_when_asked(p, transport, &queue)
}

/// The same by a legacy driver that accepted nothing else.
pub(super) fn legacy_avail_event(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, driver::EVENT_IDX, "VIRTIO_F_EVENT_IDX")?;
    let transport = Transport::first_device(p);
    transport.negotiate_legacy(p, driver::EVENT_IDX)?;
    let queue = transport.set_legacy_queue(p, 0, RING, SIZE)?;
    transport.driver_ok(p)?;
    serve_when_asked(p, transport, &queue)
}

fn serve_when_asked(p: &mut Probe<'_>, transport: Transport, queue: &Queue) -> Result<(), Stop> {
    for number in 0..2 * SIZE + 1 {
        p.point(format!("request {number}"));
        queue.describe(p, 0, Descriptor::writable(BUFFER, LENGTH))?;
        queue.offer(p, number, &[0])?;
        if queue.avail_event(p)? == number {
            notify(p, transport)?;
        }
        let used = settle(p, queue, number + 1)?;
        p.require_eq("used index", used, number + 1)?;
    }
    Ok(())
}

pub(super) fn used_flags(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_with_event(p)?;
    serve(p, transport, &queue, 0)?;
    let flags = queue.used_flags(p)?;
    p.check_eq("flags of the used ring", flags, 0u16);
    Ok(())
}

pub(super) fn spurious(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    for _ in 0..3 {
        notify(p, transport)?;
    }
    let used = queue.used_idx(p)?;
    p.check_eq("used index of a ring without requests", used, 0u16);
    request(p, transport, &queue)?;
    for _ in 0..3 {
        notify(p, transport)?;
    }
    let used = queue.used_idx(p)?;
    p.check_eq("used index after one request", used, 1u16);
    Ok(())
}

/// Fills the ring so often that its indices go through 0 again.
pub(super) fn index_wraps(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let max = transport.read(p, reg::QUEUE_NUM_MAX)?;
    let size = if max < 1024 { SIZE } else { 1024 };
    let queue = Queue {
        avail: RING + 0x4000,
        used: RING + 0x5000,
        ..Queue::at(RING, size)
    };
    transport.negotiate(p, 0)?;
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    // The ring names every descriptor once; from then on its index alone moves.
    let table = Descriptor::writable(BUFFER, 1).bytes().repeat(usize::from(size));
    p.write_memory(queue.desc, &table)?;
    let heads: Vec<u8> = (0..size).flat_map(u16::to_le_bytes).collect();
    p.write_memory(queue.avail + 4, &heads)?;
    let mut idx = 0u16;
    for _ in 0..=65536 / u32::from(size) {
        idx = idx.wrapping_add(size);
        queue.set_avail_idx(p, idx)?;
        transport.write(p, reg::INTERRUPT_ACK, 1)?;
        notify(p, transport)?;
        let used = settle(p, &queue, idx)?;
        p.require_eq("used index", used, idx)?;
        let told = transport.read(p, reg::INTERRUPT_STATUS)? & 1;
        p.check_eq("InterruptStatus", told, 1u32);
    }
    Ok(())
}

/// A legacy device that accepted `word_0`, with its ring's no-interrupt flag set.
fn start_legacy(p: &mut Probe<'_>, then_word_1: bool) -> Result<(Transport, Queue), Stop> {
    need(p, driver::NOTIFY_ON_EMPTY, "VIRTIO_F_NOTIFY_ON_EMPTY")?;
    let transport = Transport::first_device(p);
    transport.negotiate_legacy(p, driver::NOTIFY_ON_EMPTY)?;
    if then_word_1 {
        transport.accept(p, 1, 0)?;
    }
    let queue = transport.set_legacy_queue(p, 0, RING, SIZE)?;
    queue.set_avail_flags(p, driver::NO_INTERRUPT)?;
    transport.driver_ok(p)?;
    Ok((transport, queue))
}

pub(super) fn notify_on_empty(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_legacy(p, false)?;
    let got = told(p, transport, &queue, 0)?;
    p.check_eq("InterruptStatus when the ring ran empty", got, 1u32);
    Ok(())
}

pub(super) fn legacy_feature_words(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start_legacy(p, true)?;
    let got = told(p, transport, &queue, 0)?;
    p.check_eq("InterruptStatus by the feature of word 0", got, 1u32);
    Ok(())
}

pub(super) fn after_features_ok(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, driver::EVENT_IDX, "VIRTIO_F_EVENT_IDX")?;
    let (transport, queue) = (Transport::first_device(p), Queue::at(RING, SIZE));
    transport.negotiate(p, 0)?;
    transport.accept(p, 0, driver::EVENT_IDX)?;
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    queue.set_used_event(p, 0x8000)?;
    let got = told(p, transport, &queue, 0)?;
    p.check_eq("InterruptStatus by the rules that were negotiated", got, 1u32);
    Ok(())
}

/// Writes each half of each address twice, wrong and then right, the high halves first.
pub(super) fn address_halves(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = (Transport::first_device(p), Queue::at(RING, SIZE));
    transport.negotiate(p, 0)?;
    queue.clear(p)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    transport.write(p, reg::QUEUE_NUM, u32::from(SIZE))?;
    let places = [
        (reg::QUEUE_DESC, queue.desc),
        (reg::QUEUE_DRIVER, queue.avail),
        (reg::QUEUE_DEVICE, queue.used),
    ];
    for (offset, _) in places {
        transport.write(p, offset, 0xffff_f000)?;
        transport.write(p, offset + 4, 0xffff_ffff)?;
    }
    for (offset, gpa) in places {
        transport.write(p, offset + 4, (gpa >> 32) as u32)?;
        transport.write(p, offset, gpa as u32)?;
    }
    transport.write(p, reg::QUEUE_READY, 1)?;
    transport.driver_ok(p)?;
    request(p, transport, &queue)
}

/// Sizes and alignments for which the note's formula and the rings' real lengths, with and without an event field,
/// give the same place.
pub(super) fn legacy_layout(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (size, align) in [(4u16, 4096u32), (4, 256), (8, 64), (16, 128), (2, 512), (8, 16)] {
        p.point(format!("{size} descriptors, alignment {align}"));
        let transport = Transport::first_device(p);
        transport.negotiate_legacy(p, 0)?;
        let avail = RING + 16 * u64::from(size);
        let queue = Queue {
            desc: RING,
            avail,
            used: (avail + 6 + 2 * u64::from(size)).next_multiple_of(u64::from(align)),
            size,
        };
        queue.clear(p)?;
        transport.write(p, reg::QUEUE_SEL, 0)?;
        transport.write(p, reg::QUEUE_NUM, u32::from(size))?;
        transport.write(p, reg::QUEUE_ALIGN, align)?;
        transport.write(p, reg::QUEUE_PFN, (RING >> 12) as u32)?;
        transport.driver_ok(p)?;
        request(p, transport, &queue)?;
    }
    Ok(())
}
