//! More than the other end takes: what a driver sends waits until the driver itself makes room.

use super::need;
use crate::driver::virtio_console::{EMERG_WR, EMERG_WRITE};
use crate::driver::virtio_mmio::{INDIRECT_DESC, reg};
use crate::driver::virtio_pair::{Pair, SLOT_BYTES, SLOTS};
use crate::machine::Stop;
use crate::probe::Probe;

/// More than any console on our list takes in one go, and less than a buffer of this suite's holds.
const LONG: usize = 6000;

fn long_text() -> Vec<u8> {
    (0..LONG).map(|at| (at * 7 / 5) as u8).collect()
}

/// Makes all buffers available to receive into, of 8 KiB each, with one notification.
fn give_all(p: &mut Probe<'_>, pair: &mut Pair) -> Result<(), Stop> {
    for _ in 1..SLOTS {
        pair.give_silently(p, SLOT_BYTES as u32)?;
    }
    pair.give(p, SLOT_BYTES as u32)
}

/// Receives at least `length` bytes, from the first buffer on; a buffer is given only when all of them came back.
fn drain(p: &mut Probe<'_>, pair: &mut Pair, length: usize) -> Result<Vec<u8>, Stop> {
    let (mut bytes, mut next) = (Vec::new(), 0u16);
    while bytes.len() < length {
        let received = pair.wait_received(p, next)?;
        bytes.extend(received.bytes);
        next += 1;
        if next % SLOTS == 0 && bytes.len() < length {
            give_all(p, pair)?;
        }
    }
    Ok(bytes)
}

pub(super) fn echo(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    let text = long_text();
    pair.send(p, &text)?;
    pair.look_received(p, 1)?;
    give_all(p, &mut pair)?;
    let got = drain(p, &mut pair, LONG)?;
    p.check_bytes("bytes that came back", &got, &text);
    let (_, used_bytes) = pair.wait_sent(p)?;
    p.check_eq("length in the used ring", used_bytes, 0u32);
    Ok(())
}

pub(super) fn reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut pair = Pair::start(p, 0)?;
    pair.send(p, &long_text())?;
    pair.look_received(p, 1)?;
    pair.transport.write(p, reg::STATUS, 0)?;
    let mut pair = Pair::start(p, 0)?;
    // What was on its way may still come. What the first driver wanted to send is no business of the second one's.
    give_all(p, &mut pair)?;
    pair.look_received(p, SLOTS)?;
    let used = pair.transmit.used_idx(p)?;
    p.check_eq("requests used before any was sent", used, 0u16);
    pair.send(p, b"the second driver's")?;
    pair.wait_sent(p)?;
    Ok(())
}

pub(super) fn emergency(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, EMERG_WRITE, "EMERG_WRITE")?;
    let mut pair = Pair::prepare(p, 0)?;
    let emerg_wr = reg::CONFIG + EMERG_WR;
    for character in *b"before" {
        pair.transport.write(p, emerg_wr, u32::from(character))?;
    }
    pair.transport.driver_ok(p)?;
    pair.send(p, &long_text())?;
    pair.look_received(p, 1)?;
    for character in *b"while nobody reads" {
        pair.transport.write(p, emerg_wr, u32::from(character))?;
    }
    give_all(p, &mut pair)?;
    // Whether the characters come, and where, is left open; that the console goes on is not.
    drain(p, &mut pair, LONG)?;
    pair.wait_sent(p)?;
    Ok(())
}

pub(super) fn legacy_indirect(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, INDIRECT_DESC, "INDIRECT_DESC")?;
    let mut pair = Pair::start_legacy(p, INDIRECT_DESC)?;
    super::give_all(p, &mut pair)?;
    let text = b"a text in three parts";
    pair.send_indirect(p, text, &[8, 12, 1])?;
    let (_, used_bytes) = pair.wait_sent(p)?;
    p.check_eq("length in the used ring", used_bytes, 0u32);
    super::want(p, &mut pair, 0, text)?;
    Ok(())
}
