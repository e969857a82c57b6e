//! A device with one queue for what comes in and one for what goes out, from the driver's side: networks and consoles.
//!
//! Source: virtio 1.2, 5.1.2 and 5.3.2 "Virtqueues".

use super::virtio_mmio::{Descriptor, NEXT, Queue, Transport, WRITE, reg};
use crate::machine::Stop;
use crate::probe::Probe;

/// Both queues of a started device.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Its transport.
    pub transport: Transport,
    /// Queue 0: buffers that the device fills.
    pub receive: Queue,
    /// Queue 1: buffers that the device sends.
    pub transmit: Queue,
    given: u16,
    sent: u16,
}

/// A buffer that came back full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of the buffer among those given, modulo [`SLOTS`].
    pub slot: u16,
    /// The length in the used ring.
    pub used_bytes: u32,
    /// So many bytes of the buffer, but no more than a page.
    pub bytes: Vec<u8>,
}

impl Pair {
    /// A modern device that accepted `features` of word 0, ready to go.
    ///
    /// # Errors
    /// As every access of the probe; the same for all methods here.
    pub fn start(p: &mut Probe<'_>, features: u32) -> Result<Pair, Stop> {
        let pair = Pair::prepare(p, features)?;
        pair.transport.driver_ok(p)?;
        Ok(pair)
    }

    /// The same, but for DRIVER_OK.
    pub fn prepare(p: &mut Probe<'_>, features: u32) -> Result<Pair, Stop> {
        let transport = Transport::first_device(p);
        let (receive, transmit) = (Queue::at(RECEIVE_RING, SIZE), Queue::at(TRANSMIT_RING, SIZE));
        transport.negotiate(p, features)?;
        for (index, queue) in [(RECEIVEQ, &receive), (TRANSMITQ, &transmit)] {
            queue.clear(p)?;
            transport.set_queue_at(p, index, queue)?;
        }
        Ok(Pair::new(transport, receive, transmit))
    }

    /// A legacy device that accepted `features`.
    pub fn start_legacy(p: &mut Probe<'_>, features: u32) -> Result<Pair, Stop> {
        let transport = Transport::first_device(p);
        transport.negotiate_legacy(p, features)?;
        let receive = transport.set_legacy_queue(p, RECEIVEQ, RECEIVE_RING, SIZE)?;
        let transmit = transport.set_legacy_queue(p, TRANSMITQ, TRANSMIT_RING, SIZE)?;
        transport.driver_ok(p)?;
        Ok(Pair::new(transport, receive, transmit))
    }

    fn new(transport: Transport, receive: Queue, transmit: Queue) -> Pair {
        Pair {
            transport,
            receive,
            transmit,
            given: 0,
            sent: 0,
        }
    }

    /// Makes a buffer of `length` bytes, filled with [`FILL`], available to receive into, and notifies.
    pub fn give(&mut self, p: &mut Probe<'_>, length: u32) -> Result<(), Stop> {
        self.give_silently(p, length)?;
        self.transport.write(p, reg::QUEUE_NOTIFY, RECEIVEQ)
    }

    /// The same without the notification.
    pub fn give_silently(&mut self, p: &mut Probe<'_>, length: u32) -> Result<(), Stop> {
        let slot = self.given % SLOTS;
        p.write_memory(received_at(slot), &vec![FILL; SLOT_BYTES.min(length as usize)])?;
        self.offer_to_receive(p, &[Descriptor::writable(received_at(slot), length)])
    }

    /// Makes a chain available to receive into, be it what it may, and notifies; `flags` of its descriptors lack NEXT.
    pub fn give_chain(&mut self, p: &mut Probe<'_>, chain: &[Descriptor]) -> Result<(), Stop> {
        self.offer_to_receive(p, chain)?;
        self.transport.write(p, reg::QUEUE_NOTIFY, RECEIVEQ)
    }

