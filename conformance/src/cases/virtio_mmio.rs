//! virtio-mmio transports: registers.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{firecracker, microvm, virtio as clause};
use crate::driver::virtio_mmio::{ID_RNG, MAGIC, Queue, Transport, VERSION_1_WORD_1, reg, status};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::MAGIC,
    level: Level::Must,
    features: &[Feature::VirtioMmio, Feature::VirtioModern],
    needs: Caps::NONE,
    setup: MODERN,
    body: Body::Bus(identity_magic),
};

const MODERN: Setup = Setup {
    modern: true,
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};
const LEGACY: Setup = Setup {
    modern: false,
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};
/// Every transport is there, also those without a device.
const ON_ALL: &[Feature] = &[Feature::VirtioMmio, Feature::VirtioModern, Feature::AllTransports];
const ON_LEGACY: &[Feature] = &[Feature::VirtioMmio, Feature::VirtioLegacy];

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "virtio-mmio/attach/by-bus",
        title: "A device with a bus sits on that transport, and one without takes the highest free one.",
        clause: &microvm::TRANSPORTS,
        features: ON_ALL,
        setup: Setup {
            devices: &["virtio-rng-at-2", "virtio-rng"],
            ..MODERN
        },
        body: Body::Bus(attach_by_bus),
        ..AREA
    },
    Case {
        id: "virtio-mmio/attach/last-first",
        title: "Three devices sit on the three highest transports.",
        clause: &microvm::TRANSPORTS,
        features: ON_ALL,
        setup: Setup {
            devices: &["virtio-rng"; 3],
            ..MODERN
        },
        body: Body::Bus(attach_last_first),
        ..AREA
    },
    Case {
        id: "virtio-mmio/attach/one-each",
        title: "Three devices have the three lowest transports, and there are no others.",
        clause: &firecracker::TRANSPORTS,
        features: &[Feature::VirtioMmio, Feature::VirtioModern, Feature::TransportEach],
        setup: Setup {
            devices: &["virtio-rng"; 3],
            ..MODERN
        },
        body: Body::Bus(attach_one_each),
        ..AREA
    },
    Case {
        id: "virtio-mmio/config-generation/stable",
        title: "ConfigGeneration stays while the configuration does.",
        clause: &clause::CONFIG_GENERATION,
        body: Body::Bus(config_generation),
        ..AREA
    },
    Case {
        id: "virtio-mmio/config/beyond-end",
        title: "Reading and writing where the device has no configuration does no harm.",
        clause: &clause::CONFIG,
        body: Body::Bus(config_beyond),
        ..AREA
    },
    Case {
        id: "virtio-mmio/empty/answers",
        title: "A transport without a device answers with MagicValue, Version and DeviceID 0.",
        clause: &clause::EMPTY_SLOT,
        features: ON_ALL,
        body: Body::Bus(empty_answers),
        ..AREA
    },
    Case {
        id: "virtio-mmio/empty/ignores-writes",
        title: "Writes to a transport without a device change nothing.",
        clause: &clause::EMPTY_SLOT,
        features: ON_ALL,
        body: Body::Bus(empty_ignores),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/beyond-word-1",
        title: "Zeros in feature words from 2 on accept nothing, and a bit accepted there is one that was not offered.",
        clause: &clause::FEATURES_SUBSET,
        body: Body::Bus(features_beyond),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/legacy-words",
        title: "A legacy entropy device offers indirect descriptors and event indices, and no word 1.",
        clause: &clause::FEATURE_SELECT,
        level: Level::Should,
        features: ON_LEGACY,
        setup: LEGACY,
        body: Body::Bus(features_legacy),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/no-version-1",
        title: "What becomes of a driver that does not accept VERSION_1 is left to the device.",
        clause: &clause::VERSION_1_REFUSED,
        level: Level::May,
        body: Body::Bus(features_no_version_1),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/select-past-end",
        title: "Feature words from 2 on read 0.",
        clause: &clause::FEATURE_SELECT,
        body: Body::Bus(features_past_end),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/subset-accepted",
        title: "A driver that accepts VERSION_1 alone gets FEATURES_OK.",
        clause: &clause::FEATURES_SUBSET,
        body: Body::Bus(features_subset),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/unoffered-refused",
        title: "A driver that accepts a feature not offered does not get FEATURES_OK.",
        clause: &clause::FEATURES_SUBSET,
        body: Body::Bus(features_unoffered),
        ..AREA
    },
    Case {
        id: "virtio-mmio/features/version-1",
        title: "A modern device offers VERSION_1.",
        clause: &clause::VERSION_1_OFFERED,
        body: Body::Bus(features_version_1),
        ..AREA
    },
    Case {
        id: "virtio-mmio/identity/device-id",
        title: "The entropy device has type 4, legacy or modern.",
        clause: &clause::DEVICE_ID,
        body: Body::Bus(identity_device),
        ..AREA
    },
    Case {
        id: "virtio-mmio/identity/magic",
        title: "Every transport answers with MagicValue.",
        ..AREA
    },
    Case {
        id: "virtio-mmio/identity/read-only",
        title: "The identity registers cannot be written.",
        clause: &clause::READ_ONLY,
        body: Body::Bus(identity_read_only),
        ..AREA
    },
    Case {
        id: "virtio-mmio/identity/vendor",
        title: "Every transport has the same vendor.",
        clause: &microvm::TRANSPORTS,
        level: Level::Should,
        body: Body::Bus(identity_vendor),
        ..AREA
    },
    Case {
        id: "virtio-mmio/identity/version-legacy",
        title: "A legacy transport has version 1.",
        clause: &clause::VERSION_LEGACY,
        features: ON_LEGACY,
        setup: LEGACY,
        body: Body::Bus(identity_version_legacy),
        ..AREA
    },
    Case {
        id: "virtio-mmio/identity/version-modern",
        title: "A modern transport has version 2.",
        clause: &clause::VERSION_MODERN,
        body: Body::Bus(identity_version_modern),
        ..AREA
    },
    Case {
        id: "virtio-mmio/interrupt/idle",
        title: "A device that did nothing has no interrupt pending, and acknowledging changes nothing.",
        clause: &clause::INTERRUPT_ACK,
        body: Body::Bus(interrupt_idle),
        ..AREA
    },
    Case {
        id: "virtio-mmio/legacy/no-queue-ready",
        title: "A legacy transport has no QueueReady.",
        clause: &clause::LEGACY_ONLY,
        level: Level::Should,
        features: ON_LEGACY,
        setup: LEGACY,
        body: Body::Bus(legacy_no_ready),
        ..AREA
    },
    Case {
        id: "virtio-mmio/legacy/pfn-reads-back",
        title: "QueuePFN reads back per queue, and writing 0 stops the queue.",
        clause: &clause::LEGACY_PFN,
        features: ON_LEGACY,
        setup: LEGACY,
        body: Body::Bus(legacy_pfn),
        ..AREA
    },
    Case {
        id: "virtio-mmio/modern/no-queue-pfn",
        title: "A modern transport has no QueuePFN.",
        clause: &clause::LEGACY_ONLY,
        level: Level::Should,
        body: Body::Bus(modern_no_pfn),
        ..AREA
    },
    Case {
        id: "virtio-mmio/queue/max",
        title: "QueueNumMax is a size for the device's queue and 0 for those it does not have.",
        clause: &clause::QUEUE_MAX,
        body: Body::Bus(queue_max),
        ..AREA
    },
    Case {
        id: "virtio-mmio/queue/notify-out-of-range",
        title: "Notifying queues that do not exist does no harm.",
        clause: &clause::QUEUE_NOTIFY,
        body: Body::Bus(queue_notify),
        ..AREA
    },
    Case {
        id: "virtio-mmio/queue/ready-reads-back",
        title: "QueueReady reads back 1 once set.",
        clause: &clause::QUEUE_READY,
        body: Body::Bus(queue_ready),
        ..AREA
    },
    Case {
        id: "virtio-mmio/queue/select-out-of-range",
        title: "Selecting a queue far out of range does no harm.",
        clause: &clause::QUEUE_MAX,
        body: Body::Bus(queue_select),
        ..AREA
    },
    Case {
        id: "virtio-mmio/reserved/read-zero",
        title: "Offsets without a register read 0.",
        clause: &clause::WRITE_ONLY,
        level: Level::Should,
        body: Body::Bus(reserved_read_zero),
        ..AREA
    },
    Case {
        id: "virtio-mmio/reset/features",
        title: "After a reset a driver can negotiate anew.",
        clause: &clause::STATUS_RESET,
        body: Body::Bus(reset_negotiates_anew),
        ..AREA
    },
    Case {
        id: "virtio-mmio/reset/queue-ready",
        title: "A reset clears QueueReady.",
        clause: &clause::RESET_CLEARS,
        body: Body::Bus(reset_queue_ready),
        ..AREA
    },
    Case {
        id: "virtio-mmio/reset/system",
        title: "A system reset resets the device.",
        clause: &clause::STATUS_RESET,
        needs: Caps::RESET,
        body: Body::Bus(reset_system),
        ..AREA
    },
    Case {
        id: "virtio-mmio/shm/absent-base",
        title: "A shared memory region that does not exist has a base of all ones.",
        clause: &clause::SHM_ABSENT_BASE,
        body: Body::Bus(shm_absent_base),
        ..AREA
    },
    Case {
        id: "virtio-mmio/shm/absent-length",
        title: "A shared memory region that does not exist has a length of all ones.",
        clause: &clause::SHM_ABSENT,
        body: Body::Bus(shm_absent),
        ..AREA
    },
    Case {
        id: "virtio-mmio/status/holds",
        title: "Status reads back the steps of initialisation.",
        clause: &clause::STATUS_HOLDS,
        body: Body::Bus(status_holds),
        ..AREA
    },
    Case {
        id: "virtio-mmio/status/reset",
        title: "Writing 0 resets, from every step of initialisation.",
        clause: &clause::STATUS_RESET,
        body: Body::Bus(status_reset),
        ..AREA
    },
    Case {
        id: "virtio-mmio/width/narrow-read",
        title: "What a narrow or unaligned read gives is left open.",
        clause: &clause::ACCESS_WIDTH,
        level: Level::May,
        body: Body::Bus(width_narrow_read),
        ..AREA
    },
    Case {
        id: "virtio-mmio/width/narrow-write",
        title: "Narrow and unaligned writes of Status do no lasting harm.",
        clause: &clause::STATUS_RESET,
        body: Body::Bus(width_narrow_write),
        ..AREA
    },
    Case {
        id: "virtio-mmio/write-only/read-zero",
        title: "Registers for writing only read 0.",
        clause: &clause::WRITE_ONLY,
        level: Level::Should,
        body: Body::Bus(write_only_read_zero),
        ..AREA
    },
];

