//! Requests of all kinds, in all the ways that a driver may put them.

use super::{SECTORS, check_bytes, flush, need, original};
use crate::driver::virtio_blk::{
    Blk, DATA, Data, FILL, ID_BLK, RING, SECTOR_BYTES, SIZE, config, feature, header_at, kind, outcome, status,
    status_at, write_header,
};
use crate::driver::virtio_mmio::{Descriptor, INDIRECT_DESC, NEXT, Queue, Transport, WRITE, reg};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;

/// A started legacy disk, whose driver accepted `features`.
fn start_legacy(p: &mut Probe<'_>, features: u32) -> Result<Blk, Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate_legacy(p, features)?;
    let queue = transport.set_legacy_queue(p, 0, RING, SIZE)?;
    transport.driver_ok(p)?;
    Ok(Blk::running(transport, queue))
}

/// A table of descriptors: address, length, flags and next of each.
fn table(parts: &[(u64, u32, u16, u16)]) -> Vec<u8> {
    let descriptors = parts.iter().map(|&(address, length, flags, next)| Descriptor {
        address,
        length,
        flags,
        next,
    });
    descriptors.flat_map(|descriptor| descriptor.bytes()).collect()
}

/// Reads sector 5 by a request that lies in a table.
fn read_by_table(p: &mut Probe<'_>, blk: &mut Blk) -> Result<(), Stop> {
    let (header, status_gpa) = (header_at(0), status_at(0));
    write_header(p, header, kind::IN, 5)?;
    p.write_memory(DATA, &[FILL; 512])?;
    p.write_memory(status_gpa, &[outcome::UNWRITTEN])?;
    let table = table(&[
        (header, 16, NEXT, 2),
        (status_gpa, 1, WRITE, 0),
        (DATA, SECTOR_BYTES, NEXT | WRITE, 1),
    ]);
    p.write_memory(TABLE, &table)?;
    let whole = Descriptor::indirect(TABLE, table.len() as u32);
    blk.queue.describe(p, 0, whole)?;
    blk.submit(p, &[0])?;
    blk.wait(p)?;
    let (head, used_bytes) = blk.queue.used_entry(p, 0)?;
    p.check_eq("head returned", head, 0u32);
    p.check_eq("length in the used ring", used_bytes, SECTOR_BYTES + 1);
    let got = status(p, 0)?;
    p.check_eq("status", got, outcome::OK);
    let got = p.read_memory(DATA, 512)?;
    check_bytes(p, "sector 5", &got, &original(5, 1));
    Ok(())
}

/// RAM that no image of ours uses.
const TABLE: u64 = 0x41_2000;

pub(super) fn indirect(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, INDIRECT_DESC, "INDIRECT_DESC")?;
    let mut blk = Blk::start(p, INDIRECT_DESC)?;
    read_by_table(p, &mut blk)
}

pub(super) fn legacy_indirect(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, INDIRECT_DESC, "INDIRECT_DESC")?;
    let mut blk = start_legacy(p, INDIRECT_DESC)?;
    read_by_table(p, &mut blk)
}

pub(super) fn legacy_flush(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::FLUSH, "FLUSH")?;
    let mut blk = start_legacy(p, feature::FLUSH)?;
    flush(p, &mut blk)
}

/// A packet command as legacy drivers lay it out: header, command, sense, what the device tells of it, status.
pub(super) fn legacy_packet(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::SCSI, "SCSI")?;
    let mut blk = start_legacy(p, feature::SCSI)?;
    write_header(p, header_at(0), kind::PACKET, 0)?;
    p.write_memory(DATA, &[0; 0x300])?;
    p.write_memory(status_at(0), &[outcome::UNWRITTEN])?;
    let parts = [
        (header_at(0), 16, NEXT),
        (DATA, 6, NEXT),
        (DATA + 0x100, 96, NEXT | WRITE),
        (DATA + 0x200, 16, NEXT | WRITE),
        (status_at(0), 1, WRITE),
    ];
    for (index, (address, length, flags)) in (0..).zip(parts) {
        let descriptor = Descriptor {
            address,
            length,
            flags,
            next: index + 1,
        };
        blk.queue.describe(p, index, descriptor)?;
    }
    blk.submit(p, &[0])?;
    blk.wait(p)?;
    let got = status(p, 0)?;
    let answered = [outcome::OK, outcome::IOERR, outcome::UNSUPP].contains(&got);
    p.check("status", answered, got.to_string(), "OK, IOERR or UNSUPP");
    let got = blk.read(p, 1, 1)?;
    check_bytes(p, "sector 1, read afterwards", &got, &original(1, 1));
    Ok(())
}

pub(super) fn odd_length(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    for length in [1, 100, 511, 513, 700] {
        for (name, kind, data) in [
            ("read", kind::IN, Data::FromDevice(DATA, length)),
            ("write", kind::OUT, Data::ToDevice(DATA, length)),
        ] {
            p.point(format!("{name} of {length} bytes"));
            let done = blk.request(p, kind, 4, data)?;
            p.check_eq("status", done.status, outcome::IOERR);
        }
    }
    let got = blk.read(p, 8, 1)?;
    check_bytes(p, "sector 8, read afterwards", &got, &original(8, 1));
    Ok(())
}

