//! What fw_cfg holds on this machine.
//!
//! Source: the machine as first specified; keys, files and contents as measured on QEMU 4.2.0 and, where the profile
//! says so, 7.2.
//! Deviations: the option ROM offered with a kernel has the loader's name and size but does nothing when run; a real
//! one takes its place as [`Config::option_roms`].

use std::sync::Arc;

use super::config::{Blob, Config};
use super::e820;
use super::fdt;
use super::transports::Place;
use crate::boot::kernel::Kernel;
use crate::chip::fw_cfg::{FileError, ID_TRADITIONAL_AND_DMA, Items, key};

/// Everything that decides the contents.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) config: &'a Config,
    pub(super) e820: &'a [e820::Entry],
    pub(super) kernel: Option<&'a Kernel>,
    /// The final command line; only with a kernel.
    pub(super) command_line: Option<&'a str>,
    pub(super) occupied: &'a [Place],
}

/// Fills fw_cfg.
pub(super) fn items(facts: &Facts<'_>) -> Result<Items, FileError> {
    let Facts { config, kernel, .. } = *facts;
    let profile = config.profile;
    let mut items = Items::new();
    items.set(key::SIGNATURE, *b"QEMU");
    items.set(key::ID, ID_TRADITIONAL_AND_DMA.to_le_bytes());
    items.set(key::UUID, [0; 16]);
    items.set(key::RAM_SIZE, config.ram_bytes.to_le_bytes());
    // 0 also on a machine whose display is merely not shown; QEMU says 1 only for its option -nographic.
    items.set(key::NOGRAPHIC, 0_u16.to_le_bytes());
    items.set(key::NB_CPUS, config.cpus.to_le_bytes());
    items.set(key::BOOT_MENU, 0_u16.to_le_bytes());
    items.set(key::MAX_CPUS, config.cpus_max.to_le_bytes());
    items.set(key::IRQ0_OVERRIDE, 1_u32.to_le_bytes());
    if profile.fw_cfg_e820_key {
        items.set(key::E820_TABLE, e820::legacy_table(facts.e820));
    }

    items.add_file("bios-geometry", [])?;
    items.add_file("etc/boot-fail-wait", u32::MAX.to_le_bytes())?;
    items.add_file("etc/e820", e820::file(facts.e820))?;
    if profile.fw_cfg_fdt {
        let blob = fdt::blob(&fdt::Devices {
            serial: config.isa_serial,
            rtc: config.has_rtc(),
            occupied: facts.occupied.to_vec(),
        });
        items.add_file("etc/fdt", blob)?;
    }
    if let Some(kernel) = kernel {
        for (key, bytes) in &kernel.keys {
            items.set(*key, bytes.clone());
        }
    }
    if let Some(line) = facts.command_line {
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(0);
        items.set(key::CMDLINE_SIZE, (bytes.len() as u32).to_le_bytes());
        items.set(key::CMDLINE_DATA, bytes);
    }
    add_option_roms(&mut items, config, kernel)?;
    for (name, bytes) in &config.fw_cfg_files {
        items.add_file(name, bytes.as_slice())?;
    }
    Ok(items)
}

/// Adds the option ROMs and the boot order, which names the loader's.
fn add_option_roms(items: &mut Items, config: &Config, kernel: Option<&Kernel>) -> Result<(), FileError> {
    let loader = kernel.map(|kernel| kernel.option_rom).filter(|_| config.x_option_roms);
    let mut boot_order = Vec::new();
    if let Some(name) = loader {
        let given = config.option_roms.iter().find(|rom| file_name(rom) == name);
        let bytes = given.map(|rom| rom.bytes.clone());
        items.add_file(&format!("genroms/{name}"), bytes.unwrap_or_else(idle_option_rom))?;
        boot_order = format!("/rom@genroms/{name}\0").into_bytes();
    }
    items.add_file("bootorder", boot_order)?;
    let others = config.option_roms.iter().filter(|rom| Some(file_name(rom)) != loader);
    for rom in others.filter(|_| config.x_option_roms) {
        items.add_file(&format!("genroms/{}", file_name(rom)), rom.bytes.clone())?;
    }
    Ok(())
}

fn file_name(rom: &Blob) -> &str {
    rom.name.rsplit('/').next().unwrap_or_default()
}

/// An option ROM in form: signature, length, an entry that returns, bytes that sum to zero.
fn idle_option_rom() -> Arc<[u8]> {
    let mut rom = [0; OPTION_ROM_BYTES];
    rom[..3].copy_from_slice(&[0x55, 0xaa, (OPTION_ROM_BYTES / 512) as u8]);
    rom[3] = FAR_RETURN;
    let sum = rom.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    rom[OPTION_ROM_BYTES - 1] = sum.wrapping_neg();
    rom.into()
}

/// Size of the loader's option ROM.
const OPTION_ROM_BYTES: usize = 1536;

const FAR_RETURN: u8 = 0xcb;
