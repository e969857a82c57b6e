use std::sync::{Arc, Mutex};

use super::*;
use crate::device::laws::check_laws;
use crate::units::Width;
use crate::virtio::Job;
use crate::virtio::driver::{Bench, NEXT, Ring, WRITE};
use crate::virtio::rng::Xorshift;

/// What a disk was asked to do, for tests that look behind the device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Read(u64, usize),
    Write(u64, usize),
    Flush,
    Zero(u64, u64, bool),
    Discard(u64, u64),
}

/// A disk in memory that both the device and the test hold, and that fails when told.
#[derive(Clone)]
struct Shared {
    disk: Arc<Mutex<MemoryDisk>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    fails: bool,
}

impl Shared {
    fn new(bytes: Vec<u8>) -> Shared {
        Shared {
            disk: Arc::new(Mutex::new(MemoryDisk::new(bytes))),
            asked: Arc::default(),
            fails: false,
        }
    }

    fn ask(&self, asked: Asked) -> Result<std::sync::MutexGuard<'_, MemoryDisk>, DiskError> {
        self.asked.lock().expect("one thread").push(asked);
        if self.fails {
            return Err(DiskError);
        }
        Ok(self.disk.lock().expect("one thread"))
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("one thread"))
    }

    fn bytes(&self) -> Vec<u8> {
        self.disk.lock().expect("one thread").bytes().to_vec()
    }
}

impl Disk for Shared {
    fn size_bytes(&self) -> u64 {
        self.disk.lock().expect("one thread").size_bytes()
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.ask(Asked::Read(offset, into.len()))?.read_at(offset, into)
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), DiskError> {
        self.ask(Asked::Write(offset, from.len()))?.write_at(offset, from)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.ask(Asked::Flush)?.flush()
    }

    fn write_zeroes(&mut self, offset: u64, length_bytes: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.ask(Asked::Zero(offset, length_bytes, may_unmap))?
            .write_zeroes(offset, length_bytes, may_unmap)
    }

    fn flush_call(&self) -> Option<FlushCall> {
        let mut disk = self.clone();
        Some(Box::new(move || disk.flush()))
    }

    fn discard(&mut self, offset: u64, length_bytes: u64) -> Result<(), DiskError> {
        self.ask(Asked::Discard(offset, length_bytes))?
            .discard(offset, length_bytes)
    }
}

/// A device on a disk of `sectors` sectors, with its queue set up, and requests one after the other.
struct Fixture {
    bench: Bench,
    ring: Ring,
    disk: Shared,
    requests: u16,
}

const HEADER: u64 = 0x2000;
const DATA: u64 = 0x4_0000;
const STATUS: u64 = 0x3000;
/// What buffers and the status hold before a request.
const FILL: u8 = 0xa5;

const CONFIG: BlkConfig = BlkConfig {
    read_only: false,
    queue_size: 128,
};

fn pattern(sectors: usize) -> Vec<u8> {
    (0..sectors * 512).map(|i| ((7 * i + i / 512) % 256) as u8).collect()
}

impl Fixture {
    fn with(config: BlkConfig, disk: Shared, features: u64) -> Fixture {
        let blk = Blk::new(config, Box::new(disk.clone()));
        let features = features & blk.features().modern;
        let mut bench = Bench::new(true, Some(Box::new(blk)));
        let ring = Ring::at(0x1_0000, 8);
        bench.start_modern(ring, features);
        Fixture {
            bench,
            ring,
            disk,
            requests: 0,
        }
    }

    fn new() -> Fixture {
        Fixture::with(CONFIG, Shared::new(pattern(16)), u64::MAX)
    }

    fn header(&self, kind: u32, sector: u64) {
        let bytes = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.bench.memory.write(HEADER, &bytes).expect("RAM");
        self.bench.memory.write(STATUS, &[FILL]).expect("RAM");
    }

    /// Offers the chain from descriptor 0 on and notifies; returns used length and status.
    fn go(&mut self) -> (u32, u8) {
        self.ring.offer(&self.bench.memory, self.requests, 0);
        self.bench.kick();
        self.requests += 1;
        assert_eq!(
            self.ring.used_idx(&self.bench.memory),
            self.requests,
            "the request is used"
        );
        let (id, used) = self.ring.used(&self.bench.memory, self.requests - 1);
        assert_eq!(id, 0);
        (used, self.memory(STATUS, 1)[0])
    }

