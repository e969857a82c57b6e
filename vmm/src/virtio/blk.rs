//! The block device: sectors of a disk, read and written by requests on one queue.
//!
//! Source: virtio 1.2, 5.2 "Block Device"; features, configuration space, queue size and what the standard leaves open
//! as measured on the machine first released (QEMU 4.2) and on QEMU 7.2.
//!
//! Deviations: none from virtio 1.2.
//!
//! Where virtio 1.2 and the machine first released disagree, the standard was followed:
//!
//! - The length in the used ring counts only bytes that were written (2.7.8.2: MUST write at least that many, 2.7.8.3:
//!   a driver relies on nothing behind them). The status byte comes last, so data that a request leaves open is
//!   filled with zeros, up to [`FILL_BYTES_MAX`]. It was left as it was, and counted.
//! - The device ID is padded with NUL to 20 bytes (5.2.6). One NUL was written.
//! - CONFIG_WCE without FLUSH: `writeback` MUST be initialised to 0 (5.2.5.2). It stayed 1. Version 2 only, as 5.2.5.3
//!   says.
//! - An unknown flag of a discard or write zeroes request: MUST be UNSUPP (5.2.6.2). A range outside the disk was
//!   noticed first, and gave IOERR.
//!
//! Where the standard leaves the choice, the machine first released was followed:
//!
//! - A request without a whole header, without a last writable byte for the status, or a discard or write zeroes
//!   request with less than a whole segment: the device is broken.
//! - Bits 0 and 31 of `type` do not tell kinds of requests apart, except reads from writes; discard and write zeroes
//!   need bit 0.
//! - A read or write whose length is no multiple of 512, or that ends outside the disk: IOERR, nothing transferred.
//! - A discard or write zeroes request of more than one segment: UNSUPP.
//! - `writeback` can be written at any time; other fields of the configuration space ignore writes.
//! - The geometry is the usual guess from the capacity; a partition table on the disk is not asked.
//! - A disk whose length is no multiple of 512 is rounded up; the rest of the last sector reads as zeros.
//! - Legacy SCSI requests: UNSUPP, though the feature is offered.
//!
//! Otherwise: a host that runs out of space gives the guest IOERR; the machine first released pauses the guest.

use std::sync::{Arc, OnceLock};

use crate::inspect::Inspector;
use crate::memory::Memory;
use crate::virtio::queue::{Broken, Chain, Queues};
use crate::virtio::{Background, Features, VirtioDevice, feature};

/// Where a block device's sectors are. Offsets and lengths are in bytes, whole sectors inside
/// [`Disk::size_bytes`] rounded up to [`SECTOR_BYTES`].
pub trait Disk: Send {
    /// The length, fixed for the life of the disk; not necessarily a multiple of [`SECTOR_BYTES`].
    fn size_bytes(&self) -> u64;

    /// Reads; what lies behind the end reads as zeros.
    ///
    /// # Errors
    /// [`DiskError`] when the host cannot; `into` may then hold anything.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DiskError>;

    /// Writes. The data may stay in caches until [`Disk::flush`].
    ///
    /// # Errors
    /// [`DiskError`] when the host cannot; the range may then hold anything.
    fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), DiskError>;

    /// Commits what was written so far to stable storage.
    ///
    /// # Errors
    /// [`DiskError`] when the host cannot promise that.
    fn flush(&mut self) -> Result<(), DiskError>;

    /// [`Disk::flush`] as a call for another thread to make, if this disk has that. Writes that complete before it is
    /// made are part of it.
    fn flush_call(&self) -> Option<FlushCall> {
        None
    }

    /// Makes a range read as zeros; `may_unmap` allows to give its storage back.
    ///
    /// # Errors
    /// [`DiskError`] when the host cannot; the range may then hold anything.
    fn write_zeroes(&mut self, offset: u64, length_bytes: u64, may_unmap: bool) -> Result<(), DiskError>;

    /// Gives a range's storage back where the host can; what it reads as afterwards is left open.
    ///
    /// # Errors
    /// [`DiskError`] when the host tried and failed.
    fn discard(&mut self, offset: u64, length_bytes: u64) -> Result<(), DiskError>;
}

