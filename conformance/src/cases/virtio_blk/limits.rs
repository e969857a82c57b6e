//! What the configuration space and the features announce, held against what the device does.

use super::{SECTORS, check_bytes, need, original};
use crate::driver::virtio_blk::{Blk, DATA, Data, FILL, ID_BLK, config, feature, header_at, kind, outcome};
use crate::driver::virtio_blk::{SECTOR_BYTES, status, status_at, write_header};
use crate::driver::virtio_mmio::{Descriptor, NEXT, Queue, Transport, WRITE, reg};
use crate::machine::{Stop, Width};
use crate::probe::Probe;

/// A field of 32 bits of the configuration space.
fn field(p: &mut Probe<'_>, offset: u64) -> Result<u32, Stop> {
    Transport::first_device(p).read(p, reg::CONFIG + offset)
}

pub(super) fn segments(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::SEG_MAX, "SEG_MAX")?;
    let transport = Transport::first_device(p);
    transport.negotiate(p, feature::SEG_MAX)?;
    let seg_max = field(p, config::SEG_MAX)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let most = transport.read(p, reg::QUEUE_NUM_MAX)?;
    // Header and status take a descriptor each, and no chain is longer than its queue (2.7.5.3.1).
    let fits = (1..=most.saturating_sub(2)).contains(&seg_max) && most <= QUEUE_NUM_MAX;
    p.check(
        "seg_max",
        fits,
        seg_max.to_string(),
        format!("1 or more, with room for header and status in the {most} descriptors of the largest queue"),
    );
    if !fits {
        return Ok(());
    }
    let size = (seg_max + 2).next_power_of_two() as u16;
    let queue = Queue {
        desc: TABLE,
        avail: TABLE + 0x8_0000,
        used: TABLE + 0xa_0000,
        size,
    };
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    let mut blk = Blk::running(transport, queue);

    let segments = seg_max.min(SECTORS as u32);
    let length = segments * SECTOR_BYTES;
    p.write_memory(DATA, &vec![FILL; length as usize])?;
    write_header(p, header_at(0), kind::IN, 0)?;
    p.write_memory(status_at(0), &[outcome::UNWRITTEN])?;
    let mut table = Descriptor {
        address: header_at(0),
        length: 16,
        flags: NEXT,
        next: 1,
    }
    .bytes();
    for segment in 0..segments {
        let descriptor = Descriptor {
            address: DATA + u64::from(segment * SECTOR_BYTES),
            length: SECTOR_BYTES,
            flags: NEXT | WRITE,
            next: segment as u16 + 2,
        };
        table.extend(descriptor.bytes());
    }
    table.extend(Descriptor::writable(status_at(0), 1).bytes());
    p.write_memory(queue.desc, &table)?;
    blk.submit(p, &[0])?;
    blk.wait(p)?;
    let status = status(p, 0)?;
    p.check_eq("status", status, outcome::OK);
    let got = p.read_memory(DATA, length as usize)?;
    check_bytes(p, "data", &got, &original(0, segments as usize));
    Ok(())
}

/// A queue with as many descriptors as a queue can have, in RAM that nothing else uses.
const TABLE: u64 = 0x60_0000;
const QUEUE_NUM_MAX: u32 = 32768;

pub(super) fn geometry(p: &mut Probe<'_>) -> Result<(), Stop> {
    let id = Transport::first_device(p).read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_BLK)?;
    need(p, feature::GEOMETRY, "GEOMETRY")?;
    let geometry = field(p, config::GEOMETRY)?;
    for (name, part) in [
        ("cylinders", geometry & 0xffff),
        ("heads", geometry >> 16 & 0xff),
        ("sectors per track", geometry >> 24),
    ] {
        p.check(name, part != 0, part.to_string(), "1 or more");
    }
    Ok(())
}

pub(super) fn block_size(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::BLK_SIZE, "BLK_SIZE")?;
    let got = field(p, config::BLK_SIZE)?;
    p.check(
        "blk_size",
        got != 0 && got % SECTOR_BYTES == 0,
        got.to_string(),
        "a multiple of 512",
    );
    Ok(())
}

