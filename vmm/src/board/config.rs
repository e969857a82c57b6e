//! What a user asks of a machine, with the defaults of its profile.

use std::fmt;
use std::sync::Arc;

use super::profile::{MICROVM_2019, Profile};
use crate::virtio::blk::Disk;
use crate::virtio::rng::{Entropy, Xorshift};

/// Everything that decides what a machine is. Files are already read: nothing below the front ends opens one.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, rules and presence.
    pub profile: &'static Profile,
    /// RAM in bytes, a multiple of [`RAM_GRANULE_BYTES`] (see [`round_ram`]).
    pub ram_bytes: u64,
    /// `max-ram-below-4g` in bytes; `None` or 0 mean 4 GiB.
    pub max_ram_below_4g: Option<u64>,
    /// CPUs present, 1..=`cpus_max`.
    pub cpus: u16,
    /// CPUs announced as the most there can be.
    pub cpus_max: u16,
    /// The 8259 pair; auto means on.
    pub pic: OnOffAuto,
    /// The 8254; auto means on.
    pub pit: OnOffAuto,
    /// The MC146818; auto means on unless [`Config::kvm`].
    pub rtc: OnOffAuto,
    /// The 16550A.
    pub isa_serial: bool,
    /// Whether option ROMs are offered by fw_cfg.
    pub x_option_roms: bool,
    /// Whether `virtio_mmio.device=` entries are appended to the command line.
    pub auto_kernel_cmdline: bool,
    /// Transports answer version 2 instead of 1.
    pub virtio_modern: bool,
    /// Whether the machine runs on KVM: `rtc=auto`, the e820 reservation and kvmclock depend on it.
    pub kvm: bool,
    /// What the RTC shows at power-on, in seconds since 1970-01-01T00:00:00 as the guest reads it.
    pub rtc_start_seconds: i64,
    /// The firmware ROM file the machine starts in.
    pub bios: Option<Blob>,
    /// The kernel image file.
    pub kernel: Option<Blob>,
    /// The initial RAM disk file.
    pub initrd: Option<Blob>,
    /// The user's command line.
    pub append: String,
    /// Makes the source of random bytes for each entropy device; repeatable unless a front end puts the host's here.
    pub entropy: fn() -> Box<dyn Entropy>,
    /// virtio devices in the order the user named them.
    pub devices: Vec<DeviceConfig>,
    /// Port of the debug-exit device.
    pub debug_exit: Option<u16>,
    /// Port of the debug console.
    pub debug_console: Option<u16>,
    /// Port that takes boot marks.
    pub boot_marks: Option<u16>,
    /// Option ROMs for a firmware to run. One named as the loader's own (`pvh.bin`, `linuxboot_dma.bin`) takes its
    /// place.
    pub option_roms: Vec<Blob>,
    /// Further fw_cfg files as (name, contents).
    pub fw_cfg_files: Vec<(String, Vec<u8>)>,
}

/// A machine option that may be left to the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOffAuto {
    /// Present.
    On,
    /// Absent.
    Off,
    /// As the machine model resolves it.
    #[default]
    Auto,
}

/// A file's name and contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Name as the user gave it, for messages.
    pub name: String,
    /// Contents.
    pub bytes: Arc<[u8]>,
}

/// One virtio device.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// What it is.
    pub kind: DeviceKind,
    /// Transport index; `None` takes the highest free one.
    pub transport: Option<u8>,
}

/// The kinds of virtio devices that exist.
#[derive(Clone, Debug)]
pub enum DeviceKind {
    /// Entropy source.
    Rng,
    /// Block device.
    Blk(DiskConfig),
}

/// The disk of a block device.
#[derive(Clone)]
pub struct DiskConfig {
    /// Name as the user gave it, for messages.
    pub name: String,
    /// Whether the driver may only read.
    pub read_only: bool,
    /// Gives each machine of this configuration its disk: a copy in memory, or the same file. A front end has opened
    /// it; nothing can fail any more.
    pub open: Arc<dyn Fn() -> Box<dyn Disk> + Send + Sync>,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceKind::Rng => f.write_str("virtio-rng"),
            DeviceKind::Blk(_) => f.write_str("virtio-blk"),
        }
    }
}

impl fmt::Debug for DiskConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskConfig")
            .field("name", &self.name)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The machine a profile gives when the user says nothing: 128 MiB, one CPU, no devices, clock at 2000-01-01.
    pub fn new(profile: &'static Profile) -> Config {
        Config {
            profile,
            ram_bytes: 128 << 20,
            max_ram_below_4g: None,
            cpus: 1,
            cpus_max: 1,
            pic: OnOffAuto::Auto,
            pit: OnOffAuto::Auto,
            rtc: OnOffAuto::Auto,
            isa_serial: true,
            x_option_roms: true,
            auto_kernel_cmdline: true,
            virtio_modern: profile.virtio_modern,
            kvm: false,
            rtc_start_seconds: 946_684_800,
            bios: None,
            kernel: None,
            initrd: None,
            append: String::new(),
            entropy: || Box::new(Xorshift::new(ENTROPY_SEED)),
            devices: Vec::new(),
            debug_exit: None,
            debug_console: None,
            boot_marks: None,
            option_roms: Vec::new(),
            fw_cfg_files: Vec::new(),
        }
    }

    /// Whether the RTC is there.
    pub fn has_rtc(&self) -> bool {
        let wanted = match self.rtc {
            OnOffAuto::On => true,
            OnOffAuto::Off => false,
            OnOffAuto::Auto => !self.kvm,
        };
        self.profile.rtc && wanted
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new(&MICROVM_2019)
    }
}

impl OnOffAuto {
    /// Resolves for the devices whose auto means on.
    pub fn unless_off(self) -> bool {
        self != OnOffAuto::Off
    }
}

/// Seed of the repeatable source of random bytes: any number but 0 would do.
const ENTROPY_SEED: u64 = 0x6d69_6372_6f76_6d31;

/// Where the boot-mark port sits when the user asks for boot marks: the port Firecracker logs its guests' marks at.
pub const BOOT_MARK_PORT: u16 = 0x3f0;

/// RAM sizes are rounded up to this many bytes.
pub const RAM_GRANULE_BYTES: u64 = 8 << 10;

/// Rounds a RAM size up to the machine's granule; `None` when that overflows.
pub fn round_ram(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(RAM_GRANULE_BYTES)
}
