//! The block device.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::virtio as clause;
use crate::driver::virtio_blk::{
    self as driver, Blk, DATA, Data, FILL, ID_BLK, RING, SIZE, config, feature, kind, outcome,
};
use crate::driver::virtio_mmio::{Descriptor, NEXT, Queue, Transport, WRITE, reg, status};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;
use crate::subject::disk;

mod limits;
mod requests;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::BLK_REQUEST,
    level: Level::Must,
    features: &[Feature::VirtioMmio, Feature::VirtioModern],
    needs: Caps::QUEUES,
    setup: MODERN,
    body: Body::Bus(read_sectors),
};

const MODERN: Setup = Setup {
    modern: true,
    devices: &[disk::DEVICE],
    ..Setup::DEFAULT
};
const READ_ONLY: Setup = Setup {
    modern: true,
    devices: &[disk::DEVICE_READ_ONLY],
    ..Setup::DEFAULT
};
const LEGACY: Setup = Setup {
    modern: false,
    devices: &[disk::DEVICE],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "virtio-blk/bounds/far-sector",
        title: "A sector whose byte offset does not fit 64 bits is an I/O error, and the disk stays as it is.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(bounds_far),
        ..AREA
    },
    Case {
        id: "virtio-blk/bounds/read-past-end",
        title: "A read that ends beyond the capacity is an I/O error.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(bounds_read),
        ..AREA
    },
    Case {
        id: "virtio-blk/bounds/write-past-end",
        title: "A write that ends beyond the capacity is an I/O error.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(bounds_write),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/block-size",
        title: "The block size to use is a multiple of 512.",
        clause: &clause::BLK_SHAPE,
        needs: Caps::NONE,
        body: Body::Bus(limits::block_size),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/capacity",
        title: "The capacity is the disk's length in sectors of 512 bytes.",
        clause: &clause::BLK_CAPACITY,
        needs: Caps::NONE,
        body: Body::Bus(config_capacity),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/geometry",
        title: "The geometry has a cylinder, a head and a sector at least.",
        clause: &clause::BLK_SHAPE,
        needs: Caps::NONE,
        body: Body::Bus(limits::geometry),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/geometry-fits",
        title: "The geometry does not reach past the capacity.",
        clause: &clause::BLK_SHAPE,
        needs: Caps::NONE,
        body: Body::Bus(requests::geometry_fits),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/padding",
        title: "The unused byte behind the cache mode reads 0.",
        clause: &clause::BLK_PADDING,
        needs: Caps::NONE,
        body: Body::Bus(config_padding),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/seg-max",
        title: "A request with as many segments as seg_max says is carried out.",
        clause: &clause::BLK_LIMITS,
        body: Body::Bus(limits::segments),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/topology",
        title: "The first aligned block lies within a physical one, and a physical one on the disk.",
        clause: &clause::BLK_TOPOLOGY,
        needs: Caps::NONE,
        body: Body::Bus(requests::topology),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/writeback-kept",
        title: "A cache mode that is set before DRIVER_OK holds.",
        clause: &clause::BLK_WRITEBACK_SET,
        needs: Caps::NONE,
        body: Body::Bus(requests::writeback_kept),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/writeback-set",
        title: "The driver switches the cache off and on, and writes work either way.",
        clause: &clause::BLK_WRITEBACK_SET,
        body: Body::Bus(limits::writeback),
        ..AREA
    },
    Case {
        id: "virtio-blk/config/writeback-without-flush",
        title: "A driver that can switch the cache but not flush it finds it switched off.",
        clause: &clause::BLK_WRITEBACK,
        needs: Caps::NONE,
        body: Body::Bus(config_writeback),
        ..AREA
    },
    Case {
        id: "virtio-blk/device/type",
        title: "The block device has type 2.",
        clause: &clause::DEVICE_ID,
        needs: Caps::NONE,
        body: Body::Bus(device_type),
        ..AREA
    },
    Case {
        id: "virtio-blk/discard/largest",
        title: "A discard of as many segments, and one of as many sectors, as are announced succeeds.",
        clause: &clause::BLK_LIMITS,
        body: Body::Bus(limits::discard),
        ..AREA
    },
    Case {
        id: "virtio-blk/discard/past-end",
        title: "A discard past the end of the disk is an I/O error.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(requests::discard_past_end),
        ..AREA
    },
    Case {
        id: "virtio-blk/discard/unmap-flag",
        title: "A discard with the unmap flag is unsupported.",
        clause: &clause::BLK_FLAGS,
        body: Body::Bus(discard_unmap),
        ..AREA
    },
    Case {
        id: "virtio-blk/discard/whole-segments",
        title: "A discard request whose data is no whole segment does not succeed.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(discard_segments),
        ..AREA
    },
    Case {
        id: "virtio-blk/features/flush-offered",
        title: "A device that lets the driver switch its cache can flush it.",
        clause: &clause::BLK_FLUSH_OFFERED,
        needs: Caps::NONE,
        body: Body::Bus(features_flush),
        ..AREA
    },
    Case {
        id: "virtio-blk/features/reserved",
        title: "A modern disk offers no bits of legacy disks, nor any without a meaning.",
        clause: &clause::FEATURES_RESERVED,
        needs: Caps::NONE,
        body: Body::Bus(limits::features_reserved),
        ..AREA
    },
    Case {
        id: "virtio-blk/features/writable",
        title: "A disk that takes writes does not say that it is read-only.",
        clause: &clause::BLK_READ_ONLY,
        body: Body::Bus(limits::features_writable),
        ..AREA
    },
    Case {
        id: "virtio-blk/flush/completes",
        title: "A flush after a write completes well.",
        clause: &clause::BLK_FLUSH,
        body: Body::Bus(flush_completes),
        ..AREA
    },
    Case {
        id: "virtio-blk/framing/indirect",
        title: "A request may lie in an indirect table.",
        clause: &clause::INDIRECT,
        body: Body::Bus(requests::indirect),
        ..AREA
    },
    Case {
        id: "virtio-blk/framing/scattered",
        title: "Header, data and status may be cut into descriptors anywhere.",
        clause: &clause::FRAMING,
        body: Body::Bus(framing_scattered),
        ..AREA
    },
    Case {
        id: "virtio-blk/get-id/padded",
        title: "The device ID is padded with NUL to 20 bytes.",
        clause: &clause::BLK_ID,
        level: Level::Should,
        body: Body::Bus(get_id),
        ..AREA
    },
    Case {
        id: "virtio-blk/get-id/text",
        title: "The device ID can be asked for, and is ASCII text.",
        clause: &clause::BLK_ID,
        body: Body::Bus(get_id_text),
        ..AREA
    },
    Case {
        id: "virtio-blk/hostile/short-header",
        title: "A request that is too short for its header does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_header),
        ..AREA
    },
    Case {
        id: "virtio-blk/hostile/status-not-writable",
        title: "A request without a byte for its status does no harm.",
        clause: &clause::SURVIVES,
        body: Body::Bus(hostile_status),
        ..AREA
    },
    Case {
        id: "virtio-blk/legacy/flush",
        title: "A legacy driver flushes what it wrote.",
        clause: &clause::BLK_FLUSH,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(requests::legacy_flush),
        ..AREA
    },
    Case {
        id: "virtio-blk/legacy/indirect",
        title: "A request of a legacy driver may lie in an indirect table.",
        clause: &clause::INDIRECT,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(requests::legacy_indirect),
        ..AREA
    },
    Case {
        id: "virtio-blk/legacy/packet-command",
        title: "A legacy disk that offers packet commands answers one.",
        clause: &clause::BLK_PACKET,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(requests::legacy_packet),
        ..AREA
    },
    Case {
        id: "virtio-blk/legacy/read",
        title: "A legacy driver reads sectors.",
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy],
        setup: LEGACY,
        body: Body::Bus(legacy_read),
        ..AREA
    },
    Case {
        id: "virtio-blk/notify/many-bytes",
        title: "Requests of many MiB in one notification are all carried out.",
        clause: &clause::USED_RING,
        body: Body::Bus(requests::many_bytes),
        ..AREA
    },
    Case {
        id: "virtio-blk/notify/two-requests",
        title: "Two requests in one notification are both carried out.",
        clause: &clause::USED_RING,
        body: Body::Bus(notify_two),
        ..AREA
    },
    Case {
        id: "virtio-blk/read-only/refuses-writes",
        title: "A read-only device says so, refuses writes and keeps its data.",
        clause: &clause::BLK_READ_ONLY,
        setup: READ_ONLY,
        body: Body::Bus(read_only),
        ..AREA
    },
    Case {
        id: "virtio-blk/read/sectors",
        title: "A read gives the disk's sectors, and its length counts the status byte.",
        ..AREA
    },
    Case {
        id: "virtio-blk/request/odd-length",
        title: "A read or write of no whole sectors is an I/O error.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(requests::odd_length),
        ..AREA
    },
    Case {
        id: "virtio-blk/request/unsupported",
        title: "A request of a type that does not exist is unsupported.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(request_unsupported),
        ..AREA
    },
    Case {
        id: "virtio-blk/reset/during-flush",
        title: "A device that was reset during writes and a flush lets their memory be, and works again.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_during_flush),
        ..AREA
    },
    Case {
        id: "virtio-blk/reset/during-io",
        title: "A device that was reset with requests under way lets their buffers be.",
        clause: &clause::RESET_QUIET,
        body: Body::Bus(reset_during_io),
        ..AREA
    },
    Case {
        id: "virtio-blk/reset/keeps-data",
        title: "What was written is still there after a reset of the device.",
        body: Body::Bus(reset_keeps_data),
        ..AREA
    },
    Case {
        id: "virtio-blk/used/length-was-written",
        title: "The length of a failed read covers only bytes that the device wrote.",
        clause: &clause::USED_LENGTH,
        body: Body::Bus(used_length),
        ..AREA
    },
    Case {
        id: "virtio-blk/write-zeroes/largest",
        title: "Write zeroes requests of as many segments, and of as many sectors, as are announced succeed.",
        clause: &clause::BLK_LIMITS,
        body: Body::Bus(limits::write_zeroes),
        ..AREA
    },
    Case {
        id: "virtio-blk/write-zeroes/past-end",
        title: "A write zeroes request past the end of the disk fails and changes nothing.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(write_zeroes_bounds),
        ..AREA
    },
    Case {
        id: "virtio-blk/write-zeroes/reads-zero",
        title: "Sectors read as zeros after write zeroes, with unmap or without.",
        clause: &clause::BLK_WRITE_ZEROES,
        body: Body::Bus(write_zeroes),
        ..AREA
    },
    Case {
        id: "virtio-blk/write-zeroes/unknown-flag",
        title: "A write zeroes request with an unknown flag is unsupported.",
        clause: &clause::BLK_FLAGS,
        body: Body::Bus(write_zeroes_flag),
        ..AREA
    },
    Case {
        id: "virtio-blk/write-zeroes/whole-segments",
        title: "A write zeroes request whose data is no whole segment does not succeed, and changes nothing.",
        clause: &clause::BLK_STATUS,
        body: Body::Bus(write_zeroes_segments),
        ..AREA
    },
    Case {
        id: "virtio-blk/write/large",
        title: "What a long request wrote is read back by another, and the sectors around it stay.",
        body: Body::Bus(limits::large),
        ..AREA
    },
    Case {
        id: "virtio-blk/write/read-back",
        title: "What was written is read back, and the sectors around it stay.",
        body: Body::Bus(write_read_back),
        ..AREA
    },
];

