//! Refuses images that not every machine can run.
//!
//! Where KVM has no hardware to run a kernel on, it interprets the guest's instructions, and its interpreter knows the
//! integer instructions of a 64-bit x86 and little else: software interrupts, SSE arithmetic, the x87, the XSAVE family
//! and `cmpxchg16b` end the machine. So an image may contain only what is on a short list; a compiler's new idea fails
//! here and not in a guest.

use core::fmt;
use std::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Formatter, Instruction, Mnemonic, NasmFormatter};
use object::{
    Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind,
    elf::{PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, SHF_EXECINSTR},
    read::elf::{ElfFile64, ProgramHeader},
};

/// What was looked at in an image without fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of instructions.
    pub instructions: usize,
    /// PVH entry.
    pub entry: u64,
    /// First address loaded, and first address behind the memory of the last segment.
    pub range: (u64, u64),
}

/// Something that an image must not contain, or must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offence {
    /// The file is no static ELF64 with a PVH note of the right form; says what is wrong.
    File(String),
    /// An instruction that is not on the list.
    Instruction {
        /// Its address.
        address: u64,
        /// The function it is in.
        function: String,
        /// Its text and why it is refused.
        text: String,
    },
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(text) => f.write_str(text),
            Self::Instruction {
                address,
                function,
                text,
            } => write!(f, "{address:#x} in {function}: {text}"),
        }
    }
}

/// Looks at one image, a whole ELF file.
///
/// # Errors
/// All that is wrong with it, in order of address.
pub fn check(file: &[u8]) -> Result<Summary, Vec<Offence>> {
    let elf = ElfFile64::<object::Endianness>::parse(file)
        .map_err(|error| Vec::from([Offence::File(std::format!("not an ELF64 file: {error}"))]))?;
    let mut offences = Vec::new();
    let range = check_segments(&elf, &mut offences);
    let entry = pvh_entry(&elf, file);
    match entry {
        Some(entry) if range.0 <= entry && entry < range.1 => {}
        Some(entry) => offences.push(Offence::File(std::format!("PVH entry {entry:#x} is not in the image"))),
        None => offences.push(Offence::File(
            "no PVH note of type 18 with a 4-byte entry in a PT_NOTE segment".to_string(),
        )),
    }
    let instructions = check_code(&elf, &mut offences);
    match (entry, offences.is_empty()) {
        (Some(entry), true) => Ok(Summary {
            instructions,
            entry,
            range,
        }),
        _ => Err(offences),
    }
}

/// Static, loaded from 1 MiB on; returns the range of memory.
fn check_segments(elf: &ElfFile64<'_>, offences: &mut Vec<Offence>) -> (u64, u64) {
    let endian = elf.endian();
    let mut range = (u64::MAX, 0);
    for header in elf.elf_program_headers() {
        let start = header.p_paddr(endian);
        match header.p_type(endian) {
            PT_LOAD => {
                range = (
                    range.0.min(start),
                    range.1.max(start.saturating_add(header.p_memsz(endian))),
                )
            }
            PT_INTERP | PT_DYNAMIC => offences.push(Offence::File("not static".to_string())),
            _ => {}
        }
    }
    if range.0 != LOAD_ADDRESS {
        offences.push(Offence::File(std::format!(
            "loaded at {:#x} and not at {LOAD_ADDRESS:#x}",
            range.0
        )));
    }
    range
}

/// The entry in the first note of type 18 of a PT_NOTE segment, whatever its owner, as QEMU looks for it.
fn pvh_entry(elf: &ElfFile64<'_>, file: &[u8]) -> Option<u64> {
    let endian = elf.endian();
    elf.elf_program_headers()
        .iter()
        .filter(|header| header.p_type(endian) == PT_NOTE)
        .find_map(|header| {
            let mut notes = header.notes(endian, file).ok()??;
            while let Ok(Some(note)) = notes.next() {
                if note.n_type(endian) == XEN_ELFNOTE_PHYS32_ENTRY {
                    return note
                        .desc()
                        .try_into()
                        .ok()
                        .map(|entry| u64::from(u32::from_le_bytes(entry)));
                }
            }
            None
        })
}

