//! Split virtqueues as a device sees them: rings that a hostile driver may have written.
//!
//! The available ring and the descriptor chains are followed by the crate `virtio-queue`. It ends a chain silently
//! where the driver broke a rule, so everything it leaves open is decided here. The used ring is written here, because
//! a legacy driver's `QueueAlign` can put it at any address while the crate insists on a multiple of 4.
//!
//! Source: virtio 1.2, 2.7 "Split Virtqueues"; bounds and what breaks a device as in the machine first released
//! (QEMU 4.2) where the standard leaves it open.
//!
//! Deviations: none from what virtio 1.2 demands of a device.
//!
//! Where virtio 1.2 and the machine first released disagree, the standard was followed:
//!
//! - INDIRECT after ordinary descriptors of the same chain: MUST be handled (2.7.5.3.2). It was not followed.
//! - `used.flags` is set to 0 before the first request (2.7.10.2: MUST be 0, or 1 without EVENT_IDX). It was left
//!   as found.
//! - With EVENT_IDX the first notification too waits for `used_event` (2.7.7.2, SHOULD NOT before). It was always
//!   sent.
//!
//! Where only drivers' duties are at stake, the machine first released was followed:
//!
//! - INDIRECT is followed though the feature was not negotiated, and a table may be longer than the queue, up to
//!   [`DESCRIPTOR_CHAIN_LENGTH_MAX`] descriptors.
//! - An available index that jumps too far, a head or a `next` outside its table, a loop, an empty buffer, a
//!   readable buffer after a writable one: the device is broken.
//!
//! except that this device gives up on drivers that break these rules:
//!
//! - A queue size that is not a power of two (2.7: it always is), a descriptor table not aligned to 16 or an
//!   available ring not aligned to 2 (2.7.1), and an available ring at address 0: broken when first looked at.
//!   They worked.
//! - INDIRECT inside an indirect table (2.7.5.3.1): broken. The table was taken for a buffer.
//! - A ring or a buffer that is not wholly in RAM: broken, for DMA on this machine reaches RAM only. A buffer
//!   elsewhere was completed as if written, and could reach registers.

use std::sync::atomic::{Ordering, fence};

use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Error, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::device::Event;
use crate::inspect::Inspector;
use crate::memory::Memory;
use crate::units::Nanos;
use crate::virtio::feature;

/// The largest queue size the transport takes, whatever the device's own default is.
pub const QUEUE_SIZE_MAX: u16 = 1024;

/// The most descriptors one chain may have, indirect ones included. A device may have a reasonable limit
/// (virtio 1.2, 2.7.4.1); this is the number of scatter-gather elements that the machine first released takes.
pub const DESCRIPTOR_CHAIN_LENGTH_MAX: usize = 1024;

/// One queue's configuration and progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtqueue {
    /// Number of descriptors, 1..=[`QUEUE_SIZE_MAX`].
    pub size: u16,
    /// Where the parts lie; `None` while the driver has not given the queue to the device.
    pub layout: Option<Layout>,
    next_avail: u16,
    next_used: u16,
    in_flight: u16,
    added: u16,
    started: bool,
}

/// Guest-physical addresses of the three parts of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Descriptor table ("Descriptor Area"): 16 bytes for each descriptor.
    pub desc: u64,
    /// Available ring ("Driver Area").
    pub avail: u64,
    /// Used ring ("Device Area").
    pub used: u64,
}

/// One request: a descriptor chain that was checked from end to end.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    queue_index: u16,
    head: u16,
    readable: Vec<Buffer>,
    writable: Vec<Buffer>,
}

/// One buffer of a chain, wholly in RAM and not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// First guest-physical address.
    pub gpa: u64,
    /// Length, at least 1.
    pub length_bytes: u32,
}

