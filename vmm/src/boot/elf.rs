//! What an ELF kernel says about itself: segments to load and the PVH entry point.
//!
//! Source: System V ABI, "ELF Header" and "Program Header", ELF32 and ELF64; Xen public header `elfnote.h`
//! (`XEN_ELFNOTE_PHYS32_ENTRY`).
//!
//! One reader with two policies. A firmware starts what the note of type 18 names, whoever owns the note, as the
//! original does: [`Image::entry`]. Direct boot takes Xen's note only, and the entry must lie in what was loaded:
//! [`Image::direct_entry`].

use std::ops::Range;

use object::LittleEndian;
use object::elf::{EM_386, EM_X86_64, FileHeader32, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::memory::Memory;

/// A checked ELF kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Loadable segments that take memory, ascending; no two overlap, and all end at or below 4 GiB.
    pub segments: Vec<Segment>,
    /// Physical address of the 32-bit PVH entry point, as the first note of its type has it.
    pub entry: u32,
    /// The same as the first such note of owner "Xen" has it.
    xen_entry: Option<u32>,
}

/// One loadable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of its first byte.
    pub address: u64,
    /// Where its first bytes lie in the file.
    pub file: Range<usize>,
    /// Bytes in memory, not fewer than in the file; the rest are zero.
    pub memory_bytes: u64,
}

/// Why a file cannot be booted as a PVH kernel; reads on from the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// A file that is broken.
    #[error("broken ELF file: {0}")]
    Broken(String),
    /// A file for another machine.
    #[error("ELF machine {0} is neither i386 (3) nor x86-64 (62)")]
    Machine(u16),
    /// A file without PVH entry.
    #[error("uncompressed kernel without PVH ELF Note; Linux has it with CONFIG_PVH=y")]
    NoPvhNote,
    /// Segments that contradict each other or the machine.
    #[error("ELF segment at {address:#x}+{length_bytes:#x} {what}")]
    Segment {
        /// Physical address.
        address: u64,
        /// Length in memory.
        length_bytes: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The entry point lies where nothing is loaded.
    #[error("PVH entry point {0:#x} lies in no ELF segment")]
    StrayEntry(u32),
}

impl Segment {
    /// The physical addresses it occupies.
    pub fn range(&self) -> Range<u64> {
        self.address..self.address + self.memory_bytes
    }

    fn wrong(&self, what: &'static str) -> ElfError {
        ElfError::Segment {
            address: self.address,
            length_bytes: self.memory_bytes,
            what,
        }
    }
}

impl Image {
    /// Reads and checks the headers of a kernel file.
    ///
    /// # Errors
    /// [`ElfError`], the first thing found wrong.
    pub fn parse(file: &[u8]) -> Result<Image, ElfError> {
        // The class byte decides the layout of everything behind it.
        match file.get(4) {
            Some(1) => parse::<FileHeader32<LittleEndian>>(file),
            _ => parse::<FileHeader64<LittleEndian>>(file),
        }
    }

    /// The physical address where a kernel starts that no firmware loads.
    ///
    /// # Errors
    /// [`ElfError::NoPvhNote`] when only another owner has such a note, [`ElfError::StrayEntry`].
    pub fn direct_entry(&self) -> Result<u32, ElfError> {
        let entry = self.xen_entry.ok_or(ElfError::NoPvhNote)?;
        let is_loaded = |segment: &Segment| segment.range().contains(&u64::from(entry));
        if !self.segments.iter().any(is_loaded) {
            return Err(ElfError::StrayEntry(entry));
        }
        Ok(entry)
    }

    /// Puts the segments of `file`, which this image was read from, into RAM, as at power-on (`fresh`, RAM is zero) and
    /// at every reset.
    pub fn load(&self, file: &[u8], memory: &Memory, fresh: bool) {
        for segment in &self.segments {
            // The segment was checked against RAM when the machine was made.
            let _in_ram = memory.write(segment.address, &file[segment.file.clone()]);
            let file_bytes = segment.file.len() as u64;
            if !fresh {
                zero(memory, segment.address + file_bytes, segment.memory_bytes - file_bytes);
            }
        }
    }