/// Commits what was written to a disk so far.
pub type FlushCall = Box<dyn FnOnce() -> Result<(), DiskError> + Send>;

/// The host failed; it has told its user why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host's disk failed")]
pub struct DiskError;

/// A disk in memory: repeatable, and gone with its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryDisk {
    bytes: Vec<u8>,
    size_bytes: u64,
}

/// A virtio block device.
pub struct Blk {
    // Configuration, fixed at construction.
    config: BlkConfig,
    // Connections.
    disk: Box<dyn Disk>,
    background: Option<Arc<dyn Background>>,
    // State, all of it.
    waiting: Vec<Waiting>,
    writeback: bool,
    space: [u8; CONFIG_BYTES],
}

/// What a board decides about a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlkConfig {
    /// Whether the driver may only read.
    pub read_only: bool,
    /// Size of the queue for a driver that never chooses one; `seg_max` is 2 less, for header and status.
    pub queue_size: u16,
}

/// Bytes of a sector, the unit of all of a driver's numbers.
pub const SECTOR_BYTES: u64 = 512;

/// Bytes moved between the disk and guest memory at a time, and so the most a request makes the VMM allocate.
pub const CHUNK_BYTES: usize = 64 << 10;

/// Most bytes of one request that are filled with zeros because nothing else belongs there.
pub const FILL_BYTES_MAX: u64 = 1 << 20;

/// Bytes moved in one round after which the rest of the requests wait for the next, so that no driver keeps the machine
/// to itself.
pub const ROUND_BYTES_MAX: u64 = 16 << 20;

/// Most sectors of one request: the machine first released counts a request's bytes in 31 bits.
pub const REQUEST_SECTORS_MAX: u32 = 0x3f_ffff;

/// Index of the only queue.
pub const REQUESTQ: u16 = 0;

impl Blk {
    /// A block device on `disk`.
    pub fn new(config: BlkConfig, disk: Box<dyn Disk>) -> Blk {
        let space = config_space(config, disk.size_bytes().div_ceil(SECTOR_BYTES));
        let mut blk = Blk {
            config,
            disk,
            background: None,
            waiting: Vec::new(),
            writeback: false,
            space,
        };
        blk.set_writeback(true);
        blk
    }

    fn set_writeback(&mut self, writeback: bool) {
        self.writeback = writeback;
        self.space[field::WRITEBACK] = u8::from(writeback);
    }

    fn sectors(&self) -> u64 {
        self.disk.size_bytes().div_ceil(SECTOR_BYTES)
    }

    /// Carries a request out; returns how many bytes of the round it took.
    fn request(&mut self, chain: Chain, queues: &mut Queues<'_>) -> Result<u64, Broken> {
        let memory = queues.memory();
        let mut header = [0; HEADER_BYTES];
        if chain.read(memory, 0, &mut header) < HEADER_BYTES {
            return Err(Broken::RequestHeader);
        }
        let Some(status_at) = chain.writable_bytes().checked_sub(1) else {
            return Err(Broken::RequestStatus);
        };
        let (kind, sector) = (le32(&header[0..4]), le64(&header[8..16]));
        let readable = chain.readable_bytes() - HEADER_BYTES as u64;
        let mut transfer = Transfer {
            chain: &chain,
            memory,
            read_bytes: 0,
            written_bytes: 0,
        };
        let out = kind & request::OUT != 0;
        let result = match kind & !(request::OUT | request::BARRIER) {
            request::IN if out => self.write(sector, readable, &mut transfer),
            request::IN => self.read(sector, status_at, &mut transfer),
            request::FLUSH => self.flush(),
            request::GET_ID => transfer.put(&[0; ID_BYTES], status_at),
            request::DISCARD_BITS | request::WRITE_ZEROES_BITS if !out || SEGMENT_BYTES as u64 != readable => {
                if out && readable < SEGMENT_BYTES as u64 {
                    return Err(Broken::RequestData);
                }
                Err(Failure::Unsupported)
            }
            request::DISCARD_BITS => self.discard(&mut transfer),
            request::WRITE_ZEROES_BITS => self.write_zeroes(&mut transfer),
            _ => Err(Failure::Unsupported),
        };
        transfer.fill(status_at);
        let Transfer {
            read_bytes,
            written_bytes,
            ..
        } = transfer;
        let status = match result {
            Ok(()) => status::OK,
            Err(Failure::Io) => status::IOERR,
            Err(Failure::Unsupported) => status::UNSUPP,
            Err(Failure::Later(outcome)) => {
                self.waiting.push(Waiting {
                    chain,
                    written_bytes,
                    outcome,
                });
                return Ok(read_bytes + written_bytes);
            }
        };
        complete(chain, written_bytes, status, queues)?;
        Ok(read_bytes + written_bytes)
    }

