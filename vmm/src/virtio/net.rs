//! The network device: frames between a driver's two queues and a peer.
//!
//! Source: virtio 1.2, 5.1 "Network Device", with one pair of queues and without a control queue; the queue sizes are
//! those of QEMU 7.2.
//!
//! Deviations: none from virtio 1.2. Features offered are MAC, STATUS and MRG_RXBUF; no offload is, so every frame is
//! whole and its checksums are the sender's affair. The machine first released offers more, and a third queue.
//!
//! Where the standard leaves the choice:
//!
//! - A frame that comes while the driver has no buffer for it waits, [`FRAMES_MAX`] frames and [`FRAMES_BYTES_MAX`]
//!   bytes of them at most; [`Peer::Loopback`] drops what exceeds that, [`Peer::Host`] is not asked for more.
//! - A frame that comes before DRIVER_OK is dropped.
//! - A frame that the driver's next buffer cannot hold is dropped and the buffer kept; with MRG_RXBUF that goes for all
//!   buffers the queue has descriptors for.
//! - A frame longer than [`FRAME_BYTES_MAX`] or empty is dropped; its buffer is used all the same.
//! - A request to send without a whole header, or a buffer to receive that the device cannot write: the device is
//!   broken.
//! - The driver's header is not looked at: without offloads all it may say is that there are none.

use std::collections::VecDeque;

use crate::inspect::Inspector;
use crate::virtio::queue::{Broken, Chain, Queues};
use crate::virtio::{Features, Peer, RING_FEATURES, VirtioDevice, feature};

/// A virtio network device.
pub struct Net {
    // Configuration, fixed at construction.
    config: NetConfig,
    // State, all of it.
    state: State,
}

/// What a board decides about a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// The address that the device has at power-on.
    pub mac: [u8; 6],
    /// Whether the transport is version 1, whose drivers may write the address.
    pub legacy: bool,
    /// The other end of the cable.
    pub peer: Peer,
}

#[derive(Debug, PartialEq, Eq)]
struct State {
    space: [u8; CONFIG_BYTES],
    /// The driver has set DRIVER_OK.
    running: bool,
    header_bytes: usize,
    mergeable: bool,
    /// Buffers that wait for a frame that fits them.
    held: Vec<Chain>,
    /// Frames on their way to the driver.
    arrived: Frames,
    /// Frames on their way to the host.
    sent: Frames,
    dropped: u64,
}

/// Frames that wait, within bounds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// Longest frame: 14 bytes of Ethernet header, a VLAN tag, and the largest MTU that the device could announce.
pub const FRAME_BYTES_MAX: usize = 14 + 4 + 65_535;

/// Most frames that wait in one direction.
pub const FRAMES_MAX: usize = 256;

/// Most bytes of frames that wait in one direction.
pub const FRAMES_BYTES_MAX: usize = 512 << 10;

/// Index of the queue of buffers that the device fills.
pub const RECEIVEQ: u16 = 0;

/// Index of the queue of frames that the driver sends.
pub const TRANSMITQ: u16 = 1;

impl Net {
    /// A network device.
    pub fn new(config: NetConfig) -> Net {
        Net {
            config,
            state: State::power_on(config),
        }
    }

    /// Sends what the driver made available.
    fn transmit(&mut self, queues: &mut Queues<'_>) -> Result<(), Broken> {
        let state = &mut self.state;
        loop {
            if self.config.peer == Peer::Host && !state.sent.has_room() {
                // The host has not taken what was sent before: what is left waits for the next round.
                queues.end_round(TRANSMITQ);
            }
            let Some(chain) = queues.pop(TRANSMITQ)? else {
                return Ok(());
            };
            let header_bytes = state.header_bytes as u64;
            let Some(frame_bytes) = chain.readable_bytes().checked_sub(header_bytes) else {
                return Err(Broken::RequestHeader);
            };
            let is_frame = (1..=FRAME_BYTES_MAX as u64).contains(&frame_bytes);
            let frames = match self.config.peer {
                Peer::Nobody => None,
                Peer::Loopback => Some(&mut state.arrived),
                Peer::Host => Some(&mut state.sent),
            };
            match frames.filter(|frames| is_frame && frames.has_room()) {
                Some(frames) => {
                    let mut frame = vec![0; frame_bytes as usize];
                    chain.read(queues.memory(), header_bytes, &mut frame);
                    frames.push(frame);
                }
                None => state.dropped += 1,
            }
            queues.complete(chain, 0)?;
        }
    }

    /// Puts frames that arrived into the driver's buffers.
    fn deliver(&mut self, queues: &mut Queues<'_>) -> Result<(), Broken> {
        let state = &mut self.state;
        let buffers_max = if state.mergeable {
            usize::from(queues.size(RECEIVEQ))
        } else {
            1
        };
        while let Some(frame) = state.arrived.queue.front() {
            let wanted = (state.header_bytes + frame.len()) as u64;
            let Some(count) = buffers_for(wanted, &state.held) else {
                if buffers_max <= state.held.len() {
                    state.arrived.pop();
                    state.dropped += 1;
                    continue;
                }
                let Some(chain) = queues.pop(RECEIVEQ)? else {
                    return Ok(());
                };
                if chain.writable_bytes() == 0 {
                    return Err(Broken::RequestData);
                }
                state.held.push(chain);
                continue;
            };
            let mut packet = vec![0; state.header_bytes];
            if let Some(num_buffers) = packet.get_mut(NUM_BUFFERS..NUM_BUFFERS + 2) {
                num_buffers.copy_from_slice(&(count as u16).to_le_bytes());
            }
            packet.extend(frame);
            state.arrived.pop();
            let mut rest = &packet[..];
            let fill = |chain: Chain| {
                let written = chain.write(queues.memory(), 0, rest);
                rest = &rest[written..];
                (chain, written as u32)
            };
            let filled = state.held.drain(..count).map(fill).collect();
            queues.complete_together(RECEIVEQ, filled)?;
        }
        Ok(())
    }
}

