//! Port accesses: each one instruction of the width asked.
//!
//! They are safe functions: a port can do anything to a machine, but an image is alone on it and hands out no memory
//! to a device that it does not watch.

#![expect(unsafe_code, reason = "in and out")]

use core::arch::asm;

use guest_protocol::Width;

/// Reads a port once; [`Width::Quad`] reads all ones, no port has it.
pub fn read(port: u16, width: Width) -> u32 {
    match width {
        Width::Byte => u32::from(read_byte(port)),
        Width::Word => {
            let value: u16;
            // SAFETY: see the module documentation.
            unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nostack, preserves_flags)) }
            u32::from(value)
        }
        Width::Long => {
            let value: u32;
            // SAFETY: see the module documentation.
            unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags)) }
            value
        }
        Width::Quad => u32::MAX,
    }
}

/// Writes a port once; [`Width::Quad`] writes nothing, no port has it.
pub fn write(port: u16, width: Width, value: u32) {
    match width {
        Width::Byte => write_byte(port, value as u8),
        // SAFETY: see the module documentation.
        Width::Word => unsafe {
            asm!("out dx, ax", in("dx") port, in("ax") value as u16, options(nostack, preserves_flags));
        },
        // SAFETY: see the module documentation.
        Width::Long => unsafe {
            asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
        },
        Width::Quad => {}
    }
}

/// Reads one byte.
pub fn read_byte(port: u16) -> u8 {
    let value: u8;
    // SAFETY: see the module documentation.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) }
    value
}

/// Writes one byte.
pub fn write_byte(port: u16, value: u8) {
    // SAFETY: see the module documentation.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) }
}

/// `rep ins`: fills `bytes` with elements of `width`; a tail shorter than one element stays as it is.
pub fn read_string(port: u16, width: Width, bytes: &mut [u8]) {
    let count = bytes.len() / width.bytes();
    macro_rules! rep {
        ($instruction:literal) => {
            // SAFETY: `count` elements of this width lie inside of `bytes`; the direction flag is clear in Rust.
            unsafe {
                asm!($instruction, in("dx") port, inout("rdi") bytes.as_mut_ptr() => _, inout("rcx") count => _,
                    options(nostack, preserves_flags));
            }
        };
    }
    match width {
        Width::Byte => rep!("rep insb"),
        Width::Word => rep!("rep insw"),
        Width::Long => rep!("rep insd"),
        Width::Quad => {}
    }
}

/// `rep outs`: sends the elements of `width` in `bytes`; a tail shorter than one element is not sent.
pub fn write_string(port: u16, width: Width, bytes: &[u8]) {
    let count = bytes.len() / width.bytes();
    macro_rules! rep {
        ($instruction:literal) => {
            // SAFETY: `count` elements of this width lie inside of `bytes`; the direction flag is clear in Rust.
            unsafe {
                asm!($instruction, in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") count => _,
                    options(nostack, preserves_flags));
            }
        };
    }
    match width {
        Width::Byte => rep!("rep outsb"),
        Width::Word => rep!("rep outsw"),
        Width::Long => rep!("rep outsd"),
        Width::Quad => {}
    }
}
