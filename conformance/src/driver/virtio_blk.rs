//! A block device, from the driver's side.
//!
//! Source: virtio 1.2, 5.2 "Block Device".

use super::virtio_mmio::{Descriptor, NEXT, Queue, Transport, WRITE, reg};
use crate::machine::{Stop, Width};
use crate::probe::Probe;

/// Device type.
pub const ID_BLK: u32 = 2;

/// Bytes of a sector.
pub const SECTOR_BYTES: u32 = 512;

/// Feature bits, all in word 0.
pub mod feature {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const SEG_MAX: u32 = 1 << 2;
    pub const GEOMETRY: u32 = 1 << 4;
    pub const RO: u32 = 1 << 5;
    pub const BLK_SIZE: u32 = 1 << 6;
    pub const SCSI: u32 = 1 << 7;
    pub const FLUSH: u32 = 1 << 9;
    pub const TOPOLOGY: u32 = 1 << 10;
    pub const CONFIG_WCE: u32 = 1 << 11;
    pub const DISCARD: u32 = 1 << 13;
    pub const WRITE_ZEROES: u32 = 1 << 14;
}

/// Offsets in the configuration space.
pub mod config {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const CAPACITY: u64 = 0;
    pub const SEG_MAX: u64 = 12;
    pub const GEOMETRY: u64 = 16;
    pub const BLK_SIZE: u64 = 20;
    pub const PHYSICAL_BLOCK_EXP: u64 = 24;
    pub const ALIGNMENT_OFFSET: u64 = 25;
    pub const WRITEBACK: u64 = 32;
    pub const UNUSED0: u64 = 33;
    pub const MAX_DISCARD_SECTORS: u64 = 36;
    pub const MAX_DISCARD_SEG: u64 = 40;
    pub const MAX_WRITE_ZEROES_SECTORS: u64 = 48;
    pub const MAX_WRITE_ZEROES_SEG: u64 = 52;
}

/// Types of requests.
pub mod kind {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    /// Legacy disks with SCSI only.
    pub const PACKET: u32 = 2;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
    /// None of this version of the standard, or of features that nobody accepted.
    pub const UNKNOWN: [u32; 5] = [6, 7, 10, 12, 99];
}

/// Values of the status byte.
pub mod outcome {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const OK: u8 = 0;
    pub const IOERR: u8 = 1;
    pub const UNSUPP: u8 = 2;
    /// What a driver puts there, to see whether the device wrote it.
    pub const UNWRITTEN: u8 = 0xee;
}

/// The data of a request: which side writes it, where it is, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// None.
    Nothing,
    /// The device reads so many bytes at an address.
    ToDevice(u64, u32),
    /// The device writes so many bytes at an address.
    FromDevice(u64, u32),
}

/// What came back for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The status byte.
    pub status: u8,
    /// The length in the used ring.
    pub used_bytes: u32,
}

/// A block device that was started, with requests one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Blk {
    /// Its transport.
    pub transport: Transport,
    /// Its queue.
    pub queue: Queue,
    /// Requests made available so far.
    offered: u16,
}

impl Blk {
    /// A modern device that accepted `features` of word 0, ready to go.
    ///
    /// # Errors
    /// As every access of the probe; the same for all methods here.
    pub fn start(p: &mut Probe<'_>, features: u32) -> Result<Blk, Stop> {
        let (transport, queue) = (Transport::first_device(p), Queue::at(RING, SIZE));
        transport.negotiate(p, features)?;
        queue.clear(p)?;
        transport.set_queue(p, &queue)?;
        transport.driver_ok(p)?;
        Ok(Blk::running(transport, queue))
    }

    /// A device that was started by hand.
    pub fn running(transport: Transport, queue: Queue) -> Blk {
        let offered = 0;
        Blk {
            transport,
            queue,
            offered,
        }
    }

    /// Reads a byte of the configuration space.
    pub fn config_byte(&self, p: &mut Probe<'_>, offset: u64) -> Result<u8, Stop> {
        p.load(self.transport.base + reg::CONFIG + offset, Width::Byte)
            .map(|value| value as u8)
    }

    /// Writes header and status of request `slot` and its descriptors, of which it has three from `3 * slot` on.
    pub fn describe(&self, p: &mut Probe<'_>, slot: u16, kind: u32, sector: u64, data: Data) -> Result<(), Stop> {
        let header = Descriptor {
            address: header_at(slot),
            length: 16,
            flags: NEXT,
            next: 3 * slot + if data == Data::Nothing { 2 } else { 1 },
        };
        write_header(p, header.address, kind, sector)?;
        p.write_memory(status_at(slot), &[outcome::UNWRITTEN])?;
        self.queue.describe(p, 3 * slot, header)?;
        let (address, length, flags) = match data {
            Data::Nothing => (0, 0, 0),
            Data::ToDevice(address, length) => (address, length, NEXT),
            Data::FromDevice(address, length) => (address, length, NEXT | WRITE),
        };
        let next = 3 * slot + 2;
        let data = Descriptor {
            address,
            length,
            flags,
            next,
        };
        self.queue.describe(p, 3 * slot + 1, data)?;
        self.queue.describe(p, next, Descriptor::writable(status_at(slot), 1))
    }

