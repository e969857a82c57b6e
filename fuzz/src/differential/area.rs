//! What is compared: a fuzz target's programs, as far as two machines can be asked the same.
//!
//! Programs keep the addresses of the target, whose machine is a microvm as first specified. Where the transports of
//! the compared profile lie elsewhere, accesses go there.

use conformance::case::Setup;
use conformance::layout::MICROVM_2019;
use conformance::machine::Caps;
use conformance::program::Action;

use crate::target::{SCRATCH, Target};
use crate::targets::{FW_CFG, IOAPIC, PIC, PIT, RTC, SERIAL, VIRTIO_MMIO};

/// One area.
#[derive(Debug)]
pub struct Area {
    /// The target whose programs are run; its name is the area's.
    pub target: &'static Target,
    /// The machine for each set-up of the target; a program of any other is left out.
    pub machines: &'static [(&'static str, Setup)],
    /// What the other machine must be able to do.
    pub needs: Caps,
    /// Which actions are kept; see [`Area::keeps`].
    keep: fn(&Action) -> bool,
    /// What brings both machines into one state after a reset where the documents leave it open, as lines of a program.
    /// Answers to it are not compared.
    pub begins: &'static [&'static str],
    /// Reads at the end of each program that show the device's state, as lines of a program.
    pub looks: &'static [&'static str],
}

/// All areas, sorted by name.
pub const ALL: [&Area; 7] = [
    &AREA_FW_CFG,
    &AREA_IOAPIC,
    &AREA_PIC,
    &AREA_PIT,
    &AREA_RTC,
    &AREA_SERIAL,
    &AREA_VIRTIO_MMIO,
];

impl Area {
    /// The area of that name.
    pub fn by_name(name: &str) -> Option<&'static Area> {
        ALL.into_iter().find(|area| area.name() == name)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.target.name
    }

    /// The machine for a set-up of the target, by number.
    pub fn machine(&self, setup: u8) -> Option<&'static Setup> {
        let name = self.target.setups.get(usize::from(setup))?.name;
        let found = self.machines.iter().find(|(own, _)| *own == name);
        found.map(|(_, setup)| setup)
    }

    /// Whether an action means the same on both machines: it is about the area's own device, and time stands still on
    /// a QEMU that is paused.
    pub fn keeps(&self, action: &Action) -> bool {
        let is_ours = match action {
            Action::PortRead { port, .. } | Action::PortWrite { port, .. } => self.has_port(*port),
            Action::Load { gpa, .. } | Action::Store { gpa, .. } => self.has_memory(*gpa, 8),
            Action::ReadMemory { gpa, length_bytes } => is_scratch(*gpa, u64::from(*length_bytes)),
            Action::FillMemory { gpa, length_bytes, .. } => is_scratch(*gpa, u64::from(*length_bytes)),
            Action::WriteMemory { gpa, bytes } => is_scratch(*gpa, bytes.len() as u64),
            Action::SerialInput { bytes } => bytes.len() <= TYPED_BYTES_MAX && self.target.name == SERIAL.name,
            Action::Reset => true,
            Action::Advance { .. } => false,
        };
        is_ours && (self.keep)(action)
    }

    fn has_port(&self, port: u16) -> bool {
        let mut windows = self.target.ports.iter();
        windows.any(|window| {
            (window.base..window.base + window.unit_bytes * u64::from(window.count)).contains(&u64::from(port))
        })
    }

    fn has_memory(&self, gpa: u64, length_bytes: u64) -> bool {
        let mut windows = self.target.memory.iter();
        windows.any(|window| {
            let end = window.base + window.unit_bytes * u64::from(window.count);
            window.base <= gpa && gpa.checked_add(length_bytes).is_some_and(|to| to <= end)
        })
    }
}

fn is_scratch(gpa: u64, length_bytes: u64) -> bool {
    let end = SCRATCH.base + SCRATCH.unit_bytes * u64::from(SCRATCH.count);
    length_bytes <= BULK_BYTES_MAX && SCRATCH.base <= gpa && gpa.checked_add(length_bytes).is_some_and(|to| to <= end)
}

