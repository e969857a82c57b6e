//! What a profile promises, transcribed from the documents: the addresses and presences that bodies use.
//!
//! Source: the machine model as first specified (QEMU 4.2.0) and QEMU 7.2's `-M microvm,acpi=off`; for `rust-vmm`
//! Firecracker's `src/arch/src/x86_64/mod.rs` and `layout.rs` (768 MiB left out below 4 GiB, interrupts 5 to 23) and
//! `src/vmm/src/device_manager/mmio.rs` and `legacy.rs` (4 KiB a transport, no RTC, no fw_cfg, an i8042). These numbers
//! are the suite's own; nothing here comes from the implementation.

use std::ops::Range;

use crate::case::{Feature, Setup};
use crate::program::Action;

/// The published facts of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The profile's name.
    pub profile: &'static str,
    /// Guest-physical address of virtio-mmio transport 0.
    pub virtio_base: u64,
    /// Distance between transports, in bytes.
    pub virtio_stride_bytes: u64,
    /// Number of transports.
    pub virtio_count: u8,
    /// GSI of transport 0; transport i has this plus i.
    pub virtio_gsi: u8,
    /// Input of the IOAPIC that GSI 0, the timer's, drives.
    pub timer_input: u8,
    /// The size of a transport in the word that the command line announces it by.
    pub virtio_cmdline_size: &'static str,
    /// RAM of fewer bytes stays whole below 4 GiB.
    pub ram_whole_below_bytes: u64,
    /// Bytes below 4 GiB once RAM is split.
    pub ram_low_bytes: u64,
    /// What the machine has.
    pub features: &'static [Feature],
}

impl Layout {
    /// All profiles, the default first.
    pub const ALL: [&'static Layout; 3] = [&MICROVM_2019, &QEMU_7_2, &RUST_VMM];

    /// The profile of that name.
    pub fn by_name(name: &str) -> Option<&'static Layout> {
        Layout::ALL.into_iter().find(|layout| layout.profile == name)
    }

    /// Whether the machine has a part.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Whether the machine has the part that a machine option is about; one about an absent part says nothing.
    pub fn takes_option(&self, option: &str) -> bool {
        match option {
            "pic" => self.has(Feature::Pic),
            "pit" => self.has(Feature::Pit),
            "rtc" => self.has(Feature::Rtc),
            "isa-serial" => self.has(Feature::Serial),
            "x-option-roms" => self.has(Feature::FwCfg),
            _ => true,
        }
    }

    /// Whether transports are version 2 in a set-up: a machine that cannot be had with version 1 is not asked for it.
    pub fn is_modern(&self, setup: &Setup) -> bool {
        setup.modern || !self.has(Feature::VirtioLegacy)
    }

    /// Index of the transport that a device gets by the machine's rule, from its number in the set-up.
    pub fn transport_of_device(&self, number: u8) -> u8 {
        if self.has(Feature::TransportEach) {
            number
        } else {
            self.virtio_count - 1 - number
        }
    }

    /// Ports of the keyboard controller, from data to status; none without one.
    pub fn keyboard_ports(&self) -> Range<u16> {
        if self.has(Feature::I8042) { 0x60..0x65 } else { 0..0 }
    }

    /// Whether an address is a transport's.
    pub fn is_transport(&self, gpa: u64) -> bool {
        let length_bytes = self.virtio_stride_bytes * u64::from(self.virtio_count);
        (self.virtio_base..self.virtio_base + length_bytes).contains(&gpa)
    }

    /// An action of the machine as first specified, where this machine has the transport that it is about.
    pub fn place(&self, action: &Action) -> Action {
        let mut placed = action.clone();
        if let Action::Load { gpa, .. } | Action::Store { gpa, .. } = &mut placed
            && MICROVM_2019.is_transport(*gpa)
        {
            let stride = MICROVM_2019.virtio_stride_bytes;
            let (index, offset) = (
                (*gpa - MICROVM_2019.virtio_base) / stride,
                (*gpa - MICROVM_2019.virtio_base) % stride,
            );
            *gpa = self.virtio_base + self.virtio_stride_bytes * index + offset;
        }
        placed
    }

