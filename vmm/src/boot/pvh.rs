//! The PVH start info: memory map, module list and command line, as a kernel finds them.
//!
//! Source: Xen "x86/HVM direct boot ABI" and its public header `start_info.h`, version 1.

use std::ops::Range;

use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::GuestAddress;

use super::direct::{BootError, COMMAND_LINE};
use crate::board::e820;
use crate::memory::Memory;

/// Writes the start info at [`START_INFO`] with a memory map of at most [`MEMORY_MAP_ENTRIES_MAX`] entries; `initrd` is
/// where module 0 lies. The command line is at [`COMMAND_LINE`].
///
/// # Errors
/// [`BootError::Loader`] when there is no RAM.
pub(super) fn write(memory: &Memory, map: &[e820::Entry], initrd: Option<Range<u64>>) -> Result<(), BootError> {
    assert!(
        map.len() <= MEMORY_MAP_ENTRIES_MAX,
        "RAM has two ranges and KVM reserves one"
    );
    let info = hvm_start_info {
        magic: START_INFO_MAGIC,
        version: 1,
        nr_modules: u32::from(initrd.is_some()),
        modlist_paddr: if initrd.is_some() { MODULE_LIST } else { 0 },
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    let entries: Vec<_> = map
        .iter()
        .map(|entry| hvm_memmap_table_entry {
            addr: entry.address,
            size: entry.length_bytes,
            type_: entry.kind,
            reserved: 0,
        })
        .collect();
    let mut params = BootParams::new(&info, GuestAddress(START_INFO));
    params.set_sections(&entries, GuestAddress(MEMORY_MAP));
    if let Some(place) = initrd {
        let module = hvm_modlist_entry {
            paddr: place.start,
            size: place.end - place.start,
            ..Default::default()
        };
        params.set_modules(&[module], GuestAddress(MODULE_LIST));
    }
    PvhBootConfigurator::write_bootparams(&params, memory.map()).map_err(|error| BootError::Loader(error.to_string()))
}

/// Guest-physical address of the start info, 56 bytes.
pub(super) const START_INFO: u64 = 0x6000;

/// Everything from [`START_INFO`] on that may be written.
pub(super) const PLACES: Range<u64> = START_INFO..MEMORY_MAP + MEMORY_MAP_ENTRIES_MAX as u64 * 24;

/// Most entries of the memory map.
pub const MEMORY_MAP_ENTRIES_MAX: usize = 64;

const MODULE_LIST: u64 = 0x6040;
const MEMORY_MAP: u64 = 0x7000;
const START_INFO_MAGIC: u32 = 0x336e_c578;