    /// Completes the requests whose flush has ended.
    fn complete_flushed(&mut self, queues: &mut Queues<'_>) -> Result<(), Broken> {
        let ended = |waiting: &mut Waiting| waiting.outcome.get().is_some();
        for waiting in self.waiting.extract_if(.., ended) {
            let status = match waiting.outcome.get() {
                Some(Ok(())) => status::OK,
                _ => status::IOERR,
            };
            complete(waiting.chain, waiting.written_bytes, status, queues)?;
        }
        Ok(())
    }

    /// Commits what was written so far, or leaves that to the background.
    fn flush(&mut self) -> Result<(), Failure> {
        let (Some(background), Some(call)) = (&self.background, self.disk.flush_call()) else {
            return Ok(self.disk.flush()?);
        };
        let outcome = Arc::new(OnceLock::new());
        let ended = Arc::clone(&outcome);
        let job = Box::new(move || {
            let _first = ended.set(call());
        });
        match background.later(job) {
            Ok(()) => Err(Failure::Later(outcome)),
            Err(_) => Ok(self.disk.flush()?),
        }
    }

    fn read(&mut self, sector: u64, length_bytes: u64, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
        let offset = self.range(sector, length_bytes)?;
        let mut buffer = buffer(length_bytes);
        for (at, length) in chunks(length_bytes) {
            let bytes = &mut buffer[..length];
            self.disk.read_at(offset + at, bytes)?;
            transfer.put(bytes, length_bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, length_bytes: u64, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
        let offset = self.range(sector, length_bytes)?;
        self.check_writable()?;
        let mut buffer = buffer(length_bytes);
        for (at, length) in chunks(length_bytes) {
            let bytes = &mut buffer[..length];
            transfer.get(bytes)?;
            self.disk.write_at(offset + at, bytes)?;
        }
        self.write_through()
    }

    fn write_zeroes(&mut self, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
        let segment = transfer.segment()?;
        if segment.flags & !FLAG_UNMAP != 0 {
            return Err(Failure::Unsupported);
        }
        self.check_writable()?;
        let offset = self.range(segment.sector, segment.length_bytes)?;
        let may_unmap = segment.flags & FLAG_UNMAP != 0;
        // Zeros are as much work as data, where the host has to write them one by one.
        transfer.read_bytes += segment.length_bytes;
        self.disk.write_zeroes(offset, segment.length_bytes, may_unmap)?;
        self.write_through()
    }

    fn discard(&mut self, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
        let segment = transfer.segment()?;
        if segment.flags != 0 {
            return Err(Failure::Unsupported);
        }
        self.check_writable()?;
        let offset = self.range(segment.sector, segment.length_bytes)?;
        Ok(self.disk.discard(offset, segment.length_bytes)?)
    }

    /// The offset of a range of sectors that lies on the disk.
    fn range(&self, sector: u64, length_bytes: u64) -> Result<u64, Failure> {
        let (sectors, odd_bytes) = (length_bytes / SECTOR_BYTES, length_bytes % SECTOR_BYTES);
        let fits = sector.checked_add(sectors).is_some_and(|end| end <= self.sectors());
        if !fits || odd_bytes != 0 || u64::from(REQUEST_SECTORS_MAX) < sectors {
            return Err(Failure::Io);
        }
        sector.checked_mul(SECTOR_BYTES).ok_or(Failure::Io)
    }

    fn check_writable(&self) -> Result<(), Failure> {
        if self.config.read_only {
            Err(Failure::Io)
        } else {
            Ok(())
        }
    }

    /// Without a writeback cache a write is stable when it completes. Virtio 1.2, 5.2.6.2.
    fn write_through(&mut self) -> Result<(), Failure> {
        if self.writeback {
            return Ok(());
        }
        self.flush()
    }
}

impl VirtioDevice for Blk {
    fn name(&self) -> &'static str {
        "blk"
    }

    fn device_id(&self) -> u32 {
        2
    }

    fn features(&self) -> Features {
        let read_only = if self.config.read_only { bit::RO } else { 0 };
        Features {
            // Legacy drivers were promised nothing about message framing.
            legacy: (feature::NOTIFY_ON_EMPTY
                | feature::INDIRECT_DESC
                | feature::EVENT_IDX
                | bit::SCSI
                | bit::ALWAYS
                | read_only) as u32,
            modern: feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX | bit::ALWAYS | read_only,
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        std::slice::from_ref(&self.config.queue_size)
    }

    fn config(&self) -> &[u8] {
        &self.space
    }

    fn config_write(&mut self, offset: usize, data: &[u8]) {
        if let Some(&value) = field::WRITEBACK.checked_sub(offset).and_then(|at| data.get(at)) {
            self.set_writeback(value != 0);
        }
    }

    fn features_ok(&mut self, features: u64) {
        if features & bit::CONFIG_WCE != 0 && features & bit::FLUSH == 0 {
            self.set_writeback(false);
        }
    }

    fn activate(&mut self, features: u64) {
        // A driver that cannot switch the cache has one exactly when it can flush it.
        if features & bit::CONFIG_WCE == 0 {
            self.set_writeback(features & bit::FLUSH != 0);
        }
    }

    fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken> {
        self.complete_flushed(queues)?;
        let mut moved = 0;
        while let Some(chain) = queues.pop(index)? {
            moved += self.request(chain, queues)?;
            if ROUND_BYTES_MAX <= moved {
                queues.end_round(index);
            }
        }
        Ok(())
    }

    fn use_background(&mut self, background: Arc<dyn Background>) {
        self.background = Some(background);
    }

    fn waits_for_host(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn reset(&mut self) {
        self.waiting.clear();
        self.set_writeback(true);
    }

    fn inspect(&self, out: &mut Inspector) {
        out.text("sectors", self.sectors());
        out.text("read_only", self.config.read_only);
        out.text("writeback", self.writeback);
        if !self.waiting.is_empty() {
            out.text("waiting", self.waiting.len());
        }
    }
}

impl MemoryDisk {
    /// A disk that holds `bytes`.
    pub fn new(bytes: Vec<u8>) -> MemoryDisk {
        let size_bytes = bytes.len() as u64;
        let mut bytes = bytes;
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES as usize), 0);
        MemoryDisk { bytes, size_bytes }
    }

    /// What it holds now, whole sectors.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&mut self, offset: u64, length_bytes: u64) -> Result<&mut [u8], DiskError> {
        let start = usize::try_from(offset).map_err(|_| DiskError)?;
        let length = usize::try_from(length_bytes).map_err(|_| DiskError)?;
        let end = start.checked_add(length).ok_or(DiskError)?;
        self.bytes.get_mut(start..end).ok_or(DiskError)
    }
}