    fn memory(&self, gpa: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.bench.memory.read(gpa, &mut bytes).expect("RAM");
        bytes
    }

    /// A request whose data the device writes.
    fn device_writes(&mut self, kind: u32, sector: u64, length: u32) -> (u32, u8) {
        self.header(kind, sector);
        let fill = vec![FILL; length as usize];
        self.bench.memory.write(DATA, &fill).expect("RAM");
        let data = if length == 0 { 2 } else { 1 };
        self.ring.describe(&self.bench.memory, 0, HEADER, 16, NEXT, data);
        self.ring.describe(&self.bench.memory, 1, DATA, length, NEXT | WRITE, 2);
        self.ring.describe(&self.bench.memory, 2, STATUS, 1, WRITE, 0);
        self.go()
    }

    /// A request whose data the device reads.
    fn device_reads(&mut self, kind: u32, sector: u64, data: &[u8]) -> (u32, u8) {
        self.header(kind, sector);
        self.bench.memory.write(DATA, data).expect("RAM");
        self.ring.describe(&self.bench.memory, 0, HEADER, 16, NEXT, 1);
        self.ring
            .describe(&self.bench.memory, 1, DATA, data.len() as u32, NEXT, 2);
        self.ring.describe(&self.bench.memory, 2, STATUS, 1, WRITE, 0);
        self.go()
    }
}

fn segment(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
}

#[test]
fn generic_laws_hold() {
    for modern in [false, true] {
        check_laws(|| {
            let blk = Blk::new(CONFIG, Box::new(MemoryDisk::new(pattern(2))));
            Bench::new(modern, Some(Box::new(blk))).device
        });
    }
}

#[test]
fn features_are_the_machines() {
    for (read_only, legacy, modern) in [(false, 0x3100_6ed4, 0x1_3000_6e54), (true, 0x3100_6ef4, 0x1_3000_6e74)] {
        let config = BlkConfig { read_only, ..CONFIG };
        let features = Blk::new(config, Box::new(MemoryDisk::new(Vec::new()))).features();
        assert_eq!(features, Features { legacy, modern });
    }
}

#[test]
fn configuration_space_is_the_machines() {
    let config = BlkConfig {
        read_only: false,
        queue_size: 256,
    };
    let blk = Blk::new(config, Box::new(MemoryDisk::new(vec![0; 1 << 20])));
    // As QEMU 7.2 gives it for a disk of 1 MiB.
    let want = "0008000000000000 00000000 fe000000 0200103f 00020000 0000000000000000 01 00 0100 \
                ffff3f00 01000000 01000000 ffff3f00 01000000 01";
    let got: String = blk.config().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(got, want.replace(' ', ""));
}

#[test]
fn capacity_is_rounded_up_to_a_sector() {
    for (bytes, sectors) in [(0, 0), (1, 1), (512, 1), (513, 2)] {
        let blk = Blk::new(CONFIG, Box::new(MemoryDisk::new(vec![1; bytes])));
        assert_eq!(blk.config()[0], sectors, "{bytes}");
    }
}

#[test]
fn read_gives_the_sectors_and_counts_the_status() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.device_writes(request::IN, 3, 1024), (1025, status::OK));
    assert_eq!(fixture.memory(DATA, 1024), pattern(16)[3 * 512..5 * 512]);
    assert_eq!(
        fixture.device_writes(request::IN, 16, 0),
        (1, status::OK),
        "no sectors at the end"
    );
}

#[test]
fn write_reaches_the_disk() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.device_reads(request::OUT, 15, &[9; 512]), (1, status::OK));
    let mut want = pattern(16);
    want[15 * 512..].fill(9);
    assert_eq!(fixture.disk.bytes(), want);
}