/// Looks at all functions of all executable sections, and that nothing but padding lies between them; returns the
/// number of instructions.
fn check_code(elf: &ElfFile64<'_>, offences: &mut Vec<Offence>) -> usize {
    let mut instructions = 0;
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else {
            continue;
        };
        if sh_flags & u64::from(SHF_EXECINSTR) == 0 {
            continue;
        }
        let name = section.name().unwrap_or_default();
        let Ok(code) = section.data() else {
            offences.push(Offence::File(std::format!("section {name} cannot be read")));
            continue;
        };
        let bitness = match name {
            SECTION_16 => 16,
            SECTION_32 => 32,
            _ => 64,
        };
        // Functions by address; of several names for one address, the longest extent.
        let mut functions: BTreeMap<u64, (u64, &str)> = BTreeMap::new();
        for symbol in elf.symbols() {
            if symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index()) && symbol.size() > 0
            {
                let function = functions.entry(symbol.address()).or_default();
                *function = (*function).max((symbol.size(), symbol.name().unwrap_or_default()));
            }
        }
        let mut position = section.address();
        for (&address, &(size, function)) in &functions {
            check_padding(slice(code, section.address(), position, address), position, offences);
            let bytes = slice(code, section.address(), address, address.saturating_add(size));
            instructions += check_instructions(bytes, bitness, address, function, offences);
            position = position.max(address.saturating_add(size));
        }
        let end = section.address().saturating_add(section.size());
        check_padding(slice(code, section.address(), position, end), position, offences);
    }
    instructions
}

/// The bytes of `start..end`, addresses of a section that begins at `base`; empty when there are none.
fn slice(code: &[u8], base: u64, start: u64, end: u64) -> &[u8] {
    let offset = |address: u64| {
        usize::try_from(address.saturating_sub(base))
            .unwrap_or(usize::MAX)
            .min(code.len())
    };
    code.get(offset(start)..offset(end)).unwrap_or_default()
}

/// Linkers fill the space between functions with `int3` or `nop`; anything else is code that no symbol names.
fn check_padding(bytes: &[u8], address: u64, offences: &mut Vec<Offence>) {
    if bytes.iter().all(|&byte| byte == 0xcc) {
        return;
    }
    for instruction in &mut Decoder::with_ip(64, bytes, address, DecoderOptions::NONE) {
        if !matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
            offences.push(Offence::Instruction {
                address: instruction.ip(),
                function: "no function".to_string(),
                text: std::format!("{} (code without a symbol)", text(&instruction)),
            });
            return;
        }
    }
}

fn check_instructions(bytes: &[u8], bitness: u32, address: u64, function: &str, offences: &mut Vec<Offence>) -> usize {
    let mut count = 0;
    for instruction in &mut Decoder::with_ip(bitness, bytes, address, DecoderOptions::NONE) {
        count += 1;
        if let Some(reason) = refusal(&instruction) {
            offences.push(Offence::Instruction {
                address: instruction.ip(),
                function: function.to_string(),
                text: std::format!("{} ({reason})", text(&instruction)),
            });
        }
    }
    count
}

/// Why an interpreter may refuse this instruction; `None` for one of those that all of them know.
fn refusal(instruction: &Instruction) -> Option<String> {
    match instruction.mnemonic() {
        Mnemonic::INVALID => return Some("no instruction".to_string()),
        Mnemonic::Int | Mnemonic::Int1 | Mnemonic::Int3 | Mnemonic::Into => {
            return Some("software interrupt".to_string());
        }
        _ => {}
    }
    let unknown = instruction
        .cpuid_features()
        .iter()
        .find(|feature| !KNOWN.contains(feature))?;
    Some(std::format!("needs {unknown:?}"))
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    NasmFormatter::new().format(instruction, &mut text);
    text
}

/// Features whose instructions an interpreter of integer code knows.
const KNOWN: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CPUID,
    CpuidFeature::MSR,
    CpuidFeature::TSC,
    CpuidFeature::CMOV,
    CpuidFeature::PAUSE,
    CpuidFeature::MULTIBYTENOP,
];