/// Requests as large as two fields announce: so many segments of one sector each, then one of so many sectors.
fn ranges(p: &mut Probe<'_>, kind: u32, segments_at: u64, sectors_at: u64) -> Result<(), Stop> {
    let (segments, sectors) = (field(p, segments_at)?, field(p, sectors_at)?);
    p.check("segments of a request", segments != 0, "0", "1 or more");
    p.check("sectors of a request", sectors != 0, "0", "1 or more");
    if segments == 0 || sectors == 0 {
        return Ok(());
    }
    let bit = match kind {
        kind::DISCARD => feature::DISCARD,
        _ => feature::WRITE_ZEROES,
    };
    let mut blk = Blk::start(p, bit)?;
    let count = segments.min(sectors).min(SEGMENTS_MAX);
    p.point(format!("{count} segments of 1 sector"));
    let mut table = Vec::new();
    for segment in 0..u64::from(count) {
        table.extend([&(2 * segment).to_le_bytes()[..], &1u32.to_le_bytes(), &[0; 4]].concat());
    }
    p.write_memory(DATA, &table)?;
    let done = blk.request(p, kind, 0, Data::ToDevice(DATA, table.len() as u32))?;
    p.check_eq("status", done.status, outcome::OK);
    if kind == kind::WRITE_ZEROES {
        let got = blk.read(p, 0, 2 * count)?;
        let pairs = (0..u64::from(count)).flat_map(|at| [vec![0; 512], original(2 * at + 1, 1)].concat());
        check_bytes(p, "sectors", &got, &pairs.collect::<Vec<u8>>());
    }
    let most = sectors.min(SECTORS as u32);
    p.point(format!("a segment of {most} sectors"));
    let done = blk.range(p, kind, 0, most, 0)?;
    p.check_eq("status", done.status, outcome::OK);
    Ok(())
}

/// More segments than this are not tried.
const SEGMENTS_MAX: u32 = 256;

pub(super) fn discard(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::DISCARD, "DISCARD")?;
    ranges(p, kind::DISCARD, config::MAX_DISCARD_SEG, config::MAX_DISCARD_SECTORS)
}

pub(super) fn write_zeroes(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::WRITE_ZEROES, "WRITE_ZEROES")?;
    ranges(
        p,
        kind::WRITE_ZEROES,
        config::MAX_WRITE_ZEROES_SEG,
        config::MAX_WRITE_ZEROES_SECTORS,
    )
}

pub(super) fn features_reserved(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let id = transport.read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_BLK)?;
    let (low, high) = (transport.features(p, 0)?, transport.features(p, 1)?);
    p.check_eq("bits of word 0 without a meaning", low & RESERVED_WORD_0, 0u32);
    p.check_eq("reserved bits of word 1", high & RESERVED_WORD_1, 0u32);
    Ok(())
}

/// Bits 0 and 7, which only legacy disks have; 3, 8 and 18 to 23, which are nobody's; 24 to 27, 30 and 31, which are of
/// legacy devices or reserved.
const RESERVED_WORD_0: u32 = 0xcffc_0189;
/// Bits 41 to 49.
const RESERVED_WORD_1: u32 = 0x0003_fe00;

pub(super) fn features_writable(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    let done = blk.write(p, 3, 1, 0x3c)?;
    p.require_eq("status of a write", done.status, outcome::OK)?;
    let got = blk.read(p, 3, 1)?;
    check_bytes(p, "sector 3", &got, &[0x3c; 512]);
    let offered = blk.transport.features(p, 0)?;
    p.check_eq("RO", offered & feature::RO, 0u32);
    Ok(())
}

pub(super) fn writeback(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::CONFIG_WCE, "CONFIG_WCE")?;
    let mut blk = Blk::start(p, feature::CONFIG_WCE | feature::FLUSH)?;
    let at = blk.transport.base + reg::CONFIG + config::WRITEBACK;
    for (sector, mode) in [(20, 0), (21, 1), (22, 0)] {
        p.point(format!("writeback {mode}"));
        p.store(at, Width::Byte, mode)?;
        let got = p.load(at, Width::Byte)?;
        p.check_eq("writeback", got, mode);
        let done = blk.write(p, sector, 1, 0x3c)?;
        p.check_eq("status of a write", done.status, outcome::OK);
        let got = blk.read(p, sector, 1)?;
        check_bytes(p, "its sector", &got, &[0x3c; 512]);
    }
    Ok(())
}

pub(super) fn large(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    // More than 64 KiB, no whole number of any power of two that a device may cut requests into, no two sectors alike;
    // no more, for an agent carries each byte.
    let (sector, sectors) = (1001, 149);
    let got = blk.read(p, sector, sectors)?;
    check_bytes(p, "sectors at power-on", &got, &original(sector, sectors as usize));
    let length = sectors * SECTOR_BYTES;
    let data: Vec<u8> = (0..length).map(|at| (11 * at + at / 509) as u8).collect();
    p.write_memory(DATA, &data)?;
    let done = blk.request(p, kind::OUT, sector, Data::ToDevice(DATA, length))?;
    p.check_eq("status of the write", done.status, outcome::OK);
    let got = blk.read(p, sector - 1, sectors + 2)?;
    let want = [original(sector - 1, 1), data, original(sector + u64::from(sectors), 1)];
    check_bytes(p, "sectors written, and those around them", &got, &want.concat());
    Ok(())
}
