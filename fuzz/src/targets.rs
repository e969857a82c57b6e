//! All targets.

mod fw_cfg;
mod ioapic;
mod machine;
mod pic;
mod pit;
mod rtc;
mod serial;
mod virtio_mmio;
mod virtqueue;

pub use fw_cfg::FW_CFG;
pub use ioapic::IOAPIC;
pub use machine::MACHINE;
pub use pic::PIC;
pub use pit::PIT;
pub use rtc::RTC;
pub use serial::SERIAL;
pub use virtio_mmio::VIRTIO_MMIO;
pub use virtqueue::VIRTQUEUE;

use crate::target::Target;

/// All targets, sorted by name.
pub const ALL: [&Target; 9] = [
    &FW_CFG,
    &IOAPIC,
    &MACHINE,
    &PIC,
    &PIT,
    &RTC,
    &SERIAL,
    &VIRTIO_MMIO,
    &VIRTQUEUE,
];

/// The target of that name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    ALL.into_iter().find(|target| target.name == name)
}
