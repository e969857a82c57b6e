//! Direct boot: a kernel in guest memory with all that a firmware would have put beside it.
//!
//! Source: Xen "x86/HVM direct boot ABI" for an ELF file, "The Linux/x86 Boot Protocol", 64-bit, for a bzImage; the
//! initial RAM disk's place is the machine model's.
//!
//! Where things go, and why there:
//!
//! | address | what | as in |
//! |---|---|---|
//! | 0x6000 | PVH start info, 56 bytes | Firecracker, Cloud Hypervisor |
//! | 0x6040 | PVH module list, one entry | the same |
//! | 0x7000 | PVH memory map, at most 64 entries | the same |
//! | 0x7000 | zero page of a bzImage, 4 KiB | the same |
//! | 0x8000 | descriptor table of a bzImage, four entries | |
//! | 0x9000 | page tables of a bzImage, six pages | the same |
//! | 0x20000 | command line: up to [`COMMAND_LINE_BYTES_MAX`] bytes, NUL included | the machine, `CMDLINE_ADDR` |
//! | 0x9fc00, 0xf0000 | MP table | the machine's firmware, see [`super::mp_table`] |
//! | where its header prefers it | a bzImage's kernel | the boot protocol |
//! | below the end of low RAM | initial RAM disk | the machine model: `(limit - size) & !0xfff` |
//!
//! The memory map is not the raw table of fw_cfg (`etc/e820`) but what firmware makes of it, since a kernel started
//! here gets no firmware: RAM from 0 to 0x9fc00, reserved from there to 1 MiB (the MP table lies there and nothing of
//! a PC's adapter hole is RAM to a kernel), RAM from 1 MiB on, and KVM's own pages reserved. Entries are ascending, and
//! there are five at most, fewer than either protocol has room for.

use std::ops::Range;

use super::elf::{ElfError, Image};
use super::kernel::{Format, Kernel};
use super::linux::{self, LinuxError};
use super::{mp_table, pvh};
use crate::board::e820;
use crate::memory::Memory;

/// What is to be booted.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The kernel. The segments of an ELF file are in memory already: the machine puts them there itself.
    pub kernel: &'a Kernel,
    /// The initial RAM disk.
    pub initrd: Option<&'a [u8]>,
    /// The command line without its NUL.
    pub command_line: &'a [u8],
    /// Number of CPUs, for the MP table.
    pub cpus: u16,
    /// RAM and reservations as the machine has them, without what firmware carves out.
    pub e820: &'a [e820::Entry],
}

/// Where the boot CPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In 32-bit protected mode without paging.
    Pvh {
        /// EIP.
        eip: u32,
        /// EBX: physical address of the start info.
        start_info: u32,
    },
    /// In 64-bit mode.
    Linux64(linux::Entry),
}

/// Why a payload cannot be booted; reads on from the kernel file's name.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The ELF file is not fit.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The bzImage is not fit.
    #[error(transparent)]
    Linux(#[from] LinuxError),
    /// Two things want the same memory.
    #[error("{first} and {second} both need memory at {address:#x}; {fix}")]
    Collision {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Where they meet.
        address: u64,
        /// What may help.
        fix: &'static str,
    },
    /// Direct boot needs base memory.
    #[error("direct boot needs at least 1 MiB of RAM; give more with -m")]
    TooLittleRam,
    /// The command line does not fit.
    #[error("its command line has {bytes} bytes, at most {most_bytes} fit; shorten --append")]
    CommandLine {
        /// Its length without the NUL.
        bytes: usize,
        /// What the kernel, or the machine, has room for.
        most_bytes: usize,
    },
    /// The initial RAM disk does not fit below the end of low RAM.
    #[error("its initrd has {bytes} bytes, which do not fit between 1 MiB and {end:#x}; give more RAM with -m")]
    Initrd {
        /// Its length.
        bytes: usize,
        /// The first address past what it may take.
        end: u64,
    },
    /// The loader refused what the checks had passed.
    #[error("load the kernel: {0}")]
    Loader(String),
}

/// Puts what a kernel finds at its start into memory, again and again if need be: what the guest did to these ranges
/// before is overwritten.
///
/// # Errors
/// [`BootError`]; memory may then hold part of the payload.
pub fn load(memory: &Memory, payload: &Payload<'_>) -> Result<Entry, BootError> {
    let ranges = memory.ranges();
    let low_bytes = ranges.first().filter(|range| range.0 == 0).map_or(0, |range| range.1);
    if low_bytes < MIB {
        return Err(BootError::TooLittleRam);
    }
    let map = memory_map(payload.e820);
    let entry = match payload.kernel.format() {
        Format::Elf(image) => {
            let eip = image.direct_entry()?;
            check_command_line(payload.command_line, COMMAND_LINE_BYTES_MAX - 1)?;
            let initrd = write_initrd(memory, payload.initrd, low_bytes, &[])?;
            check_places(image, initrd.clone())?;
            pvh::write(memory, &map, initrd)?;
            Entry::Pvh {
                eip,
                start_info: pvh::START_INFO as u32,
            }
        }
        Format::BzImage => {
            let kernel = linux::Kernel::parse(payload.kernel.file())?;
            kernel.check_fits(low_bytes)?;
            check_command_line(
                payload.command_line,
                kernel.command_line_bytes_max().min(COMMAND_LINE_BYTES_MAX - 1),
            )?;
            let end = low_bytes.min(kernel.initrd_end());
            let initrd = write_initrd(memory, payload.initrd, end, &[kernel.memory()])?;
            Entry::Linux64(kernel.load(memory, &map, initrd)?)
        }
    };
    let command_line = [payload.command_line, b"\0"].concat();
    let has_command_line = memory.write(COMMAND_LINE, &command_line).is_ok();
    if !has_command_line || !mp_table::write(memory, payload.cpus) {
        return Err(BootError::TooLittleRam);
    }
    Ok(entry)
}