/// Sectors of the disk.
const SECTORS: u64 = (disk::BYTES / 512) as u64;

/// Sectors of the disk as it is at power-on.
fn original(sector: u64, sectors: usize) -> Vec<u8> {
    let from = sector as usize * 512;
    (from..from + sectors * 512).map(disk::byte).collect()
}

/// Compares sectors without printing them all.
fn check_bytes(p: &mut Probe<'_>, what: &str, got: &[u8], want: &[u8]) {
    let differ = got.iter().zip(want).position(|(got, want)| got != want);
    let (got_text, want_text) = match differ {
        Some(at) => (
            format!("{:#04x} at byte {at}", got[at]),
            format!("{:#04x} at byte {at}", want[at]),
        ),
        None => (format!("{} bytes", got.len()), format!("{} bytes", want.len())),
    };
    p.check(what, got == want, got_text, want_text);
}

/// Makes a case not apply where the device does not offer what it is about.
fn need(p: &mut Probe<'_>, bit: u32, name: &str) -> Result<(), Stop> {
    let offered = Transport::first_device(p).features(p, 0)?;
    if offered & bit == 0 {
        return Err(Stop::NotApplicable(format!("the device does not offer {name}")));
    }
    Ok(())
}

fn device_type(p: &mut Probe<'_>) -> Result<(), Stop> {
    let id = Transport::first_device(p).read(p, reg::DEVICE_ID)?;
    p.check_eq("DeviceID", id, ID_BLK);
    Ok(())
}