/// What a driver did so that its ring can no longer be followed. The device stops until it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Size not a power of two, or a part at an address that the format does not allow.
    #[error("queue size or alignment outside the format")]
    Layout,
    /// A part of the queue is not wholly in RAM.
    #[error("ring outside RAM")]
    RingOutsideRam,
    /// `avail.idx` moved further than the queue is long.
    #[error("available index moved by more than the queue size")]
    AvailableIndex,
    /// The driver made requests available that the device still holds.
    #[error("more requests in flight than the queue has descriptors")]
    InFlight,
    /// The available ring names a descriptor that does not exist.
    #[error("head outside the descriptor table")]
    Head,
    /// A chain leaves its table, loops, misuses INDIRECT or exceeds 4 GiB.
    #[error("descriptor chain without an end")]
    Chain,
    /// A chain has more than [`DESCRIPTOR_CHAIN_LENGTH_MAX`] descriptors.
    #[error("descriptor chain too long")]
    ChainLength,
    /// A descriptor of length 0.
    #[error("empty buffer")]
    EmptyBuffer,
    /// A device-readable descriptor after a device-writable one.
    #[error("readable buffer after a writable one")]
    Order,
    /// A buffer is not wholly in RAM.
    #[error("buffer outside RAM")]
    BufferOutsideRam,
    /// A request's readable part is shorter than the header that every request of the device has.
    #[error("request without a whole header")]
    RequestHeader,
    /// A request has no writable byte for its status.
    #[error("request without a status byte")]
    RequestStatus,
    /// A request lacks data that its kind cannot be without.
    #[error("request without its data")]
    RequestData,
}

/// All queues of a device during one call of [`crate::virtio::VirtioDevice::process`].
#[derive(Debug)]
pub struct Queues<'a> {
    /// Virtual time since power-on.
    pub now: Nanos,
    /// What the device tells the outside world.
    pub events: &'a mut Vec<Event>,
    queues: &'a mut [Virtqueue],
    memory: &'a Memory,
    features: u64,
    budgets: Vec<u16>,
    config_changed: bool,
    work_left: bool,
}

/// What a round of processing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// A used buffer notification is due.
    pub(crate) notify: bool,
    /// The back end changed its configuration space.
    pub(crate) config_changed: bool,
    /// A queue's share of one round was used up while requests were left.
    pub(crate) work_left: bool,
}

impl Virtqueue {
    /// A queue of `size` descriptors that the driver has not set up.
    pub fn new(size: u16) -> Virtqueue {
        Virtqueue {
            size,
            layout: None,
            next_avail: 0,
            next_used: 0,
            in_flight: 0,
            added: 0,
            started: false,
        }
    }

    /// Shows configuration and progress.
    pub fn inspect(&self, out: &mut Inspector) {
        out.text("size", self.size);
        out.text("layout", format_args!("{:x?}", self.layout));
        out.text("next_avail", self.next_avail);
        out.text("next_used", self.next_used);
        out.text("in_flight", self.in_flight);
        out.text("started", self.started);
    }

    /// Checks that every part lies in RAM, and readies the used ring before the first request.
    fn start(&mut self, layout: Layout, memory: &Memory) -> Result<(), Broken> {
        let size = usize::from(self.size);
        let parts = [
            (layout.desc, DESCRIPTOR_BYTES * size),
            (layout.avail, RING_META_BYTES + 2 * size),
            (layout.used, RING_META_BYTES + USED_ELEMENT_BYTES * size),
        ];
        for (gpa, length_bytes) in parts {
            if memory.available(gpa, length_bytes) < length_bytes {
                return Err(Broken::RingOutsideRam);
            }
        }
        if !self.started {
            put_u16(memory, layout.used, 0)?;
            self.started = true;
        }
        Ok(())
    }

    fn pop(&mut self, index: u16, memory: &Memory, features: u64) -> Result<Option<Chain>, Broken> {
        let Some(layout) = self.layout else {
            return Ok(None);
        };
        self.start(layout, memory)?;
        let mut ring = self.available_ring(layout)?;
        let mut heads = ring.iter(memory.map()).map_err(|error| match error {
            Error::InvalidAvailRingIndex => Broken::AvailableIndex,
            Error::QueueNotReady => Broken::Layout,
            _ => Broken::RingOutsideRam,
        })?;
        let Some(descriptors) = heads.next() else {
            return Ok(None);
        };
        if self.size <= self.in_flight {
            return Err(Broken::InFlight);
        }
        self.next_avail = ring.next_avail();
        if features & feature::EVENT_IDX != 0 {
            let avail_event = offset(layout.used, 4 + USED_ELEMENT_BYTES * usize::from(self.size));
            put_u16(memory, avail_event, self.next_avail)?;
            // The driver must see avail_event before the device looks at avail.idx again, or a notification is lost.
            fence(Ordering::SeqCst);
        }
        let head = descriptors.head_index();
        if self.size <= head {
            return Err(Broken::Head);
        }
        let chain = collect(index, head, descriptors, memory)?;
        self.in_flight += 1;
        Ok(Some(chain))
    }