/// RAM that no image of ours uses.
const RING: u64 = 0x40_0000;

/// The transports that are there.
fn transports(p: &Probe<'_>) -> Vec<Transport> {
    let count = if p.layout().has(Feature::TransportEach) {
        p.setup().devices.len() as u8
    } else {
        p.layout().virtio_count
    };
    (0..count).map(|index| Transport::at(p, index)).collect()
}

fn identity_magic(p: &mut Probe<'_>) -> Result<(), Stop> {
    for transport in transports(p) {
        p.point(format!("transport {}", transport.index));
        let got = transport.read(p, reg::MAGIC_VALUE)?;
        p.check_eq("MagicValue", got, MAGIC);
    }
    Ok(())
}

fn check_versions(p: &mut Probe<'_>, want: u32) -> Result<(), Stop> {
    for transport in transports(p) {
        p.point(format!("transport {}", transport.index));
        let got = transport.read(p, reg::VERSION)?;
        p.check_eq("Version", got, want);
    }
    Ok(())
}

fn identity_version_modern(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_versions(p, 2)
}

fn identity_version_legacy(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_versions(p, 1)
}

fn identity_device(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = Transport::first_device(p).read(p, reg::DEVICE_ID)?;
    p.check_eq("DeviceID", got, ID_RNG);
    Ok(())
}