fn config_capacity(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let low = transport.read(p, reg::CONFIG + config::CAPACITY)?;
    let high = transport.read(p, reg::CONFIG + config::CAPACITY + 4)?;
    p.check_eq("capacity in sectors", u64::from(high) << 32 | u64::from(low), SECTORS);
    Ok(())
}

fn config_padding(p: &mut Probe<'_>) -> Result<(), Stop> {
    let blk = Blk::running(Transport::first_device(p), Queue::at(RING, SIZE));
    let unused = blk.config_byte(p, config::UNUSED0)?;
    p.check_eq("unused0", unused, 0u8);
    Ok(())
}

fn config_writeback(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::CONFIG_WCE, "CONFIG_WCE")?;
    let transport = Transport::first_device(p);
    transport.negotiate(p, feature::CONFIG_WCE)?;
    let blk = Blk::running(transport, Queue::at(RING, SIZE));
    let writeback = blk.config_byte(p, config::WRITEBACK)?;
    p.check_eq("writeback after FEATURES_OK", writeback, 0u8);
    Ok(())
}

fn features_flush(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let id = transport.read(p, reg::DEVICE_ID)?;
    p.require_eq("DeviceID", id, ID_BLK)?;
    need(p, feature::CONFIG_WCE, "CONFIG_WCE")?;
    let offered = transport.features(p, 0)?;
    p.check_eq("FLUSH", offered & feature::FLUSH, feature::FLUSH);
    Ok(())
}

