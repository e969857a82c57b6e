//! A kernel handed to a firmware: the fw_cfg keys that describe it, and the segments put into RAM beforehand.
//!
//! Source: the machine as first specified, kernel loading; Linux boot protocol (`Documentation/x86/boot`), "The
//! real-mode kernel header"; key contents as measured on QEMU 4.2.0 and 7.2.
//! Deviations: multiboot images and kernels older than boot protocol 2.00 are refused; so are ELF files whose segments
//! overlap or lie outside RAM, which the original loads in part. SETUP_DATA of an ELF file is the file's true start.

use std::ops::Range;
use std::sync::Arc;

use super::elf::{ElfError, Image};
use crate::chip::fw_cfg::key;
use crate::memory::Memory;

/// An fw_cfg key and its contents.
pub type KeyedBytes = (u16, Arc<[u8]>);

/// A kernel and its initial RAM disk, ready to be handed over.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// fw_cfg keys and contents, without the command line's.
    pub keys: Vec<KeyedBytes>,
    /// The option ROM that boots this kind of image.
    pub option_rom: &'static str,
    format: Format,
    file: Arc<[u8]>,
}

/// What kind of file a kernel is.
#[derive(Clone, Debug)]
pub enum Format {
    /// An ELF file with a PVH entry.
    Elf(Image),
    /// A Linux bzImage, or an image that looks like one.
    BzImage,
}

/// Why a kernel cannot be handed over; reads on from the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Neither a bzImage nor an ELF file.
    #[error("invalid kernel header: neither a Linux bzImage nor an ELF file with a PVH note")]
    Unknown,
    /// A bzImage shorter than its setup part.
    #[error("invalid kernel header: the setup part has {setup_bytes} bytes, the file {file_bytes}")]
    Setup {
        /// Size of the setup part by its header.
        setup_bytes: usize,
        /// Length of the file.
        file_bytes: usize,
    },
    /// `vga=` with something that is no mode.
    #[error("vga={0} on its command line is not a mode; write normal, ext, ask or a number")]
    VideoMode(String),
    /// A command line that leaves no room for the kernel.
    #[error("its command line of {0} bytes is too long")]
    CommandLine(usize),
    /// An ELF file that is broken or none of this machine's.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The initial RAM disk does not fit.
    #[error("its initrd is too large, cannot support.(max: {most_bytes}, need {need_bytes}); give more RAM")]
    InitrdTooLarge {
        /// Bytes there are.
        most_bytes: u64,
        /// Bytes it has.
        need_bytes: u64,
    },
}

impl Kernel {
    /// Looks at the image and decides where everything goes. `append` is the user's command line, before the machine
    /// adds to it; `below_4g_bytes` is the RAM from address 0 on.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn new(
        file: &Arc<[u8]>,
        initrd: Option<&Arc<[u8]>>,
        append: &str,
        below_4g_bytes: u64,
    ) -> Result<Kernel, KernelError> {
        if file.get(0x202..0x206) == Some(b"HdrS") {
            bz_image(file, initrd, append, below_4g_bytes)
        } else if file.starts_with(b"\x7fELF") {
            pvh(file, initrd, below_4g_bytes)
        } else {
            Err(KernelError::Unknown)
        }
    }

    /// What kind of file it is.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The file as it was given.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// Puts the segments of an ELF kernel into RAM, as at power-on (`fresh`, RAM is zero) and at every reset.
    pub fn load(&self, memory: &Memory, fresh: bool) {
        if let Format::Elf(image) = &self.format {
            image.load(&self.file, memory, fresh);
        }
    }

    /// Whether the segments of an ELF kernel lie in `memory` and beside the firmware's part below 1 MiB, `taken`.
    ///
    /// # Errors
    /// [`KernelError::Elf`].
    pub fn check_fits(&self, memory: &Memory, taken: &Range<u64>) -> Result<(), KernelError> {
        if let Format::Elf(image) = &self.format {
            image.check_fits(memory, taken)?;
        }
        Ok(())
    }
}

