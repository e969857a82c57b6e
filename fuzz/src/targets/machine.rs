//! Target `machine`: everything that a machine has at once, with time and typed bytes.

use conformance::machine::Width;
use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, ConsoleTo, DeviceConfig, DeviceKind, OnOffAuto};
use vmm::board::profile::RUST_VMM;
use vmm::machine::Machine;

use super::virtio_mmio::guard;
use super::virtqueue::{disk, network};
use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{RAM_BYTES, Record, SCRATCH, Setup, Target, Window, registers};

/// The target.
pub static MACHINE: Target = Target {
    name: "machine",
    title: "the whole machine: all chips, four kinds of virtio devices, fw_cfg or a keyboard controller",
    setups: &[
        Setup {
            name: "legacy",
            options: "--machine microvm,rtc=on -m 5M --rtc base=2020-02-28T23:59:50 --device virtio-rng \
                      --device virtio-blk,file=DISK --device virtio-net,loopback=on \
                      --device virtio-console,loopback=on (DISK of 32 KiB)",
            config: || config(false),
        },
        Setup {
            name: "modern",
            options: "--machine microvm,rtc=on,virtio-mmio=modern -m 5M --rtc base=2020-02-28T23:59:50 \
                      --device virtio-rng --device virtio-blk,file=DISK --device virtio-net,loopback=on \
                      --device virtio-console,loopback=on (DISK of 32 KiB)",
            config: || config(true),
        },
        // Another serial port, and the only keyboard controller.
        Setup {
            name: "rust-vmm",
            options: "--machine microvm,profile=rust-vmm,virtio-mmio=modern,pit=on,pic=on -m 5M --device virtio-rng \
                      --device virtio-blk,file=DISK --device virtio-net,loopback=on \
                      --device virtio-console,loopback=on (DISK of 32 KiB)",
            config: || Config {
                profile: &RUST_VMM,
                rtc: OnOffAuto::Off,
                ..config(true)
            },
        },
    ],
    setups_rare: 1,
    ports: &[
        ports(0x70, 2),
        ports(0x40, 4),
        ports(0x20, 2),
        ports(0xa0, 2),
        ports(0x3f8, 8),
        ports(0x510, 12),
        ports(0x60, 5),
    ],
    memory: &[
        memory(TRANSPORTS + 7 * STRIDE, 4, 0x80),
        // Any transport.
        memory(TRANSPORTS, 4, 8 * STRIDE as u32 / 4),
        memory(0xfec0_0000, 16, 5),
        memory(SCRATCH.base, 16, 0x100),
        memory(SCRATCH.base + 0x1000, 2, 0x100),
        SCRATCH,
        memory(0, 0x1_0000, 0x50),
    ],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("clock-line", "The clock's line went high."),
        Canary::new("fw-cfg-read", "A byte other than zero was read from fw_cfg."),
        Canary::new("ioapic-remote-irr", "A level-triggered interrupt is in service."),
        Canary::new("keyboard-controller", "The keyboard controller was written to."),
        Canary::new("pic-intr", "The 8259s' INT is high."),
        Canary::new("serial-line", "The serial port's line went high."),
        Canary::new("serial-received", "A typed byte waits in the serial port."),
        Canary::new("virtio-line", "A virtio device's line went high."),
        Canary::new("virtio-used", "A virtio device used a buffer."),
    ],
    watch: || Box::new(Look(look)),
    guard,
    areas: &[
        "rtc",
        "cmos",
        "pit",
        "pic",
        "ioapic",
        "serial",
        "i8042",
        "fw-cfg",
        "virtio-mmio",
        "virtqueue",
        "delivery",
        "absent",
        // What no target is about but this one.
        "boot",
        "bz-image",
        "cmdline",
        "firmware",
        "memory-map",
        "options",
        "reset",
    ],
    setup_of: |setup| Some(if setup.modern { "modern" } else { "legacy" }),
};

const fn ports(base: u64, count: u32) -> Window {
    memory(base, 1, count)
}

const fn memory(base: u64, unit_bytes: u64, count: u32) -> Window {
    Window {
        base,
        unit_bytes,
        count,
    }
}

fn config(modern: bool) -> Config {
    // The first device goes to the last transport, where the cases have theirs.
    let kinds = [
        DeviceKind::Rng,
        disk(false),
        network(),
        DeviceKind::Console(ConsoleTo::Loopback),
    ];
    Config {
        ram_bytes: RAM_BYTES,
        pit: OnOffAuto::On,
        pic: OnOffAuto::On,
        rtc: OnOffAuto::On,
        isa_serial: true,
        virtio_modern: modern,
        devices: kinds.map(|kind| DeviceConfig { kind, transport: None }).to_vec(),
        ..registers()
    }
}

fn look(machine: &Machine, action: &Action, answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    if machine.line_level(8) {
        reached("clock-line");
    }
    if machine.line_level(4) {
        reached("serial-line");
    }
    if (9..13).any(|gsi| machine.line_level(gsi)) {
        reached("virtio-line");
    }
    if Fields::of(machine, Slot::Pic).is("intr") {
        reached("pic-intr");
    }
    if Fields::of(machine, Slot::Serial).number("lsr") & 1 != 0 {
        reached("serial-received");
    }
    let ioapic = Fields::of(machine, Slot::Ioapic);
    if (0..24).any(|pin| ioapic.number(&format!("redirection_{pin:02}")) & REMOTE_IRR != 0) {
        reached("ioapic-remote-irr");
    }
    for transport in 4..8 {
        let fields = Fields::of(machine, Slot::VirtioMmio(transport));
        let mut queues = ["queue00", "queue01"].into_iter();
        if queues.any(|queue| fields.number(&format!("{queue}.next_used")) != 0) {
            reached("virtio-used");
        }
    }
    if machine.board().i8042.is_some() && matches!(action, Action::PortWrite { port: 0x60..=0x64, .. }) {
        reached("keyboard-controller");
    }
    if let (
        Action::PortRead {
            port: FW_CFG_DATA,
            width: Width::Byte,
        },
        Answer::Value(1..),
    ) = (action, answer)
        && machine.board().fw_cfg.is_some()
    {
        reached("fw-cfg-read");
    }
}

const TRANSPORTS: u64 = 0xc000_0000;
const STRIDE: u64 = 0x200;
const FW_CFG_DATA: u16 = 0x511;

/// Of a redirection entry. 82093AA, 3.2.4.
const REMOTE_IRR: u64 = 1 << 14;
