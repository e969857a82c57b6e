//! The Linux 64-bit boot protocol: a bzImage in memory, its zero page, page tables and descriptor table.
//!
//! Source: "The Linux/x86 Boot Protocol" (`Documentation/x86/boot.rst`), "The Real-Mode Kernel Header", "64-bit Boot
//! Protocol" and "The kernel command line"; the zero page's layout from `zero-page.rst`.
//!
//! The kernel goes where its header prefers it, since from anywhere below it would move itself there. It is mapped to
//! itself together with everything else below 4 GiB; the protocol asks for less, and nothing it asks for lies higher.

use std::ops::Range;

use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{ByteValued, GuestAddress};

use super::direct::{BootError, COMMAND_LINE, MIB};
use super::kernel::{KernelError, split_setup};
use crate::board::e820;
use crate::memory::Memory;

/// A checked bzImage.
#[derive(Debug)]
pub struct Kernel<'a> {
    header: setup_header,
    /// What lies behind the setup part.
    payload: &'a [u8],
    memory: Range<u64>,
}

/// Where the boot CPU starts in 64-bit mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// RIP: the kernel's 64-bit entry point.
    pub rip: u64,
    /// RSI: physical address of the zero page.
    pub zero_page: u64,
    /// CR3: physical address of page tables that map 4 GiB to themselves.
    pub page_tables: u64,
    /// Physical address of the descriptor table.
    pub descriptors: u64,
    /// Length of the descriptor table.
    pub descriptors_bytes: u16,
    /// CS: 64-bit code.
    pub code_selector: u16,
    /// DS, ES and SS.
    pub data_selector: u16,
}

/// Why a bzImage cannot be started at its 64-bit entry point; reads on from the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinuxError {
    /// Cut inside its setup part.
    #[error(transparent)]
    Setup(#[from] KernelError),
    /// Cut behind its setup part.
    #[error("the file ends after {file_bytes} bytes of the kernel, its header announces {header_bytes}; copy it again")]
    CutShort {
        /// Bytes behind the setup part.
        file_bytes: usize,
        /// Bytes there should be.
        header_bytes: u64,
    },
    /// A protocol without a 64-bit entry point.
    #[error(
        "boot protocol {}.{:02} is older than 2.12, which direct boot needs; \
         start it through a firmware with --bios FILE", .0 >> 8, .0 & 0xff
    )]
    Protocol(u16),
    /// A kernel for base memory.
    #[error("a zImage is loaded low and has no 64-bit entry point; start it through a firmware with --bios FILE")]
    LoadedLow,
    /// A kernel without 64-bit entry point.
    #[error(
        "a 32-bit kernel (XLF_KERNEL_64 is clear) has no 64-bit entry point; \
         start it through a firmware with --bios FILE"
    )]
    Bits32,
    /// Alignment that is no power of two.
    #[error("its header's kernel_alignment {0:#x} is not a power of two; the file is broken")]
    Alignment(u32),
    /// A place no kernel can have.
    #[error("its header's pref_address {0:#x} does not lie between 1 MiB and 4 GiB; the file is broken")]
    Place(u64),
    /// A kernel that needs more than there is.
    #[error("the kernel takes memory up to {end:#x}, RAM below 4 GiB ends at {low_bytes:#x}; give more RAM with -m")]
    TooLittleRam {
        /// First address past what the kernel takes while it starts.
        end: u64,
        /// Bytes of RAM from 0 on.
        low_bytes: u64,
    },
}