    /// Whether the segments lie in `memory` and beside the firmware's part below 1 MiB, `taken`.
    ///
    /// # Errors
    /// [`ElfError::Segment`].
    pub fn check_fits(&self, memory: &Memory, taken: &Range<u64>) -> Result<(), ElfError> {
        for segment in &self.segments {
            let range = segment.range();
            if range.start < taken.end && taken.start < range.end {
                return Err(segment.wrong("lies where the firmware is"));
            }
            let length = usize::try_from(segment.memory_bytes).unwrap_or(usize::MAX);
            if memory.available(segment.address, length) < length {
                return Err(segment.wrong("does not lie in RAM; give more RAM"));
            }
        }
        Ok(())
    }
}

fn parse<Header: FileHeader<Endian = LittleEndian>>(file: &[u8]) -> Result<Image, ElfError> {
    let broken = |error: object::read::Error| ElfError::Broken(error.to_string());
    let header = Header::parse(file).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let machine = header.e_machine(endian);
    if machine != EM_X86_64 && machine != EM_386 {
        return Err(ElfError::Machine(machine));
    }
    let headers = header.program_headers(endian, file).map_err(broken)?;
    if PROGRAM_HEADERS_MAX < headers.len() {
        let text = format!(
            "{} program headers, at most {PROGRAM_HEADERS_MAX} are taken",
            headers.len()
        );
        return Err(ElfError::Broken(text));
    }
    let mut segments = Vec::new();
    let (mut entry, mut xen_entry) = (None, None);
    let mut notes_left = NOTES_MAX;
    for header in headers {
        if header.p_type(endian) == PT_LOAD {
            let (address, memory_bytes) = (header.p_paddr(endian).into(), header.p_memsz(endian).into());
            let (offset, file_bytes) = header.file_range(endian);
            segments.push(segment(file, address, memory_bytes, offset, file_bytes)?);
        }
        let Some(mut notes) = header.notes(endian, file).map_err(broken)? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(broken)? {
            if notes_left == 0 {
                return Err(ElfError::Broken(format!("more than {NOTES_MAX} notes")));
            }
            notes_left -= 1;
            if note.n_type(endian) != XEN_ELFNOTE_PHYS32_ENTRY {
                continue;
            }
            let address = note.desc().first_chunk().map(|low| u32::from_le_bytes(*low));
            entry = entry.or(address);
            if note.name() == b"Xen" {
                xen_entry = xen_entry.or(address);
            }
        }
    }
    segments.retain(|segment| segment.memory_bytes != 0);
    segments.sort_by_key(|segment| segment.address);
    if let Some(pair) = segments.windows(2).find(|pair| pair[1].address < pair[0].range().end) {
        return Err(pair[1].wrong("overlaps another"));
    }
    if segments.is_empty() {
        return Err(ElfError::Broken("no loadable segment".to_owned()));
    }
    Ok(Image {
        segments,
        entry: entry.ok_or(ElfError::NoPvhNote)?,
        xen_entry,
    })
}

fn segment(file: &[u8], address: u64, memory_bytes: u64, offset: u64, file_bytes: u64) -> Result<Segment, ElfError> {
    let mut segment = Segment {
        address,
        file: 0..0,
        memory_bytes,
    };
    if memory_bytes < file_bytes {
        return Err(segment.wrong("has more bytes in the file than in memory"));
    }
    if address.checked_add(memory_bytes).is_none_or(|end| 1 << 32 < end) {
        return Err(segment.wrong("does not lie below 4 GiB"));
    }
    let end = offset.checked_add(file_bytes).filter(|&end| end <= file.len() as u64);
    let Some(end) = end else {
        return Err(segment.wrong("has bytes past the end of the file"));
    };
    segment.file = offset as usize..end as usize;
    Ok(segment)
}

fn zero(memory: &Memory, mut address: u64, mut left: u64) {
    let zeros = [0; 4096];
    while 0 < left {
        let chunk = left.min(zeros.len() as u64);
        let _in_ram = memory.write(address, &zeros[..chunk as usize]);
        address += chunk;
        left -= chunk;
    }
}

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// Most program headers taken from a kernel; Linux has five.
const PROGRAM_HEADERS_MAX: usize = 64;

