//! Guest-physical memory: any address that the CPU can form, each access one instruction, faults caught.
//!
//! Addresses below 4 GiB are mapped where they are; higher ones come into a window of 4 MiB behind them.

#![expect(unsafe_code, reason = "accesses to addresses that Rust knows nothing about")]

use core::arch::{asm, naked_asm};

use guest_protocol::{ErrorCode, Failure, Width};

use super::{Single, cpu, faults, image_range};

/// Loads once.
///
/// # Errors
/// When the address is out of reach or the access faults.
pub fn load(gpa: u64, width: Width) -> Result<u64, Failure> {
    let address = map(gpa, width.bytes() as u64)?;
    let function = match width {
        Width::Byte => guarded_load_byte,
        Width::Word => guarded_load_word,
        Width::Long => guarded_load_long,
        Width::Quad => guarded_load_quad,
    };
    // SAFETY: the address is mapped or the access faults and is caught; reading harms no Rust object.
    let outcome = unsafe { function(address) };
    outcome.value(gpa, address)
}

/// Stores once.
///
/// # Errors
/// When the address is out of reach, belongs to this image, or the access faults.
pub fn store(gpa: u64, width: Width, value: u64) -> Result<(), Failure> {
    let address = map_foreign(gpa, width.bytes() as u64)?;
    let function = match width {
        Width::Byte => guarded_store_byte,
        Width::Word => guarded_store_word,
        Width::Long => guarded_store_long,
        Width::Quad => guarded_store_quad,
    };
    // SAFETY: the address is not of this image, so no Rust object is there.
    let outcome = unsafe { function(address, value) };
    outcome.value(gpa, address).map(|_| ())
}

/// Reads RAM into `bytes`, at most 2 MiB.
///
/// # Errors
/// When the range is out of reach or an access faults.
pub fn read(gpa: u64, bytes: &mut [u8]) -> Result<(), Failure> {
    let address = map(gpa, bytes.len() as u64)?;
    // SAFETY: the destination is a slice of ours of that length, the source is read only.
    let outcome = unsafe { guarded_copy(bytes.as_mut_ptr() as u64, address, bytes.len() as u64) };
    outcome.value(gpa, address).map(|_| ())
}

/// Writes RAM from `bytes`, at most 2 MiB.
///
/// # Errors
/// When the range is out of reach, touches this image, or an access faults.
pub fn write(gpa: u64, bytes: &[u8]) -> Result<(), Failure> {
    let address = map_foreign(gpa, bytes.len() as u64)?;
    // SAFETY: the destination is not of this image, the source is a slice of ours of that length.
    let outcome = unsafe { guarded_copy(address, bytes.as_ptr() as u64, bytes.len() as u64) };
    outcome.value(gpa, address).map(|_| ())
}

/// Fills RAM with one byte, at most 2 MiB.
///
/// # Errors
/// When the range is out of reach, touches this image, or an access faults.
pub fn fill(gpa: u64, length: u64, byte: u8) -> Result<(), Failure> {
    let address = map_foreign(gpa, length)?;
    // SAFETY: the destination is not of this image.
    let outcome = unsafe { guarded_fill(address, u64::from(byte) * 0x0101_0101_0101_0101, length) };
    outcome.value(gpa, address).map(|_| ())
}

/// Reads a model-specific register.
///
/// # Errors
/// When the CPU does not have it.
pub fn read_msr(index: u32) -> Result<u64, Failure> {
    // SAFETY: reading an MSR changes nothing; a general-protection fault is caught.
    unsafe { guarded_rdmsr(u64::from(index)) }.value(0, 0)
}