fn identity_vendor(p: &mut Probe<'_>) -> Result<(), Stop> {
    let want = Transport::first_device(p).read(p, reg::VENDOR_ID)?;
    p.check(
        "VendorID",
        want != 0 && want != u32::MAX,
        format!("{want:#x}"),
        "a vendor",
    );
    for transport in transports(p) {
        p.point(format!("transport {}", transport.index));
        let got = transport.read(p, reg::VENDOR_ID)?;
        p.check_eq("VendorID", got, want);
    }
    Ok(())
}

fn identity_read_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    for (name, offset) in [
        ("MagicValue", reg::MAGIC_VALUE),
        ("Version", reg::VERSION),
        ("DeviceID", reg::DEVICE_ID),
        ("VendorID", reg::VENDOR_ID),
        ("QueueNumMax", reg::QUEUE_NUM_MAX),
        ("InterruptStatus", reg::INTERRUPT_STATUS),
    ] {
        p.point(name);
        let before = transport.read(p, offset)?;
        for value in [0, u32::MAX] {
            transport.write(p, offset, value)?;
            let after = transport.read(p, offset)?;
            p.check_eq("register after a write", after, before);
        }
    }
    let magic = transport.read(p, reg::MAGIC_VALUE)?;
    p.check_eq("MagicValue", magic, MAGIC);
    Ok(())
}