fn pvh(file: &Arc<[u8]>, initrd: Option<&Arc<[u8]>>, below_4g_bytes: u64) -> Result<Kernel, KernelError> {
    let image = Image::parse(file)?;
    let ranges = || image.segments.iter().map(|segment| segment.range());
    let low = ranges().map(|range| range.start).min().unwrap_or_default();
    let high = ranges().map(|range| range.end).max().unwrap_or_default();
    let mut setup = file[..file.len().min(PVH_SETUP_BYTES)].to_vec();
    setup.resize(PVH_SETUP_BYTES, 0);
    let mut keys = vec![
        u32_key(key::KERNEL_ENTRY, image.entry),
        u32_key(key::KERNEL_ADDR, low as u32),
        u32_key(key::KERNEL_SIZE, (high - low) as u32),
        u32_key(key::SETUP_SIZE, PVH_SETUP_BYTES as u32),
        (key::SETUP_DATA, setup.into()),
    ];
    keys.extend(initrd_keys(initrd, below_4g_bytes.saturating_sub(1))?);
    Ok(Kernel {
        keys,
        option_rom: "pvh.bin",
        format: Format::Elf(image),
        file: file.clone(),
    })
}

fn bz_image(
    file: &Arc<[u8]>,
    initrd: Option<&Arc<[u8]>>,
    append: &str,
    below_4g_bytes: u64,
) -> Result<Kernel, KernelError> {
    let (setup, payload) = split_setup(file)?;
    let mut setup = setup.to_vec();
    let protocol = u16_at(&setup, header::VERSION);
    let loaded_high = setup[header::LOADFLAGS] & LOADED_HIGH != 0;

    let command_line_bytes = (append.len() as u64 + 16) & !15;
    let below_ebda = || {
        let top = 0x9_a000_u64
            .checked_sub(command_line_bytes)
            .filter(|top| 0x9_0000 < *top);
        top.ok_or(KernelError::CommandLine(append.len()))
    };
    let (setup_address, command_line_address, kernel_address) = match (protocol, loaded_high) {
        (_, false) => (0x9_0000, below_ebda()? as u32, 0x1_0000),
        (..0x202, true) => (0x9_0000, below_ebda()? as u32, 0x10_0000),
        (0x202.., true) => (0x1_0000, 0x2_0000, 0x10_0000),
    };

    let initrd_most = match protocol {
        0x20c.. if setup[header::XLOADFLAGS] & CAN_BE_LOADED_ABOVE_4G != 0 => u64::from(u32::MAX),
        0x203.. => u64::from(u32_at(&setup, header::INITRD_ADDR_MAX)),
        _ => 0x37ff_ffff,
    };
    let initrd = initrd_keys(initrd, initrd_most.min(below_4g_bytes.saturating_sub(1)))?;

    let heap_end = command_line_address - setup_address;
    if 0x202 <= protocol {
        put(&mut setup, header::CMD_LINE_PTR, &command_line_address.to_le_bytes());
    } else {
        put(&mut setup, header::OLD_CMD_LINE_MAGIC, &0xa33f_u16.to_le_bytes());
        put(
            &mut setup,
            header::OLD_CMD_LINE_OFFSET,
            &(heap_end as u16).to_le_bytes(),
        );
    }
    if let Some(mode) = video_mode(append)? {
        put(&mut setup, header::VID_MODE, &mode.to_le_bytes());
    }
    if 0x200 <= protocol {
        setup[header::TYPE_OF_LOADER] = LOADER_QEMU;
    }
    if 0x201 <= protocol {
        setup[header::LOADFLAGS] |= CAN_USE_HEAP;
        // 16 bits: the loader's extended number is next to it.
        let heap_end_ptr = (heap_end - 0x200) as u16;
        put(&mut setup, header::HEAP_END_PTR, &heap_end_ptr.to_le_bytes());
    }
    for (key, bytes) in &initrd {
        match *key {
            key::INITRD_ADDR => put(&mut setup, header::RAMDISK_IMAGE, bytes),
            key::INITRD_SIZE => put(&mut setup, header::RAMDISK_SIZE, bytes),
            _ => {}
        }
    }

    let mut keys = vec![
        u32_key(key::CMDLINE_ADDR, command_line_address),
        u32_key(key::KERNEL_ADDR, kernel_address),
        u32_key(key::KERNEL_SIZE, payload.len() as u32),
        (key::KERNEL_DATA, payload.into()),
        u32_key(key::SETUP_ADDR, setup_address),
        u32_key(key::SETUP_SIZE, setup.len() as u32),
        (key::SETUP_DATA, setup.into()),
    ];
    keys.extend(initrd);
    Ok(Kernel {
        keys,
        option_rom: "linuxboot_dma.bin",
        format: Format::BzImage,
        file: file.clone(),
    })
}