/// Virtual address of a guest-physical range; the window is moved there when it lies above 4 GiB.
fn map(gpa: u64, length: u64) -> Result<u64, Failure> {
    let out_of_reach = Failure::new(ErrorCode::ADDRESS, gpa);
    let end = gpa.checked_add(length).ok_or(out_of_reach)?;
    if end <= WINDOW {
        return Ok(gpa);
    }
    if end > 1 << cpu::physical_bits() || length > PAGE {
        return Err(out_of_reach);
    }
    let first = gpa & !(PAGE - 1);
    for (index, page) in [first, first + PAGE].into_iter().enumerate() {
        let entry = if page < 1 << cpu::physical_bits() {
            page | PRESENT_WRITABLE_LARGE
        } else {
            0
        };
        let address = WINDOW + index as u64 * PAGE;
        // SAFETY: the directory is ours, and only this function maps and uses the window.
        unsafe {
            (*window_directory.0.get())[index] = entry;
            asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags));
        }
    }
    Ok(WINDOW + (gpa - first))
}

/// [`map`] for a range to write, which no part of this image may be.
fn map_foreign(gpa: u64, length: u64) -> Result<u64, Failure> {
    let (start, end) = image_range();
    if gpa < end && gpa.saturating_add(length) > start {
        return Err(Failure::new(ErrorCode::OWN_MEMORY, gpa));
    }
    map(gpa, length)
}

/// What a guarded access returns in RAX and RDX; the fault handler returns in its place with `fault` set.
#[repr(C)]
struct Outcome {
    value: u64,
    fault: u64,
}

impl Outcome {
    /// The value, or the fault; a page fault is told by its guest-physical address, `gpa` being mapped at `address`.
    fn value(self, gpa: u64, address: u64) -> Result<u64, Failure> {
        if self.fault == 0 {
            return Ok(self.value);
        }
        let mut failure = faults::last().failure();
        if failure.vector == faults::PAGE_FAULT {
            failure.address = failure.address.wrapping_sub(address).wrapping_add(gpa);
        }
        Err(failure)
    }
}

/// Functions of `guarded_start..guarded_end`: they keep to RAX, RCX, RDX, RSI, RDI and push nothing, so that the fault
/// handler may return to their caller from any of their instructions.
macro_rules! guarded {
    ($($name:ident($($argument:ident),*): $($code:literal),+;)+) => {
        $(
            #[unsafe(naked)]
            #[unsafe(link_section = ".text.guarded")]
            unsafe extern "C" fn $name($($argument: u64),*) -> Outcome {
                naked_asm!($($code,)+ "xor edx, edx", "ret")
            }
        )+

        /// Whether an instruction at `address` is one of a guarded function.
        pub(super) fn is_guarded(address: u64) -> bool {
            unsafe extern "C" {
                static guarded_start: u8;
                static guarded_end: u8;
            }
            (&raw const guarded_start as u64..&raw const guarded_end as u64).contains(&address)
        }
    };
}

guarded! {
    guarded_load_byte(address): "movzx eax, byte ptr [rdi]";
    guarded_load_word(address): "movzx eax, word ptr [rdi]";
    guarded_load_long(address): "mov eax, dword ptr [rdi]";
    guarded_load_quad(address): "mov rax, qword ptr [rdi]";
    guarded_store_byte(address, value): "mov byte ptr [rdi], sil";
    guarded_store_word(address, value): "mov word ptr [rdi], si";
    guarded_store_long(address, value): "mov dword ptr [rdi], esi";
    guarded_store_quad(address, value): "mov qword ptr [rdi], rsi";
    guarded_copy(to, from, length): "mov rcx, rdx", "rep movsb";
    guarded_fill(to, byte, length):
        "mov rax, rsi", "mov rcx, rdx", "shr rcx, 3", "rep stosq", "mov ecx, edx", "and ecx, 7", "rep stosb";
    guarded_rdmsr(index): "mov ecx, edi", "rdmsr", "shl rdx, 32", "mov eax, eax", "or rax, rdx";
}

/// A page of the window, and of all the map.
const PAGE: u64 = 2 << 20;

/// Where the window begins, and the identity map ends.
const WINDOW: u64 = 4 << 30;

const PRESENT_WRITABLE_LARGE: u64 = 0x83;

unsafe extern "C" {
    /// Page directory of the window, in the tables of the entry code.
    static window_directory: Single<[u64; 512]>;
}