    fn has_request(&self, memory: &Memory) -> Result<bool, Broken> {
        match self.layout {
            Some(layout) => Ok(get_u16(memory, offset(layout.avail, 2))? != self.next_avail),
            None => Ok(false),
        }
    }

    /// Puts `(head, written_bytes)` of each chain into the used ring; the driver sees them all at once.
    fn complete(&mut self, chains: impl Iterator<Item = (u16, u32)>, memory: &Memory) -> Result<(), Broken> {
        let Some(layout) = self.layout else {
            return Ok(());
        };
        for (head, written_bytes) in chains {
            self.in_flight = self.in_flight.saturating_sub(1);
            let slot = usize::from(self.next_used % self.size);
            let mut element = [0; USED_ELEMENT_BYTES];
            element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
            element[4..].copy_from_slice(&written_bytes.to_le_bytes());
            let at = offset(layout.used, 4 + USED_ELEMENT_BYTES * slot);
            memory.write(at, &element).map_err(|_| Broken::RingOutsideRam)?;
            self.next_used = self.next_used.wrapping_add(1);
            self.added = self.added.wrapping_add(1);
        }
        put_u16(memory, offset(layout.used, 2), self.next_used)
    }

    /// Whether the driver wants to hear of what was completed since the last call. Virtio 1.2, 2.7.7.2 and 6.3.
    fn take_notification(&mut self, memory: &Memory, features: u64) -> Result<bool, Broken> {
        let added = std::mem::take(&mut self.added);
        let (Some(layout), true) = (self.layout, 0 < added) else {
            return Ok(false);
        };
        // Everything in the used ring must be visible before the driver's wishes are read.
        fence(Ordering::SeqCst);
        if features & feature::NOTIFY_ON_EMPTY != 0
            && self.in_flight == 0
            && get_u16(memory, offset(layout.avail, 2))? == self.next_avail
        {
            return Ok(true);
        }
        if features & feature::EVENT_IDX != 0 {
            let used_event = get_u16(memory, offset(layout.avail, 4 + 2 * usize::from(self.size)))?;
            return Ok(self.next_used.wrapping_sub(used_event).wrapping_sub(1) < added);
        }
        Ok(get_u16(memory, layout.avail)? & AVAIL_F_NO_INTERRUPT == 0)
    }

    fn available_ring(&self, layout: Layout) -> Result<virtio_queue::Queue, Broken> {
        let state = QueueState {
            max_size: QUEUE_SIZE_MAX,
            next_avail: self.next_avail,
            size: self.size,
            ready: true,
            desc_table: layout.desc,
            avail_ring: layout.avail,
            ..QueueState::default()
        };
        virtio_queue::Queue::try_from(state).map_err(|_| Broken::Layout)
    }
}