    fn offer_to_receive(&mut self, p: &mut Probe<'_>, chain: &[Descriptor]) -> Result<(), Stop> {
        offer(p, &self.receive, self.given, chain)?;
        self.given = self.given.wrapping_add(1);
        Ok(())
    }

    /// Sends bytes out of one buffer, and notifies.
    pub fn send(&mut self, p: &mut Probe<'_>, bytes: &[u8]) -> Result<(), Stop> {
        self.send_parts(p, bytes, &[bytes.len()])
    }

    /// The same without the notification.
    pub fn send_silently(&mut self, p: &mut Probe<'_>, bytes: &[u8]) -> Result<(), Stop> {
        let chain = self.place(p, bytes, &[bytes.len()])?;
        self.offer_to_send(p, &chain)
    }

    /// Sends bytes cut into buffers of so many bytes each, and notifies.
    pub fn send_parts(&mut self, p: &mut Probe<'_>, bytes: &[u8], lengths: &[usize]) -> Result<(), Stop> {
        let chain = self.place(p, bytes, lengths)?;
        self.send_chain(p, &chain)
    }

    /// The same by way of an indirect table.
    pub fn send_indirect(&mut self, p: &mut Probe<'_>, bytes: &[u8], lengths: &[usize]) -> Result<(), Stop> {
        let chain = self.place(p, bytes, lengths)?;
        let table: Vec<u8> = linked(&chain, 0).iter().flat_map(Descriptor::bytes).collect();
        p.write_memory(TABLE, &table)?;
        self.send_chain(p, &[Descriptor::indirect(TABLE, table.len() as u32)])
    }

    /// Makes a chain available to send, be it what it may, and notifies; `flags` of its descriptors lack NEXT.
    pub fn send_chain(&mut self, p: &mut Probe<'_>, chain: &[Descriptor]) -> Result<(), Stop> {
        self.offer_to_send(p, chain)?;
        self.transport.write(p, reg::QUEUE_NOTIFY, TRANSMITQ)
    }

    fn offer_to_send(&mut self, p: &mut Probe<'_>, chain: &[Descriptor]) -> Result<(), Stop> {
        offer(p, &self.transmit, self.sent, chain)?;
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }

    /// Puts bytes into the memory of the next request to send, and describes them in parts.
    fn place(&self, p: &mut Probe<'_>, bytes: &[u8], lengths: &[usize]) -> Result<Vec<Descriptor>, Stop> {
        let mut address = sent_at(self.sent % SLOTS);
        p.write_memory(address, bytes)?;
        let mut chain = Vec::new();
        for &length in lengths {
            chain.push(Descriptor {
                address,
                length: length as u32,
                flags: 0,
                next: 0,
            });
            address += length as u64;
        }
        Ok(chain)
    }

    /// Waits until everything sent is used, and returns the last entry of the used ring: slot and length.
    pub fn wait_sent(&self, p: &mut Probe<'_>) -> Result<(u16, u32), Stop> {
        wait(p, &self.transmit, self.sent, "used index of the transmit queue")?;
        let (head, used_bytes) = self.transmit.used_entry(p, self.sent.wrapping_sub(1))?;
        Ok((head as u16 / CHAIN_MAX, used_bytes))
    }

    /// Waits for buffer number `number`, counted from 0, to come back.
    pub fn wait_received(&self, p: &mut Probe<'_>, number: u16) -> Result<Received, Stop> {
        wait(
            p,
            &self.receive,
            number.wrapping_add(1),
            "used index of the receive queue",
        )?;
        self.received(p, number)
    }

    /// The buffer that came back as number `number`.
    pub fn received(&self, p: &mut Probe<'_>, number: u16) -> Result<Received, Stop> {
        let (head, used_bytes) = self.receive.used_entry(p, number)?;
        let slot = head as u16 / CHAIN_MAX % SLOTS;
        let bytes = p.read_memory(received_at(slot), SLOT_BYTES.min(used_bytes as usize))?;
        Ok(Received {
            slot,
            used_bytes,
            bytes,
        })
    }