impl Disk for MemoryDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let range = self.range(offset, into.len() as u64)?;
        into.copy_from_slice(range);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), DiskError> {
        self.range(offset, from.len() as u64)?.copy_from_slice(from);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn write_zeroes(&mut self, offset: u64, length_bytes: u64, _may_unmap: bool) -> Result<(), DiskError> {
        self.range(offset, length_bytes)?.fill(0);
        Ok(())
    }

    fn discard(&mut self, _offset: u64, _length_bytes: u64) -> Result<(), DiskError> {
        Ok(())
    }
}

/// A request that is done but for the flush it ends with.
struct Waiting {
    chain: Chain,
    written_bytes: u64,
    outcome: FlushOutcome,
}

/// How a flush that was left to the background went, once it has ended.
type FlushOutcome = Arc<OnceLock<Result<(), DiskError>>>;

/// Why a request is not carried out, or not yet.
enum Failure {
    Io,
    Unsupported,
    Later(FlushOutcome),
}

impl From<DiskError> for Failure {
    fn from(_: DiskError) -> Failure {
        Failure::Io
    }
}

/// One range of a discard or write zeroes request.
struct Segment {
    sector: u64,
    length_bytes: u64,
    flags: u32,
}

/// A request's data on its way.
struct Transfer<'a> {
    chain: &'a Chain,
    memory: &'a Memory,
    /// How much of the data that the driver wrote was read, from its start.
    read_bytes: u64,
    /// How much of the data that the driver reads was written, from its start.
    written_bytes: u64,
}

