//! What an ELF kernel says about itself: segments to load and the PVH entry point.
//!
//! Source: ELF-64 Object File Format 1.5, "ELF Header" and "Program Header"; Xen public header `elfnote.h`
//! (`XEN_ELFNOTE_PHYS32_ENTRY`).
//!
//! The loader of `linux-loader` believes what it reads: it checks neither class nor machine nor overlap, lets the last
//! note segment win and leaves `.bss` as it is. Everything it takes for granted is checked here first.

use std::ops::Range;

/// A checked ELF kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Loadable segments in file order; no two overlap in memory.
    pub segments: Vec<Segment>,
    /// Physical address of the 32-bit PVH entry point; it lies in a segment.
    pub entry: u32,
}

/// One loadable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of its first byte.
    pub address: u64,
    /// Bytes taken from the file.
    pub file_bytes: u64,
    /// Bytes in memory, not fewer; those past `file_bytes` are zero.
    pub memory_bytes: u64,
}

/// Why a file cannot be booted as a PVH kernel. The text says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// No ELF magic.
    #[error("not an ELF file; direct boot needs an uncompressed kernel (vmlinux) with a PVH note")]
    Magic,
    /// The file ends inside a structure it announces.
    #[error("file of {file_bytes} bytes ends before {what}")]
    Truncated {
        /// What is missing.
        what: &'static str,
        /// Length of the file.
        file_bytes: usize,
    },
    /// ELF32 or nonsense in `EI_CLASS`.
    #[error("ELF class {0} is not 64-bit (2); build the kernel as ELF64")]
    Class(u8),
    /// Big-endian or nonsense in `EI_DATA`.
    #[error("ELF data encoding {0} is not little-endian (1)")]
    Encoding(u8),
    /// Not for this kind of CPU.
    #[error("ELF machine {0} is not x86-64 (62)")]
    Machine(u16),
    /// Program headers of a size other than ELF64's.
    #[error("program header size {0} is not 56")]
    HeaderSize(u16),
    /// More program headers than any kernel has.
    #[error("{0} program headers, at most {PROGRAM_HEADERS_MAX} are taken")]
    HeaderCount(u16),
    /// A segment whose file or memory range is nonsense.
    #[error("segment at {address:#x}: {what}")]
    Segment {
        /// Its physical address.
        address: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Two segments claim the same memory.
    #[error("segments at {first:#x} and {second:#x} overlap")]
    Overlap {
        /// Physical address of the lower one.
        first: u64,
        /// Physical address of the higher one.
        second: u64,
    },
    /// Nothing to load.
    #[error("no loadable segment")]
    Empty,
    /// No entry point for PVH.
    #[error("no PVH entry note (owner \"Xen\", type 18); Linux has it with CONFIG_PVH=y")]
    NoPvhNote,
    /// A PVH note too short for an address.
    #[error("PVH entry note has {0} bytes of contents, an address needs 4")]
    ShortPvhNote(u32),
    /// The entry point lies where nothing is loaded.
    #[error("PVH entry point {0:#x} lies in no segment")]
    StrayEntry(u32),
}

impl Segment {
    /// The physical addresses it occupies.
    pub fn range(&self) -> Range<u64> {
        self.address..self.address + self.memory_bytes
    }
}