#[test]
fn what_is_not_whole_sectors_on_the_disk_fails_without_a_transfer() {
    let mut fixture = Fixture::new();
    for (sector, length) in [
        (16, 512),
        (15, 1024),
        (17, 512),
        (0, 20),
        (0, 100),
        (1 << 55, 512),
        (u64::MAX, 512),
    ] {
        let read = fixture.device_writes(request::IN, sector, length);
        assert_eq!(read, (length + 1, status::IOERR), "{sector} {length}");
        assert_eq!(fixture.memory(DATA, length as usize), vec![0; length as usize]);
        let write = fixture.device_reads(request::OUT, sector, &vec![9; length as usize]);
        assert_eq!(write, (1, status::IOERR), "{sector} {length}");
    }
    assert_eq!(fixture.disk.asked(), []);
}

#[test]
fn request_larger_than_a_chunk_is_moved_whole() {
    let sectors = 3 * CHUNK_BYTES / 512 / 2;
    let disk = Shared::new(pattern(sectors));
    let mut fixture = Fixture::with(CONFIG, disk, u64::MAX);
    let length = (sectors * 512) as u32;
    assert_eq!(fixture.device_writes(request::IN, 0, length), (length + 1, status::OK));
    assert_eq!(fixture.memory(DATA, sectors * 512), pattern(sectors));
    assert_eq!(
        fixture.disk.asked(),
        [
            Asked::Read(0, CHUNK_BYTES),
            Asked::Read(CHUNK_BYTES as u64, CHUNK_BYTES / 2)
        ]
    );
    assert_eq!(
        fixture.device_reads(request::OUT, 0, &vec![1; sectors * 512]),
        (1, status::OK)
    );
    assert!(fixture.disk.bytes().iter().all(|&byte| byte == 1));
}

#[test]
fn header_data_and_status_may_be_cut_anywhere() {
    let mut fixture = Fixture::new();
    fixture.header(request::IN, 1);
    let memory = &fixture.bench.memory;
    let ring = fixture.ring;
    ring.describe(memory, 0, HEADER, 3, NEXT, 1);
    ring.describe(memory, 1, HEADER + 3, 13, NEXT, 2);
    ring.describe(memory, 2, DATA, 100, NEXT | WRITE, 3);
    // The last byte of the last buffer is the status.
    ring.describe(memory, 3, DATA + 100, 413, WRITE, 0);
    assert_eq!(fixture.go().0, 513);
    assert_eq!(fixture.memory(DATA, 512), pattern(16)[512..1024]);
    assert_eq!(fixture.memory(DATA + 512, 1), [status::OK]);

    fixture.header(request::OUT, 2);
    let memory = &fixture.bench.memory;
    memory.write(HEADER + 16, &[8; 512]).expect("RAM");
    ring.describe(memory, 0, HEADER, 528, NEXT, 1);
    ring.describe(memory, 1, STATUS, 1, WRITE, 0);
    assert_eq!(fixture.go(), (1, status::OK));
    assert_eq!(fixture.disk.bytes()[1024..1536], [8; 512]);
}

#[test]
fn id_is_padded_to_its_length_and_cut_to_the_buffer() {
    let mut fixture = Fixture::new();
    for length in [1, 20, 100] {
        assert_eq!(
            fixture.device_writes(request::GET_ID, 5, length),
            (length + 1, status::OK)
        );
        assert_eq!(fixture.memory(DATA, length as usize), vec![0; length as usize]);
    }
}

#[test]
fn kinds_that_do_not_exist_are_unsupported() {
    let mut fixture = Fixture::new();
    for kind in [2, 3, 6, 10, 12, 14, 16, 99, 0x100, 0x4000_0000] {
        assert_eq!(fixture.device_writes(kind, 0, 512), (513, status::UNSUPP), "{kind}");
    }
    assert_eq!(fixture.disk.asked(), []);
}