/// The memory map of a machine without firmware: `e820` less base memory's reserved end, ascending.
pub fn memory_map(e820: &[e820::Entry]) -> Vec<e820::Entry> {
    let mut map = Vec::new();
    let mut add = |start: u64, end: u64, kind| {
        if start < end {
            map.push(e820::Entry {
                address: start,
                length_bytes: end - start,
                kind,
            });
        }
    };
    for entry in e820 {
        let (start, end) = (entry.address, entry.address + entry.length_bytes);
        if entry.kind == e820::RAM && start < MIB {
            add(start, end.min(BASE_MEMORY_END), e820::RAM);
            add(BASE_MEMORY_END, end.min(MIB), e820::RESERVED);
            add(MIB, end, e820::RAM);
        } else {
            add(start, end, entry.kind);
        }
    }
    map.sort_by_key(|entry| entry.address);
    map
}

fn check_command_line(text: &[u8], most_bytes: usize) -> Result<(), BootError> {
    if most_bytes < text.len() {
        return Err(BootError::CommandLine {
            bytes: text.len(),
            most_bytes,
        });
    }
    Ok(())
}

/// Puts the initial RAM disk below `end`, beside what is `taken`, and returns where it lies.
fn write_initrd(
    memory: &Memory,
    initrd: Option<&[u8]>,
    end: u64,
    taken: &[Range<u64>],
) -> Result<Option<Range<u64>>, BootError> {
    let Some(bytes) = initrd else {
        return Ok(None);
    };
    let too_large = || BootError::Initrd {
        bytes: bytes.len(),
        end,
    };
    let place = place_initrd(bytes.len(), end).ok_or_else(too_large)?;
    let hit = taken
        .iter()
        .find(|other| place.start < other.end && other.start < place.end);
    if let Some(other) = hit {
        return Err(BootError::Collision {
            first: "its initrd",
            second: "the kernel",
            address: place.start.max(other.start),
            fix: "give more RAM with -m",
        });
    }
    memory.write(place.start, bytes).map_err(|_| too_large())?;
    Ok(Some(place))
}

/// The machine model's place for an initial RAM disk of so many bytes in RAM below `end`: it leaves the last byte free
/// and starts on a page.
fn place_initrd(bytes: usize, end: u64) -> Option<Range<u64>> {
    let bytes = bytes as u64;
    let start = (end - 1).checked_sub(bytes)? & !0xfff;
    (MIB <= start).then_some(start..start + bytes)
}

/// Checks that every segment has a place of its own. That it lies in RAM was checked when the machine was made.
fn check_places(image: &Image, initrd: Option<Range<u64>>) -> Result<(), BootError> {
    let mut taken = vec![
        ("the start info", pvh::PLACES, ELSEWHERE),
        (
            "the command line",
            COMMAND_LINE..COMMAND_LINE + COMMAND_LINE_BYTES_MAX as u64,
            ELSEWHERE,
        ),
        ("the MP table", BASE_MEMORY_END..MIB, ELSEWHERE),
    ];
    taken.extend(initrd.map(|place| ("its initrd", place, "give more RAM with -m")));
    for range in image.segments.iter().map(|segment| segment.range()) {
        for (second, other, fix) in &taken {
            if range.start < other.end && other.start < range.end {
                return Err(BootError::Collision {
                    first: "the kernel",
                    second,
                    address: range.start.max(other.start),
                    fix,
                });
            }
        }
    }
    Ok(())
}

/// Room for the command line and its NUL.
pub const COMMAND_LINE_BYTES_MAX: usize = 0x1_0000;

/// Guest-physical address of the command line.
pub(super) const COMMAND_LINE: u64 = 0x2_0000;

/// Where RAM begins that a kernel may lie in.
pub(super) const MIB: u64 = 1 << 20;

const BASE_MEMORY_END: u64 = mp_table::POINTER_ADDRESS;
const ELSEWHERE: &str = "link the kernel to lie at 1 MiB or above";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::ram::RamLayout;

    #[test]
    fn memory_map_has_firmwares_holes_and_is_ascending() {
        let ram = RamLayout {
            below_4g_bytes: 0xc000_0000,
            above_4g_bytes: 0x4000_0000,
            warnings: Vec::new(),
        };
        let map = memory_map(&e820::entries(&ram, true));
        let entries: Vec<_> = map
            .iter()
            .map(|entry| (entry.address, entry.length_bytes, entry.kind))
            .collect();
        assert_eq!(
            entries,
            [
                (0, 0x9_fc00, e820::RAM),
                (0x9_fc00, 0x6_0400, e820::RESERVED),
                (0x10_0000, 0xbff0_0000, e820::RAM),
                (0xfeff_c000, 0x4000, e820::RESERVED),
                (0x1_0000_0000, 0x4000_0000, e820::RAM),
            ]
        );
    }

    #[test]
    fn initrd_lies_where_the_machine_model_puts_it() {
        assert_eq!(place_initrd(10_000, 128 << 20), Some(0x7ff_d000..0x7ff_f710));
        assert_eq!(place_initrd(10_000, 0x10_2000), None, "would start below 1 MiB");
        assert_eq!(place_initrd(usize::MAX, 128 << 20), None);
    }
}