    /// Makes requests available and notifies once.
    pub fn submit(&mut self, p: &mut Probe<'_>, slots: &[u16]) -> Result<(), Stop> {
        let heads: Vec<u16> = slots.iter().map(|slot| 3 * slot).collect();
        self.queue.offer(p, self.offered, &heads)?;
        self.offered = self.offered.wrapping_add(heads.len() as u16);
        self.transport.write(p, reg::QUEUE_NOTIFY, 0)
    }

    /// Waits until everything that was submitted is used.
    pub fn wait(&self, p: &mut Probe<'_>) -> Result<(), Stop> {
        let mut used = self.queue.used_idx(p)?;
        for _ in 0..LOOKS_MAX {
            if used == self.offered {
                break;
            }
            used = self.queue.used_idx(p)?;
        }
        p.require_eq("used index", used, self.offered)
    }

    /// One request on its own.
    pub fn request(&mut self, p: &mut Probe<'_>, kind: u32, sector: u64, data: Data) -> Result<Done, Stop> {
        self.describe(p, 0, kind, sector, data)?;
        self.submit(p, &[0])?;
        self.wait(p)?;
        let (head, used_bytes) = self.queue.used_entry(p, self.offered.wrapping_sub(1))?;
        p.check_eq("head returned", head, 0u32);
        let status = status(p, 0)?;
        Ok(Done { status, used_bytes })
    }

    /// Reads sectors into memory at [`DATA`] and returns them; the request must succeed.
    pub fn read(&mut self, p: &mut Probe<'_>, sector: u64, sectors: u32) -> Result<Vec<u8>, Stop> {
        let length = sectors * SECTOR_BYTES;
        p.write_memory(DATA, &vec![FILL; length as usize])?;
        let done = self.request(p, kind::IN, sector, Data::FromDevice(DATA, length))?;
        p.require_eq("status of the read", done.status, outcome::OK)?;
        p.read_memory(DATA, length as usize)
    }

    /// Fills sectors with one byte.
    pub fn write(&mut self, p: &mut Probe<'_>, sector: u64, sectors: u32, byte: u8) -> Result<Done, Stop> {
        let length = sectors * SECTOR_BYTES;
        p.write_memory(DATA, &vec![byte; length as usize])?;
        self.request(p, kind::OUT, sector, Data::ToDevice(DATA, length))
    }

    /// A discard or write zeroes request of one segment.
    pub fn range(&mut self, p: &mut Probe<'_>, kind: u32, sector: u64, sectors: u32, flags: u32) -> Result<Done, Stop> {
        let segment = [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat();
        p.write_memory(DATA, &segment)?;
        self.request(p, kind, 0, Data::ToDevice(DATA, segment.len() as u32))
    }
}

/// Writes a request's header.
///
/// # Errors
/// As every access of the probe.
pub fn write_header(p: &mut Probe<'_>, gpa: u64, kind: u32, sector: u64) -> Result<(), Stop> {
    let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
    p.write_memory(gpa, &header)
}

/// The status byte of request `slot`.
///
/// # Errors
/// As every access of the probe.
pub fn status(p: &mut Probe<'_>, slot: u16) -> Result<u8, Stop> {
    Ok(p.read_memory(status_at(slot), 1)?[0])
}

/// Where the header of request `slot` is.
pub fn header_at(slot: u16) -> u64 {
    HEADERS + 16 * u64::from(slot)
}

/// Where the status of request `slot` is.
pub fn status_at(slot: u16) -> u64 {
    STATUSES + u64::from(slot)
}

/// RAM that no image of ours uses: the queue, then headers, statuses and data.
pub const RING: u64 = 0x40_0000;
const HEADERS: u64 = 0x41_0000;
const STATUSES: u64 = 0x41_1000;
/// Data of requests.
pub const DATA: u64 = 0x42_0000;

/// What data buffers hold before the device writes them.
pub const FILL: u8 = 0xa5;

/// Descriptors of the queue: room for five requests.
pub const SIZE: u16 = 16;

/// Looks at the used ring before a request counts as lost: a disk may take its time over a flush.
const LOOKS_MAX: usize = 5000;
