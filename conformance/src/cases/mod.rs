//! The cases, area by area, in report order: what everything else stands on comes first.

use crate::case::Case;

mod absent;
mod boot;
mod boot_time;
mod bz_image;
mod cmdline;
mod cmos;
mod delivery;
mod firmware;
mod fw_cfg;
mod fw_cfg_dma;
mod i8042;
mod ioapic;
mod linux;
mod memory_map;
mod mp_table;
mod options;
mod pic;
mod pit;
pub mod regress;
mod reset;
pub(crate) mod resident;
mod rtc;
mod serial;
mod smp;
mod virtio_blk;
mod virtio_console;
mod virtio_mmio;
mod virtio_net;
mod virtqueue;

/// All cases; within an area sorted by id.
pub const AREAS: &[&[Case]] = &[
    memory_map::CASES,
    firmware::CASES,
    fw_cfg::CASES,
    fw_cfg_dma::CASES,
    bz_image::CASES,
    cmos::CASES,
    cmdline::CASES,
    absent::CASES,
    options::CASES,
    rtc::CASES,
    serial::CASES,
    pic::CASES,
    pit::CASES,
    i8042::CASES,
    ioapic::CASES,
    virtio_mmio::CASES,
    virtqueue::CASES,
    virtio_blk::CASES,
    virtio_net::CASES,
    virtio_console::CASES,
    boot::CASES,
    mp_table::CASES,
    boot_time::CASES,
    delivery::CASES,
    delivery::CASES_PIC_OFF,
    smp::CASES_ONE,
    smp::CASES_TWO,
    smp::CASES_EIGHT,
    smp::CASES_SIXTY_FOUR,
    reset::CASES,
    linux::CASES,
];

/// All cases in one row, those that fuzzing found last.
pub fn all() -> impl Iterator<Item = &'static Case> {
    AREAS.iter().flat_map(|area| area.iter()).chain(regress::cases())
}
