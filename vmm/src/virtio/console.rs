//! The console device: bytes between a driver's two queues and a peer, one port.
//!
//! Source: virtio 1.2, 5.3 "Console Device"; the queue sizes are those of QEMU 7.2.
//!
//! Deviations: none from virtio 1.2. EMERG_WRITE is offered; SIZE and MULTIPORT are not. The machine first released
//! offers MULTIPORT, and 62 more queues.
//!
//! Where the standard leaves the choice:
//!
//! - Bytes for the driver wait while it has no buffer, [`ARRIVED_BYTES_MAX`] of them at most; further ones wait at the
//!   peer. Before DRIVER_OK all do.
//! - What the driver sends waits while the peer does not take it, [`SENT_BYTES_MAX`] bytes of it outside the queue; the
//!   request is used once all of it is taken. With nobody there, it is used at once.
//! - A character written to `emerg_wr` that finds no room is dropped. NUL is not sent, so that a driver may write the
//!   field to clear it.
//! - A buffer to receive that the device cannot write is used with length 0.

use std::collections::VecDeque;

use crate::inspect::Inspector;
use crate::virtio::queue::{Broken, Chain, Queues};
use crate::virtio::{Features, Peer, RING_FEATURES, VirtioDevice};

/// A virtio console device.
pub struct Console {
    // Configuration, fixed at construction.
    peer: Peer,
    // State, all of it.
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    /// The driver has set DRIVER_OK.
    running: bool,
    /// Bytes on their way to the driver.
    arrived: VecDeque<u8>,
    /// Bytes on their way to the host.
    sent: Vec<u8>,
    /// A request that is sent in part, and how many bytes of it are.
    sending: Option<(Chain, u64)>,
}

/// Most bytes that wait for the driver's buffers.
pub const ARRIVED_BYTES_MAX: usize = 4096;

/// Most bytes that wait for the host.
pub const SENT_BYTES_MAX: usize = 64 << 10;

/// Index of the queue of buffers that the device fills.
pub const RECEIVEQ: u16 = 0;

/// Index of the queue of bytes that the driver sends.
pub const TRANSMITQ: u16 = 1;

impl Console {
    /// A console with one port.
    pub fn new(peer: Peer) -> Console {
        Console {
            peer,
            state: State::default(),
        }
    }

    /// How many bytes the peer takes now.
    fn peer_room(&self) -> usize {
        match self.peer {
            Peer::Nobody => usize::MAX,
            Peer::Loopback => ARRIVED_BYTES_MAX - self.state.arrived.len(),
            Peer::Host => SENT_BYTES_MAX - self.state.sent.len(),
        }
    }

    /// Hands bytes to the peer, no more than it has room for.
    fn send(&mut self, bytes: &[u8]) {
        match self.peer {
            Peer::Nobody => {}
            Peer::Loopback => self.state.arrived.extend(bytes),
            Peer::Host => self.state.sent.extend(bytes),
        }
    }

    /// Sends what the driver made available, as far as the peer takes it.
    fn transmit(&mut self, queues: &mut Queues<'_>) -> Result<(), Broken> {
        loop {
            let (chain, done) = match self.state.sending.take() {
                Some(sending) => sending,
                None => match queues.pop(TRANSMITQ)? {
                    Some(chain) => (chain, 0),
                    None => return Ok(()),
                },
            };
            let left = chain.readable_bytes() - done;
            let now = left.min(self.peer_room() as u64);
            if self.peer != Peer::Nobody {
                let mut bytes = vec![0; now as usize];
                chain.read(queues.memory(), done, &mut bytes);
                self.send(&bytes);
            }
            if now < left {
                self.state.sending = Some((chain, done + now));
                if self.peer == Peer::Host {
                    // Nothing of the driver's doing tells that the host has made room.
                    queues.resume_later();
                }
                return Ok(());
            }
            queues.complete(chain, 0)?;
        }
    }

    /// Puts bytes that arrived into the driver's buffers; returns whether any found room.
    fn deliver(&mut self, queues: &mut Queues<'_>) -> Result<bool, Broken> {
        let arrived = &mut self.state.arrived;
        let before = arrived.len();
        while !arrived.is_empty()
            && let Some(chain) = queues.pop(RECEIVEQ)?
        {
            let length = chain.writable_bytes().min(arrived.len() as u64) as usize;
            let bytes: Vec<u8> = arrived.drain(..length).collect();
            let written_bytes = chain.write(queues.memory(), 0, &bytes);
            queues.complete(chain, written_bytes as u32)?;
        }
        Ok(arrived.len() < before)
    }
}

impl VirtioDevice for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn device_id(&self) -> u32 {
        3
    }

    fn features(&self) -> Features {
        Features {
            legacy: RING_FEATURES.legacy | bit::EMERG_WRITE as u32,
            modern: RING_FEATURES.modern | bit::EMERG_WRITE,
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[128, 128]
    }

    fn config(&self) -> &[u8] {
        &CONFIG
    }

    fn config_write(&mut self, offset: usize, data: &[u8]) {
        let low_byte = EMERG_WR.checked_sub(offset).and_then(|at| data.get(at));
        if let Some(&character) = low_byte.filter(|&&character| character != 0)
            && 0 < self.peer_room()
        {
            self.send(&[character]);
        }
    }

    fn activate(&mut self, _features: u64) {
        self.state.running = true;
    }

    fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken> {
        // A request that is sent in part has priority over a later notification of its queue.
        if index == TRANSMITQ || self.state.sending.is_some() {
            self.transmit(queues)?;
        }
        // In loopback, room for more of what is sent comes from what is delivered; each turn uses up a buffer.
        while self.deliver(queues)? && self.state.sending.is_some() {
            self.transmit(queues)?;
        }
        Ok(())
    }

    fn has_output(&self) -> bool {
        !self.state.sent.is_empty()
    }

    fn take_output(&mut self) -> Vec<Vec<u8>> {
        let sent = std::mem::take(&mut self.state.sent);
        if sent.is_empty() { Vec::new() } else { vec![sent] }
    }

    fn room(&self) -> usize {
        if self.state.running {
            ARRIVED_BYTES_MAX - self.state.arrived.len()
        } else {
            0
        }
    }

    fn receive(&mut self, data: &[u8]) -> usize {
        let length = data.len().min(self.room());
        self.state.arrived.extend(&data[..length]);
        length
    }

    fn reset(&mut self) {
        self.state = State::default();
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = &self.state;
        out.text("peer", format_args!("{:?}", self.peer));
        out.text("running", state.running);
        out.text("arrived", format_args!("{:02x?}", state.arrived));
        out.text("sent_bytes", state.sent.len());
        out.text(
            "sending",
            format_args!("{:?}", state.sending.as_ref().map(|(_, done)| done)),
        );
    }
}

/// `cols` and `rows`, which mean nothing without SIZE; `max_nr_ports`, 1; `emerg_wr`, for writing only.
const CONFIG: [u8; 12] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

/// Offset of `emerg_wr` in the configuration space. Virtio 1.2, 5.3.4.
const EMERG_WR: usize = 8;

/// Feature bits. Virtio 1.2, 5.3.3.
mod bit {
    pub(super) const EMERG_WRITE: u64 = 1 << 2;
}

#[cfg(test)]
mod tests;