fn any(_action: &Action) -> bool {
    true
}

/// Registers only: a queue that is told of buffers works in the background of a machine that runs, and not at all in
/// one that is paused.
fn is_register(action: &Action) -> bool {
    match action {
        Action::Load { gpa, .. } => MICROVM_2019.is_transport(*gpa),
        Action::Store { gpa, .. } => {
            let offset = gpa % MICROVM_2019.virtio_stride_bytes;
            MICROVM_2019.is_transport(*gpa) && !(QUEUE_NOTIFY - 7..QUEUE_NOTIFY + 4).contains(&offset)
        }
        Action::Reset => true,
        _ => false,
    }
}

static AREA_FW_CFG: Area = Area {
    target: &FW_CFG,
    machines: &[("plain", Setup::DEFAULT)],
    needs: PAUSED,
    keep: any,
    // A reset leaves QEMU's DMA address, of which no document says what becomes of it.
    begins: &["outl 0x514 0x0"],
    looks: &["read 0x400000 0x1000", "inb 0x511", "inl 0x514", "inl 0x518"],
};

static AREA_IOAPIC: Area = Area {
    target: &IOAPIC,
    machines: &[("plain", Setup::DEFAULT)],
    needs: PAUSED,
    keep: any,
    begins: TIMER_BEGINS,
    looks: &[
        "readl 0xfec00000",
        "readl 0xfec00010",
        // The timer's entry and the serial port's.
        "writel 0xfec00000 0x10",
        "readl 0xfec00010",
        "writel 0xfec00000 0x14",
        "readl 0xfec00010",
        "writel 0xfec00000 0x18",
        "readl 0xfec00010",
        "writel 0xfec00000 0x19",
        "readl 0xfec00010",
    ],
};

static AREA_PIC: Area = Area {
    target: &PIC,
    machines: &[("plain", Setup::DEFAULT)],
    needs: PAUSED,
    keep: any,
    begins: PIC_BEGINS,
    looks: &[
        "inb 0x21",
        "inb 0xa1",
        "inb 0x4d0",
        "inb 0x4d1",
        "outb 0x20 0xa",
        "inb 0x20",
        "outb 0x20 0xb",
        "inb 0x20",
        "outb 0xa0 0xa",
        "inb 0xa0",
        "outb 0xa0 0xb",
        "inb 0xa0",
        "outb 0x20 0xc",
        "inb 0x20",
        "outb 0xa0 0xc",
        "inb 0xa0",
    ],
};

static AREA_PIT: Area = Area {
    target: &PIT,
    machines: &[("plain", Setup::DEFAULT)],
    needs: PAUSED,
    keep: any,
    begins: TIMER_BEGINS,
    looks: &[
        "outb 0x43 0xe2",
        "inb 0x40",
        "outb 0x43 0xe4",
        "inb 0x41",
        "outb 0x43 0xe8",
        "inb 0x42",
        "inb 0x40",
        "inb 0x40",
        "inb 0x41",
        "inb 0x41",
        "inb 0x42",
        "inb 0x42",
    ],
};

static AREA_RTC: Area = Area {
    target: &RTC,
    machines: &[("plain", Setup::DEFAULT)],
    needs: PAUSED,
    keep: any,
    // A reset leaves UIE in QEMU's register B.
    begins: &["outb 0x70 0xb", "outb 0x71 0x2", "outb 0x70 0x0"],
    looks: &[
        "outb 0x70 0x0",
        "inb 0x71",
        "outb 0x70 0x2",
        "inb 0x71",
        "outb 0x70 0x4",
        "inb 0x71",
        "outb 0x70 0x7",
        "inb 0x71",
        "outb 0x70 0x8",
        "inb 0x71",
        "outb 0x70 0x9",
        "inb 0x71",
        "outb 0x70 0x32",
        "inb 0x71",
        "outb 0x70 0xa",
        "inb 0x71",
        "outb 0x70 0xb",
        "inb 0x71",
        "outb 0x70 0xc",
        "inb 0x71",
        "outb 0x70 0xd",
        "inb 0x71",
    ],
};

