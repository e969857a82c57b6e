//! All targets.

mod fw_cfg;
mod virtio_mmio;

pub use fw_cfg::FW_CFG;
pub use virtio_mmio::VIRTIO_MMIO;

use crate::target::Target;

/// All targets, sorted by name.
pub const ALL: [&Target; 2] = [&FW_CFG, &VIRTIO_MMIO];

/// The target of that name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    ALL.into_iter().find(|target| target.name == name)
}
