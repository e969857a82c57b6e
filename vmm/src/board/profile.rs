//! Profiles: the machine's variants as data. One board code serves all of them.
//!
//! Source: `microvm-2019` is the machine as first specified and released (QEMU 4.2.0); `qemu-7.2` is what Debian 12's
//! QEMU 7.2 gives with `acpi=off`; `rust-vmm` is Firecracker's machine as it was before PCI came to it, made of the
//! crates that such VMMs use. Its addresses are those of Firecracker's `src/arch/src/x86_64/mod.rs` (a gap of 768 MiB
//! below 4 GiB, at whose start the transports begin), `arch/x86_64/layout.rs` (interrupts 5 to 23) and
//! `device_manager/mmio.rs` (4 KiB a transport, one for each device in the order they were added, announced as
//! `virtio_mmio.device=4K@ADDRESS:IRQ`).
//! Deviations: Firecracker's PIC, PIT and IOAPIC are KVM's and its keyboard controller knows more than the reset; ours
//! are this machine's and vm-superio's.

use super::serial_port::SerialModel;

/// One variant of the machine: addresses, counts, rules and presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name users type.
    pub name: &'static str,
    /// One line for `--help` and reports.
    pub title: &'static str,
    /// Guest-physical address of virtio-mmio transport 0.
    pub virtio_base: u64,
    /// Distance between transports and size of each, in bytes.
    pub virtio_stride_bytes: u64,
    /// Number of transports.
    pub virtio_count: u8,
    /// GSI of transport 0; transport i has this plus i.
    pub virtio_gsi: u8,
    /// Whether transports are version 2 unless the user says otherwise.
    pub virtio_modern: bool,
    /// Whether transports can be version 1.
    pub virtio_legacy: bool,
    /// Which transports there are and which a device gets.
    pub virtio_slots: Slots,
    /// The size of a transport as the command line announces it.
    pub virtio_cmdline_size: &'static str,
    /// What SHMLenLow and SHMLenHigh read on version 1, which does not have them.
    pub virtio_legacy_shm_len: u32,
    /// Size of a block device's queue for a driver that chooses none; `seg_max` is 2 less.
    pub virtio_blk_queue_size: u16,
    /// Where RAM splits around the hole below 4 GiB.
    pub ram_split: RamSplit,
    /// Whether fw_cfg has the legacy e820 reservation table under key 0x8003.
    pub fw_cfg_e820_key: bool,
    /// Whether fw_cfg has the file `etc/fdt`.
    pub fw_cfg_fdt: bool,
    /// Which model the serial port is.
    pub serial: SerialModel,
    /// Whether there is a keyboard controller.
    pub i8042: bool,
    /// Whether there can be an RTC.
    pub rtc: bool,
    /// Whether there is fw_cfg, and with it what a firmware needs: without, the machine starts kernels directly only.
    pub fw_cfg: bool,
    /// Most CPUs of the machine.
    pub cpus_max: u16,
}

/// Which virtio-mmio transports there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// All of them, with a device or without; a device gets the highest free one.
    AllLastFirst,
    /// One for each device, in the order of the devices from the lowest on.
    OneEachFirstFirst,
}

/// The rule that splits RAM into a part from 0 on and a part from 4 GiB on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamSplit {
    /// RAM of fewer bytes than this stays whole.
    pub whole_below_bytes: u64,
    /// Bytes below 4 GiB when RAM does not stay whole.
    pub low_bytes: u64,
    /// Whether the user may lower the limit by `max-ram-below-4g`.
    pub has_limit: bool,
}

impl Profile {
    /// All profiles, the default first.
    pub const ALL: [&'static Profile; 3] = [&MICROVM_2019, &QEMU_7_2, &RUST_VMM];

    /// The profile of that name.
    pub fn by_name(name: &str) -> Option<&'static Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name == name)
    }

    /// Whether a machine option is about a part that this profile has.
    pub fn has_option(&self, option: &str) -> bool {
        match option {
            "rtc" => self.rtc,
            "x-option-roms" => self.fw_cfg,
            "max-ram-below-4g" => self.ram_split.has_limit,
            _ => true,
        }
    }
}

/// The machine as first specified, October 2019.
pub static MICROVM_2019: Profile = Profile {
    name: "microvm-2019",
    title: "microvm as first specified (QEMU 4.2.0)",
    virtio_base: 0xc000_0000,
    virtio_stride_bytes: 512,
    virtio_count: 8,
    virtio_gsi: 5,
    virtio_modern: false,
    virtio_legacy: true,
    virtio_slots: Slots::AllLastFirst,
    virtio_cmdline_size: "512",
    virtio_legacy_shm_len: 0,
    virtio_blk_queue_size: 128,
    ram_split: RamSplit {
        whole_below_bytes: 0xb000_0000,
        low_bytes: 0x8000_0000,
        has_limit: true,
    },
    fw_cfg_e820_key: true,
    fw_cfg_fdt: false,
    serial: SerialModel::Ns16550a,
    i8042: false,
    rtc: true,
    fw_cfg: true,
    cpus_max: 288,
};

/// What QEMU 7.2 gives with `acpi=off`.
pub static QEMU_7_2: Profile = Profile {
    name: "qemu-7.2",
    title: "microvm,acpi=off as in QEMU 7.2",
    virtio_base: 0xfeb0_0000,
    virtio_stride_bytes: 512,
    virtio_count: 8,
    virtio_gsi: 5,
    virtio_modern: false,
    virtio_legacy: true,
    virtio_slots: Slots::AllLastFirst,
    virtio_cmdline_size: "512",
    virtio_legacy_shm_len: u32::MAX,
    virtio_blk_queue_size: 256,
    ram_split: RamSplit {
        whole_below_bytes: 0xc000_0001,
        low_bytes: 0xc000_0000,
        has_limit: false,
    },
    fw_cfg_e820_key: false,
    fw_cfg_fdt: true,
    serial: SerialModel::Ns16550a,
    i8042: false,
    rtc: true,
    fw_cfg: true,
    cpus_max: 288,
};

/// Firecracker's machine, made of vm-superio's devices and this project's transports.
pub static RUST_VMM: Profile = Profile {
    name: "rust-vmm",
    title: "Firecracker-like: vm-superio's serial port and i8042, modern transports, direct boot",
    virtio_base: 0xd000_0000,
    virtio_stride_bytes: 4096,
    virtio_count: 19,
    virtio_gsi: 5,
    virtio_modern: true,
    virtio_legacy: false,
    virtio_slots: Slots::OneEachFirstFirst,
    virtio_cmdline_size: "4K",
    virtio_legacy_shm_len: 0,
    virtio_blk_queue_size: 256,
    ram_split: RamSplit {
        whole_below_bytes: 0xd000_0001,
        low_bytes: 0xd000_0000,
        has_limit: false,
    },
    fw_cfg_e820_key: false,
    fw_cfg_fdt: false,
    serial: SerialModel::VmSuperio,
    i8042: true,
    rtc: false,
    fw_cfg: false,
    cpus_max: 32,
};