fn attach_last_first(p: &mut Probe<'_>) -> Result<(), Stop> {
    let count = p.layout().virtio_count;
    for transport in transports(p) {
        p.point(format!("transport {}", transport.index));
        let want = if count - 3 <= transport.index { ID_RNG } else { 0 };
        let (magic, got) = (transport.read(p, reg::MAGIC_VALUE)?, transport.read(p, reg::DEVICE_ID)?);
        p.check_eq("MagicValue", magic, MAGIC);
        p.check_eq("DeviceID", got, want);
    }
    Ok(())
}

fn attach_one_each(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in 0..p.layout().virtio_count {
        p.point(format!("transport {index}"));
        let transport = Transport::at(p, index);
        let (magic, id) = if index < 3 { (MAGIC, ID_RNG) } else { (0, 0) };
        let got = transport.read(p, reg::MAGIC_VALUE)?;
        p.check_eq("MagicValue", got, magic);
        let got = transport.read(p, reg::DEVICE_ID)?;
        p.check_eq("DeviceID", got, id);
    }
    Ok(())
}

fn empty_answers(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::empty(p);
    for (name, offset, want) in [
        ("MagicValue", reg::MAGIC_VALUE, MAGIC),
        ("Version", reg::VERSION, 2),
        ("DeviceID", reg::DEVICE_ID, 0),
    ] {
        let got = transport.read(p, offset)?;
        p.check_eq(name, got, want);
    }
    Ok(())
}

fn empty_ignores(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::empty(p);
    for offset in (0..0x200).step_by(4) {
        transport.write(p, offset, 0xffff_ffff)?;
    }
    for (name, offset, want) in [
        ("MagicValue", reg::MAGIC_VALUE, MAGIC),
        ("DeviceID", reg::DEVICE_ID, 0),
        ("Status", reg::STATUS, 0),
        ("InterruptStatus", reg::INTERRUPT_STATUS, 0),
        ("QueueNumMax", reg::QUEUE_NUM_MAX, 0),
    ] {
        let got = transport.read(p, offset)?;
        p.check_eq(name, got, want);
    }
    Ok(())
}