const LOAD_ADDRESS: u64 = 0x10_0000;

/// The only section of 16-bit code.
const SECTION_16: &str = ".text16";

/// The only section of 32-bit code.
const SECTION_32: &str = ".text32";

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_beyond_an_interpreter_are_refused() {
        for (bytes, reason) in [
            (&[0xcd, 0x80][..], "int 80h (software interrupt)"),
            (&[0xcc], "int3 (software interrupt)"),
            (&[0xf1], "int1 (software interrupt)"),
            (&[0x0f, 0x28, 0xc1], "movaps xmm0,xmm1 (needs SSE)"),
            (&[0x66, 0x0f, 0xef, 0xc0], "pxor xmm0,xmm0 (needs SSE2)"),
            (&[0xc5, 0xf8, 0x77], "vzeroupper (needs AVX)"),
            (&[0xd9, 0xe8], "fld1 (needs FPU)"),
            (&[0x0f, 0x77], "emms (needs MMX)"),
            (&[0x0f, 0xae, 0x00], "fxsave [rax] (needs FXSR)"),
            (&[0x0f, 0xae, 0x28], "xrstor [rax] (needs XSAVE)"),
            (
                &[0xf0, 0x48, 0x0f, 0xc7, 0x0f],
                "lock cmpxchg16b [rdi] (needs CMPXCHG16B)",
            ),
            (&[0xf3, 0x0f, 0xb8, 0xc0], "popcnt eax,eax (needs POPCNT)"),
            (&[0x0f, 0xae, 0xf0], "mfence (needs SSE2)"),
            (&[0x06], "(bad) (no instruction)"),
        ] {
            let mut offences = Vec::new();
            check_instructions(bytes, 64, 0x10_0000, "f", &mut offences);
            let [Offence::Instruction { text, .. }] = offences.as_slice() else {
                panic!("{reason}: {offences:?}")
            };
            assert_eq!(text, reason);
        }
    }

    #[test]
    fn instructions_of_the_runtime_are_let_through() {
        for bytes in [
            &[0xec][..],                     // in al,dx
            &[0xf3, 0x6e],                   // rep outsb
            &[0xf3, 0x48, 0xab],             // rep stosq
            &[0x0f, 0xa2],                   // cpuid
            &[0x0f, 0x31],                   // rdtsc
            &[0x0f, 0x30],                   // wrmsr
            &[0x0f, 0x01, 0x38],             // invlpg
            &[0x0f, 0x01, 0x18],             // lidt
            &[0x0f, 0x00, 0xd8],             // ltr ax
            &[0xf3, 0x90],                   // pause
            &[0x0f, 0x44, 0xc1],             // cmove
            &[0x0f, 0x0b],                   // ud2
            &[0xf4],                         // hlt
            &[0x0f, 0x1f, 0x44, 0x00, 0x00], // nop
        ] {
            let mut offences = Vec::new();
            check_instructions(bytes, 64, 0x10_0000, "f", &mut offences);
            assert_eq!(offences, []);
        }
    }

    #[test]
    fn code_between_functions_is_an_offence_and_padding_is_none() {
        let mut offences = Vec::new();
        check_padding(&[0xcc; 5], 0, &mut offences);
        check_padding(&[0x66, 0x90, 0x90], 0, &mut offences);
        assert_eq!(offences, []);
        check_padding(&[0x90, 0xf4], 0x10_0000, &mut offences);
        assert_eq!(offences.len(), 1);
        assert_eq!(
            offences[0].to_string(),
            "0x100001 in no function: hlt (code without a symbol)"
        );
    }

    #[test]
    fn what_is_no_elf64_is_refused() {
        for file in [&b""[..], b"#!/bin/sh\n", &[0x7f, b'E', b'L', b'F', 1, 1, 1, 0]] {
            let offences = check(file).unwrap_err();
            assert!(matches!(offences.as_slice(), [Offence::File(text)] if text.starts_with("not an ELF64")));
        }
    }
}
