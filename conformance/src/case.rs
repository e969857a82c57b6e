//! What a case is: one behaviour, tied to a clause, with a body that observes it.

use crate::clause::Clause;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;
use crate::regress::Regression;

/// One behaviour.
#[derive(Debug)]
pub struct Case {
    /// `area/thing/behaviour`, lower-case words; permanent and never reused.
    pub id: &'static str,
    /// One sentence that says what holds.
    pub title: &'static str,
    /// The requirement.
    pub clause: &'static Clause,
    /// How binding it is.
    pub level: Level,
    /// Parts of the machine the case is about; absent in the profile means not applicable.
    pub features: &'static [Feature],
    /// What the subject must be able to do; lacking means unsupported.
    pub needs: Caps,
    /// The machine to start.
    pub setup: Setup,
    /// What to do and to look at.
    pub body: Body,
}

/// How binding a requirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not meeting it is a failure.
    Must,
    /// Not meeting it is a warning.
    Should,
    /// Left open: which way it went is recorded.
    May,
}

/// What runs.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// Accesses, written once and run at depths bus, wire and cpu.
    Bus(fn(&mut Probe<'_>) -> Result<(), Stop>),
    /// A program that fuzzing found, at the same depths.
    Program(&'static Regression),
    /// Judges what a resident image printed, at depth guest.
    Guest {
        /// The image's name: `probe`.
        image: &'static str,
        /// Looks at the log through [`Probe::guest_log`].
        judge: fn(&mut Probe<'_>) -> Result<(), Stop>,
    },
}

/// A part of the machine that a profile may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// MC146818 RTC with CMOS memory.
    Rtc,
    /// fw_cfg with its DMA interface.
    FwCfg,
    /// 16550A at 0x3f8.
    Serial,
    /// The serial port's line stays up while its interrupt is pending: cases of other chips drive their input with it.
    SerialLine,
    /// 8259 pair.
    Pic,
    /// 8254.
    Pit,
    /// IOAPIC.
    Ioapic,
    /// 8042 keyboard controller.
    I8042,
    /// A firmware ROM below 4 GiB.
    Firmware,
    /// virtio-mmio transports.
    VirtioMmio,
    /// Every transport is there, with a device or without; a device takes the highest free one.
    AllTransports,
    /// There is a transport for each device and no other, in the order of the devices.
    TransportEach,
    /// Legacy (version 1) transports can be had.
    VirtioLegacy,
    /// Modern (version 2) transports can be had.
    VirtioModern,
    /// The `max-ram-below-4g` option.
    MaxRamBelow4g,
    /// fw_cfg key 0x8003.
    E820Key,
    /// fw_cfg file `etc/fdt`.
    Fdt,
    /// The command line announces virtio-mmio devices.
    AutoCmdline,
    /// More than 32 CPUs can be had.
    ManyCpus,
    /// A MultiProcessor table names CPUs and IOAPIC.
    MpTable,
    /// PCI with its configuration space: no microvm has it, other VMMs do.
    Pci,
    /// ACPI with its ports: no microvm of these profiles has it, other VMMs do.
    Acpi,
}

impl Feature {
    /// The names that subject files have for them.
    pub const NAMED: [(&'static str, Feature); 22] = [
        ("rtc", Feature::Rtc),
        ("fw-cfg", Feature::FwCfg),
        ("serial", Feature::Serial),
        ("serial-line", Feature::SerialLine),
        ("pic", Feature::Pic),
        ("pit", Feature::Pit),
        ("ioapic", Feature::Ioapic),
        ("i8042", Feature::I8042),
        ("firmware", Feature::Firmware),
        ("virtio-mmio", Feature::VirtioMmio),
        ("all-transports", Feature::AllTransports),
        ("transport-each", Feature::TransportEach),
        ("virtio-legacy", Feature::VirtioLegacy),
        ("virtio-modern", Feature::VirtioModern),
        ("max-ram-below-4g", Feature::MaxRamBelow4g),
        ("e820-key", Feature::E820Key),
        ("fdt", Feature::Fdt),
        ("auto-cmdline", Feature::AutoCmdline),
        ("many-cpus", Feature::ManyCpus),
        ("mp-table", Feature::MpTable),
        ("pci", Feature::Pci),
        ("acpi", Feature::Acpi),
    ];

    /// Its name in subject files.
    pub fn word(self) -> &'static str {
        let named = Feature::NAMED.iter().find(|(_, feature)| *feature == self);
        named.map_or("", |(name, _)| *name)
    }

    /// The part that it is about, without which it is nothing.
    pub fn whole(self) -> Option<Feature> {
        match self {
            Feature::SerialLine => Some(Feature::Serial),
            Feature::E820Key | Feature::Fdt => Some(Feature::FwCfg),
            Feature::AllTransports
            | Feature::TransportEach
            | Feature::VirtioLegacy
            | Feature::VirtioModern
            | Feature::AutoCmdline => Some(Feature::VirtioMmio),
            _ => None,
        }
    }
}

/// The machine a case wants. Written as `Setup { modern: true, ..Setup::DEFAULT }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    /// RAM in bytes.
    pub ram_bytes: u64,
    /// `max-ram-below-4g` in bytes.
    pub max_ram_below_4g: Option<u64>,
    /// Machine options beyond that, as `("pic", "off")`; `("accel", "kvm")` is for what the tables say under KVM.
    pub options: &'static [(&'static str, &'static str)],
    /// Transports are version 2; `false` is version 1.
    pub modern: bool,
    /// Devices in command-line order: `virtio-rng`, `virtio-rng-at-2` (on transport 2), `virtio-blk`, `virtio-blk-ro`,
    /// `virtio-net`, `virtio-console`, and after those `isa-debug-exit` at port 0xf4, `isa-debugcon` at port 0x402,
    /// `boot-marks` at port 0x3f0, `option-rom` and `fw-cfg-file` (see [`crate::subject::options`]).
    pub devices: &'static [&'static str],
    /// CPUs present.
    pub cpus: u16,
    /// CPUs announced at most; at least `cpus`.
    pub cpus_max: u16,
    /// Starts with a kernel and this user command line.
    pub append: Option<&'static str>,
    /// That kernel is a bzImage; `false` is an ELF file with a PVH note. Depths that start our own images lack it.
    pub bz_image: bool,
    /// What the RTC shows at power-on, UTC.
    pub rtc_base: &'static str,
}

