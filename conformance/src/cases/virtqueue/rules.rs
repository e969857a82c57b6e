//! Rules of queues and of their registers that no request shows by itself.

use super::{
    BREACHES, BUFFER, Descriptor, FILL, LENGTH, LOOKS_MAX, Probe, Queue, RING, Reaction, SIZE, Stop, TABLE, Transport,
    driver, never_asks, notify, react_with, recovers, reg, request, settle, start,
};

/// Offers a second request to a queue whose first was served, after `QueueReady` was taken back.
pub(super) fn ready_taken_back(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    request(p, transport, &queue)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    transport.write(p, reg::QUEUE_READY, 0)?;
    let mut ready = transport.read(p, reg::QUEUE_READY)?;
    for _ in 0..LOOKS_MAX {
        if ready == 0 {
            break;
        }
        ready = transport.read(p, reg::QUEUE_READY)?;
    }
    p.require_eq("QueueReady", ready, 0u32)?;
    p.write_memory(BUFFER, &[FILL; LENGTH as usize])?;
    queue.offer(p, 1, &[0])?;
    notify(p, transport)?;
    let used = settle(p, &queue, 2)?;
    p.check_eq("used index", used, 1u16);
    let bytes = p.read_memory(BUFFER, LENGTH as usize)?;
    p.check_bytes("buffer", &bytes, &[FILL; LENGTH as usize]);
    recovers(p)
}

/// Each breach that makes the device ask for a reset, and what `InterruptStatus` then says.
fn interrupt_statuses(p: &mut Probe<'_>, features: u32, mask: u32) -> Result<(), Stop> {
    let mut asked = false;
    for (name, breach) in BREACHES {
        p.point(name);
        let (transport, reaction) = react_with(p, features, breach)?;
        if reaction == Reaction::AsksForReset {
            asked = true;
            let pending = transport.read(p, reg::INTERRUPT_STATUS)?;
            p.check_eq("InterruptStatus", pending & mask, 2u32);
        }
    }
    if asked { Ok(()) } else { Err(never_asks()) }
}

pub(super) fn needs_reset_events(p: &mut Probe<'_>) -> Result<(), Stop> {
    interrupt_statuses(p, driver::INDIRECT_DESC, u32::MAX)
}

pub(super) fn needs_reset_plain(p: &mut Probe<'_>) -> Result<(), Stop> {
    interrupt_statuses(p, 0, 2)
}

pub(super) fn legacy_registers(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, offset) in [
        ("GuestPageSize", reg::GUEST_PAGE_SIZE),
        ("QueueNum", reg::QUEUE_NUM),
        ("QueueAlign", reg::QUEUE_ALIGN),
    ] {
        for value in [0, 3, 0x8000_0000, u32::MAX] {
            p.point(format!("{name} {value:#x}"));
            let transport = Transport::first_device(p);
            transport.negotiate_legacy(p, 0)?;
            transport.write(p, reg::QUEUE_SEL, 0)?;
            p.write_memory(RING, &[0; 0x3000])?;
            transport.write(p, offset, value)?;
            transport.write(p, reg::QUEUE_PFN, (RING >> 12) as u32)?;
            if offset != reg::GUEST_PAGE_SIZE {
                // With another page size the queue would lie anywhere.
                transport.driver_ok(p)?;
                notify(p, transport)?;
            }
            let queue = transport.start_legacy(p, RING, SIZE)?;
            request(p, transport, &queue)?;
        }
    }
    Ok(())
}

/// What a driver left in the used ring's flags is no word of the device's.
pub(super) fn used_flags(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let offered = transport.features(p, 0)?;
    for (features, most) in [(0, 1u16), (driver::EVENT_IDX, 0)] {
        if offered & features != features {
            continue;
        }
        p.point(format!("features {features:#x}"));
        let queue = Queue::at(RING, SIZE);
        transport.negotiate(p, features)?;
        queue.clear(p)?;
        p.write_memory(queue.used, &0xfffe_u16.to_le_bytes())?;
        transport.set_queue(p, &queue)?;
        transport.driver_ok(p)?;
        request(p, transport, &queue)?;
        let flags = queue.used_flags(p)?;
        p.check(
            "flags of the used ring",
            flags <= most,
            format!("{flags:#x}"),
            format!("{most} or less"),
        );
    }
    Ok(())
}

/// Collects bytes, and wants each bit of a word to be 1 about half of the time, and no word to come twice. A source of
/// random bytes fails once in a thousand million runs.
pub(super) fn random(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (transport, queue) = start(p, 0)?;
    let mut bytes = Vec::new();
    let mut number = 0u16;
    while bytes.len() < RANDOM_BYTES {
        queue.describe(p, 0, Descriptor::writable(TABLE, RANDOM_BYTES as u32))?;
        queue.offer(p, number, &[0])?;
        notify(p, transport)?;
        number += 1;
        let used = settle(p, &queue, number)?;
        p.require_eq("used index", used, number)?;
        let (_, length) = queue.used_entry(p, number - 1)?;
        let fits = (1..=RANDOM_BYTES as u32).contains(&length);
        p.check("bytes written", fits, length.to_string(), format!("1..={RANDOM_BYTES}"));
        if !fits || number == REQUESTS_MAX {
            return Err(Stop::NotMet);
        }
        bytes.extend(p.read_memory(TABLE, length as usize)?);
    }
    let words: Vec<u64> = bytes[..RANDOM_BYTES]
        .chunks_exact(8)
        .map(|word| word.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
        .collect();
    let mut distinct = words.clone();
    distinct.sort_unstable();
    distinct.dedup();
    p.check_eq("words that are not alike", distinct.len() as u64, words.len() as u64);
    for bit in 0..64 {
        let ones = words.iter().filter(|&word| word >> bit & 1 != 0).count();
        let about_half = ONES.contains(&ones);
        p.check(
            &format!("words with bit {bit}"),
            about_half,
            ones.to_string(),
            format!("{ONES:?}"),
        );
    }
    Ok(())
}

const RANDOM_BYTES: usize = 4096;
/// Half of 512 words, give or take seven standard deviations.
const ONES: std::ops::RangeInclusive<usize> = 177..=335;
/// Requests after which a device that gives a few bytes each is not asked for more.
const REQUESTS_MAX: u16 = 1000;