impl<'a> Kernel<'a> {
    /// Reads and checks the header of an image that has the magic "HdrS".
    ///
    /// # Errors
    /// [`LinuxError`], the first thing found wrong.
    pub fn parse(file: &'a [u8]) -> Result<Kernel<'a>, LinuxError> {
        let (setup, payload) = split_setup(file)?;
        let header = header(setup);
        if header.version < PROTOCOL_2_12 {
            return Err(LinuxError::Protocol(header.version));
        }
        if header.loadflags & LOADED_HIGH == 0 {
            return Err(LinuxError::LoadedLow);
        }
        if header.xloadflags & XLF_KERNEL_64 == 0 {
            return Err(LinuxError::Bits32);
        }
        // The last paragraph may be short; a signature may follow.
        let header_bytes = (u64::from(header.syssize) * PARAGRAPH_BYTES).max(ENTRY_OFFSET + 1);
        if payload.len() as u64 + PARAGRAPH_BYTES <= header_bytes || payload.len() as u64 <= ENTRY_OFFSET {
            return Err(LinuxError::CutShort {
                file_bytes: payload.len(),
                header_bytes,
            });
        }
        let start = runtime_start(&header)?;
        // Both have 32 bits.
        let end = start + u64::from(header.init_size).max(payload.len() as u64);
        Ok(Kernel {
            header,
            payload,
            memory: start..end,
        })
    }

    /// The physical addresses that it takes while it starts.
    pub fn memory(&self) -> Range<u64> {
        self.memory.clone()
    }

    /// The longest command line that it takes, in bytes without the NUL.
    pub fn command_line_bytes_max(&self) -> usize {
        self.header.cmdline_size as usize
    }

    /// The first address past what its initial RAM disk may take.
    pub fn initrd_end(&self) -> u64 {
        // The machine model goes up to the end of RAM for a kernel that takes addresses of 64 bits.
        if self.header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G != 0 {
            return 1 << 32;
        }
        u64::from(self.header.initrd_addr_max) + 1
    }

    /// Whether it has the memory that it takes, given `low_bytes` of RAM from 0 on.
    ///
    /// # Errors
    /// [`LinuxError::TooLittleRam`].
    pub fn check_fits(&self, low_bytes: u64) -> Result<(), LinuxError> {
        if low_bytes < self.memory.end {
            return Err(LinuxError::TooLittleRam {
                end: self.memory.end,
                low_bytes,
            });
        }
        Ok(())
    }

    /// Puts it into memory with its zero page, the descriptor table and page tables; `initrd` is where the initial RAM
    /// disk lies. The command line is at [`COMMAND_LINE`].
    pub(super) fn load(
        &self,
        memory: &Memory,
        map: &[e820::Entry],
        initrd: Option<Range<u64>>,
    ) -> Result<Entry, BootError> {
        let write = |address, bytes: &[u8]| memory.write(address, bytes).map_err(|_| BootError::TooLittleRam);
        write(self.memory.start, self.payload)?;
        let zero_page = self.zero_page(map, initrd);
        let params = BootParams::new(&zero_page, GuestAddress(ZERO_PAGE));
        LinuxBootConfigurator::write_bootparams(&params, memory.map())
            .map_err(|error| BootError::Loader(error.to_string()))?;
        write(DESCRIPTORS, DESCRIPTOR_TABLE.map(u64::to_le_bytes).as_flattened())?;
        write(PAGE_TABLES, page_tables().map(u64::to_le_bytes).as_flattened())?;
        Ok(Entry {
            rip: self.memory.start + ENTRY_OFFSET,
            zero_page: ZERO_PAGE,
            page_tables: PAGE_TABLES,
            descriptors: DESCRIPTORS,
            descriptors_bytes: size_of_val(&DESCRIPTOR_TABLE) as u16,
            code_selector: BOOT_CS,
            data_selector: BOOT_DS,
        })
    }

    fn zero_page(&self, map: &[e820::Entry], initrd: Option<Range<u64>>) -> boot_params {
        let mut page = boot_params {
            hdr: self.header,
            ..Default::default()
        };
        page.hdr.type_of_loader = LOADER_WITHOUT_ID;
        page.hdr.code32_start = self.memory.start as u32;
        page.hdr.cmd_line_ptr = COMMAND_LINE as u32;
        // What a file has there would be followed as a pointer.
        page.hdr.setup_data = 0;
        let initrd = initrd.unwrap_or_default();
        page.hdr.ramdisk_image = initrd.start as u32;
        page.hdr.ramdisk_size = (initrd.end - initrd.start) as u32;
        let mut table = [boot_e820_entry::default(); E820_ENTRIES_MAX];
        assert!(map.len() <= table.len(), "RAM has two ranges and KVM reserves one");
        for (slot, entry) in table.iter_mut().zip(map) {
            *slot = boot_e820_entry {
                addr: entry.address,
                size: entry.length_bytes,
                r#type: entry.kind,
            };
        }
        page.e820_table = table;
        page.e820_entries = map.len() as u8;
        page
    }
}

/// The header's fields; those past the end it announces are zero.
fn header(setup: &[u8]) -> setup_header {
    let mut header = setup_header::default();
    let end = HEADER_END_BASE + usize::from(setup[HEADER_END_BASE - 1]);
    let length = (end - HEADER_AT).min(size_of::<setup_header>());
    header.as_mut_slice()[..length].copy_from_slice(&setup[HEADER_AT..HEADER_AT + length]);
    header
}

/// Where the kernel runs while it unpacks itself, by the protocol's rule for `init_size`.
fn runtime_start(header: &setup_header) -> Result<u64, LinuxError> {
    let (preferred, alignment) = (header.pref_address, header.kernel_alignment);
    let wrong = LinuxError::Place(preferred);
    let start = if header.relocatable_kernel == 0 {
        preferred
    } else if alignment.is_power_of_two() {
        preferred
            .checked_next_multiple_of(u64::from(alignment))
            .ok_or_else(|| wrong.clone())?
    } else {
        return Err(LinuxError::Alignment(alignment));
    };
    if !(MIB..1 << 32).contains(&start) {
        return Err(wrong);
    }
    Ok(start)
}

/// One table of the fourth level, one of the third, four of the second: 2048 pages of 2 MiB.
fn page_tables() -> [u64; 6 * TABLE_ENTRIES] {
    let mut entries = [0; 6 * TABLE_ENTRIES];
    entries[0] = (PAGE_TABLES + PAGE_BYTES) | PRESENT_WRITABLE;
    for gib in 0..4 {
        entries[TABLE_ENTRIES + gib] = (PAGE_TABLES + (2 + gib as u64) * PAGE_BYTES) | PRESENT_WRITABLE;
    }
    for (page, entry) in entries[2 * TABLE_ENTRIES..].iter_mut().enumerate() {
        *entry = (page as u64) << 21 | PRESENT_WRITABLE | LARGE;
    }
    entries
}

/// Most entries of the memory map in the zero page.
const E820_ENTRIES_MAX: usize = 128;

/// Where the setup header begins in the setup part.
const HEADER_AT: usize = 0x1f1;

/// The header ends so many bytes behind this offset as the byte before it says.
const HEADER_END_BASE: usize = 0x202;

const PROTOCOL_2_12: u16 = 0x20c;
const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
const PARAGRAPH_BYTES: u64 = 16;

/// The 64-bit entry point, from the start of the loaded kernel on.
const ENTRY_OFFSET: u64 = 0x200;

/// `type_of_loader` of a loader that has no number of its own.
const LOADER_WITHOUT_ID: u8 = 0xff;

const ZERO_PAGE: u64 = 0x7000;
const DESCRIPTORS: u64 = 0x8000;
const PAGE_TABLES: u64 = 0x9000;
const PAGE_BYTES: u64 = 0x1000;
const TABLE_ENTRIES: usize = 512;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

/// Null, unused, 64-bit code (execute and read), flat data (read and write); both accessed.
const DESCRIPTOR_TABLE: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

#[cfg(test)]
mod tests;
