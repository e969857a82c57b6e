//! The driver's side of each device, written from the documents. Bodies use these instead of bare ports.

pub mod cmdline;
pub mod cmos;
pub mod fdt;
pub mod fw_cfg;
pub mod i8042;
pub mod ioapic;
pub mod ktap;
pub mod pic;
pub mod pit;
pub mod ram;
pub mod rtc;
pub mod serial;
pub mod virtio_blk;
pub mod virtio_console;
pub mod virtio_mmio;
pub mod virtio_net;
pub mod virtio_pair;