fn read_sectors(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    for (sector, sectors) in [(0, 1), (7, 3), (SECTORS - 1, 1), (100, 8)] {
        p.point(format!("{sectors} from sector {sector}"));
        let length = sectors * driver::SECTOR_BYTES;
        p.write_memory(DATA, &vec![FILL; length as usize])?;
        let done = blk.request(p, kind::IN, sector, Data::FromDevice(DATA, length))?;
        p.check_eq("status", done.status, outcome::OK);
        p.check_eq("length in the used ring", done.used_bytes, length + 1);
        let got = p.read_memory(DATA, length as usize)?;
        check_bytes(p, "data", &got, &original(sector, sectors as usize));
    }
    Ok(())
}

fn write_read_back(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    let done = blk.write(p, 5, 2, 0x3c)?;
    p.check_eq("status of the write", done.status, outcome::OK);
    p.check_eq("length in the used ring", done.used_bytes, 1u32);
    let got = blk.read(p, 4, 4)?;
    let want = [original(4, 1), vec![0x3c; 1024], original(7, 1)].concat();
    check_bytes(p, "sectors 4 to 7", &got, &want);
    Ok(())
}

fn bounds_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    for (sector, sectors) in [(SECTORS, 1), (SECTORS - 1, 2), (SECTORS + 1000, 1)] {
        p.point(format!("{sectors} from sector {sector}"));
        let length = sectors * driver::SECTOR_BYTES;
        let done = blk.request(p, kind::IN, sector, Data::FromDevice(DATA, length))?;
        p.check_eq("status", done.status, outcome::IOERR);
    }
    let got = blk.read(p, SECTORS - 1, 1)?;
    check_bytes(p, "last sector", &got, &original(SECTORS - 1, 1));
    Ok(())
}

fn bounds_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    for (sector, sectors) in [(SECTORS, 1), (SECTORS - 1, 2), (SECTORS + 1000, 1)] {
        p.point(format!("{sectors} from sector {sector}"));
        let done = blk.write(p, sector, sectors, 0x3c)?;
        p.check_eq("status", done.status, outcome::IOERR);
    }
    let got = blk.read(p, 0, 1)?;
    check_bytes(p, "first sector", &got, &original(0, 1));
    Ok(())
}

fn bounds_far(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    for sector in [1 << 55, (1 << 55) + 1, 1 << 63, u64::MAX] {
        p.point(format!("sector {sector:#x}"));
        let read = blk.request(p, kind::IN, sector, Data::FromDevice(DATA, 512))?;
        p.check_eq("status of the read", read.status, outcome::IOERR);
        let write = blk.write(p, sector, 1, 0x3c)?;
        p.check_eq("status of the write", write.status, outcome::IOERR);
    }
    let got = blk.read(p, 0, 2)?;
    check_bytes(p, "first sectors", &got, &original(0, 2));
    Ok(())
}