impl Transfer<'_> {
    /// The next bytes that the driver wrote behind the header.
    fn get(&mut self, into: &mut [u8]) -> Result<(), Failure> {
        let at = HEADER_BYTES as u64 + self.read_bytes;
        let done = self.chain.read(self.memory, at, into);
        self.read_bytes += done as u64;
        if done == into.len() { Ok(()) } else { Err(Failure::Io) }
    }

    /// Appends to the data that the driver reads, which is `length_bytes` long; what exceeds it is cut.
    fn put(&mut self, bytes: &[u8], length_bytes: u64) -> Result<(), Failure> {
        let room = usize::try_from(length_bytes - self.written_bytes).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        let done = self.chain.write(self.memory, self.written_bytes, bytes);
        self.written_bytes += done as u64;
        if done == bytes.len() { Ok(()) } else { Err(Failure::Io) }
    }

    /// Fills what nothing was written to with zeros, as far as [`FILL_BYTES_MAX`] goes.
    fn fill(&mut self, length_bytes: u64) {
        let missing = (length_bytes - self.written_bytes).min(FILL_BYTES_MAX);
        let zeros = buffer(missing);
        for (_, length) in chunks(missing) {
            if self.put(&zeros[..length], length_bytes).is_err() {
                return;
            }
        }
    }

    fn segment(&mut self) -> Result<Segment, Failure> {
        let mut bytes = [0; SEGMENT_BYTES];
        self.get(&mut bytes)?;
        Ok(Segment {
            sector: le64(&bytes[0..8]),
            length_bytes: u64::from(le32(&bytes[8..12])) * SECTOR_BYTES,
            flags: le32(&bytes[12..16]),
        })
    }
}

/// Writes the status of a request, of which `written_bytes` of data were written, and gives it back.
fn complete(chain: Chain, written_bytes: u64, status: u8, queues: &mut Queues<'_>) -> Result<(), Broken> {
    let status_at = chain.writable_bytes().saturating_sub(1);
    chain.write(queues.memory(), status_at, &[status]);
    // The status is the last byte, so it counts only when everything before it was written.
    let used_bytes = written_bytes + u64::from(written_bytes == status_at);
    queues.complete(chain, u32::try_from(used_bytes).unwrap_or(u32::MAX))
}

/// Room for the pieces of so many bytes.
fn buffer(length_bytes: u64) -> Vec<u8> {
    vec![0; length_bytes.min(CHUNK_BYTES as u64) as usize]
}

/// Offset and length of each piece of at most [`CHUNK_BYTES`].
fn chunks(length_bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..length_bytes)
        .step_by(CHUNK_BYTES)
        .map(move |at| (at, (length_bytes - at).min(CHUNK_BYTES as u64) as usize))
}