/// The setup part of a bzImage, whose header names its sectors, and what lies behind it.
pub(super) fn split_setup(file: &[u8]) -> Result<(&[u8], &[u8]), KernelError> {
    let sectors = match file.get(header::SETUP_SECTS) {
        Some(&sectors) if sectors != 0 => usize::from(sectors),
        _ => 4,
    };
    let setup_bytes = (sectors + 1) * 512;
    file.split_at_checked(setup_bytes).ok_or(KernelError::Setup {
        setup_bytes,
        file_bytes: file.len(),
    })
}

/// The keys of an initial RAM disk that ends at or below `most`.
fn initrd_keys(initrd: Option<&Arc<[u8]>>, most: u64) -> Result<Vec<KeyedBytes>, KernelError> {
    let Some(initrd) = initrd else {
        return Ok(Vec::new());
    };
    let need_bytes = initrd.len() as u64;
    if most <= need_bytes {
        return Err(KernelError::InitrdTooLarge {
            most_bytes: most,
            need_bytes,
        });
    }
    let address = (most - need_bytes) & !0xfff;
    Ok(vec![
        u32_key(key::INITRD_ADDR, address as u32),
        u32_key(key::INITRD_SIZE, need_bytes as u32),
        (key::INITRD_DATA, initrd.clone()),
    ])
}

/// The video mode that a `vga=` on the command line asks the setup part for.
fn video_mode(append: &str) -> Result<Option<u16>, KernelError> {
    let Some((_, rest)) = append.split_once("vga=") else {
        return Ok(None);
    };
    for (name, mode) in [("normal", 0xffff), ("ext", 0xfffe), ("ask", 0xfffd)] {
        if rest.starts_with(name) {
            return Ok(Some(mode));
        }
    }
    let word = rest.split(' ').next().unwrap_or_default();
    let number = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse::<u32>(),
    };
    let number = number.map_err(|_| KernelError::VideoMode(word.to_owned()))?;
    // The header's field has 16 bits; more are cut off, as by the original.
    Ok(Some(number as u16))
}

