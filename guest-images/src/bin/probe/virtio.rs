//! The virtio-mmio transports: those that the command line names, and those of the window it tells.
//!
//! Source: Virtio 1.2, 4.2.2 "MMIO Device Register Layout" and 4.2.4 "Legacy interface".

use guest_images::{command_line, runtime::memory};
use guest_protocol::{Failure, Width};

use crate::{Machine, Outcome, Report};

pub(crate) fn slots(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let mut looked = false;
    if let Some(window) = machine.boot.options().virtio_window {
        looked = true;
        for slot in 0..window.count {
            let base = window.base.wrapping_add(u64::from(slot) * window.stride);
            match Identity::read(base) {
                Ok(Identity {
                    magic,
                    version,
                    device,
                    vendor,
                }) => report.fact(
                    "virtio-slot",
                    format_args!(
                        "slot={slot} base={base:#x} magic={magic:#x} version={version} device={device} \
                         vendor={vendor:#x}"
                    ),
                ),
                Err(failure) => report.fact("virtio-slot", format_args!("slot={slot} base={base:#x} {failure}")),
            }
        }
    }
    let devices = command_line::virtio_devices(machine.boot.command_line_text()).filter_map(Result::ok);
    for device in devices.take(DEVICES_MAX) {
        looked = true;
        let command_line::VirtioDevice { size, base, irq } = device;
        match Identity::read(base) {
            Ok(Identity {
                magic,
                version,
                device,
                vendor,
            }) => {
                report.fact(
                    "virtio-device",
                    format_args!(
                        "base={base:#x} size={size} irq={irq} magic={magic:#x} version={version} device={device} \
                         vendor={vendor:#x}"
                    ),
                );
                report.expect(magic == MAGIC, format_args!("base={base:#x} magic={magic:#x}"));
                report.expect(
                    matches!(version, 1 | 2),
                    format_args!("base={base:#x} version={version}"),
                );
                report.expect(device != 0, format_args!("base={base:#x} device={device}"));
            }
            Err(failure) => report.wrong(format_args!("base={base:#x} {failure}")),
        }
    }
    if looked {
        Outcome::Judged
    } else {
        Outcome::Absent("the command line names no device and no window")
    }
}

/// The four registers that never change.
struct Identity {
    magic: u64,
    version: u64,
    device: u64,
    vendor: u64,
}

impl Identity {
    fn read(base: u64) -> Result<Self, Failure> {
        let register = |offset| memory::load(base.wrapping_add(offset), Width::Long);
        Ok(Self {
            magic: register(reg::MAGIC_VALUE)?,
            version: register(reg::VERSION)?,
            device: register(reg::DEVICE_ID)?,
            vendor: register(reg::VENDOR_ID)?,
        })
    }
}

/// "virt".
const MAGIC: u64 = 0x7472_6976;

const DEVICES_MAX: usize = 64;

mod reg {
    pub(super) const MAGIC_VALUE: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const VENDOR_ID: u64 = 0x00c;
}