fn features_version_1(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let version = transport.read(p, reg::VERSION)?;
    p.require_eq("Version", version, 2u32)?;
    let word_1 = transport.features(p, 1)?;
    p.check_eq("VIRTIO_F_VERSION_1", word_1 & VERSION_1_WORD_1, VERSION_1_WORD_1);
    Ok(())
}

fn features_legacy(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let (word_0, word_1) = (transport.features(p, 0)?, transport.features(p, 1)?);
    p.check_eq("INDIRECT_DESC and EVENT_IDX", word_0 & 0x3000_0000, 0x3000_0000u32);
    p.check_eq("word 1", word_1, 0u32);
    Ok(())
}

fn features_past_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let word_1 = transport.features(p, 1)?;
    p.check_eq("VERSION_1 in word 1", word_1 & VERSION_1_WORD_1, VERSION_1_WORD_1);
    for word in [2, 3, 31, 0x8000_0000, u32::MAX] {
        p.point(format!("word {word:#x}"));
        let got = transport.features(p, word)?;
        p.check_eq("features", got, 0u32);
    }
    Ok(())
}

fn features_subset(p: &mut Probe<'_>) -> Result<(), Stop> {
    Transport::first_device(p).negotiate(p, 0)
}

/// Bit 63 belongs to nobody, and bit 5 is a block device's: an entropy device offers neither.
fn features_unoffered(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let offered = [transport.features(p, 0)?, transport.features(p, 1)?];
    for (word, bit) in [(0, 5), (1, 31)] {
        p.point(format!("bit {}", word * 32 + bit));
        p.check_eq("bit offered", offered[word] >> bit & 1, 0u32);
        transport.acknowledge(p)?;
        let mut accepted = [0, VERSION_1_WORD_1];
        accepted[word] |= 1 << bit;
        transport.accept(p, 0, accepted[0])?;
        transport.accept(p, 1, accepted[1])?;
        transport.write(
            p,
            reg::STATUS,
            status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK,
        )?;
        let got = transport.status(p)?;
        p.check_eq("FEATURES_OK", got & status::FEATURES_OK, 0u32);
        p.check_eq("ACKNOWLEDGE and DRIVER", got & 3, 3u32);
    }
    Ok(())
}

/// Bits from 64 on exist, and none of them is offered.
fn features_beyond(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let steps = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
    for (word, bits) in [(2, 0), (3, 0), (2, 1), (3, 1 << 31), (2, u32::MAX)] {
        p.point(format!("{bits:#x} in word {word}"));
        transport.acknowledge(p)?;
        transport.accept(p, 0, 0)?;
        transport.accept(p, 1, VERSION_1_WORD_1)?;
        transport.accept(p, word, bits)?;
        transport.write(p, reg::STATUS, steps)?;
        let got = transport.status(p)?;
        let want = if bits == 0 { status::FEATURES_OK } else { 0 };
        p.check_eq("FEATURES_OK", got & status::FEATURES_OK, want);
    }
    Ok(())
}

fn features_no_version_1(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.acknowledge(p)?;
    transport.accept(p, 0, 0)?;
    transport.accept(p, 1, 0)?;
    transport.write(
        p,
        reg::STATUS,
        status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK,
    )?;
    let got = transport.status(p)?;
    p.note(if got & status::FEATURES_OK == 0 {
        "FEATURES_OK refused"
    } else {
        "FEATURES_OK accepted"
    });
    Ok(())
}

fn status_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.write(p, reg::STATUS, 0)?;
    for value in [status::ACKNOWLEDGE, status::ACKNOWLEDGE | status::DRIVER] {
        p.point(format!("{value:#x}"));
        transport.write(p, reg::STATUS, value)?;
        let got = transport.status(p)?;
        p.check_eq("Status", got, value);
    }
    transport.negotiate(p, 0)?;
    transport.driver_ok(p)?;
    let got = transport.status(p)?;
    p.check_eq("Status with DRIVER_OK", got, 0xfu32);
    let failed = got | status::FAILED;
    transport.write(p, reg::STATUS, failed)?;
    let got = transport.status(p)?;
    p.check_eq("Status with FAILED", got, failed);
    Ok(())
}