impl Image {
    /// Reads and checks the headers of a kernel file.
    ///
    /// # Errors
    /// [`ElfError`], the first thing found wrong.
    pub fn parse(file: &[u8]) -> Result<Image, ElfError> {
        if !file.starts_with(b"\x7fELF") {
            return Err(ElfError::Magic);
        }
        let header = Fields::new(file, 0, HEADER_BYTES, "the end of the ELF header")?;
        match (header.u8(4), header.u8(5), header.u16(18)) {
            (CLASS_64, LITTLE_ENDIAN, MACHINE_X86_64) => {}
            (CLASS_64, LITTLE_ENDIAN, machine) => return Err(ElfError::Machine(machine)),
            (CLASS_64, encoding, _) => return Err(ElfError::Encoding(encoding)),
            (class, _, _) => return Err(ElfError::Class(class)),
        }
        let (table, entry_size, count) = (header.u64(32), header.u16(54), header.u16(56));
        if usize::from(entry_size) != PROGRAM_HEADER_BYTES {
            return Err(ElfError::HeaderSize(entry_size));
        }
        if PROGRAM_HEADERS_MAX < count {
            return Err(ElfError::HeaderCount(count));
        }
        let table_bytes = usize::from(count) * PROGRAM_HEADER_BYTES;
        let table = Fields::new(file, table, table_bytes, "the end of the program headers")?;

        let mut segments = Vec::new();
        let mut entry = None;
        for at in (0..table_bytes).step_by(PROGRAM_HEADER_BYTES) {
            let (kind, offset, file_bytes) = (table.u32(at), table.u64(at + 8), table.u64(at + 32));
            match kind {
                PT_LOAD => {
                    let segment = Segment {
                        address: table.u64(at + 24),
                        file_bytes,
                        memory_bytes: table.u64(at + 40),
                    };
                    check_segment(file, offset, segment)?;
                    if segment.memory_bytes != 0 {
                        segments.push(segment);
                    }
                }
                PT_NOTE if entry.is_none() => entry = pvh_entry(file, offset, file_bytes)?,
                _ => {}
            }
        }
        check_overlap(&segments)?;
        let entry = entry.ok_or(ElfError::NoPvhNote)?;
        let loaded = segments
            .iter()
            .any(|segment| segment.range().contains(&u64::from(entry)));
        if !loaded {
            return Err(ElfError::StrayEntry(entry));
        }
        Ok(Image { segments, entry })
    }
}

/// Little-endian fields of a part of the file that is known to be there.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn new(file: &'a [u8], offset: u64, length: usize, what: &'static str) -> Result<Fields<'a>, ElfError> {
        let truncated = ElfError::Truncated {
            what,
            file_bytes: file.len(),
        };
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|start| file.get(start..start.checked_add(length)?));
        part.map(Fields).ok_or(truncated)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn u8(&self, at: usize) -> u8 {
        self.0[at]
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}

fn check_segment(file: &[u8], offset: u64, segment: Segment) -> Result<(), ElfError> {
    let wrong = |what| {
        Err(ElfError::Segment {
            address: segment.address,
            what,
        })
    };
    if segment.memory_bytes < segment.file_bytes {
        return wrong("more bytes in the file than in memory");
    }
    if segment.address.checked_add(segment.memory_bytes).is_none() {
        return wrong("wraps around the end of the address space");
    }
    match offset.checked_add(segment.file_bytes) {
        Some(end) if end <= file.len() as u64 => Ok(()),
        _ => wrong("its bytes lie past the end of the file"),
    }
}

fn check_overlap(segments: &[Segment]) -> Result<(), ElfError> {
    if segments.is_empty() {
        return Err(ElfError::Empty);
    }
    let mut sorted = segments.to_vec();
    sorted.sort_by_key(|segment| segment.address);
    for pair in sorted.windows(2) {
        if pair[1].address < pair[0].range().end {
            return Err(ElfError::Overlap {
                first: pair[0].address,
                second: pair[1].address,
            });
        }
    }
    Ok(())
}

/// The entry point in the notes of one PT_NOTE segment.
fn pvh_entry(file: &[u8], offset: u64, length: u64) -> Result<Option<u32>, ElfError> {
    let end = "the end of the notes";
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let notes = Fields::new(file, offset, length, end)?;
    let mut at = 0;
    while at + NOTE_HEADER_BYTES <= length {
        let (name_bytes, contents_bytes, kind) = (notes.u32(at), notes.u32(at + 4), notes.u32(at + 8));
        let name = at + NOTE_HEADER_BYTES;
        let contents = name + (name_bytes as usize).next_multiple_of(NOTE_ALIGN);
        let next = contents + (contents_bytes as usize).next_multiple_of(NOTE_ALIGN);
        if length < contents + contents_bytes as usize {
            return Err(ElfError::Truncated {
                what: end,
                file_bytes: file.len(),
            });
        }
        if kind == XEN_ELFNOTE_PHYS32_ENTRY && notes.0[name..].starts_with(b"Xen\0") {
            if contents_bytes < 4 {
                return Err(ElfError::ShortPvhNote(contents_bytes));
            }
            return Ok(Some(notes.u32(contents)));
        }
        at = next;
    }
    Ok(None)
}

