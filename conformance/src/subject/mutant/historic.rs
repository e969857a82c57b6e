//! More bugs that VMMs had, and which bug of which VMM each mutant repeats.

use super::{Bug, Machine, Stop, Width, reg};

/// Bugs of real machines, by mutant: the bug itself, or its kind where the machine then crashed instead of answering.
pub(super) const ORIGINS: &[(&str, &str)] = &[
    ("fw-cfg-data-write-taken", "QEMU before 023e314856"),
    ("fw-cfg-dma-address-kept", "axdevice, tgoskits #1918"),
    ("fw-cfg-dma-enters-device", "QEMU 7.2; the kind of CVE-2024-3446"),
    ("fw-cfg-dma-length-off-by-one", "axdevice, tgoskits #1979"),
    ("fw-cfg-selector-wraps-to-files", "crosvm before 52b8ec92c"),
    ("ioapic-arbitration-zero", "QEMU before 2f5a3b1252"),
    ("ioapic-destination-truncated", "Cloud Hypervisor before 9dffc5da5"),
    ("ioapic-index-past-end-answers", "KVM, the kind of CVE-2013-1798"),
    ("ioapic-unmasked-at-reset", "Cloud Hypervisor before ec56710c9"),
    ("pit-bcd-ignored", "QEMU 7.2"),
    (
        "pit-control-read-disturbs",
        "the kind of CVE-2015-3214 (QEMU) and CVE-2010-0309 (KVM)",
    ),
    ("pit-count-zero-is-one", "KVM, the kind of CVE-2015-7513"),
    ("pit-latch-kept", "QEMU 7.2"),
    ("pit-mode-1-upside-down", "QEMU before 74d7ea5062, KVM"),
    ("rtc-century-19", "kvmtool before 97ed483"),
    ("rtc-hours-bit-missing", "crosvm before 5306418bd"),
    ("rtc-no-update-in-progress", "Cloud Hypervisor before 08288305e"),
    (
        "rtc-register-d-invalid",
        "Cloud Hypervisor before c7725f921, crosvm before 5f65fb147",
    ),
    ("rtc-reset-keeps-enables", "QEMU 7.2"),
    ("rtc-shows-1970", "StratoVirt before 15050fd9"),
    ("rtc-year-9999-overflows", "OpenVMM before 895b70203"),
    ("serial-fifo-reset-unconditional", "QEMU 7.2"),
    ("serial-loopback-lines-dead", "OpenVMM before 8609ddc89"),
    (
        "serial-thre-not-raised",
        "vm-superio #135, Firecracker #6218, crosvm before 2b7478aef, kvmtool before 610a82c",
    ),
    ("virtio-config-byte-order", "QEMU before 0ab8c021c6"),
    (
        "virtio-event-always-told",
        "QEMU 7.2 for the first entry; the kind of Firecracker before ffe77023c",
    ),
    ("virtio-features-word-repeats", "QEMU 7.2"),
    ("virtio-interrupt-status-read-clears", "hvisor-tool #109"),
    ("virtio-queue-ready-kept", "QEMU before 351da8323a"),
    (
        "virtio-queue-select-unchecked",
        "kvmtool before 31e0eac, the kind of CVE-2011-2512",
    ),
    ("virtio-queue-size-ignored", "QEMU before 1049f4c62c"),
    ("virtio-requests-survive-reset", "OpenVMM before e29e332d1"),
    ("virtio-shm-absent-is-empty", "QEMU before 2d9e7d4cdd"),
    ("virtio-used-index-survives-reset", "Cloud Hypervisor #1120"),
];

/// A write to the data port takes a byte of the item.
pub(super) struct DataWriteTaken;

/// A DMA transfer writes into a transport's registers instead of failing.
#[derive(Default)]
pub(super) struct DmaEntersDevice {
    high: u32,
}

/// A DMA read leaves its last byte out.
#[derive(Default)]
pub(super) struct DmaShort {
    high: u32,
}