#[test]
fn discard_and_write_zeroes_follow_their_segment() {
    let mut fixture = Fixture::new();
    let (discard, zeroes) = (11, 13);
    for (kind, sector, sectors, flags, want) in [
        (zeroes, 2, 3, 0, status::OK),
        (zeroes, 15, 1, 1, status::OK),
        (zeroes, 0, 1, 2, status::UNSUPP),
        (zeroes, 99, 1, 2, status::UNSUPP),
        (zeroes, 15, 2, 0, status::IOERR),
        (zeroes, u64::MAX, 1, 0, status::IOERR),
        (zeroes, 0, u32::MAX, 0, status::IOERR),
        (discard, 0, 4, 0, status::OK),
        (discard, 0, 4, 1, status::UNSUPP),
        (discard, 0, 4, 0x8000_0000, status::UNSUPP),
        (discard, 16, 1, 0, status::IOERR),
        (discard, 16, 0, 0, status::OK),
    ] {
        let got = fixture.device_reads(kind, 0, &segment(sector, sectors, flags));
        assert_eq!(got, (1, want), "{kind} {sector} {sectors} {flags}");
    }
    assert_eq!(
        fixture.disk.asked(),
        [
            Asked::Zero(1024, 1536, false),
            Asked::Zero(15 * 512, 512, true),
            Asked::Discard(0, 2048),
            Asked::Discard(8192, 0)
        ]
    );
    let two = [segment(0, 1, 0), segment(1, 1, 0)].concat();
    assert_eq!(fixture.device_reads(zeroes, 0, &two), (1, status::UNSUPP));
    assert_eq!(fixture.disk.asked(), []);
}

#[test]
fn read_only_disk_refuses_whatever_writes() {
    let config = BlkConfig {
        read_only: true,
        ..CONFIG
    };
    let mut fixture = Fixture::with(config, Shared::new(pattern(4)), u64::MAX);
    assert_eq!(fixture.device_reads(request::OUT, 0, &[1; 512]), (1, status::IOERR));
    assert_eq!(fixture.device_reads(13, 0, &segment(0, 1, 0)), (1, status::IOERR));
    assert_eq!(fixture.device_reads(11, 0, &segment(0, 1, 0)), (1, status::IOERR));
    assert_eq!(fixture.device_writes(request::IN, 0, 512), (513, status::OK));
    assert_eq!(fixture.device_writes(request::FLUSH, 0, 0), (1, status::OK));
    assert_eq!(fixture.disk.bytes(), pattern(4));
}

#[test]
fn write_is_stable_at_once_without_a_writeback_cache() {
    let flushes = |features: u64, writeback: Option<u8>| {
        let mut fixture = Fixture::with(CONFIG, Shared::new(pattern(4)), features);
        if let Some(value) = writeback {
            fixture.bench.write_width(0x120, Width::Byte, u64::from(value));
        }
        let shown = fixture.bench.read_width(0x120, Width::Byte);
        assert_eq!(fixture.device_reads(request::OUT, 0, &[1; 512]), (1, status::OK));
        let flushed = fixture.disk.asked().contains(&Asked::Flush);
        assert_eq!(flushed, shown == 0, "the field tells the mode");
        flushed
    };
    let neither = !(bit::FLUSH | bit::CONFIG_WCE);
    assert!(flushes(neither, None));
    assert!(!flushes(!bit::CONFIG_WCE, None));
    assert!(flushes(!bit::FLUSH, None));
    assert!(!flushes(u64::MAX, None));
    assert!(flushes(u64::MAX, Some(0)));
    assert!(!flushes(!bit::FLUSH, Some(1)));
}

#[test]
fn reset_brings_the_cache_back_and_keeps_the_data() {
    let mut fixture = Fixture::with(CONFIG, Shared::new(pattern(4)), !bit::FLUSH);
    assert_eq!(fixture.device_reads(request::OUT, 0, &[1; 512]), (1, status::OK));
    fixture.bench.write(0x070, 0);
    assert_eq!(fixture.bench.read_width(0x120, Width::Byte), 1);
    assert_eq!(fixture.disk.bytes()[..512], [1; 512]);
}

#[test]
fn other_fields_of_the_configuration_ignore_writes() {
    let mut fixture = Fixture::new();
    for offset in (0x100..0x120).chain(0x121..0x139) {
        let before = fixture.bench.read_width(offset, Width::Byte);
        fixture.bench.write_width(offset, Width::Byte, !before);
        assert_eq!(fixture.bench.read_width(offset, Width::Byte), before, "{offset:#x}");
    }
}

