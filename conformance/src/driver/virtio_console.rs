//! A console with one port, from the driver's side.
//!
//! Source: virtio 1.2, 5.3 "Console Device".

use super::virtio_pair::Pair;
use crate::machine::Stop;
use crate::probe::Probe;

/// Device type.
pub const ID_CONSOLE: u32 = 3;

/// VIRTIO_CONSOLE_F_EMERG_WRITE, in feature word 0.
pub const EMERG_WRITE: u32 = 1 << 2;

/// Offset of `emerg_wr` in the configuration space.
pub const EMERG_WR: u64 = 8;

/// Receives from buffer number `number` on until `length` bytes have come, or more: what came, and the number of the
/// next buffer. Each buffer used is replaced by one of `buffer_bytes`.
///
/// # Errors
/// As every access of the probe; [`Stop::NotMet`] when a buffer comes back without a byte, or not at all.
pub fn receive(
    p: &mut Probe<'_>,
    pair: &mut Pair,
    number: u16,
    length: usize,
    buffer_bytes: u32,
) -> Result<(Vec<u8>, u16), Stop> {
    let (mut bytes, mut next) = (Vec::new(), number);
    while bytes.len() < length {
        let received = pair.wait_received(p, next)?;
        let fits = (1..=buffer_bytes).contains(&received.used_bytes);
        if !fits {
            let got = received.used_bytes.to_string();
            p.check("length in the used ring", fits, got, format!("1 to {buffer_bytes}"));
            return Err(Stop::NotMet);
        }
        bytes.extend(received.bytes);
        next = next.wrapping_add(1);
        pair.give(p, buffer_bytes)?;
    }
    Ok((bytes, next))
}