/// Most program headers taken from a kernel; Linux has five.
pub const PROGRAM_HEADERS_MAX: u16 = 64;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const NOTE_HEADER_BYTES: usize = 12;
const NOTE_ALIGN: usize = 4;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with the given `(type, offset, address, file bytes, memory bytes)` program headers; a PVH note that
    /// points at 1 MiB lies at the end of the file.
    fn kernel(headers: &[(u32, u64, u64, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES + headers.len() * PROGRAM_HEADER_BYTES];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', CLASS_64, LITTLE_ENDIAN]);
        file[18] = MACHINE_X86_64 as u8;
        file[32] = HEADER_BYTES as u8;
        file[54] = PROGRAM_HEADER_BYTES as u8;
        file[56] = headers.len() as u8;
        let note_at = file.len() as u64;
        for (index, &(kind, offset, address, file_bytes, memory_bytes)) in headers.iter().enumerate() {
            let at = HEADER_BYTES + index * PROGRAM_HEADER_BYTES;
            let offset = if kind == PT_NOTE { note_at } else { offset };
            file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            for (field, value) in [(8, offset), (24, address), (32, file_bytes), (40, memory_bytes)] {
                file[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        file.extend([4_u32, 4, 18].iter().flat_map(|field| field.to_le_bytes()));
        file.extend(b"Xen\0");
        file.extend(0x10_0000_u32.to_le_bytes());
        file
    }

    const NOTE: (u32, u64, u64, u64, u64) = (PT_NOTE, 0, 0, 20, 20);
    const TEXT: (u32, u64, u64, u64, u64) = (PT_LOAD, 0, 0x10_0000, 16, 0x1000);

    #[test]
    fn note_before_other_note_segments_is_found() {
        let empty_note = (PT_NOTE, 0, 0, 0, 0);
        let image = Image::parse(&kernel(&[TEXT, NOTE, empty_note])).expect("a good kernel");
        assert_eq!(image.entry, 0x10_0000);
        assert_eq!(image.segments.len(), 1);
    }

    #[test]
    fn lenient_loader_cases_are_refused() {
        let mut class_32 = kernel(&[TEXT, NOTE]);
        class_32[4] = 1;
        assert_eq!(Image::parse(&class_32), Err(ElfError::Class(1)));
        let mut arm = kernel(&[TEXT, NOTE]);
        arm[18] = 183;
        assert_eq!(Image::parse(&arm), Err(ElfError::Machine(183)));
        let overlapping = kernel(&[TEXT, (PT_LOAD, 0, 0x10_0fff, 1, 1), NOTE]);
        assert_eq!(
            Image::parse(&overlapping),
            Err(ElfError::Overlap {
                first: 0x10_0000,
                second: 0x10_0fff
            })
        );
        let stray = kernel(&[(PT_LOAD, 0, 0x20_0000, 16, 16), NOTE]);
        assert_eq!(Image::parse(&stray), Err(ElfError::StrayEntry(0x10_0000)));
        assert_eq!(Image::parse(&kernel(&[TEXT])), Err(ElfError::NoPvhNote));
    }

    #[test]
    fn every_truncation_and_every_broken_byte_is_an_answer_not_a_panic() {
        let good = kernel(&[TEXT, NOTE]);
        for length in 0..good.len() {
            assert!(Image::parse(&good[..length]).is_err(), "cut to {length} bytes");
        }
        for at in 0..good.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut broken = good.clone();
                broken[at] = value;
                let _either_way = Image::parse(&broken);
            }
        }
    }
}