fn status_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    for step in 0..4 {
        p.point(format!("step {step}"));
        match step {
            0 => transport.write(p, reg::STATUS, status::ACKNOWLEDGE)?,
            1 => transport.acknowledge(p)?,
            2 => transport.negotiate(p, 0)?,
            _ => {
                transport.negotiate(p, 0)?;
                transport.driver_ok(p)?;
            }
        }
        let before = transport.status(p)?;
        p.check(
            "Status before",
            before & status::ACKNOWLEDGE != 0 && before <= 0xf,
            format!("{before:#x}"),
            "1..=0xf",
        );
        transport.write(p, reg::STATUS, 0)?;
        let after = transport.status(p)?;
        p.check_eq("Status after", after, 0u32);
    }
    Ok(())
}

fn reset_queue_ready(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    transport.set_queue(p, &Queue::at(RING, 8))?;
    let before = transport.read(p, reg::QUEUE_READY)?;
    p.require_eq("QueueReady before the reset", before, 1u32)?;
    transport.write(p, reg::STATUS, 0)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let (ready, pending) = (
        transport.read(p, reg::QUEUE_READY)?,
        transport.read(p, reg::INTERRUPT_STATUS)?,
    );
    p.check_eq("QueueReady after the reset", ready, 0u32);
    p.check_eq("InterruptStatus after the reset", pending, 0u32);
    Ok(())
}

fn reset_negotiates_anew(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    for round in 1..=3 {
        p.point(format!("round {round}"));
        transport.negotiate(p, 0)?;
        transport.set_queue(p, &Queue::at(RING, 8))?;
        transport.driver_ok(p)?;
        let got = transport.status(p)?;
        p.check_eq("Status", got, 0xfu32);
    }
    Ok(())
}

fn reset_system(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    p.reset()?;
    let (magic, status) = (transport.read(p, reg::MAGIC_VALUE)?, transport.status(p)?);
    p.check_eq("MagicValue", magic, MAGIC);
    p.check_eq("Status", status, 0u32);
    Ok(())
}

fn queue_max(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let first = transport.read(p, reg::QUEUE_NUM_MAX)?;
    p.check(
        "QueueNumMax of queue 0",
        (1..=32768).contains(&first),
        format!("{first:#x}"),
        "1..=0x8000",
    );
    for queue in [1, 2, 7, 63, 255] {
        p.point(format!("queue {queue}"));
        transport.write(p, reg::QUEUE_SEL, queue)?;
        let got = transport.read(p, reg::QUEUE_NUM_MAX)?;
        p.check_eq("QueueNumMax", got, 0u32);
    }
    Ok(())
}

/// A selector that is not taken may leave the old queue selected; the device must answer all the same.
fn queue_select(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let first = transport.read(p, reg::QUEUE_NUM_MAX)?;
    for queue in [0x400, 0xffff, 0x1_0000, 0x8000_0000, u32::MAX] {
        p.point(format!("queue {queue:#x}"));
        transport.write(p, reg::QUEUE_SEL, queue)?;
        let got = transport.read(p, reg::QUEUE_NUM_MAX)?;
        p.check(
            "QueueNumMax",
            got == 0 || got == first,
            format!("{got:#x}"),
            format!("0 or {first:#x}"),
        );
        transport.write(p, reg::QUEUE_NUM, 8)?;
        transport.write(p, reg::QUEUE_SEL, 0)?;
        let got = transport.read(p, reg::QUEUE_NUM_MAX)?;
        p.check(
            "QueueNumMax of queue 0",
            got == first && got != 0 && got != u32::MAX,
            format!("{got:#x}"),
            "its size",
        );
    }
    Ok(())
}