/// `struct virtio_blk_config` as far as this device's features give its fields a meaning.
fn config_space(config: BlkConfig, sectors: u64) -> [u8; CONFIG_BYTES] {
    let mut space = [0; CONFIG_BYTES];
    let mut put = |at: usize, bytes: &[u8]| space[at..at + bytes.len()].copy_from_slice(bytes);
    let sectors_per_cylinder = u64::from(HEADS) * u64::from(SECTORS_PER_TRACK);
    let cylinders = (sectors / sectors_per_cylinder).clamp(CYLINDERS_MIN, CYLINDERS_MAX) as u16;
    put(field::CAPACITY, &sectors.to_le_bytes());
    put(field::SEG_MAX, &(u32::from(config.queue_size) - 2).to_le_bytes());
    put(field::GEOMETRY, &cylinders.to_le_bytes());
    put(field::GEOMETRY + 2, &[HEADS, SECTORS_PER_TRACK]);
    put(field::BLK_SIZE, &(SECTOR_BYTES as u32).to_le_bytes());
    put(field::NUM_QUEUES, &1_u16.to_le_bytes());
    put(field::MAX_DISCARD_SECTORS, &REQUEST_SECTORS_MAX.to_le_bytes());
    put(field::MAX_DISCARD_SEG, &1_u32.to_le_bytes());
    put(field::DISCARD_SECTOR_ALIGNMENT, &1_u32.to_le_bytes());
    put(field::MAX_WRITE_ZEROES_SECTORS, &REQUEST_SECTORS_MAX.to_le_bytes());
    put(field::MAX_WRITE_ZEROES_SEG, &1_u32.to_le_bytes());
    put(field::WRITE_ZEROES_MAY_UNMAP, &[1]);
    space
}

fn le32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// `type`, `reserved`, `sector`.
const HEADER_BYTES: usize = 16;
/// `struct virtio_blk_discard_write_zeroes`.
const SEGMENT_BYTES: usize = 16;
/// The device ID string; this device's is empty.
const ID_BYTES: usize = 20;
/// `unmap` in the flags of a segment.
const FLAG_UNMAP: u32 = 1;

/// The geometry every disk without a better one has had since the first IDE controllers.
const HEADS: u8 = 16;
const SECTORS_PER_TRACK: u8 = 63;
const CYLINDERS_MIN: u64 = 2;
const CYLINDERS_MAX: u64 = 16383;

/// Up to and with `write_zeroes_may_unmap`, the last field that has a meaning here.
const CONFIG_BYTES: usize = 57;

/// Offsets in `struct virtio_blk_config`. Virtio 1.2, 5.2.4.
mod field {
    pub(super) const CAPACITY: usize = 0;
    pub(super) const SEG_MAX: usize = 12;
    pub(super) const GEOMETRY: usize = 16;
    pub(super) const BLK_SIZE: usize = 20;
    pub(super) const WRITEBACK: usize = 32;
    pub(super) const NUM_QUEUES: usize = 34;
    pub(super) const MAX_DISCARD_SECTORS: usize = 36;
    pub(super) const MAX_DISCARD_SEG: usize = 40;
    pub(super) const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    pub(super) const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    pub(super) const MAX_WRITE_ZEROES_SEG: usize = 52;
    pub(super) const WRITE_ZEROES_MAY_UNMAP: usize = 56;
}

/// Feature bits. Virtio 1.2, 5.2.3 and 5.2.3.1.
mod bit {
    pub(super) const SEG_MAX: u64 = 1 << 2;
    pub(super) const GEOMETRY: u64 = 1 << 4;
    pub(super) const RO: u64 = 1 << 5;
    pub(super) const BLK_SIZE: u64 = 1 << 6;
    pub(super) const SCSI: u64 = 1 << 7;
    pub(super) const FLUSH: u64 = 1 << 9;
    pub(super) const TOPOLOGY: u64 = 1 << 10;
    pub(super) const CONFIG_WCE: u64 = 1 << 11;
    pub(super) const DISCARD: u64 = 1 << 13;
    pub(super) const WRITE_ZEROES: u64 = 1 << 14;
    pub(super) const ALWAYS: u64 =
        SEG_MAX | GEOMETRY | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE | DISCARD | WRITE_ZEROES;
}

/// Parts of a request's type. Virtio 1.2, 5.2.6 and 5.2.6.3.
mod request {
    pub(super) const OUT: u32 = 1;
    pub(super) const BARRIER: u32 = 1 << 31;
    pub(super) const IN: u32 = 0;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
    /// 11 without [`OUT`].
    pub(super) const DISCARD_BITS: u32 = 10;
    /// 13 without [`OUT`].
    pub(super) const WRITE_ZEROES_BITS: u32 = 12;
}

/// Values of the status byte. Virtio 1.2, 5.2.6.
mod status {
    pub(super) const OK: u8 = 0;
    pub(super) const IOERR: u8 = 1;
    pub(super) const UNSUPP: u8 = 2;
}

#[cfg(test)]
mod tests;
