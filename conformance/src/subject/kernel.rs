//! The smallest files a VMM accepts as kernel and firmware, made here so that no build stands before the depths that
//! need no guest code.
//!
//! Source: ELF-64 object file format; Xen's PVH boot protocol, "x86/HVM direct boot ABI" (note 18, PHYS32_ENTRY); "The
//! Linux/x86 Boot Protocol", "The Real-Mode Kernel Header".

use crate::case::Setup;

/// Entry point of [`pvh_kernel`], guest-physical.
pub const ENTRY: u64 = 0x10_0000;

/// A static ELF64 with a PVH note whose code halts.
pub fn pvh_kernel() -> Vec<u8> {
    let mut file = Vec::new();
    // Identification: 64 bits, little endian, version 1.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Executable, x86-64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend(ENTRY.to_le_bytes());
    file.extend(HEADER_LENGTH.to_le_bytes());
    // No sections, no flags.
    file.extend([0; 12]);
    // Lengths of header and program headers, two of these, no section headers.
    file.extend([64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    // The code: loadable, readable and executable.
    program_header(&mut file, 1, 5, CODE_AT, ENTRY, CODE.len() as u64, 0x1000);
    program_header(&mut file, 4, 4, NOTE_AT, 0, NOTE.len() as u64, 4);
    debug_assert_eq!(file.len() as u64, NOTE_AT);
    file.extend(NOTE);
    file.resize(CODE_AT as usize, 0);
    file.extend(CODE);
    file
}

/// A bzImage of protocol 2.15 with [`BZ_IMAGE_SETUP_LENGTH`] bytes of setup part; no byte of it is code.
pub fn bz_image() -> Vec<u8> {
    // Odd contents show a byte that a VMM should not have touched.
    let mut file: Vec<u8> = (0..BZ_IMAGE_SETUP_LENGTH + BZ_IMAGE_KERNEL_LENGTH)
        .map(|at| (at * 7 + 1) as u8)
        .collect();
    file[0x1f1..0x26c].fill(0);
    let paragraphs = (BZ_IMAGE_KERNEL_LENGTH / 16) as u32;
    for (at, field) in [
        (0x1f1, &[(BZ_IMAGE_SETUP_LENGTH / 512 - 1) as u8][..]),
        (0x1f4, &paragraphs.to_le_bytes()),
        (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]),
        (0x202, b"HdrS\x0f\x02"),
        // Loaded high; where the kernel may be loaded; where the initial RAM disk may end.
        (0x211, &[1]),
        (0x214, &0x10_0000_u32.to_le_bytes()),
        // ext_loader_ver and ext_loader_type, next to a field of 16 bits.
        (0x226, &[0x5a, 0xa5]),
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()),
        (0x238, &2047_u32.to_le_bytes()),
    ] {
        file[at..at + field.len()].copy_from_slice(field);
    }
    file
}

/// The kernel that a set-up asks for by its command line.
pub fn of_setup(setup: &Setup) -> Vec<u8> {
    if setup.bz_image { bz_image() } else { pvh_kernel() }
}

/// The entry point of that kernel, where it has one.
pub fn entry_of_setup(setup: &Setup) -> Option<u64> {
    (setup.append.is_some() && !setup.bz_image).then_some(ENTRY)
}

/// A firmware of 64 KiB whose reset vector halts, so that devices live while no guest code runs.
pub fn halt_bios() -> Vec<u8> {
    let mut file = vec![0; 64 << 10];
    file[0xfff0..0xfff4].copy_from_slice(&CODE);
    file
}

fn program_header(file: &mut Vec<u8>, kind: u32, flags: u32, at: u64, address: u64, length: u64, align: u64) {
    file.extend(kind.to_le_bytes());
    file.extend(flags.to_le_bytes());
    for field in [at, address, address, length, length, align] {
        file.extend(field.to_le_bytes());
    }
}

/// `cli; hlt; jmp` back to the `hlt`, in 16 and in 32 bits.
const CODE: [u8; 4] = [0xfa, 0xf4, 0xeb, 0xfd];

/// Owner "Xen", type 18, the entry point in 32 bits.
const NOTE: [u8; 20] = [
    4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0, 0x00, 0x00, 0x10, 0x00,
];

/// Bytes of the setup part of [`bz_image`].
pub const BZ_IMAGE_SETUP_LENGTH: usize = 5 * 512;

/// Bytes behind it.
pub const BZ_IMAGE_KERNEL_LENGTH: usize = 1008;

const HEADER_LENGTH: u64 = 64;
const NOTE_AT: u64 = HEADER_LENGTH + 2 * 56;
const CODE_AT: u64 = 0x1000;

/// The 32-bit entry point that an ELF file's PVH note names (type 18; as VMMs do, the owner is not looked at).
pub fn pvh_entry(file: &[u8]) -> Option<u64> {
    if !file.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return None;
    }
    let table = number(file, 32, 8)?;
    let (size, count) = (number(file, 54, 2)?, number(file, 56, 2)?);
    (0..count).find_map(|index| {
        let header = usize::try_from(table.checked_add(index * size)?).ok()?;
        if number(file, header, 4)? != PROGRAM_NOTE {
            return None;
        }
        let at = usize::try_from(number(file, header.checked_add(8)?, 8)?).ok()?;
        let length = usize::try_from(number(file, header.checked_add(32)?, 8)?).ok()?;
        entry_in_notes(file.get(at..at.checked_add(length)?)?)
    })
}

fn entry_in_notes(mut notes: &[u8]) -> Option<u64> {
    loop {
        let owner_length = usize::try_from(number(notes, 0, 4)?).ok()?.next_multiple_of(4);
        let length = usize::try_from(number(notes, 4, 4)?).ok()?;
        let at = owner_length.checked_add(12)?;
        if number(notes, 8, 4)? == NOTE_PHYS32_ENTRY {
            return number(notes, at, 4);
        }
        notes = notes.get(at.checked_add(length.next_multiple_of(4))?..)?;
    }
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

const PROGRAM_NOTE: u64 = 4;
const NOTE_PHYS32_ENTRY: u64 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_kernel_names_its_entry() {
        assert_eq!(pvh_entry(&pvh_kernel()), Some(ENTRY));
    }

    #[test]
    fn cut_kernel_has_no_entry_or_the_right_one() {
        let whole = pvh_kernel();
        for length in 0..whole.len() {
            let entry = pvh_entry(&whole[..length]);
            assert!(entry.is_none() || entry == Some(ENTRY), "{length}: {entry:?}");
        }
    }
}