    /// Address of a transport's register block.
    pub fn transport(&self, index: u8) -> u64 {
        self.virtio_base + self.virtio_stride_bytes * u64::from(index)
    }

    /// GSI of a transport.
    pub fn transport_gsi(&self, index: u8) -> u8 {
        self.virtio_gsi + index
    }

    /// Bytes of RAM (below 4 GiB, from 4 GiB on) for a RAM size and `max-ram-below-4g`.
    ///
    /// Source: machine model, memory initialisation: the low part is 2 GiB when RAM has 0xb0000000 bytes or more, and
    /// never more than the limit the user set (0 means 4 GiB). From QEMU 5.1 on it is 3 GiB without a limit.
    pub fn ram_split(&self, ram_bytes: u64, max_ram_below_4g: Option<u64>) -> (u64, u64) {
        let whole = ram_bytes < self.ram_whole_below_bytes;
        let mut low_max = if whole {
            self.ram_whole_below_bytes
        } else {
            self.ram_low_bytes
        };
        if let Some(limit) = max_ram_below_4g
            && limit != 0
            && limit < low_max
        {
            low_max = limit;
        }
        if low_max < ram_bytes {
            (low_max, ram_bytes - low_max)
        } else {
            (ram_bytes, 0)
        }
    }
}

/// The machine as first specified.
pub static MICROVM_2019: Layout = Layout {
    profile: "microvm-2019",
    virtio_base: 0xc000_0000,
    virtio_stride_bytes: 0x200,
    virtio_count: 8,
    virtio_gsi: 5,
    timer_input: 2,
    virtio_cmdline_size: "512",
    ram_whole_below_bytes: 0xb000_0000,
    ram_low_bytes: 0x8000_0000,
    features: &[
        Feature::Rtc,
        Feature::FwCfg,
        Feature::Serial,
        Feature::SerialLine,
        Feature::Pic,
        Feature::Pit,
        Feature::Ioapic,
        Feature::Firmware,
        Feature::VirtioMmio,
        Feature::AllTransports,
        Feature::VirtioLegacy,
        Feature::VirtioModern,
        Feature::MaxRamBelow4g,
        Feature::E820Key,
        Feature::AutoCmdline,
        Feature::MpTable,
        Feature::ManyCpus,
    ],
};

/// QEMU 7.2 with `acpi=off`.
pub static QEMU_7_2: Layout = Layout {
    profile: "qemu-7.2",
    virtio_base: 0xfeb0_0000,
    virtio_stride_bytes: 0x200,
    virtio_count: 8,
    virtio_gsi: 5,
    timer_input: 2,
    virtio_cmdline_size: "512",
    ram_whole_below_bytes: 0xc000_0001,
    ram_low_bytes: 0xc000_0000,
    features: &[
        Feature::Rtc,
        Feature::FwCfg,
        Feature::Serial,
        Feature::SerialLine,
        Feature::Pic,
        Feature::Pit,
        Feature::Ioapic,
        Feature::Firmware,
        Feature::VirtioMmio,
        Feature::AllTransports,
        Feature::VirtioLegacy,
        Feature::VirtioModern,
        Feature::Fdt,
        Feature::AutoCmdline,
        Feature::MpTable,
        Feature::ManyCpus,
    ],
};

/// Firecracker's machine without PCI, with vm-superio's serial port and keyboard controller.
pub static RUST_VMM: Layout = Layout {
    profile: "rust-vmm",
    virtio_base: 0xd000_0000,
    virtio_stride_bytes: 0x1000,
    virtio_count: 19,
    virtio_gsi: 5,
    timer_input: 2,
    virtio_cmdline_size: "4K",
    ram_whole_below_bytes: 0xd000_0001,
    ram_low_bytes: 0xd000_0000,
    features: &[
        Feature::Serial,
        Feature::Pic,
        Feature::Pit,
        Feature::Ioapic,
        Feature::I8042,
        Feature::VirtioMmio,
        Feature::TransportEach,
        Feature::VirtioModern,
        Feature::AutoCmdline,
        Feature::MpTable,
    ],
};