/// Keys that name nothing are taken for a file.
pub(super) struct SelectorWraps;

/// In loopback the modem lines do not follow the outputs.
#[derive(Default)]
pub(super) struct LoopbackDead {
    mcr: u32,
}

/// The configuration space has its bytes the wrong way round.
pub(super) struct ConfigByteOrder;

/// Registers of the transports that drop writes.
pub(super) struct VirtioDropped(pub(super) u64);

/// A queue that is not there looks as if it had this size.
#[derive(Default)]
pub(super) struct QueueSelectUnchecked {
    queue: u64,
}

impl Bug for DataWriteTaken {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::FW_CFG_DATA {
            inner.port_read(port, Width::Byte)?;
        }
        inner.port_write(port, width, value)
    }
}

impl Bug for DmaEntersDevice {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let descriptor = dma_descriptor(&mut self.high, port, value);
        inner.port_write(port, width, value)?;
        let Some(at) = descriptor else { return Ok(()) };
        let mut bytes = [0; 16];
        if inner.read_memory(at, &mut bytes).is_err() {
            return Ok(());
        }
        let [high, low] = [8, 12].map(|from| read_big(&bytes, from));
        let address = u64::from(high) << 32 | u64::from(low);
        if reg::in_virtio(address) {
            inner.store(address, Width::Dword, 1)?;
            inner.write_memory(at, &[0; 4])?;
        }
        Ok(())
    }
}

impl Bug for DmaShort {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let Some(at) = dma_descriptor(&mut self.high, port, value) else {
            return inner.port_write(port, width, value);
        };
        let mut bytes = [0; 16];
        if inner.read_memory(at, &mut bytes).is_err() {
            return inner.port_write(port, width, value);
        }
        let (control, length) = (read_big(&bytes, 0), read_big(&bytes, 4));
        if control & reg::DMA_READ == 0 || length == 0 {
            return inner.port_write(port, width, value);
        }
        inner.write_memory(at + 4, &(length - 1).to_be_bytes())?;
        inner.port_write(port, width, value)?;
        inner.write_memory(at + 4, &length.to_be_bytes())
    }
}

impl Bug for SelectorWraps {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let file = port == reg::FW_CFG_SELECTOR && reg::KEYS_UNUSED.contains(&value);
        inner.port_write(port, width, if file { reg::KEY_BOOT_FAIL_WAIT } else { value })
    }
}

impl Bug for LoopbackDead {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::SERIAL_MCR {
            self.mcr = value;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let dead = port == reg::SERIAL_MSR && self.mcr & reg::SERIAL_MCR_LOOP != 0;
        Ok(if dead { value & 0x0f } else { value })
    }
}

impl Bug for ConfigByteOrder {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && reg::VIRTIO_CONFIG <= gpa & reg::VIRTIO_OFFSET;
        Ok(match width {
            Width::Dword if here => u64::from((value as u32).swap_bytes()),
            _ => value,
        })
    }
}

impl Bug for VirtioDropped {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == self.0 {
            return Ok(());
        }
        inner.store(gpa, width, value)
    }
}

impl Bug for QueueSelectUnchecked {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_SEL {
            self.queue = value;
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let max = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_NUM_MAX;
        // What lies behind the table of queues, as a size.
        Ok(if max && 0x400 <= self.queue {
            self.queue & 0x7fff | 1
        } else {
            value
        })
    }
}

/// The address of the descriptor, when this write begins a transfer.
fn dma_descriptor(high: &mut u32, port: u16, value: u32) -> Option<u64> {
    match port {
        reg::FW_CFG_DMA_HIGH => {
            *high = value.swap_bytes();
            None
        }
        reg::FW_CFG_DMA_LOW => Some(u64::from(std::mem::take(high)) << 32 | u64::from(value.swap_bytes())),
        _ => None,
    }
}

fn read_big(bytes: &[u8; 16], from: usize) -> u32 {
    bytes[from..from + 4]
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}