fn request_unsupported(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    for kind in kind::UNKNOWN {
        for (name, data) in [("data", Data::FromDevice(DATA, 512)), ("no data", Data::Nothing)] {
            p.point(format!("type {kind}, {name}"));
            let done = blk.request(p, kind, 0, data)?;
            p.check_eq("status", done.status, outcome::UNSUPP);
        }
    }
    let got = blk.read(p, 1, 1)?;
    check_bytes(p, "sector 1, read afterwards", &got, &original(1, 1));
    Ok(())
}

fn flush_completes(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::FLUSH, "FLUSH")?;
    let mut blk = Blk::start(p, feature::FLUSH)?;
    flush(p, &mut blk)
}

fn flush(p: &mut Probe<'_>, blk: &mut Blk) -> Result<(), Stop> {
    let write = blk.write(p, 9, 1, 0x3c)?;
    p.check_eq("status of the write", write.status, outcome::OK);
    let flush = blk.request(p, kind::FLUSH, 0, Data::Nothing)?;
    p.check_eq("status of the flush", flush.status, outcome::OK);
    let got = blk.read(p, 9, 1)?;
    check_bytes(p, "sector 9", &got, &[0x3c; 512]);
    Ok(())
}

/// Asks for the ID, which must succeed and be text up to its first NUL.
fn fetch_id(p: &mut Probe<'_>) -> Result<Vec<u8>, Stop> {
    let mut blk = Blk::start(p, 0)?;
    p.write_memory(DATA, &[FILL; 24])?;
    let done = blk.request(p, kind::GET_ID, 0, Data::FromDevice(DATA, 20))?;
    p.check_eq("status", done.status, outcome::OK);
    let mut got = p.read_memory(DATA, 24)?;
    p.check_eq("byte behind the buffer", got[20], FILL);
    got.truncate(20);
    let text = got.split(|&byte| byte == 0).next().unwrap_or_default();
    p.check(
        "characters of the ID",
        text.iter().all(u8::is_ascii),
        format!("{text:02x?}"),
        "ASCII",
    );
    Ok(got)
}

fn get_id_text(p: &mut Probe<'_>) -> Result<(), Stop> {
    fetch_id(p).map(|_| ())
}

fn get_id(p: &mut Probe<'_>) -> Result<(), Stop> {
    let id = fetch_id(p)?;
    let padding: Vec<u8> = id.into_iter().skip_while(|&byte| byte != 0).collect();
    p.check(
        "padding of the ID",
        padding.iter().all(|&byte| byte == 0),
        format!("{padding:02x?}"),
        "NUL bytes",
    );
    Ok(())
}

fn read_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    let offered = Transport::first_device(p).features(p, 0)?;
    p.require_eq("RO", offered & feature::RO, feature::RO)?;
    let mut blk = Blk::start(p, feature::RO)?;
    let write = blk.write(p, 2, 1, 0x3c)?;
    p.check_eq("status of the write", write.status, outcome::IOERR);
    let got = blk.read(p, 2, 1)?;
    check_bytes(p, "sector 2", &got, &original(2, 1));
    Ok(())
}

fn discard_unmap(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::DISCARD, "DISCARD")?;
    let mut blk = Blk::start(p, feature::DISCARD)?;
    let done = blk.range(p, kind::DISCARD, 0, 1, 1)?;
    p.check_eq("status with unmap", done.status, outcome::UNSUPP);
    let done = blk.range(p, kind::DISCARD, 0, 1, 1 << 31)?;
    p.check_eq("status with an unknown flag", done.status, outcome::UNSUPP);
    let done = blk.range(p, kind::DISCARD, 0, 1, 0)?;
    p.check_eq("status without flags", done.status, outcome::OK);
    Ok(())
}

fn write_zeroes(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::WRITE_ZEROES, "WRITE_ZEROES")?;
    let mut blk = Blk::start(p, feature::WRITE_ZEROES)?;
    for (sector, flags) in [(10, 0), (20, 1)] {
        p.point(format!("flags {flags}"));
        let done = blk.range(p, kind::WRITE_ZEROES, sector, 2, flags)?;
        p.check_eq("status", done.status, outcome::OK);
        let got = blk.read(p, sector - 1, 4)?;
        let want = [original(sector - 1, 1), vec![0; 1024], original(sector + 2, 1)].concat();
        check_bytes(p, "sectors", &got, &want);
    }
    Ok(())
}