/// Most notes looked at; Linux has about twenty.
const NOTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::kernel::tests_support::{elf_64, elf_64_without_note, pvh_kernel, pvh_kernel_32};
    use super::*;

    fn with_owner(owner: &[u8; 4]) -> Vec<u8> {
        let mut file = pvh_kernel().to_vec();
        let at = file.windows(4).position(|bytes| bytes == b"Xen\0").expect("a note");
        file[at..at + 4].copy_from_slice(owner);
        file
    }

    #[test]
    fn a_note_of_another_owner_is_for_firmware_only() {
        let image = Image::parse(&with_owner(b"Foo\0")).expect("a good kernel");
        assert_eq!(image.entry, 0x10_0000);
        assert_eq!(image.direct_entry(), Err(ElfError::NoPvhNote));
        let image = Image::parse(&pvh_kernel()).expect("a good kernel");
        assert_eq!((image.entry, image.direct_entry()), (0x10_0000, Ok(0x10_0000)));
    }

    #[test]
    fn an_entry_where_nothing_is_loaded_is_for_firmware_only() {
        let image = Image::parse(&elf_64(&[(PT_LOAD, 0x20_0000, 16)])).expect("a good kernel");
        assert_eq!(image.direct_entry(), Err(ElfError::StrayEntry(0x10_0000)));
    }

    #[test]
    fn elf_of_32_bits_has_the_same_entry() {
        let image = Image::parse(&pvh_kernel_32()).expect("a good kernel");
        assert_eq!(image.direct_entry(), Ok(0x10_0000));
    }

    #[test]
    fn segment_is_loaded_and_its_rest_zeroed_at_reset() {
        let file = pvh_kernel();
        let image = Image::parse(&file).expect("a good kernel");
        let memory = Memory::new(&[(0, 2 << 20)]).expect("2 MiB fit");
        image.check_fits(&memory, &(0xf_0000..0x10_0000)).expect("it fits");
        let error = image.check_fits(&memory, &(0x10_0fff..0x10_1000));
        assert!(error.is_err(), "the last byte is taken");
        image.load(&file, &memory, true);
        let mut bytes = [0; 4];
        memory.read(0x10_0000, &mut bytes).expect("RAM");
        assert_eq!(bytes, *b"\x7fELF");
        memory.write(0x10_0000, &[0xaa; 0x1000]).expect("RAM");
        image.load(&file, &memory, false);
        memory.read(0x10_0ffc, &mut bytes).expect("RAM");
        assert_eq!(bytes, [0; 4]);
    }

    #[rstest]
    #[case::elf_64(&pvh_kernel())]
    #[case::elf_32(&pvh_kernel_32())]
    fn every_truncation_and_every_broken_byte_is_an_answer(#[case] good: &[u8]) {
        for length in 0..good.len() {
            assert!(Image::parse(&good[..length]).is_err(), "cut to {length} bytes");
        }
        for at in 0..good.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut broken = good.to_vec();
                broken[at] = value;
                let _either_way = Image::parse(&broken);
            }
        }
    }

    #[test]
    fn notes_without_end_are_bounded() {
        let mut file = pvh_kernel().to_vec();
        let notes_at = file.len() as u64;
        file.resize(file.len() + 12 * (NOTES_MAX + 1), 0);
        // Program header 1 is the note: let it span the empty notes.
        let header = 64 + 56;
        file[header + 8..header + 16].copy_from_slice(&notes_at.to_le_bytes());
        let length = 12 * (NOTES_MAX as u64 + 1);
        file[header + 32..header + 40].copy_from_slice(&length.to_le_bytes());
        let error = Image::parse(&file).expect_err("too many");
        assert_eq!(error.to_string(), "broken ELF file: more than 4096 notes");
    }

    #[test]
    fn what_no_kernel_is_is_refused() {
        let mut arm = pvh_kernel().to_vec();
        arm[18] = 183;
        assert_eq!(Image::parse(&arm), Err(ElfError::Machine(183)));
        assert_eq!(Image::parse(&elf_64_without_note()), Err(ElfError::NoPvhNote));
        let overlap = elf_64(&[(PT_LOAD, 0x10_0000, 0x1000), (PT_LOAD, 0x10_0fff, 1)]);
        let error = Image::parse(&overlap).expect_err("overlap");
        assert!(error.to_string().contains("overlaps another"), "{error}");
    }
}
