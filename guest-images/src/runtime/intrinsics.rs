//! The memory functions that the compiler calls; string instructions, because each instruction costs an interpreter
//! about the same.

#![expect(unsafe_code, reason = "the compiler calls these by name, with raw pointers")]

use core::arch::naked_asm;

/// Copies `length` bytes between regions that do not overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!("mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret")
}

/// Copies `length` bytes between regions that may overlap: downwards when `to` lies inside of the source.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        "mov r8, rdi",
        "sub r8, rsi",
        "cmp r8, rdx",
        "jb 2f",
        "rep movsb",
        "ret",
        "2: lea rdi, [rdi + rdx - 1]",
        "lea rsi, [rsi + rdx - 1]",
        "std",
        "rep movsb",
        "cld",
        "ret",
    )
}

/// Fills `length` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    naked_asm!(
        "mov r8, rdi",
        "mov eax, esi",
        "mov rcx, rdx",
        "rep stosb",
        "mov rax, r8",
        "ret"
    )
}

/// Compares `length` bytes: negative, zero or positive as the first difference is.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    naked_asm!(
        "mov rcx, rdx",
        "xor eax, eax",
        "xor edx, edx",
        "2: cmp rdx, rcx",
        "je 3f",
        "movzx eax, byte ptr [rdi + rdx]",
        "movzx r8d, byte ptr [rsi + rdx]",
        "inc rdx",
        "sub eax, r8d",
        "je 2b",
        "3: ret",
    )
}

/// Compares `length` bytes: zero or not.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// Named by precompiled parts of core; never called, a panic stops here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