fn u32_key(key: u16, value: u32) -> KeyedBytes {
    (key, value.to_le_bytes().into())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// Offsets in the setup part. The smallest one, of one sector and the boot sector, has 1024 bytes and holds them all.
mod header {
    pub(super) const OLD_CMD_LINE_MAGIC: usize = 0x20;
    pub(super) const OLD_CMD_LINE_OFFSET: usize = 0x22;
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    pub(super) const VID_MODE: usize = 0x1fa;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    pub(super) const LOADFLAGS: usize = 0x211;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const HEAP_END_PTR: usize = 0x224;
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    pub(super) const INITRD_ADDR_MAX: usize = 0x22c;
    pub(super) const XLOADFLAGS: usize = 0x236;
}

const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;
const CAN_BE_LOADED_ABOVE_4G: u8 = 1 << 1;
const LOADER_QEMU: u8 = 0xb0;

/// Size of the start of an ELF file handed over as setup part.
const PVH_SETUP_BYTES: usize = 8192;

#[cfg(test)]
mod tests;

/// Images made for tests of this and other modules.
#[cfg(test)]
pub(crate) mod tests_support {
    use std::sync::Arc;

    use object::elf::{PT_LOAD, PT_NOTE};

    use super::header;

    /// An ELF64 kernel of 4 KiB at 1 MiB whose PVH entry is its first byte.
    pub(crate) fn pvh_kernel() -> Arc<[u8]> {
        elf_64(&[(PT_LOAD, 0x10_0000, 0x1000)])
    }

    /// An ELF64 file with these `(type, address, bytes in memory)` program headers, 16 bytes of the file each; a PVH
    /// note, program header 1, points at 1 MiB.
    pub(crate) fn elf_64(headers: &[(u32, u64, u64)]) -> Arc<[u8]> {
        elf_64_with(headers, PT_NOTE)
    }

    /// As [`pvh_kernel`], without the note.
    pub(crate) fn elf_64_without_note() -> Arc<[u8]> {
        elf_64_with(&[(PT_LOAD, 0x10_0000, 0x1000)], 0)
    }

    /// As [`pvh_kernel`], in ELF32 for i386.
    pub(crate) fn pvh_kernel_32() -> Arc<[u8]> {
        let mut file = vec![0; 52 + 2 * 32];
        file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        for (at, value) in [(16, 2_u16), (18, 3), (40, 52), (42, 32), (44, 2)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        let note_at = file.len() as u32;
        for (at, value) in [
            (20, 1_u32),
            (28, 52),
            (52, PT_LOAD),
            (64, 0x10_0000),
            (68, 16),
            (72, 0x1000),
            (84, PT_NOTE),
            (88, note_at),
            (100, 20),
            (104, 20),
            (112, 4),
        ] {
            file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        file.extend(note());
        file.into()
    }

    /// A bzImage of this protocol with four setup sectors and 1000 bytes behind them.
    pub(crate) fn bz_image(protocol: u16, loadflags: u8, xloadflags: u8) -> Arc<[u8]> {
        let mut file = vec![0; 5 * 512 + 1000];
        file[header::SETUP_SECTS] = 4;
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[header::VERSION..header::VERSION + 2].copy_from_slice(&protocol.to_le_bytes());
        file[header::LOADFLAGS] = loadflags;
        file[header::XLOADFLAGS] = xloadflags;
        file[header::INITRD_ADDR_MAX..header::INITRD_ADDR_MAX + 4].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
        file.into()
    }

    fn elf_64_with(headers: &[(u32, u64, u64)], note_type: u32) -> Arc<[u8]> {
        let count = headers.len() + 1;
        let note_at = (64 + 56 * count) as u64;
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        for (at, value) in [(16, 2_u16), (18, 62), (52, 64), (54, 56), (56, count as u16)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        file[20] = 1;
        file[32] = 64;
        let mut add = |kind: u32, offset: u64, address: u64, file_bytes: u64, memory_bytes: u64| {
            file.extend(kind.to_le_bytes());
            file.extend(7_u32.to_le_bytes());
            for field in [offset, address, address, file_bytes, memory_bytes, 4] {
                file.extend(field.to_le_bytes());
            }
        };
        for (index, &(kind, address, memory_bytes)) in headers.iter().enumerate() {
            add(kind, 0, address, memory_bytes.min(16), memory_bytes);
            if index == 0 {
                add(note_type, note_at, 0, 20, 20);
            }
        }
        file.extend(note());
        file.into()
    }

    fn note() -> Vec<u8> {
        let mut note: Vec<u8> = [4_u32, 4, 18].iter().flat_map(|field| field.to_le_bytes()).collect();
        note.extend(b"Xen\0");
        note.extend(0x10_0000_u32.to_le_bytes());
        note
    }
}