    /// Looks for a while at a device that may well do nothing: how many buffers came back, at most `enough`.
    pub fn look_received(&self, p: &mut Probe<'_>, enough: u16) -> Result<u16, Stop> {
        let mut used = self.receive.used_idx(p)?;
        for _ in 0..IDLE_LOOKS {
            if enough <= used {
                break;
            }
            used = self.receive.used_idx(p)?;
        }
        Ok(used)
    }
}

/// Writes a chain into the descriptors of its slot and makes it available as number `number`.
fn offer(p: &mut Probe<'_>, queue: &Queue, number: u16, chain: &[Descriptor]) -> Result<(), Stop> {
    let head = number % SLOTS * CHAIN_MAX;
    for (index, descriptor) in linked(chain, head).into_iter().enumerate() {
        queue.describe(p, head + index as u16, descriptor)?;
    }
    queue.offer(p, number, &[head])
}

/// The chain with each descriptor but the last leading to the one behind it; the first is number `first`.
fn linked(chain: &[Descriptor], first: u16) -> Vec<Descriptor> {
    let last = chain.len().saturating_sub(1);
    let link = |(index, descriptor): (usize, &Descriptor)| match index {
        index if index == last => *descriptor,
        index => Descriptor {
            flags: descriptor.flags | NEXT,
            next: first + index as u16 + 1,
            ..*descriptor
        },
    };
    chain.iter().enumerate().map(link).collect()
}

fn wait(p: &mut Probe<'_>, queue: &Queue, want: u16, what: &str) -> Result<(), Stop> {
    let mut used = queue.used_idx(p)?;
    for _ in 0..LOOKS_MAX {
        if want <= used {
            break;
        }
        used = queue.used_idx(p)?;
    }
    p.check(what, want <= used, used.to_string(), format!("{want} or more"));
    if want <= used { Ok(()) } else { Err(Stop::NotMet) }
}

/// A buffer that the device writes at `received_at(slot)`, cut in parts of so many bytes.
pub fn writable_parts(slot: u16, lengths: &[u32]) -> Vec<Descriptor> {
    let mut address = received_at(slot);
    let mut chain = Vec::new();
    for &length in lengths {
        chain.push(Descriptor {
            address,
            length,
            flags: WRITE,
            next: 0,
        });
        address += u64::from(length);
    }
    chain
}

/// Where the buffer of receive slot `slot` is.
pub fn received_at(slot: u16) -> u64 {
    RECEIVED + (SLOT_BYTES as u64) * u64::from(slot)
}

/// Where the bytes of transmit slot `slot` are.
pub fn sent_at(slot: u16) -> u64 {
    SENT + (SLOT_BYTES as u64) * u64::from(slot)
}

/// Index of the queue for what comes in.
pub const RECEIVEQ: u32 = 0;
/// Index of the queue for what goes out.
pub const TRANSMITQ: u32 = 1;

/// Descriptors of each queue.
pub const SIZE: u16 = 16;
/// Most descriptors of one chain.
pub const CHAIN_MAX: u16 = 4;
/// Chains that can be under way on one queue.
pub const SLOTS: u16 = SIZE / CHAIN_MAX;
/// Bytes of memory of one slot.
pub const SLOT_BYTES: usize = 0x2000;

/// What buffers hold before the device writes them.
pub const FILL: u8 = 0xa5;

/// RAM that no image of ours uses.
const RECEIVE_RING: u64 = 0x40_0000;
const TRANSMIT_RING: u64 = 0x40_4000;
const TABLE: u64 = 0x40_8000;
const RECEIVED: u64 = 0x42_0000;
const SENT: u64 = 0x44_0000;

/// Looks at the used ring before something counts as lost: a peer may be a process of its own.
pub const LOOKS_MAX: usize = 5000;
/// Looks at a device that is to do nothing.
const IDLE_LOOKS: usize = 100;