impl<'a> Queues<'a> {
    /// A round of processing over `queues` by the rules of `features`.
    pub(crate) fn new(
        queues: &'a mut [Virtqueue],
        features: u64,
        memory: &'a Memory,
        now: Nanos,
        events: &'a mut Vec<Event>,
    ) -> Queues<'a> {
        let budgets = queues.iter().map(|queue| queue.size).collect();
        Queues {
            now,
            events,
            queues,
            memory,
            features,
            budgets,
            config_changed: false,
            work_left: false,
        }
    }

    /// Guest memory.
    pub fn memory(&self) -> &'a Memory {
        self.memory
    }

    /// The next request of queue `index`; `None` when there is none, when the driver has not set the queue up, or when
    /// this round's share is used up (as many requests as the queue has descriptors). Every chain must come back to
    /// [`Queues::complete`] some time.
    ///
    /// # Errors
    /// [`Broken`] when the ring cannot be followed.
    pub fn pop(&mut self, index: u16) -> Result<Option<Chain>, Broken> {
        let Some(queue) = self.queues.get_mut(usize::from(index)) else {
            return Ok(None);
        };
        let budget = &mut self.budgets[usize::from(index)];
        if *budget == 0 {
            self.work_left |= queue.has_request(self.memory)?;
            return Ok(None);
        }
        *budget -= 1;
        queue.pop(index, self.memory, self.features)
    }

    /// Ends this round's share of queue `index`: what is left waits for the next round.
    pub fn end_round(&mut self, index: u16) {
        if let Some(budget) = self.budgets.get_mut(usize::from(index)) {
            *budget = 0;
        }
    }

    /// Puts a chain into its queue's used ring; `written_bytes` is how much of the writable part was filled, counted
    /// from its start.
    ///
    /// # Errors
    /// [`Broken`] when the used ring is not in RAM.
    pub fn complete(&mut self, chain: Chain, written_bytes: u32) -> Result<(), Broken> {
        match self.queues.get_mut(usize::from(chain.queue_index)) {
            Some(queue) => queue.complete(std::iter::once((chain.head, written_bytes)), self.memory),
            None => Ok(()),
        }
    }

    /// Puts chains of queue `index` into its used ring, each with how much of it was filled; the driver sees all of
    /// them at once.
    ///
    /// # Errors
    /// As [`Queues::complete`].
    pub fn complete_together(&mut self, index: u16, chains: Vec<(Chain, u32)>) -> Result<(), Broken> {
        match self.queues.get_mut(usize::from(index)) {
            Some(queue) => queue.complete(
                chains.iter().map(|(chain, written_bytes)| (chain.head, *written_bytes)),
                self.memory,
            ),
            None => Ok(()),
        }
    }

    /// Number of descriptors of queue `index`, 0 when there is no such queue.
    pub fn size(&self, index: u16) -> u16 {
        self.queues.get(usize::from(index)).map_or(0, |queue| queue.size)
    }

    /// Asks for another round soon: a request was kept that needs no notification to go on.
    pub fn resume_later(&mut self) {
        self.work_left = true;
    }

    /// Notes that the back end's configuration space is no longer what it was.
    pub fn config_changed(&mut self) {
        self.config_changed = true;
    }

    /// Ends the round: what is due, and whether every ring could still be read for it.
    pub(crate) fn finish(self) -> (Outcome, Result<(), Broken>) {
        let mut outcome = Outcome {
            notify: false,
            config_changed: self.config_changed,
            work_left: self.work_left,
        };
        let mut readable = Ok(());
        for queue in self.queues.iter_mut() {
            match queue.take_notification(self.memory, self.features) {
                Ok(wanted) => outcome.notify |= wanted,
                Err(broken) => readable = Err(broken),
            }
        }
        (outcome, readable)
    }
}

impl Chain {
    /// Index of the queue the chain came from.
    pub fn queue_index(&self) -> u16 {
        self.queue_index
    }

    /// The buffers that the device reads, in order.
    pub fn readable(&self) -> &[Buffer] {
        &self.readable
    }

    /// The buffers that the device writes, in order.
    pub fn writable(&self) -> &[Buffer] {
        &self.writable
    }

    /// Total length of the readable part; a chain is at most 4 GiB long.
    pub fn readable_bytes(&self) -> u64 {
        total(&self.readable)
    }

    /// Total length of the writable part.
    pub fn writable_bytes(&self) -> u64 {
        total(&self.writable)
    }

    /// Gathers bytes from `offset` of the readable part on; returns how many there were.
    pub fn read(&self, memory: &Memory, offset: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in pieces(&self.readable, offset, into.len()) {
            let end = done + piece.length_bytes as usize;
            if memory.read(piece.gpa, &mut into[done..end]).is_err() {
                break;
            }
            done = end;
        }
        done
    }