#[test]
fn host_failure_is_an_io_error() {
    let disk = Shared {
        fails: true,
        ..Shared::new(pattern(4))
    };
    let mut fixture = Fixture::with(CONFIG, disk, u64::MAX);
    assert_eq!(fixture.device_writes(request::IN, 0, 512), (513, status::IOERR));
    assert_eq!(fixture.device_reads(request::OUT, 0, &[1; 512]), (1, status::IOERR));
    assert_eq!(fixture.device_writes(request::FLUSH, 0, 0), (1, status::IOERR));
    assert_eq!(fixture.device_reads(13, 0, &segment(0, 1, 0)), (1, status::IOERR));
    assert_eq!(fixture.device_reads(11, 0, &segment(0, 1, 0)), (1, status::IOERR));
}

#[test]
fn request_without_header_status_or_segment_breaks_the_device() {
    let broken = |shape: &dyn Fn(&Fixture)| {
        let mut fixture = Fixture::new();
        fixture.header(11, 0);
        shape(&fixture);
        fixture.ring.offer(&fixture.bench.memory, 0, 0);
        fixture.bench.kick();
        assert_eq!(fixture.bench.read(0x070) & 0x40, 0x40, "DEVICE_NEEDS_RESET");
        assert_eq!(fixture.ring.used_idx(&fixture.bench.memory), 0);
        // A reset makes it good again.
        fixture.ring.set_avail_idx(&fixture.bench.memory, 0);
        let features = Blk::new(CONFIG, Box::new(MemoryDisk::new(Vec::new())))
            .features()
            .modern;
        fixture.bench.start_modern(fixture.ring, features);
        assert_eq!(fixture.device_writes(request::IN, 0, 512), (513, status::OK));
    };
    let describe = |fixture: &Fixture, index, gpa, length, flags| {
        let next = index + 1;
        fixture
            .ring
            .describe(&fixture.bench.memory, index, gpa, length, flags, next);
    };
    broken(&|fixture| {
        describe(fixture, 0, HEADER, 15, NEXT);
        describe(fixture, 1, STATUS, 1, WRITE);
    });
    broken(&|fixture| describe(fixture, 0, STATUS, 1, WRITE));
    broken(&|fixture| describe(fixture, 0, HEADER, 16, 0));
    broken(&|fixture| {
        describe(fixture, 0, HEADER, 16, NEXT);
        describe(fixture, 1, DATA, 15, NEXT);
        describe(fixture, 2, STATUS, 1, WRITE);
    });
}

#[test]
fn failed_request_fills_no_more_than_the_limit() {
    let mut fixture = Fixture::new();
    fixture.header(99, 0);
    let memory = &fixture.bench.memory;
    let ring = fixture.ring;
    ring.describe(memory, 0, HEADER, 16, NEXT, 1);
    for index in 1..=4 {
        ring.describe(memory, index, DATA, 0x8_0000, NEXT | WRITE, index + 1);
    }
    ring.describe(memory, 5, STATUS, 1, WRITE, 0);
    assert_eq!(fixture.go(), (FILL_BYTES_MAX as u32, status::UNSUPP));
}

#[test]
fn round_ends_when_it_has_moved_its_share() {
    let sectors = 1 << 10;
    let mut fixture = Fixture::with(CONFIG, Shared::new(pattern(sectors)), u64::MAX);
    // 48 requests of 512 KiB each: a round takes 32 of them.
    let ring = Ring::at(0x1_0000, 64);
    let features = Blk::new(CONFIG, Box::new(MemoryDisk::new(Vec::new())))
        .features()
        .modern;
    fixture.header(request::IN, 0);
    let memory = &fixture.bench.memory;
    ring.describe(memory, 0, HEADER, 16, NEXT, 1);
    ring.describe(memory, 1, DATA, 0x8_0000, NEXT | WRITE, 2);
    ring.describe(memory, 2, STATUS, 1, WRITE, 0);
    for number in 0..48 {
        ring.offer(memory, number, 0);
    }
    fixture.bench.start_modern(ring, features);
    assert_eq!(ring.used_idx(&fixture.bench.memory), 32);
    let resume = crate::virtio::mmio::RESUME_AFTER;
    fixture.bench.now = fixture.bench.now.saturating_add(resume);
    fixture.bench.with(crate::device::Device::tick);
    assert_eq!(ring.used_idx(&fixture.bench.memory), 48);
}