fn write_zeroes_flag(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::WRITE_ZEROES, "WRITE_ZEROES")?;
    let mut blk = Blk::start(p, feature::WRITE_ZEROES)?;
    for flags in [2, 3, 1 << 31] {
        p.point(format!("flags {flags:#x}"));
        let done = blk.range(p, kind::WRITE_ZEROES, 3, 1, flags)?;
        p.check_eq("status", done.status, outcome::UNSUPP);
    }
    let got = blk.read(p, 3, 1)?;
    check_bytes(p, "sector 3", &got, &original(3, 1));
    Ok(())
}

/// Requests whose data is a segment cut short, or one with a piece of another: never a success.
fn part_of_a_segment(p: &mut Probe<'_>, bit: u32, name: &str, kind: u32) -> Result<(), Stop> {
    need(p, bit, name)?;
    for length in [1, 8, 15, 17, 24] {
        p.point(format!("{length} bytes"));
        let mut blk = Blk::start(p, bit)?;
        let segment = [&[0; 8][..], &1u32.to_le_bytes(), &[0; 4], &[0; 16]].concat();
        p.write_memory(DATA, &segment)?;
        blk.describe(p, 0, kind, 0, Data::ToDevice(DATA, length))?;
        blk.submit(p, &[0])?;
        for _ in 0..HOSTILE_LOOKS_MAX {
            let needs_reset = blk.transport.status(p)? & status::DEVICE_NEEDS_RESET != 0;
            if needs_reset || blk.queue.used_idx(p)? != 0 {
                break;
            }
        }
        let got = driver::status(p, 0)?;
        p.check(
            "status",
            got != outcome::OK,
            got.to_string(),
            "IOERR, UNSUPP, or none by a device that asks for a reset",
        );
    }
    Ok(())
}

fn discard_segments(p: &mut Probe<'_>) -> Result<(), Stop> {
    part_of_a_segment(p, feature::DISCARD, "DISCARD", kind::DISCARD)
}

fn write_zeroes_segments(p: &mut Probe<'_>) -> Result<(), Stop> {
    part_of_a_segment(p, feature::WRITE_ZEROES, "WRITE_ZEROES", kind::WRITE_ZEROES)?;
    let mut blk = Blk::start(p, 0)?;
    let got = blk.read(p, 0, 2)?;
    check_bytes(p, "sectors 0 and 1", &got, &original(0, 2));
    Ok(())
}

fn write_zeroes_bounds(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::WRITE_ZEROES, "WRITE_ZEROES")?;
    let mut blk = Blk::start(p, feature::WRITE_ZEROES)?;
    for (sector, sectors) in [(SECTORS, 1), (SECTORS - 1, 2), (u64::MAX, 2)] {
        p.point(format!("{sectors} from sector {sector:#x}"));
        let done = blk.range(p, kind::WRITE_ZEROES, sector, sectors, 0)?;
        p.check_eq("status", done.status, outcome::IOERR);
    }
    for sector in [0, SECTORS - 1] {
        let got = blk.read(p, sector, 1)?;
        check_bytes(p, &format!("sector {sector}"), &got, &original(sector, 1));
    }
    Ok(())
}

fn framing_scattered(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    let at = driver::header_at(0);
    driver::write_header(p, at, kind::IN, 6)?;
    p.write_memory(DATA, &[FILL; 514])?;
    // A header in two parts; two buffers for data, the second of which ends in the status.
    let parts = [
        (at, 3, NEXT, 1),
        (at + 3, 13, NEXT, 2),
        (DATA, 100, NEXT | WRITE, 3),
        (DATA + 100, 413, WRITE, 0),
    ];
    for (index, (address, length, flags, next)) in parts.into_iter().enumerate() {
        let descriptor = Descriptor {
            address,
            length,
            flags,
            next,
        };
        blk.queue.describe(p, index as u16, descriptor)?;
    }
    blk.submit(p, &[0])?;
    blk.wait(p)?;
    let got = p.read_memory(DATA, 514)?;
    check_bytes(p, "data", &got[..512], &original(6, 1));
    p.check_eq("status", got[512], outcome::OK);
    p.check_eq("byte behind the status", got[513], FILL);

    // Header and data in one buffer.
    p.write_memory(DATA, &[0x3c; 528])?;
    driver::write_header(p, DATA, kind::OUT, 6)?;
    p.write_memory(driver::status_at(0), &[outcome::UNWRITTEN])?;
    let whole = Descriptor {
        address: DATA,
        length: 528,
        flags: NEXT,
        next: 1,
    };
    blk.queue.describe(p, 0, whole)?;
    blk.queue
        .describe(p, 1, Descriptor::writable(driver::status_at(0), 1))?;
    blk.submit(p, &[0])?;
    blk.wait(p)?;
    let written = driver::status(p, 0)?;
    p.check_eq("status of the write", written, outcome::OK);
    let got = blk.read(p, 6, 2)?;
    let want = [vec![0x3c; 512], original(7, 1)].concat();
    check_bytes(p, "sectors 6 and 7", &got, &want);
    Ok(())
}