impl Setup {
    /// 128 MiB, one CPU, RTC on, no devices, no kernel, clock at a leap day's eve.
    pub const DEFAULT: Setup = Setup {
        ram_bytes: 128 << 20,
        max_ram_below_4g: None,
        options: &[("rtc", "on")],
        modern: false,
        devices: &[],
        cpus: 1,
        cpus_max: 1,
        append: None,
        bz_image: false,
        rtc_base: "2020-02-28T23:59:50",
    };

    /// The default machine with another amount of RAM.
    pub const fn with_ram(ram_bytes: u64) -> Setup {
        Setup {
            ram_bytes,
            ..Setup::DEFAULT
        }
    }

    /// The default machine with another amount of RAM and a `max-ram-below-4g`.
    pub const fn with_limit(ram_bytes: u64, limit_bytes: u64) -> Setup {
        Setup {
            ram_bytes,
            max_ram_below_4g: Some(limit_bytes),
            ..Setup::DEFAULT
        }
    }
}

impl Level {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::May => "may",
        }
    }
}

impl Body {
    /// Runs it. A guest's body finds its log in the probe.
    ///
    /// # Errors
    /// As the body's.
    pub fn run(&self, probe: &mut Probe<'_>) -> Result<(), Stop> {
        match self {
            Body::Bus(body) => body(probe),
            Body::Program(regression) => regression.run(probe),
            Body::Guest { judge, .. } => judge(probe),
        }
    }
}

impl Case {
    /// The id's first part.
    pub fn area(&self) -> &'static str {
        self.id.split('/').next().unwrap_or_default()
    }
}