#[test]
fn zeros_count_for_the_round() {
    let mut fixture = Fixture::with(CONFIG, Shared::new(pattern(1 << 10)), u64::MAX);
    // 48 requests to zero 512 KiB each: a host that has to write them does as much as for data.
    let ring = Ring::at(0x1_0000, 64);
    let features = Blk::new(CONFIG, Box::new(MemoryDisk::new(Vec::new())))
        .features()
        .modern;
    fixture.header(request::OUT | request::WRITE_ZEROES_BITS, 0);
    let memory = &fixture.bench.memory;
    memory.write(DATA, &segment(0, 1 << 10, 0)).expect("RAM");
    ring.describe(memory, 0, HEADER, 16, NEXT, 1);
    ring.describe(memory, 1, DATA, 16, NEXT, 2);
    ring.describe(memory, 2, STATUS, 1, WRITE, 0);
    for number in 0..48 {
        ring.offer(memory, number, 0);
    }
    fixture.bench.start_modern(ring, features);
    assert_eq!(fixture.memory(STATUS, 1), [status::OK]);
    assert_eq!(ring.used_idx(&fixture.bench.memory), 32);
}

#[test]
fn random_chains_do_no_harm() {
    let mut random = Xorshift::new(2);
    let mut below = |limit: u64| random.next_u64() % limit;
    for round in 0..3000 {
        let mut fixture = Fixture::new();
        let kinds = [0, 1, 4, 8, 10, 11, 12, 13, 99, u32::MAX];
        let sectors = [0, 1, 15, 16, 1 << 40, u64::MAX];
        fixture.header(kinds[below(10) as usize], sectors[below(6) as usize]);
        let lengths = [1, 15, 16, 17, 20, 511, 512, 513, 4096, 0x8_0000];
        for index in 0..8 {
            // Never over the rings: those have tests of their own.
            let gpa = [DATA, DATA + 7, 0xf_ff00][below(3) as usize];
            let flags = [NEXT, NEXT | WRITE, WRITE, 0][below(4) as usize];
            let (length, next) = (lengths[below(10) as usize], below(8) as u16);
            fixture
                .ring
                .describe(&fixture.bench.memory, index, gpa, length, flags, next);
        }
        fixture.ring.describe(&fixture.bench.memory, 0, HEADER, 16, NEXT, 1);
        fixture.ring.offer(&fixture.bench.memory, 0, 0);
        fixture.bench.kick();
        let used = fixture.ring.used_idx(&fixture.bench.memory);
        let needs_reset = fixture.bench.read(0x070) & 0x40 != 0;
        assert_eq!(used == 0, needs_reset, "round {round}: used or broken");
    }
}

/// Somewhere to leave host calls, for as many as fit.
struct Later {
    jobs: Mutex<Vec<Job>>,
    room: usize,
}

impl Later {
    fn make_calls(&self) {
        let jobs = std::mem::take(&mut *self.jobs.lock().expect("one thread"));
        jobs.into_iter().for_each(|job| job());
    }
}

impl Background for Later {
    fn later(&self, job: Job) -> Result<(), Job> {
        let mut jobs = self.jobs.lock().expect("one thread");
        if self.room <= jobs.len() {
            return Err(job);
        }
        jobs.push(job);
        Ok(())
    }
}

/// A device whose flushes are left behind, started with these features.
fn with_background(disk: Shared, features: u64, room: usize) -> (Fixture, Arc<Later>) {
    let mut fixture = Fixture::with(CONFIG, disk, features);
    let later = Arc::new(Later {
        jobs: Mutex::default(),
        room,
    });
    let backend = fixture.bench.device.backend_mut().expect("there is one");
    backend.use_background(Arc::clone(&later) as Arc<dyn Background>);
    (fixture, later)
}

/// Offers a request without data, or with one sector from [`DATA`], from descriptor `head` on.
fn submit(fixture: &mut Fixture, kind: u32, head: u16) {
    let (memory, ring) = (&fixture.bench.memory, fixture.ring);
    fixture.header(kind, 0);
    let data = if kind == request::FLUSH { head + 2 } else { head + 1 };
    ring.describe(memory, head, HEADER, 16, NEXT, data);
    ring.describe(memory, head + 1, DATA, 512, NEXT, head + 2);
    ring.describe(memory, head + 2, STATUS, 1, WRITE, 0);
    ring.offer(memory, fixture.requests, head);
    fixture.requests += 1;
    fixture.bench.kick();
}

