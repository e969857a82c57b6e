//! Target `virtqueue`: hostile rings and requests for every kind of device, one device at a time on the last transport.

use std::sync::Arc;

use conformance::case;
use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, ConsoleTo, DeviceConfig, DeviceKind, DiskConfig, NetworkConfig, NetworkTo};
use vmm::board::profile::MICROVM_2019;
use vmm::machine::Machine;
use vmm::virtio::blk::MemoryDisk;

use super::virtio_mmio::guard;
use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{Record, SCRATCH, Setup, Target, Window, small};

/// The target.
pub static VIRTQUEUE: Target = Target {
    name: "virtqueue",
    title: "virtqueues: rings and requests of rng, blk, net and console",
    setups: &[
        Setup {
            name: "rng",
            options: "--machine microvm,virtio-mmio=modern,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-rng",
            config: || config(true, DeviceKind::Rng),
        },
        Setup {
            name: "blk",
            options: "--machine microvm,virtio-mmio=modern,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-blk,file=DISK (of 32 KiB)",
            config: || config(true, disk(false)),
        },
        Setup {
            name: "blk-read-only",
            options: "--machine microvm,virtio-mmio=modern,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-blk,file=DISK,readonly=on (of 32 KiB)",
            config: || config(true, disk(true)),
        },
        Setup {
            name: "net",
            options: "--machine microvm,virtio-mmio=modern,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-net,loopback=on",
            config: || config(true, network()),
        },
        Setup {
            name: "console",
            options: "--machine microvm,virtio-mmio=modern,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-console,loopback=on",
            config: || config(true, DeviceKind::Console(ConsoleTo::Loopback)),
        },
        Setup {
            name: "blk-legacy",
            options: "--machine microvm,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-blk,file=DISK (of 32 KiB)",
            config: || config(false, disk(false)),
        },
        Setup {
            name: "net-legacy",
            options: "--machine microvm,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-net,loopback=on",
            config: || config(false, network()),
        },
    ],
    setups_rare: 0,
    ports: &[],
    memory: &[
        Window {
            base: TRANSPORT,
            unit_bytes: 4,
            count: 0x80,
        },
        // Where the cases have a descriptor table, an available ring, and then anything.
        Window {
            base: SCRATCH.base,
            unit_bytes: 16,
            count: 0x100,
        },
        Window {
            base: SCRATCH.base + 0x1000,
            unit_bytes: 2,
            count: 0x100,
        },
        SCRATCH,
        // A request's header, as a case has it.
        Window {
            base: SCRATCH.base + 0x1_0000,
            unit_bytes: 4,
            count: 0x100,
        },
        // A second queue's descriptor table.
        Window {
            base: SCRATCH.base + 0x8000,
            unit_bytes: 16,
            count: 0x100,
        },
        Window {
            base: SCRATCH.base + 0x9000,
            unit_bytes: 2,
            count: 0x100,
        },
    ],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("blk-used", "A disk, of version 1 or 2, completed a request."),
        Canary::new("broken-ring", "A ring could not be followed and the device stopped."),
        Canary::new("console-received", "The console filled a buffer with what it had sent."),
        Canary::new("console-sent", "The console took a buffer to send."),
        Canary::new("net-received", "The network filled a buffer with a frame it had sent."),
        Canary::new("net-sent", "The network took a frame to send."),
        Canary::new("rng-used", "The entropy device filled a buffer."),
    ],
    watch: || Box::new(Look(look)),
    guard,
    areas: &["virtqueue", "virtio-blk", "virtio-net", "virtio-console"],
    setup_of,
};

fn setup_of(setup: &case::Setup) -> Option<&'static str> {
    match (*setup.devices.first()?, setup.modern) {
        ("virtio-rng", _) => Some("rng"),
        ("virtio-blk", true) => Some("blk"),
        ("virtio-blk", false) => Some("blk-legacy"),
        ("virtio-blk-ro", _) => Some("blk-read-only"),
        ("virtio-net", true) => Some("net"),
        ("virtio-net", false) => Some("net-legacy"),
        ("virtio-console", _) => Some("console"),
        _ => None,
    }
}

fn config(modern: bool, kind: DeviceKind) -> Config {
    Config {
        virtio_modern: modern,
        devices: vec![DeviceConfig { kind, transport: None }],
        ..small(Config::new(&MICROVM_2019))
    }
}

/// A small disk, fresh for each machine.
pub(super) fn disk(read_only: bool) -> DeviceKind {
    DeviceKind::Blk(DiskConfig {
        name: "disk".to_owned(),
        read_only,
        open: Arc::new(|| Box::new(MemoryDisk::new(vec![0x5a; DISK_BYTES]))),
    })
}

/// A network that hears itself.
pub(super) fn network() -> DeviceKind {
    DeviceKind::Net(NetworkConfig {
        mac: None,
        to: NetworkTo::Loopback,
    })
}

fn look(machine: &Machine, _action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    let fields = Fields::of(machine, Slot::VirtioMmio(7));
    if fields.text("broken") != "no" {
        reached("broken-ring");
    }
    let used = |queue: u8| fields.number(&format!("queue{queue:02}.next_used")) != 0;
    for (backend, queue, name) in [
        ("rng", 0, "rng-used"),
        ("blk", 0, "blk-used"),
        ("net", 0, "net-received"),
        ("net", 1, "net-sent"),
        ("console", 0, "console-received"),
        ("console", 1, "console-sent"),
    ] {
        if fields.text("backend") == backend && used(queue) {
            reached(name);
        }
    }
}

/// Registers of the last transport: microvm as first specified.
const TRANSPORT: u64 = 0xc000_0e00;

const DISK_BYTES: usize = 32 << 10;