fn queue_notify(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    transport.driver_ok(p)?;
    for queue in [0, 1, 63, 0x400, 0xffff, 0x8000_0000, u32::MAX] {
        p.point(format!("queue {queue:#x}"));
        transport.write(p, reg::QUEUE_NOTIFY, queue)?;
        let (status, pending) = (transport.status(p)?, transport.read(p, reg::INTERRUPT_STATUS)?);
        p.check_eq("Status", status, 0xfu32);
        p.check_eq("InterruptStatus", pending, 0u32);
    }
    Ok(())
}

fn queue_ready(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    let before = transport.read(p, reg::QUEUE_READY)?;
    p.check_eq("QueueReady before", before, 0u32);
    transport.set_queue(p, &Queue::at(RING, 8))?;
    let after = transport.read(p, reg::QUEUE_READY)?;
    p.check_eq("QueueReady after", after, 1u32);
    Ok(())
}

fn interrupt_idle(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    for value in [1, 2, 3, u32::MAX] {
        p.point(format!("acknowledge {value:#x}"));
        transport.write(p, reg::INTERRUPT_ACK, value)?;
        let (pending, magic) = (
            transport.read(p, reg::INTERRUPT_STATUS)?,
            transport.read(p, reg::MAGIC_VALUE)?,
        );
        p.check_eq("InterruptStatus", pending, 0u32);
        p.check_eq("MagicValue", magic, MAGIC);
    }
    Ok(())
}

/// The entropy device has no configuration at all.
fn config_beyond(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    for offset in (reg::CONFIG..0x200).step_by(4) {
        p.point(format!("offset {offset:#x}"));
        let before = transport.read(p, offset)?;
        transport.write(p, offset, !before)?;
        let after = transport.read(p, offset)?;
        p.check_eq("configuration after a write", after, before);
    }
    let status = transport.status(p)?;
    p.check_eq("Status", status, 0xbu32);
    Ok(())
}

fn config_generation(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    let first = transport.read(p, reg::CONFIG_GENERATION)?;
    for _ in 0..4 {
        transport.read(p, reg::CONFIG)?;
        let next = transport.read(p, reg::CONFIG_GENERATION)?;
        p.check_eq("ConfigGeneration", next, first);
    }
    Ok(())
}

fn shm_absent(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_no_region(p, [("SHMLenLow", reg::SHM_LEN_LOW), ("SHMLenHigh", reg::SHM_LEN_HIGH)])
}

fn shm_absent_base(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_no_region(
        p,
        [("SHMBaseLow", reg::SHM_BASE_LOW), ("SHMBaseHigh", reg::SHM_BASE_HIGH)],
    )
}

/// No device of this machine has a shared memory region; these registers say so for every selector.
fn check_no_region(p: &mut Probe<'_>, registers: [(&str, u64); 2]) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let magic = transport.read(p, reg::MAGIC_VALUE)?;
    p.check_eq("MagicValue", magic, MAGIC);
    for region in [0, 1, 255] {
        p.point(format!("region {region}"));
        transport.write(p, reg::SHM_SEL, region)?;
        for (name, register) in registers {
            let value = transport.read(p, register)?;
            p.check_eq(name, value, u32::MAX);
        }
    }
    Ok(())
}

fn legacy_pfn(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.acknowledge(p)?;
    transport.write(p, reg::GUEST_PAGE_SIZE, 4096)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    transport.write(p, reg::QUEUE_NUM, 8)?;
    transport.write(p, reg::QUEUE_ALIGN, 4096)?;
    let before = transport.read(p, reg::QUEUE_PFN)?;
    p.check_eq("QueuePFN before", before, 0u32);
    let page = (RING >> 12) as u32;
    transport.write(p, reg::QUEUE_PFN, page)?;
    let set = transport.read(p, reg::QUEUE_PFN)?;
    p.check_eq("QueuePFN", set, page);
    transport.write(p, reg::QUEUE_PFN, 0)?;
    let after = transport.read(p, reg::QUEUE_PFN)?;
    p.check_eq("QueuePFN after 0", after, 0u32);
    Ok(())
}

