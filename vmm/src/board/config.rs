//! What a user asks of a machine, with the defaults of its profile.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::profile::{MICROVM_2019, Profile};
use crate::virtio::Peer;
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
    /// Who provides PIC, IOAPIC and PIT of a run on KVM.
    pub kernel_irqchip: KernelIrqchip,
    /// PIC, IOAPIC and PIT are KVM's: the board has none of them. Set by a run on KVM, never by a user.
    pub chips_in_kernel: bool,
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
    /// Whether notifications of virtio queues reach the VMM without an exit on KVM; elsewhere it changes nothing.
    pub ioeventfd: bool,
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

/// Who provides the interrupt controllers and the timer of a run on KVM. Without KVM they are always ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelIrqchip {
    /// KVM has the local APICs alone, all else is ours.
    #[default]
    Split,
    /// KVM has PIC, IOAPIC and PIT as well.
    On,
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
    /// Network device.
    Net(NetworkConfig),
    /// Console with one port.
    Console(ConsoleTo),
}

/// The network of a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The address; `None` takes [`MAC_FIRST`] plus the number of network devices before this one.
    pub mac: Option<[u8; 6]>,
    /// The other end of the cable.
    pub to: NetworkTo,
}

/// The other end of a network device's cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkTo {
    /// Nobody: the link is up, frames go nowhere.
    Null,
    /// The device itself.
    Loopback,
    /// The host's tap interface of this name.
    Tap(String),
}

/// The peer of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleTo {
    /// Nobody.
    Null,
    /// The console itself.
    Loopback,
    /// Standard input and output of the VMM.
    Stdio,
    /// Output goes to this file, created or emptied at start.
    File(PathBuf),
    /// Both ways over this listening stream socket, to which the VMM connects at start.
    Unix(PathBuf),
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
            DeviceKind::Net(_) => f.write_str("virtio-net"),
            DeviceKind::Console(_) => f.write_str("virtio-console"),
        }
    }
}

impl DeviceKind {
    /// Who is at the other end of a device that speaks to the outside; [`Peer::Nobody`] for every other device.
    pub fn peer(&self) -> Peer {
        match self {
            DeviceKind::Rng | DeviceKind::Blk(_) => Peer::Nobody,
            DeviceKind::Net(network) => match network.to {
                NetworkTo::Null => Peer::Nobody,
                NetworkTo::Loopback => Peer::Loopback,
                NetworkTo::Tap(_) => Peer::Host,
            },
            DeviceKind::Console(to) => match to {
                ConsoleTo::Null => Peer::Nobody,
                ConsoleTo::Loopback => Peer::Loopback,
                ConsoleTo::Stdio | ConsoleTo::File(_) | ConsoleTo::Unix(_) => Peer::Host,
            },
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
            kernel_irqchip: KernelIrqchip::Split,
            chips_in_kernel: false,
            rtc: OnOffAuto::Auto,
            isa_serial: true,
            x_option_roms: true,
            auto_kernel_cmdline: true,
            virtio_modern: profile.virtio_modern,
            ioeventfd: false,
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

    /// The address of the network device that is number `device` of [`Config::devices`].
    pub fn mac(&self, device: usize) -> [u8; 6] {
        let is_network = |device: &&DeviceConfig| matches!(device.kind, DeviceKind::Net(_));
        if let DeviceKind::Net(NetworkConfig { mac: Some(mac), .. }) = self.devices[device].kind {
            return mac;
        }
        let before = self.devices[..device].iter().filter(is_network).count();
        let mut mac = MAC_FIRST;
        // More network devices than transports do not fit the machine.
        mac[5] = mac[5].wrapping_add(before as u8);
        mac
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

/// Address of the first network device that is given none: QEMU's.
pub const MAC_FIRST: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

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