impl VirtioDevice for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    fn device_id(&self) -> u32 {
        1
    }

    fn features(&self) -> Features {
        Features {
            legacy: RING_FEATURES.legacy | bit::ALL as u32,
            modern: RING_FEATURES.modern | bit::ALL,
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[256, 256]
    }

    fn config(&self) -> &[u8] {
        &self.state.space
    }

    fn config_write(&mut self, offset: usize, data: &[u8]) {
        if !self.config.legacy {
            return;
        }
        for (at, &byte) in (offset..MAC_BYTES).zip(data) {
            self.state.space[at] = byte;
        }
    }

    fn activate(&mut self, features: u64) {
        let state = &mut self.state;
        state.running = true;
        state.mergeable = features & bit::MRG_RXBUF != 0;
        let has_num_buffers = features & (feature::VERSION_1 | bit::MRG_RXBUF) != 0;
        state.header_bytes = if has_num_buffers { NUM_BUFFERS + 2 } else { NUM_BUFFERS };
    }

    fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken> {
        if index == TRANSMITQ {
            self.transmit(queues)?;
        }
        self.deliver(queues)
    }

    fn has_output(&self) -> bool {
        !self.state.sent.queue.is_empty()
    }

    fn take_output(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state.sent).queue.into()
    }

    fn room(&self) -> usize {
        // Before DRIVER_OK frames are taken to be dropped.
        if !self.state.running || self.state.arrived.has_room() {
            FRAME_BYTES_MAX
        } else {
            0
        }
    }

    fn receive(&mut self, data: &[u8]) -> usize {
        let state = &mut self.state;
        if !state.running || data.is_empty() || FRAME_BYTES_MAX < data.len() {
            state.dropped += 1;
        } else if !state.arrived.push(data.to_vec()) {
            return 0;
        }
        data.len()
    }

    fn reset(&mut self) {
        self.state = State::power_on(self.config);
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = &self.state;
        out.text("peer", format_args!("{:?}", self.config.peer));
        out.text("space", format_args!("{:02x?}", state.space));
        out.text("running", state.running);
        out.text("header_bytes", state.header_bytes);
        out.text("mergeable", state.mergeable);
        out.text("held", state.held.len());
        out.text("arrived", state.arrived.queue.len());
        out.text("arrived_bytes", state.arrived.bytes);
        out.text("sent", state.sent.queue.len());
        out.text("sent_bytes", state.sent.bytes);
        out.text("dropped", state.dropped);
    }
}

impl State {
    fn power_on(config: NetConfig) -> State {
        let mut space = [0; CONFIG_BYTES];
        space[..MAC_BYTES].copy_from_slice(&config.mac);
        space[STATUS] = LINK_UP;
        State {
            space,
            running: false,
            header_bytes: NUM_BUFFERS,
            mergeable: false,
            held: Vec::new(),
            arrived: Frames::default(),
            sent: Frames::default(),
            dropped: 0,
        }
    }
}

impl Frames {
    /// Whether a frame of any length is taken.
    fn has_room(&self) -> bool {
        self.queue.len() < FRAMES_MAX && self.bytes + FRAME_BYTES_MAX <= FRAMES_BYTES_MAX
    }

    /// Adds a frame; false when there is no room.
    fn push(&mut self, frame: Vec<u8>) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.bytes += frame.len();
            self.queue.push_back(frame);
        }
        has_room
    }

    fn pop(&mut self) {
        let frame = self.queue.pop_front();
        self.bytes -= frame.map_or(0, |frame| frame.len());
    }
}

/// How many of the buffers from the front on hold `bytes`; `None` when all together do not.
fn buffers_for(bytes: u64, buffers: &[Chain]) -> Option<usize> {
    let mut room = 0;
    let enough = buffers.iter().position(|buffer| {
        room += buffer.writable_bytes();
        bytes <= room
    });
    enough.map(|last| last + 1)
}

/// Up to and with `status`, the last field that a feature offered gives a meaning.
const CONFIG_BYTES: usize = 8;
const MAC_BYTES: usize = 6;
/// Offset of `status` in the configuration space. Virtio 1.2, 5.1.4.
const STATUS: usize = 6;
const LINK_UP: u8 = 1;

/// Offset of `num_buffers` in the header, which ends there on legacy transports without MRG_RXBUF. Virtio 1.2, 5.1.6.
const NUM_BUFFERS: usize = 10;

/// Feature bits. Virtio 1.2, 5.1.3.
mod bit {
    pub(super) const MAC: u64 = 1 << 5;
    pub(super) const MRG_RXBUF: u64 = 1 << 15;
    pub(super) const STATUS: u64 = 1 << 16;
    pub(super) const ALL: u64 = MAC | MRG_RXBUF | STATUS;
}

#[cfg(test)]
mod tests;