fn legacy_no_ready(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.acknowledge(p)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    transport.write(p, reg::QUEUE_READY, 1)?;
    let (ready, version) = (transport.read(p, reg::QUEUE_READY)?, transport.read(p, reg::VERSION)?);
    p.check_eq("QueueReady", ready, 0u32);
    p.check_eq("Version", version, 1u32);
    Ok(())
}

fn modern_no_pfn(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    transport.negotiate(p, 0)?;
    transport.write(p, reg::QUEUE_SEL, 0)?;
    transport.write(p, reg::QUEUE_PFN, 1)?;
    let (pfn, ready) = (transport.read(p, reg::QUEUE_PFN)?, transport.read(p, reg::QUEUE_READY)?);
    p.check_eq("QueuePFN", pfn, 0u32);
    p.check_eq("QueueReady", ready, 0u32);
    Ok(())
}

const WRITE_ONLY: [(&str, u64); 8] = [
    ("DeviceFeaturesSel", reg::DEVICE_FEATURES_SEL),
    ("DriverFeatures", reg::DRIVER_FEATURES),
    ("DriverFeaturesSel", reg::DRIVER_FEATURES_SEL),
    ("QueueSel", reg::QUEUE_SEL),
    ("QueueNum", reg::QUEUE_NUM),
    ("QueueNotify", reg::QUEUE_NOTIFY),
    ("InterruptACK", reg::INTERRUPT_ACK),
    ("QueueDescLow", reg::QUEUE_DESC),
];

fn write_only_read_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    for (name, offset) in WRITE_ONLY {
        p.point(name);
        let got = transport.read(p, offset)?;
        p.check_eq("register", got, 0u32);
    }
    let magic = transport.read(p, reg::MAGIC_VALUE)?;
    p.check_eq("MagicValue", magic, MAGIC);
    Ok(())
}

fn reserved_read_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    let magic = transport.read(p, reg::MAGIC_VALUE)?;
    p.check_eq("MagicValue", magic, MAGIC);
    for offset in [
        0x018, 0x01c, 0x02c, 0x048, 0x04c, 0x054, 0x05c, 0x068, 0x06c, 0x074, 0x07c, 0x0d0, 0x0f8,
    ] {
        p.point(format!("offset {offset:#x}"));
        transport.write(p, offset, u32::MAX)?;
        let got = transport.read(p, offset)?;
        p.check_eq("register", got, 0u32);
    }
    Ok(())
}

fn width_narrow_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    for (offset, width) in [(0, Width::Byte), (0, Width::Word), (1, Width::Dword), (0, Width::Qword)] {
        let got = p.load(transport.base + offset, width)?;
        p.note(format!(
            "{} bytes at +{offset} of MagicValue read {got:#x}",
            width.bytes()
        ));
    }
    Ok(())
}

fn width_narrow_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    let transport = Transport::first_device(p);
    for (offset, width) in [
        (0, Width::Byte),
        (0, Width::Word),
        (1, Width::Byte),
        (2, Width::Word),
        (0, Width::Qword),
    ] {
        p.point(format!("{} bytes at +{offset}", width.bytes()));
        transport.acknowledge(p)?;
        p.store(
            transport.base + reg::STATUS + offset,
            width,
            0x0808_0808_0808_0808 & width.mask(),
        )?;
        transport.negotiate(p, 0)?;
        let magic = transport.read(p, reg::MAGIC_VALUE)?;
        p.check_eq("MagicValue", magic, MAGIC);
    }
    Ok(())
}

fn attach_by_bus(p: &mut Probe<'_>) -> Result<(), Stop> {
    let last = p.layout().virtio_count - 1;
    for transport in transports(p) {
        p.point(format!("transport {}", transport.index));
        let want = if [2, last].contains(&transport.index) {
            ID_RNG
        } else {
            0
        };
        let (magic, got) = (transport.read(p, reg::MAGIC_VALUE)?, transport.read(p, reg::DEVICE_ID)?);
        p.check_eq("MagicValue", magic, MAGIC);
        p.check_eq("DeviceID", got, want);
    }
    Ok(())
}
