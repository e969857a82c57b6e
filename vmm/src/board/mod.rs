//! The board: a profile and a configuration become devices at addresses, wired to lines.
//!
//! Source: the machine as first specified; wiring and order of transports as measured on QEMU 4.2.0.
//! Deviations: a line that two devices drive is high while either drives it; the original keeps the level that was
//! written last.

use crate::boot::firmware::{Firmware, FirmwareError};
use crate::boot::kernel::{Kernel, KernelError};
use crate::bus::{AddressMap, Overlap};
use crate::chip::boot_mark::BootMark;
use crate::chip::debug_console::DebugConsole;
use crate::chip::debug_exit::{self, DebugExit};
use crate::chip::fw_cfg::{FileError, FwCfg};
use crate::chip::ioapic::Ioapic;
use crate::chip::pic::Pic;
use crate::chip::pit::Pit;
use crate::chip::rtc::{Rtc, RtcConfig};
use crate::chip::superio_i8042::SuperioI8042;
use crate::device::Device;
use crate::irq::Line;
use crate::memory::{MapError, Memory};
use crate::virtio::VirtioDevice;
use crate::virtio::blk::{Blk, BlkConfig};
use crate::virtio::console::Console;
use crate::virtio::mmio::{TransportConfig, VirtioMmio};
use crate::virtio::net::{Net, NetConfig};
use crate::virtio::rng::Rng;

pub mod cmos;
pub mod config;
pub mod e820;
pub mod fdt;
mod items;
pub mod profile;
pub mod ram;
pub mod serial_port;
pub mod transports;

use config::{Config, DeviceKind, KernelIrqchip, OnOffAuto};
use profile::Profile;
use ram::RamLayout;
use serial_port::SerialPort;
use transports::Place;

/// The devices of one machine. Absent devices are `None`; their addresses answer as an empty bus.
pub struct Board {
    /// The interval timer.
    pub pit: Option<Pit>,
    /// The clock and CMOS memory.
    pub rtc: Option<Rtc>,
    /// The serial port.
    pub serial: Option<SerialPort>,
    /// The virtio-mmio transports, ascending.
    pub transports: Vec<VirtioMmio>,
    /// The pair of 8259A.
    pub pic: Option<Pic>,
    /// The IOAPIC.
    pub ioapic: Option<Ioapic>,
    /// The keyboard controller.
    pub i8042: Option<SuperioI8042>,
    /// The configuration table.
    pub fw_cfg: Option<FwCfg>,
    /// The debug-exit port.
    pub debug_exit: Option<DebugExit>,
    /// The debug console.
    pub debug_console: Option<DebugConsole>,
    /// The boot-mark port.
    pub boot_mark: Option<BootMark>,
    /// Where RAM lies.
    pub ram: RamLayout,
    /// The memory map given to the guest, in the guest's order.
    pub e820: Vec<e820::Entry>,
    /// The command line given to the kernel; `None` without one.
    pub command_line: Option<String>,
    /// The firmware the machine starts in.
    pub firmware: Option<Firmware>,
    /// The kernel as it is handed to a firmware.
    pub kernel: Option<Kernel>,
    /// What the machine has to say about the configuration, without `warning: `.
    pub warnings: Vec<String>,
}

/// Names a device of the board; the order is the order of ticks that fall on the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// [`Board::pit`].
    Pit,
    /// [`Board::rtc`].
    Rtc,
    /// [`Board::serial`].
    Serial,
    /// [`Board::transports`], by index.
    VirtioMmio(u8),
    /// [`Board::pic`].
    Pic,
    /// [`Board::ioapic`].
    Ioapic,
    /// [`Board::i8042`].
    I8042,
    /// [`Board::fw_cfg`].
    FwCfg,
    /// [`Board::debug_exit`].
    DebugExit,
    /// [`Board::debug_console`].
    DebugConsole,
    /// [`Board::boot_mark`].
    BootMark,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Slot::Pit => f.write_str("pit"),
            Slot::Rtc => f.write_str("rtc"),
            Slot::Serial => f.write_str("serial"),
            Slot::VirtioMmio(index) => write!(f, "virtio_mmio.{index}"),
            Slot::Pic => f.write_str("pic"),
            Slot::Ioapic => f.write_str("ioapic"),
            Slot::I8042 => f.write_str("i8042"),
            Slot::FwCfg => f.write_str("fw_cfg"),
            Slot::DebugExit => f.write_str("debug_exit"),
            Slot::DebugConsole => f.write_str("debug_console"),
            Slot::BootMark => f.write_str("boot_mark"),
        }
    }
}