fn notify_two(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    p.write_memory(DATA, &[FILL; 1024])?;
    blk.describe(p, 0, kind::IN, 1, Data::FromDevice(DATA, 512))?;
    blk.describe(p, 1, kind::IN, 2, Data::FromDevice(DATA + 512, 512))?;
    blk.submit(p, &[0, 1])?;
    blk.wait(p)?;
    // Requests may overtake each other.
    let (first, second) = (blk.queue.used_entry(p, 0)?, blk.queue.used_entry(p, 1)?);
    let mut used = [first, second];
    used.sort_unstable();
    p.check(
        "used entries",
        used == [(0, 513), (3, 513)],
        format!("{used:?}"),
        "[(0, 513), (3, 513)]",
    );
    for slot in 0..2 {
        let status = driver::status(p, slot)?;
        p.check_eq("status", status, outcome::OK);
    }
    let got = p.read_memory(DATA, 1024)?;
    check_bytes(p, "data", &got, &original(1, 2));
    Ok(())
}

fn used_length(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    p.write_memory(DATA, &[FILL; 512])?;
    let done = blk.request(p, kind::IN, SECTORS, Data::FromDevice(DATA, 512))?;
    p.require_eq("status", done.status, outcome::IOERR)?;
    let got = p.read_memory(DATA, 512)?;
    let untouched = got.iter().rev().take_while(|&&byte| byte == FILL).count();
    let written = 512 - untouched;
    // The last byte of the chain is the status, which was written.
    let most = if untouched == 0 { 513 } else { written as u32 };
    p.check(
        "length in the used ring",
        done.used_bytes <= most,
        done.used_bytes.to_string(),
        format!("at most {most}: {untouched} bytes before the status are as they were"),
    );
    Ok(())
}

fn reset_keeps_data(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    let done = blk.write(p, 12, 1, 0x3c)?;
    p.check_eq("status of the write", done.status, outcome::OK);
    let mut blk = Blk::start(p, 0)?;
    let got = blk.read(p, 11, 2)?;
    let want = [original(11, 1), vec![0x3c; 512]].concat();
    check_bytes(p, "sectors 11 and 12", &got, &want);
    Ok(())
}

fn reset_during_io(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    p.write_memory(DATA, &[FILL; 4 * 4096])?;
    for slot in 0..4 {
        let at = DATA + 4096 * u64::from(slot);
        blk.describe(p, slot, kind::IN, u64::from(slot) * 8, Data::FromDevice(at, 4096))?;
    }
    blk.submit(p, &[0, 1, 2, 3])?;
    blk.transport.write(p, reg::STATUS, 0)?;
    let mut status = blk.transport.status(p)?;
    for _ in 0..RESET_LOOKS_MAX {
        if status == 0 {
            break;
        }
        status = blk.transport.status(p)?;
    }
    p.require_eq("Status after the reset", status, 0u32)?;
    // From here on the memory is the driver's again.
    p.write_memory(DATA, &[FILL; 4 * 4096])?;
    blk.queue.clear(p)?;
    let mut blk = Blk::start(p, 0)?;
    let done = blk.request(p, kind::IN, 40, Data::FromDevice(DATA + 0x1_0000, 512))?;
    p.check_eq("status of a read afterwards", done.status, outcome::OK);
    let got = p.read_memory(DATA + 0x1_0000, 512)?;
    check_bytes(p, "its data", &got, &original(40, 1));
    let before = p.read_memory(DATA, 4 * 4096)?;
    check_bytes(p, "buffers of before the reset", &before, &[FILL; 4 * 4096]);
    Ok(())
}

