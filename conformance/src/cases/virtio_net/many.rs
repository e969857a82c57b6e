//! Frames in numbers, and frames for buffers that do not fit them.

use super::{check_frame, look, need, works_after_reset};
use crate::driver::virtio_mmio::{ANY_LAYOUT, Descriptor, INDIRECT_DESC, reg};
use crate::driver::virtio_net::{BUFFER_BYTES, HEADER_BYTES, LEGACY_HEADER_BYTES, feature, frame, packet};
use crate::driver::virtio_pair::{FILL, LOOKS_MAX, Pair, SLOT_BYTES, SLOTS, received_at, sent_at, writable_parts};
use crate::machine::Stop;
use crate::probe::Probe;

/// Four frames in one notification, with a buffer for each.
pub(super) fn burst(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    for _ in 0..SLOTS {
        pair.give(p, BUFFER_BYTES)?;
    }
    let frames: Vec<Vec<u8>> = (0..SLOTS)
        .map(|seed| frame(seed as u8, 100 + usize::from(seed)))
        .collect();
    for frame in &frames {
        pair.send_silently(p, &packet(HEADER_BYTES, frame))?;
    }
    pair.transport.write(p, reg::QUEUE_NOTIFY, 1)?;
    pair.wait_sent(p)?;
    let mut got = Vec::new();
    for number in 0..SLOTS {
        let received = pair.wait_received(p, number)?;
        got.push(received.bytes.get(HEADER_BYTES..).unwrap_or_default().to_vec());
    }
    // Frames may overtake each other.
    got.sort_by_key(Vec::len);
    for (got, want) in got.iter().zip(&frames) {
        check_frame(p, "frame", got, want);
    }
    Ok(())
}

/// The same four buffers on each side, again and again: only the rings' indices move.
pub(super) fn keeps_up(p: &mut Probe<'_>) -> Result<(), Stop> {
    let pair = Pair::start(p, 0)?;
    let frame = frame(1, 1514);
    let packet = packet(HEADER_BYTES, &frame);
    let readable = Descriptor {
        flags: 0,
        ..Descriptor::writable(sent_at(0), packet.len() as u32)
    };
    p.write_memory(sent_at(0), &packet)?;
    let heads: Vec<u16> = (0..SLOTS).collect();
    for &slot in &heads {
        pair.receive
            .describe(p, slot, Descriptor::writable(received_at(slot), BUFFER_BYTES))?;
        pair.transmit.describe(p, slot, readable)?;
    }
    for round in 0..ROUNDS {
        p.point(format!("round {round}"));
        for queue in [pair.receive, pair.transmit] {
            queue.offer(p, round * SLOTS, &heads)?;
        }
        for index in [0, 1] {
            pair.transport.write(p, reg::QUEUE_NOTIFY, index)?;
        }
        let want = (round + 1) * SLOTS;
        for (what, queue) in [("frames sent", pair.transmit), ("frames that came", pair.receive)] {
            let mut used = queue.used_idx(p)?;
            for _ in 0..LOOKS_MAX {
                if used == want {
                    break;
                }
                used = queue.used_idx(p)?;
            }
            p.require_eq(what, used, want)?;
        }
    }
    let got = p.read_memory(received_at(0) + HEADER_BYTES as u64, frame.len())?;
    check_frame(p, "last frame", &got, &frame);
    Ok(())
}

/// More than half a MiB of frames, four at a time.
const ROUNDS: u16 = 90;

/// Buffers that hold a frame only together, for a driver that does not know of such.
pub(super) fn unmerged(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    for _ in 0..SLOTS {
        pair.give(p, 100)?;
    }
    pair.send(p, &packet(HEADER_BYTES, &frame(1, 200)))?;
    look(p, &pair)?;
    let used = pair.look_received(p, 2)?;
    p.check("buffers used for a frame", used <= 1, used.to_string(), "0 or 1");
    works_after_reset(p)
}

/// A MiB that calls itself a frame, with room for it in buffers that may be merged.
pub(super) fn huge(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::MRG_RXBUF, "MRG_RXBUF")?;
    let mut pair = Pair::start(p, feature::MRG_RXBUF)?;
    for _ in 0..SLOTS {
        pair.give(p, 0x5_0000)?;
    }
    let whole = Descriptor {
        flags: 0,
        ..Descriptor::writable(0x50_0000, 1 << 20)
    };
    pair.send_chain(p, &[whole])?;
    look(p, &pair)?;
    let used = pair.look_received(p, 1)?;
    p.check_eq("buffers used", used, 0u16);
    works_after_reset(p)
}

/// A frame in one piece with its header comes back in one piece with its header.
pub(super) fn legacy_any_layout(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, ANY_LAYOUT, "ANY_LAYOUT")?;
    let mut pair = Pair::start_legacy(p, ANY_LAYOUT)?;
    pair.give(p, BUFFER_BYTES)?;
    let frame = frame(3, 120);
    pair.send(p, &packet(LEGACY_HEADER_BYTES, &frame))?;
    pair.wait_sent(p)?;
    let received = pair.wait_received(p, 0)?;
    let got = received.bytes.get(LEGACY_HEADER_BYTES..).unwrap_or_default();
    check_frame(p, "frame", got, &frame);
    Ok(())
}

pub(super) fn legacy_indirect(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, INDIRECT_DESC, "INDIRECT_DESC")?;
    let mut pair = Pair::start_legacy(p, INDIRECT_DESC)?;
    // A legacy driver gives the header a descriptor of its own.
    p.write_memory(received_at(0), &[FILL; SLOT_BYTES])?;
    pair.give_chain(p, &writable_parts(0, &[LEGACY_HEADER_BYTES as u32, 1514]))?;
    let frame = frame(5, 300);
    pair.send_indirect(p, &packet(LEGACY_HEADER_BYTES, &frame), &[LEGACY_HEADER_BYTES, 300])?;
    pair.wait_sent(p)?;
    let received = pair.wait_received(p, 0)?;
    let got = received.bytes.get(LEGACY_HEADER_BYTES..).unwrap_or_default();
    check_frame(p, "frame", got, &frame);
    Ok(())
}