fn run(fixture: &mut Fixture) {
    let bench = &mut fixture.bench;
    let mut ctx = crate::device::Ctx {
        now: bench.now,
        lines: &mut bench.lines,
        memory: &bench.memory,
        events: &mut bench.events,
    };
    bench.device.run(&mut ctx);
}

fn waits(fixture: &Fixture) -> bool {
    fixture.bench.device.backend().expect("there is one").waits_for_host()
}

#[test]
fn flush_that_is_left_behind_completes_when_it_was_made() {
    for fails in [false, true] {
        let disk = Shared {
            fails,
            ..Shared::new(pattern(16))
        };
        let (mut fixture, later) = with_background(disk, u64::MAX, 8);
        submit(&mut fixture, request::FLUSH, 0);
        assert_eq!(fixture.disk.asked(), [], "not yet");
        assert!(waits(&fixture) && !fixture.bench.line());
        run(&mut fixture);
        assert_eq!(fixture.ring.used_idx(&fixture.bench.memory), 0, "nothing is new");
        later.make_calls();
        assert_eq!(fixture.disk.asked(), [Asked::Flush]);
        run(&mut fixture);
        assert_eq!(fixture.ring.used(&fixture.bench.memory, 0), (0, 1));
        let want = if fails { status::IOERR } else { status::OK };
        assert_eq!(fixture.memory(STATUS, 1), [want]);
        assert!(!waits(&fixture) && fixture.bench.line());
    }
}

#[test]
fn other_requests_overtake_a_flush_that_is_left_behind() {
    let (mut fixture, later) = with_background(Shared::new(pattern(16)), u64::MAX, 8);
    submit(&mut fixture, request::FLUSH, 0);
    submit(&mut fixture, request::OUT, 3);
    assert_eq!(fixture.ring.used(&fixture.bench.memory, 0), (3, 1), "the write");
    later.make_calls();
    run(&mut fixture);
    assert_eq!(fixture.ring.used(&fixture.bench.memory, 1), (0, 1), "then the flush");
}

#[test]
fn write_of_a_driver_without_flush_waits_for_its_own() {
    let (mut fixture, later) = with_background(Shared::new(pattern(16)), feature::VERSION_1, 8);
    submit(&mut fixture, request::OUT, 0);
    assert_eq!(fixture.disk.asked(), [Asked::Write(0, 512)]);
    assert_eq!(fixture.ring.used_idx(&fixture.bench.memory), 0);
    later.make_calls();
    run(&mut fixture);
    assert_eq!(fixture.disk.asked(), [Asked::Flush]);
    assert_eq!(fixture.ring.used(&fixture.bench.memory, 0), (0, 1));
    assert_eq!(fixture.memory(STATUS, 1), [status::OK]);
}

#[test]
fn reset_forgets_flushes_that_were_left_behind() {
    let (mut fixture, later) = with_background(Shared::new(pattern(16)), u64::MAX, 8);
    submit(&mut fixture, request::FLUSH, 0);
    fixture.bench.write(0x070, 0);
    assert!(!waits(&fixture));
    // The second driver has a ring of its own.
    let second = Ring::at(0x8_0000, 8);
    let features = 1 << 9 | feature::VERSION_1;
    fixture.bench.start_modern(second, features);
    later.make_calls();
    run(&mut fixture);
    assert_eq!(fixture.disk.asked(), [Asked::Flush], "it was under way");
    assert_eq!(fixture.ring.used_idx(&fixture.bench.memory), 0);
    assert_eq!(second.used_idx(&fixture.bench.memory), 0);
    assert_eq!(fixture.memory(STATUS, 1), [FILL]);
}

#[test]
fn flush_that_nobody_takes_is_made_at_once() {
    let (mut fixture, later) = with_background(Shared::new(pattern(16)), u64::MAX, 0);
    submit(&mut fixture, request::FLUSH, 0);
    assert_eq!(fixture.disk.asked(), [Asked::Flush]);
    assert_eq!(fixture.ring.used_idx(&fixture.bench.memory), 1);
    assert!(!waits(&fixture));
    later.make_calls();
    assert_eq!(fixture.disk.asked(), []);
}