static AREA_SERIAL: Area = Area {
    target: &SERIAL,
    machines: &[("plain", Setup::DEFAULT)],
    needs: PAUSED.with(Caps::SERIAL_INPUT),
    keep: any,
    // A reset leaves QEMU's FCR.
    begins: &["outb 0x3fa 0x0"],
    looks: &[
        "inb 0x3fd",
        "inb 0x3fa",
        "inb 0x3f9",
        "inb 0x3fb",
        "inb 0x3fc",
        "inb 0x3fe",
        "inb 0x3ff",
        "inb 0x3f8",
        "inb 0x3fd",
        "inb 0x3fa",
    ],
};

static AREA_VIRTIO_MMIO: Area = Area {
    target: &VIRTIO_MMIO,
    machines: &[("modern", ENTROPY_MODERN), ("legacy", ENTROPY_LEGACY)],
    needs: PAUSED,
    keep: is_register,
    begins: &[],
    looks: &[
        "readl 0xc0000e10",
        "readl 0xc0000e34",
        "readl 0xc0000e40",
        "readl 0xc0000e44",
        "readl 0xc0000e60",
        "readl 0xc0000e70",
        "readl 0xc0000efc",
    ],
};

const ENTROPY_MODERN: Setup = Setup {
    modern: true,
    devices: &["virtio-rng", "virtio-rng"],
    ..Setup::DEFAULT
};

const ENTROPY_LEGACY: Setup = Setup {
    modern: false,
    ..ENTROPY_MODERN
};

/// The 8254 has no reset input, and before its first programming everything in it is undefined: what is latched is
/// read, and all counters get a control word that takes OUT low.
const TIMER_BEGINS: &[&str] = &[
    "inb 0x40",
    "inb 0x40",
    "inb 0x40",
    "inb 0x40",
    "inb 0x41",
    "inb 0x41",
    "inb 0x41",
    "inb 0x41",
    "inb 0x42",
    "inb 0x42",
    "inb 0x42",
    "inb 0x42",
    "outb 0x43 0x30",
    "outb 0x40 0x0",
    "outb 0x40 0x0",
    "outb 0x43 0x70",
    "outb 0x43 0xb0",
    "outb 0x3fa 0x0",
];

/// The same, and both PICs are initialised, which forgets what the timer's line did.
const PIC_BEGINS: &[&str] = &[
    "inb 0x40",
    "inb 0x40",
    "inb 0x40",
    "inb 0x40",
    "inb 0x41",
    "inb 0x41",
    "inb 0x41",
    "inb 0x41",
    "inb 0x42",
    "inb 0x42",
    "inb 0x42",
    "inb 0x42",
    "outb 0x43 0x30",
    "outb 0x40 0x0",
    "outb 0x40 0x0",
    "outb 0x43 0x70",
    "outb 0x43 0xb0",
    "outb 0x20 0x11",
    "outb 0x21 0x8",
    "outb 0x21 0x4",
    "outb 0x21 0x1",
    "outb 0xa0 0x11",
    "outb 0xa1 0x70",
    "outb 0xa1 0x2",
    "outb 0xa1 0x1",
    "outb 0x3fa 0x0",
    "outb 0x70 0xb",
    "outb 0x71 0x2",
    "outb 0x70 0x0",
];

/// Time stands still, lines are seen, and a reset is to be had between programs.
const PAUSED: Caps = Caps::FROZEN.with(Caps::LINES).with(Caps::RESET);

/// Virtio 1.2, 4.2.2.
const QUEUE_NOTIFY: u64 = 0x50;

/// Typed bytes go over slowly, and more than the receiver holds wait on the host's side.
const TYPED_BYTES_MAX: usize = 8;

/// Longest bulk access.
const BULK_BYTES_MAX: u64 = 0x1000;