fn reset_during_flush(p: &mut Probe<'_>) -> Result<(), Stop> {
    need(p, feature::FLUSH, "FLUSH")?;
    let mut blk = Blk::start(p, feature::FLUSH)?;
    p.write_memory(DATA, &[0x3c; 1024])?;
    blk.describe(p, 0, kind::OUT, 30, Data::ToDevice(DATA, 512))?;
    blk.describe(p, 1, kind::OUT, 31, Data::ToDevice(DATA + 512, 512))?;
    blk.describe(p, 2, kind::FLUSH, 0, Data::Nothing)?;
    blk.submit(p, &[0, 1, 2])?;
    blk.transport.write(p, reg::STATUS, 0)?;
    let mut status = blk.transport.status(p)?;
    for _ in 0..RESET_LOOKS_MAX {
        if status == 0 {
            break;
        }
        status = blk.transport.status(p)?;
    }
    p.require_eq("Status after the reset", status, 0u32)?;
    // From here on the memory is the driver's again.
    p.write_memory(driver::status_at(1), &[outcome::UNWRITTEN; 2])?;
    let mut blk = Blk::start(p, feature::FLUSH)?;
    let flush = blk.request(p, kind::FLUSH, 0, Data::Nothing)?;
    p.check_eq("status of a flush afterwards", flush.status, outcome::OK);
    for sector in [30, 31] {
        // A write that was under way may or may not have been carried out, but not in part.
        let got = blk.read(p, sector, 1)?;
        let whole = got == [0x3c; 512] || got == original(sector, 1);
        p.check(
            &format!("sector {sector}"),
            whole,
            "a mixture",
            "the old data or the new",
        );
    }
    for slot in [1, 2] {
        let status = driver::status(p, slot)?;
        p.check_eq("status of a request of before the reset", status, outcome::UNWRITTEN);
    }
    Ok(())
}

/// Reads of Status until it must show that a reset is complete.
const RESET_LOOKS_MAX: usize = 1000;

/// Submits a chain that breaks the rules; the device may complete it or ask for a reset, and works after one.
fn hostile(p: &mut Probe<'_>, parts: &[(u64, u32, u16)]) -> Result<(), Stop> {
    let mut blk = Blk::start(p, 0)?;
    driver::write_header(p, driver::header_at(0), kind::OUT, 0)?;
    p.write_memory(driver::status_at(0), &[outcome::UNWRITTEN])?;
    p.write_memory(DATA, &[0x3c; 512])?;
    for (index, &(address, length, flags)) in parts.iter().enumerate() {
        let descriptor = Descriptor {
            address,
            length,
            flags,
            next: index as u16 + 1,
        };
        blk.queue.describe(p, index as u16, descriptor)?;
    }
    blk.submit(p, &[0])?;
    for _ in 0..HOSTILE_LOOKS_MAX {
        let needs_reset = blk.transport.status(p)? & status::DEVICE_NEEDS_RESET != 0;
        if needs_reset || blk.queue.used_idx(p)? != 0 {
            break;
        }
    }
    let mut blk = Blk::start(p, 0)?;
    let got = blk.read(p, 1, 1)?;
    check_bytes(p, "sector 1, read after a reset", &got, &original(1, 1));
    Ok(())
}

/// Looks at a device that may well never answer.
const HOSTILE_LOOKS_MAX: usize = 100;

fn hostile_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (header, status) = (driver::header_at(0), driver::status_at(0));
    for length in [1, 8, 15] {
        p.point(format!("{length} bytes"));
        hostile(p, &[(header, length, NEXT), (status, 1, WRITE)])?;
    }
    p.point("none");
    hostile(p, &[(status, 1, WRITE)])
}

fn hostile_status(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (header, status) = (driver::header_at(0), driver::status_at(0));
    p.point("readable");
    hostile(p, &[(header, 16, NEXT), (DATA, 512, NEXT), (status, 1, 0)])?;
    p.point("none");
    hostile(p, &[(header, 16, 0)])
}

fn legacy_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let queue = transport.start_legacy(p, RING, SIZE)?;
    let mut blk = Blk::running(transport, queue);
    let got = blk.read(p, 13, 2)?;
    check_bytes(p, "sectors 13 and 14", &got, &original(13, 2));
    Ok(())
}