/// A machine that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host has no memory for the guest.
    #[error(transparent)]
    Memory(#[from] MapError),
    /// Two devices claim an address.
    #[error("place a device: {0}; move the one you chose the port of")]
    Overlap(#[from] Overlap),
    /// The configuration asks for something the machine does not have; the text names option, value and fix.
    #[error("{0}")]
    Config(String),
    /// A fw_cfg file that the directory cannot hold.
    #[error("{0}; rename or drop it")]
    FwCfg(#[from] FileError),
    /// A file that is no firmware for this machine.
    #[error("--bios '{name}': could not load PC BIOS: {error}")]
    Firmware {
        /// The file's name.
        name: String,
        /// What is wrong.
        error: FirmwareError,
    },
    /// A kernel that cannot be handed over.
    #[error("--kernel '{name}': {error}")]
    Kernel {
        /// The file's name.
        name: String,
        /// What is wrong.
        error: KernelError,
    },
}

impl Board {
    /// Builds the devices, the address map and guest memory, with firmware and the kernel's segments in place.
    ///
    /// # Errors
    /// [`BuildError`]: memory refused by the host, addresses claimed twice, or a configuration the machine cannot be.
    pub fn new(config: &Config) -> Result<(Board, AddressMap<Slot>, Memory), BuildError> {
        let profile = config.profile;
        check_parts(config)?;
        check_cpus(config)?;
        check_irqchip(config)?;
        let ram = RamLayout::new(&profile.ram_split, config.ram_bytes, config.max_ram_below_4g);
        let e820 = e820::entries(&ram, config.kvm);
        let devices = transports::assign(profile, &config.devices).map_err(BuildError::Config)?;
        let places: Vec<Place> = transports::present(profile, &devices);
        let is_occupied = |place: &&Place| devices[usize::from(place.index)].is_some();
        let occupied: Vec<Place> = places.iter().filter(is_occupied).copied().collect();
        let kernel = kernel(config, &ram)?;
        let command_line = kernel.is_some().then(|| {
            let listed: &[Place] = if config.auto_kernel_cmdline { &occupied } else { &[] };
            transports::command_line(&config.append, profile, listed)
        });
        let facts = items::Facts {
            config,
            e820: &e820,
            kernel: kernel.as_ref(),
            command_line: command_line.as_deref(),
            occupied: &occupied,
        };
        let items = profile.fw_cfg.then(|| items::items(&facts)).transpose()?;

        let firmware = firmware(config)?;
        let blocks = firmware.as_ref().map(Firmware::blocks).unwrap_or_default();
        let memory = Memory::with_blocks(&ram.ranges(), &blocks)?;
        if let Some(kernel) = &kernel {
            let taken = firmware.as_ref().map(Firmware::low).unwrap_or_default();
            kernel
                .check_fits(&memory, &taken)
                .map_err(|error| kernel_error(config, error))?;
            kernel.load(&memory, true);
        }
        if let Some(firmware) = &firmware {
            firmware.load(&memory);
        }
        let warnings = warnings(config, &ram);
        let rtc = config.has_rtc().then(|| {
            Rtc::new(RtcConfig {
                line: line(gsi::RTC),
                start_seconds: config.rtc_start_seconds,
                presets: cmos::presets(&ram),
            })
        });
        let ours = !config.chips_in_kernel;
        let board = Board {
            pit: (ours && config.pit.unless_off()).then(|| Pit::new(line(gsi::PIT))),
            rtc,
            serial: config
                .isa_serial
                .then(|| SerialPort::new(profile.serial, COM1_PORT, line(gsi::SERIAL))),
            pic: (ours && config.pic.unless_off()).then(Pic::new),
            ioapic: ours.then(Ioapic::new),
            transports: transports(config, &places, &devices),
            i8042: profile.i8042.then(SuperioI8042::new),
            fw_cfg: items.map(FwCfg::new),
            debug_exit: config.debug_exit.map(|port| DebugExit::new(port, debug_exit::LENGTH)),
            debug_console: config.debug_console.map(DebugConsole::new),
            boot_mark: config.boot_marks.map(BootMark::new),
            ram,
            e820,
            command_line,
            firmware,
            kernel,
            warnings,
        };
        let mut map = AddressMap::new();
        for slot in board.slots() {
            if let Some(device) = board.device(slot) {
                map.add(slot, device.regions())?;
            }
        }
        Ok((board, map, memory))
    }

    /// All slots that may hold a device, in tick order.
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![Slot::Pit, Slot::Rtc, Slot::Serial];
        slots.extend((0..self.transports.len()).map(|index| Slot::VirtioMmio(index as u8)));
        slots.extend([Slot::Pic, Slot::Ioapic, Slot::I8042, Slot::FwCfg]);
        slots.extend([Slot::DebugExit, Slot::DebugConsole, Slot::BootMark]);
        slots
    }

    /// The interrupt line of the device in a slot.
    pub fn gsi(&self, slot: Slot) -> Option<u8> {
        match slot {
            Slot::VirtioMmio(index) => Some(self.transports.get(usize::from(index))?.config().line.gsi),
            Slot::Pit => self.pit.is_some().then_some(gsi::PIT),
            Slot::Rtc => self.rtc.is_some().then_some(gsi::RTC),
            Slot::Serial => self.serial.is_some().then_some(gsi::SERIAL),
            Slot::Pic | Slot::Ioapic | Slot::I8042 | Slot::FwCfg => None,
            Slot::DebugExit | Slot::DebugConsole | Slot::BootMark => None,
        }
    }

    /// Whether the device in a slot may ever have a deadline.
    pub fn keeps_time(&self, slot: Slot) -> bool {
        match slot {
            Slot::Pit | Slot::Rtc | Slot::Serial | Slot::Ioapic => true,
            // Nothing is due where no back end is.
            Slot::VirtioMmio(index) => {
                let transport = self.transports.get(usize::from(index));
                transport.is_some_and(|transport| transport.backend().is_some())
            }
            Slot::Pic | Slot::I8042 | Slot::FwCfg => false,
            Slot::DebugExit | Slot::DebugConsole | Slot::BootMark => false,
        }
    }

    /// The device in a slot.
    pub fn device(&self, slot: Slot) -> Option<&dyn Device> {
        match slot {
            Slot::Pit => self.pit.as_ref().map(|device| device as &dyn Device),
            Slot::Rtc => self.rtc.as_ref().map(|device| device as &dyn Device),
            Slot::Serial => self.serial.as_ref().map(SerialPort::device),
            Slot::VirtioMmio(index) => self
                .transports
                .get(usize::from(index))
                .map(|device| device as &dyn Device),
            Slot::Pic => self.pic.as_ref().map(|device| device as &dyn Device),
            Slot::Ioapic => self.ioapic.as_ref().map(|device| device as &dyn Device),
            Slot::I8042 => self.i8042.as_ref().map(|device| device as &dyn Device),
            Slot::FwCfg => self.fw_cfg.as_ref().map(|device| device as &dyn Device),
            Slot::DebugExit => self.debug_exit.as_ref().map(|device| device as &dyn Device),
            Slot::DebugConsole => self.debug_console.as_ref().map(|device| device as &dyn Device),
            Slot::BootMark => self.boot_mark.as_ref().map(|device| device as &dyn Device),
        }
    }

    /// The device in a slot, to be spoken to.
    pub fn device_mut(&mut self, slot: Slot) -> Option<&mut dyn Device> {
        match slot {
            Slot::Pit => self.pit.as_mut().map(|device| device as &mut dyn Device),
            Slot::Rtc => self.rtc.as_mut().map(|device| device as &mut dyn Device),
            Slot::Serial => self.serial.as_mut().map(SerialPort::device_mut),
            Slot::VirtioMmio(index) => {
                let device = self.transports.get_mut(usize::from(index));
                device.map(|device| device as &mut dyn Device)
            }
            Slot::Pic => self.pic.as_mut().map(|device| device as &mut dyn Device),
            Slot::Ioapic => self.ioapic.as_mut().map(|device| device as &mut dyn Device),
            Slot::I8042 => self.i8042.as_mut().map(|device| device as &mut dyn Device),
            Slot::FwCfg => self.fw_cfg.as_mut().map(|device| device as &mut dyn Device),
            Slot::DebugExit => self.debug_exit.as_mut().map(|device| device as &mut dyn Device),
            Slot::DebugConsole => self.debug_console.as_mut().map(|device| device as &mut dyn Device),
            Slot::BootMark => self.boot_mark.as_mut().map(|device| device as &mut dyn Device),
        }
    }
}

/// Refuses what is for a part that the profile does not have.
fn check_parts(config: &Config) -> Result<(), BuildError> {
    let Profile { name, fw_cfg, .. } = *config.profile;
    let refused = |text: String| Err(BuildError::Config(text));
    if config.bios.is_some() && !fw_cfg {
        return refused(format!(
            "--bios: profile {name} starts a kernel directly and has no firmware; give --kernel FILE instead"
        ));
    }
    for (given, option) in [
        (!config.option_roms.is_empty(), "--option-rom"),
        (!config.fw_cfg_files.is_empty(), "--fw-cfg"),
    ] {
        if given && !fw_cfg {
            return refused(format!("{option}: profile {name} has no fw_cfg; drop it"));
        }
    }
    if !config.virtio_modern && !config.profile.virtio_legacy {
        return refused(format!(
            "virtio-mmio=legacy: transports of profile {name} are version 2 only; write modern or drop it"
        ));
    }
    if config.rtc == OnOffAuto::On && !config.profile.rtc {
        return refused(format!("rtc=on: profile {name} has no RTC; drop it"));
    }
    Ok(())
}

fn check_cpus(config: &Config) -> Result<(), BuildError> {
    let Profile { cpus_max: most, .. } = *config.profile;
    let Config { cpus, cpus_max, .. } = *config;
    if cpus == 0 || cpus_max < cpus {
        return Err(BuildError::Config(format!(
            "--smp {cpus},maxcpus={cpus_max}: maxcpus must be equal to or greater than the CPUs, and those at least 1"
        )));
    }
    if most < cpus_max {
        return Err(BuildError::Config(format!(
            "--smp {cpus_max}: Invalid SMP CPUs {cpus_max}. The max CPUs supported by machine 'microvm' is {most}"
        )));
    }
    Ok(())
}

fn check_irqchip(config: &Config) -> Result<(), BuildError> {
    if config.kernel_irqchip == KernelIrqchip::On && config.pic == OnOffAuto::Off {
        let text = "--machine pic='off': KVM makes its PIC and its IOAPIC together or not at all; write \
                    kernel-irqchip=split or drop pic=off";
        return Err(BuildError::Config(text.to_owned()));
    }
    Ok(())
}

fn firmware(config: &Config) -> Result<Option<Firmware>, BuildError> {
    let Some(file) = &config.bios else {
        return Ok(None);
    };
    let firmware = Firmware::new(&file.bytes).map_err(|error| BuildError::Firmware {
        name: file.name.clone(),
        error,
    });
    firmware.map(Some)
}

fn kernel(config: &Config, ram: &RamLayout) -> Result<Option<Kernel>, BuildError> {
    let Some(file) = &config.kernel else {
        if config.initrd.is_some() {
            let text = "--initrd is only allowed with --kernel: give --kernel or drop it";
            return Err(BuildError::Config(text.to_owned()));
        }
        return Ok(None);
    };
    let initrd = config.initrd.as_ref().map(|initrd| &initrd.bytes);
    let kernel = Kernel::new(&file.bytes, initrd, &config.append, ram.below_4g_bytes);
    kernel.map(Some).map_err(|error| kernel_error(config, error))
}

fn kernel_error(config: &Config, error: KernelError) -> BuildError {
    let name = config.kernel.as_ref().map(|file| file.name.clone());
    BuildError::Kernel {
        name: name.unwrap_or_default(),
        error,
    }
}

fn transports(config: &Config, places: &[Place], devices: &[Option<usize>]) -> Vec<VirtioMmio> {
    let transport = |place: &Place| {
        let device = devices[usize::from(place.index)];
        let transport = TransportConfig {
            base: place.base,
            line: Line {
                gsi: place.gsi,
                source: SOURCE_VIRTIO,
            },
            modern: config.virtio_modern,
            legacy_shm_len: config.profile.virtio_legacy_shm_len,
        };
        VirtioMmio::new(transport, device.map(|device| backend(config, device)))
    };
    places.iter().map(transport).collect()
}

fn backend(config: &Config, device: usize) -> Box<dyn VirtioDevice> {
    let kind = &config.devices[device].kind;
    match kind {
        DeviceKind::Rng => Box::new(Rng::new((config.entropy)())),
        DeviceKind::Blk(disk) => {
            let blk = BlkConfig {
                read_only: disk.read_only,
                queue_size: config.profile.virtio_blk_queue_size,
            };
            Box::new(Blk::new(blk, (disk.open)()))
        }
        DeviceKind::Net(_) => Box::new(Net::new(NetConfig {
            mac: config.mac(device),
            legacy: !config.virtio_modern,
            peer: kind.peer(),
        })),
        DeviceKind::Console(_) => Box::new(Console::new(kind.peer())),
    }
}

fn warnings(config: &Config, ram: &RamLayout) -> Vec<String> {
    let foreign = config.fw_cfg_files.iter().filter(|(name, _)| !name.starts_with("opt/"));
    let foreign = foreign
        .map(|(name, _)| format!("externally provided fw_cfg item names should be prefixed with \"opt/\": '{name}'"));
    ram.warnings.iter().cloned().chain(foreign).collect()
}

/// The line of a device other than a virtio transport.
fn line(gsi: u8) -> Line {
    Line { gsi, source: 0 }
}

/// Interrupts wired on the board.
mod gsi {
    pub(super) const PIT: u8 = 0;
    pub(super) const SERIAL: u8 = 4;
    pub(super) const RTC: u8 = 8;
}

/// First port of the serial port.
const COM1_PORT: u16 = 0x3f8;

/// Transports are the second driver of their lines: the one on GSI 8 shares it with the RTC.
const SOURCE_VIRTIO: u8 = 1;

#[cfg(test)]
mod tests;