pub(super) fn discard_past_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::DISCARD, "DISCARD")?;
    let mut blk = Blk::start(p, feature::DISCARD)?;
    for (sector, sectors) in [(SECTORS, 1), (SECTORS - 1, 2), (0, SECTORS as u32 + 1), (u64::MAX, 2)] {
        p.point(format!("{sectors} from sector {sector:#x}"));
        let done = blk.range(p, kind::DISCARD, sector, sectors, 0)?;
        p.check_eq("status", done.status, outcome::IOERR);
    }
    p.point("the last sector");
    let done = blk.range(p, kind::DISCARD, SECTORS - 1, 1, 0)?;
    p.check_eq("status", done.status, outcome::OK);
    Ok(())
}

/// So many reads of the whole disk in one notification that a device may well not carry them out in one go.
pub(super) fn many_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let most = transport.read(p, reg::QUEUE_NUM_MAX)?;
    if most < u32::from(MANY_SIZE) {
        return Err(Stop::NotApplicable(format!("the queue has {most} descriptors at most")));
    }
    let queue = Queue::at(RING, MANY_SIZE);
    queue.clear(p)?;
    transport.set_queue(p, &queue)?;
    transport.driver_ok(p)?;
    write_header(p, header_at(0), kind::IN, 0)?;
    p.write_memory(status_at(0), &[outcome::UNWRITTEN; MANY as usize])?;
    let slots: Vec<u16> = (0..MANY).collect();
    let parts = slots.iter().flat_map(|slot| {
        [
            (header_at(0), 16, NEXT, 3 * slot + 1),
            (WHOLE_DISK, SECTORS as u32 * SECTOR_BYTES, NEXT | WRITE, 3 * slot + 2),
            (status_at(*slot), 1, WRITE, 0),
        ]
    });
    let table = table(&parts.collect::<Vec<_>>());
    p.write_memory(queue.desc, &table)?;
    let mut blk = Blk::running(transport, queue);
    blk.submit(p, &slots)?;
    let by_hand = p.caps().missing(Caps::CLOCK).is_empty();
    for _ in 0..MANY {
        if queue.used_idx(p)? == MANY {
            break;
        }
        if by_hand {
            p.advance(MILLISECOND_NS)?;
        }
    }
    blk.wait(p)?;
    let got = p.read_memory(status_at(0), usize::from(MANY))?;
    check_bytes(p, "statuses", &got, &[outcome::OK; MANY as usize]);
    let last = WHOLE_DISK + (SECTORS - 1) * u64::from(SECTOR_BYTES);
    let got = p.read_memory(last, SECTOR_BYTES as usize)?;
    check_bytes(p, "the last sector", &got, &original(SECTORS - 1, 1));
    Ok(())
}

const MANY: u16 = 40;
const MANY_SIZE: u16 = 128;
/// RAM that no image of ours uses.
const WHOLE_DISK: u64 = 0x60_0000;
const MILLISECOND_NS: u64 = 1_000_000;

/// What a driver sets between FEATURES_OK and DRIVER_OK is still so when it begins.
pub(super) fn writeback_kept(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::CONFIG_WCE, "CONFIG_WCE")?;
    let transport = Transport::first_device(p);
    let at = transport.base + reg::CONFIG + config::WRITEBACK;
    for (name, features) in [("with", feature::FLUSH), ("without", 0)] {
        for mode in [0, 1] {
            p.point(format!("{mode} {name} FLUSH"));
            transport.negotiate(p, feature::CONFIG_WCE | features)?;
            p.store(at, Width::Byte, mode)?;
            transport.driver_ok(p)?;
            let got = p.load(at, Width::Byte)?;
            p.check_eq("writeback after DRIVER_OK", got, mode);
        }
    }
    Ok(())
}

pub(super) fn geometry_fits(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::GEOMETRY, "GEOMETRY")?;
    let transport = Transport::first_device(p);
    let id = transport.read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_BLK)?;
    let geometry = u64::from(transport.read(p, reg::CONFIG + config::GEOMETRY)?);
    let sectors = (geometry & 0xffff) * (geometry >> 16 & 0xff) * (geometry >> 24);
    p.check(
        "sectors of the geometry",
        sectors <= SECTORS,
        sectors.to_string(),
        format!("{SECTORS} or fewer"),
    );
    Ok(())
}

pub(super) fn topology(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::TOPOLOGY, "TOPOLOGY")?;
    let blk = Blk::running(Transport::first_device(p), Queue::at(RING, SIZE));
    let exponent = blk.config_byte(p, config::PHYSICAL_BLOCK_EXP)?;
    let aligned = blk.config_byte(p, config::ALIGNMENT_OFFSET)?;
    let physical = 1u64.checked_shl(u32::from(exponent)).unwrap_or(u64::MAX);
    p.check(
        "logical blocks of a physical one",
        physical <= SECTORS,
        physical.to_string(),
        format!("no more than the disk's {SECTORS}"),
    );
    p.check(
        "first aligned block",
        u64::from(aligned) < physical,
        aligned.to_string(),
        format!("below {physical}"),
    );
    Ok(())
}
