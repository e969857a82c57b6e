//! Guests made of a few bytes: a PVH ELF around machine code that is written out in the test.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use kvm_ioctls::Kvm;

/// Where a guest's code is loaded and entered.
pub(crate) const LOAD_ADDRESS: u32 = 0x10_0000;

/// Where a guest gathers what it saw.
pub(crate) const SEEN: u32 = 0x20_0000;

/// A guest: 32-bit code at [`LOAD_ADDRESS`], and zeros behind it.
pub(crate) struct Guest {
    code: Vec<u8>,
}

impl Guest {
    /// A guest of this code, entered at its first byte.
    pub(crate) fn new(code: &[u8]) -> Guest {
        Guest { code: code.to_vec() }
    }

    /// The ELF file: header, a loadable segment of 64 KiB in memory, and a note with the PVH entry point.
    pub(crate) fn elf(&self) -> Vec<u8> {
        let note_at = HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;
        let code_at = note_at + NOTE_BYTES;
        let code_bytes = self.code.len() as u64;
        let mut file = Vec::new();
        file.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        for half in [2_u16, 62] {
            file.extend(half.to_le_bytes()); // executable, x86-64
        }
        file.extend(1_u32.to_le_bytes());
        for word in [u64::from(LOAD_ADDRESS), HEADER_BYTES, 0] {
            file.extend(word.to_le_bytes()); // entry, program headers, no section headers
        }
        file.extend(0_u32.to_le_bytes());
        for half in [HEADER_BYTES as u16, PROGRAM_HEADER_BYTES as u16, 2, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        program_header(
            &mut file,
            PT_LOAD,
            code_at,
            u64::from(LOAD_ADDRESS),
            code_bytes,
            MEMORY_BYTES,
        );
        program_header(&mut file, PT_NOTE, note_at, 0, NOTE_BYTES, NOTE_BYTES);
        for word in [4_u32, 4, 18] {
            file.extend(word.to_le_bytes()); // name bytes, contents bytes, XEN_ELFNOTE_PHYS32_ENTRY
        }
        file.extend(*b"Xen\0");
        file.extend(LOAD_ADDRESS.to_le_bytes());
        file.extend(&self.code);
        file
    }
}

/// Code that sends the first `length` bytes at [`SEEN`] out of the serial port.
pub(crate) fn seen(length: u32) -> Vec<u8> {
    let mut code = vec![
        0xfc, // cld
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xbe, // mov esi, SEEN
    ];
    code.extend(SEEN.to_le_bytes());
    code.push(0xb9); // mov ecx, length
    code.extend(length.to_le_bytes());
    code.extend([0xf3, 0x6e]); // rep outsb
    code
}

/// Code that ends the run with `(value << 1) | 1` and, should that fail, halts for good.
pub(crate) fn exit(value: u8) -> Vec<u8> {
    vec![
        0xb0, value, // mov al, value
        0xe6, 0xf4, // out 0xf4, al
        0xfa, // cli
        0xf4, // hlt
        0xeb, 0xfc, // jmp back to cli
    ]
}

/// Why no guest can run here, if so: /dev/kvm does not open, or what opens is not KVM.
pub(crate) fn kvm_problem() -> Option<String> {
    match Kvm::new() {
        Err(error) => Some(format!("/dev/kvm: {error}")),
        Ok(kvm) => (kvm.get_api_version() != 12).then(|| "/dev/kvm is not KVM".to_owned()),
    }
}

/// A new folder of its own in the target directory.
pub(crate) fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("run-kvm-{}-{count}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder in the target directory");
    folder
}

fn program_header(file: &mut Vec<u8>, kind: u32, offset: u64, address: u64, file_bytes: u64, memory_bytes: u64) {
    file.extend(kind.to_le_bytes());
    file.extend(7_u32.to_le_bytes());
    for field in [offset, address, address, file_bytes, memory_bytes, 4] {
        file.extend(field.to_le_bytes());
    }
}

const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const NOTE_BYTES: u64 = 20;
const MEMORY_BYTES: u64 = 0x1_0000;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