    /// Scatters bytes over the writable part from `offset` on; returns how many found room.
    pub fn write(&self, memory: &Memory, offset: u64, from: &[u8]) -> usize {
        let mut done = 0;
        for piece in pieces(&self.writable, offset, from.len()) {
            let end = done + piece.length_bytes as usize;
            if memory.write(piece.gpa, &from[done..end]).is_err() {
                break;
            }
            done = end;
        }
        done
    }
}

/// Follows a chain to its end, checking what the crate leaves open.
fn collect(
    queue_index: u16,
    head: u16,
    descriptors: impl Iterator<Item = Descriptor>,
    memory: &Memory,
) -> Result<Chain, Broken> {
    let mut chain = Chain {
        queue_index,
        head,
        readable: Vec::new(),
        writable: Vec::new(),
    };
    let mut ended = false;
    for (count, descriptor) in descriptors.enumerate() {
        if DESCRIPTOR_CHAIN_LENGTH_MAX <= count {
            return Err(Broken::ChainLength);
        }
        let buffer = Buffer {
            gpa: descriptor.addr().0,
            length_bytes: descriptor.len(),
        };
        if buffer.length_bytes == 0 {
            return Err(Broken::EmptyBuffer);
        }
        let length = buffer.length_bytes as usize;
        if memory.available(buffer.gpa, length) < length {
            return Err(Broken::BufferOutsideRam);
        }
        if descriptor.is_write_only() {
            chain.writable.push(buffer);
        } else if chain.writable.is_empty() {
            chain.readable.push(buffer);
        } else {
            return Err(Broken::Order);
        }
        ended = !descriptor.has_next();
    }
    // The crate stops without a word at a bad `next`, a loop, a bad table or 4 GiB: the last descriptor it gave then
    // still promises another one, or it gave none at all.
    if ended { Ok(chain) } else { Err(Broken::Chain) }
}

fn total(buffers: &[Buffer]) -> u64 {
    buffers.iter().map(|buffer| u64::from(buffer.length_bytes)).sum()
}

/// The part of `buffers` that starts `skip` bytes in and is at most `length` bytes long.
fn pieces(buffers: &[Buffer], mut skip: u64, length: usize) -> impl Iterator<Item = Buffer> {
    let mut left = length as u64;
    buffers.iter().filter_map(move |buffer| {
        let skipped = skip.min(u64::from(buffer.length_bytes));
        skip -= skipped;
        let taken = left.min(u64::from(buffer.length_bytes) - skipped);
        left -= taken;
        (0 < taken).then_some(Buffer {
            gpa: buffer.gpa + skipped,
            length_bytes: taken as u32,
        })
    })
}

/// An address inside a ring. The driver may have moved the ring since it was checked, so this does not rely on it.
fn offset(base: u64, bytes: usize) -> u64 {
    base.saturating_add(bytes as u64)
}

fn get_u16(memory: &Memory, gpa: u64) -> Result<u16, Broken> {
    let mut bytes = [0; 2];
    match memory.map().load::<u16>(GuestAddress(gpa), Ordering::Acquire) {
        Ok(value) => return Ok(u16::from_le(value)),
        // A misaligned used or available ring cannot be accessed atomically; bytes will do, as no driver does it.
        Err(_) => memory.read(gpa, &mut bytes).map_err(|_| Broken::RingOutsideRam)?,
    }
    Ok(u16::from_le_bytes(bytes))
}

fn put_u16(memory: &Memory, gpa: u64, value: u16) -> Result<(), Broken> {
    match memory.map().store(value.to_le(), GuestAddress(gpa), Ordering::Release) {
        Ok(()) => Ok(()),
        Err(_) => memory
            .write(gpa, &value.to_le_bytes())
            .map_err(|_| Broken::RingOutsideRam),
    }
}

const DESCRIPTOR_BYTES: usize = 16;
const USED_ELEMENT_BYTES: usize = 8;
/// `flags`, `idx` and the event field that follows the ring.
const RING_META_BYTES: usize = 6;
const AVAIL_F_NO_INTERRUPT: u16 = 1;

#[cfg(test)]
mod tests;
