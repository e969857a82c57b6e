//! Interrupts: a gate for each vector, one handler of the image's, and the only places where they are let in.
//!
//! Source: Intel SDM volume 3, 7.14 "Exception and Interrupt Handling in 64-bit Mode".
//!
//! They are let in by [`window`] and [`halt`] alone, which touch no stack below their return address, so that handlers
//! need no stack of their own. A handler's return leaves interrupts off: each window takes one at most, whatever waits
//! behind it. An NMI comes when it likes and has the exceptions' stack.

#![expect(unsafe_code, reason = "descriptor tables, and handlers that no Rust function calls")]

use core::arch::{asm, global_asm, naked_asm};

use super::{Pointer, Single, faults};

/// What an image does about an interrupt: gets its vector and the stack pointer of the CPU that took it.
pub type Handler = fn(vector: u8, stack: u64);

/// Vector of the NMI, the only one below 32 that a handler gets.
pub const NMI: u8 = 2;

/// Sets up gates for NMI and all vectors from 32 on, on top of those of [`super::install`].
pub fn install(handler: Handler) {
    unsafe extern "C" {
        static interrupt_stubs: u8;
        static nmi_stub: u8;
    }
    // SAFETY: statics of this module, which no handler reads before the table is loaded.
    unsafe {
        *HANDLER.0.get() = Some(handler);
        let gates = &mut *GATES.0.get();
        gates[..FIRST].copy_from_slice(faults::gates());
        for (index, gate) in gates[FIRST..].iter_mut().enumerate() {
            *gate = faults::gate(&raw const interrupt_stubs as u64 + index as u64 * STUB_LENGTH, 0);
        }
        gates[usize::from(NMI)] = faults::gate(&raw const nmi_stub as u64, faults::STACK);
    }
    load_table();
}

/// Makes this CPU use the table that [`install`] set up.
pub fn load_table() {
    let pointer = Pointer {
        limit: size_of::<[[u64; 2]; VECTORS]>() as u16 - 1,
        base: GATES.0.get() as u64,
    };
    // SAFETY: the table is complete and stays where it is.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) }
}

/// Lets interrupts in for a few hundred instructions: a CPU in software notices a short opening late or never.
pub fn window() {
    // SAFETY: handlers keep all registers.
    unsafe { open() }
}

/// Stops the CPU until an interrupt comes. One that waits already ends it at once.
pub fn halt() {
    // SAFETY: handlers keep all registers.
    unsafe { halt_once() }
}

/// Once one came, IF is clear for the rest of it.
#[unsafe(naked)]
unsafe extern "C" fn open() {
    naked_asm!("mov ecx, 128", "sti", "2: dec ecx", "jnz 2b", "cli", "ret")
}

unsafe extern "C" {
    /// STI, HLT, CLI, RET. No interrupt fits between STI and HLT, so none is missed. Where one does get between them,
    /// its handler's return skips the HLT, which nothing would end with IF clear.
    ///
    /// QEMU's emulation of SVM lets it in (`helper_vmrun` leaves out the interrupt shadow that `do_vmexit` saved, at
    /// least up to 7.2): a timer that both the host's and the guest's clock wait for comes exactly there now and then.
    fn halt_once();
}

/// Called by the stubs.
#[unsafe(no_mangle)]
extern "C" fn guest_interrupt(vector: u64, stack: u64) {
    // SAFETY: written once, before any gate led here.
    if let Some(handler) = unsafe { *HANDLER.0.get() } {
        handler(vector as u8, stack);
    }
}

// Stubs of 16 bytes each. The CPU aligns the stack and pushes five words before the vector; nine registers and one word
// of padding make it aligned again. The saved flags lose IF, and where the HLT of `halt_once` would be next, what is
// behind it is.
global_asm!(
    r#"
    .text
    .global halt_once
    .type halt_once, @function
halt_once:
    sti
halt_once_hlt:
    hlt
    cli
    ret
    .size halt_once, . - halt_once
    .balign 16
    .global interrupt_stubs
    .type interrupt_stubs, @function
interrupt_stubs:
    .set vector, 32
    .rept 224
    .balign 16, 0x90
    push vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr
    .balign 16, 0x90
    .size interrupt_stubs, . - interrupt_stubs
    .global nmi_stub
    .type nmi_stub, @function
nmi_stub:
    push 2
interrupt_common:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    sub rsp, 8
    cld
    mov rdi, [rsp + 80]
    mov rsi, rsp
    and dword ptr [rsp + 104], 0xfffffdff
    lea rax, [rip + halt_once_hlt]
    cmp rax, [rsp + 88]
    jne 2f
    inc qword ptr [rsp + 88]
2:
    call guest_interrupt
    add rsp, 8
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
    .size nmi_stub, . - nmi_stub
"#
);

/// First vector that is no exception.
const FIRST: usize = 32;

const VECTORS: usize = 256;

/// Distance between two stubs.
const STUB_LENGTH: u64 = 16;

static GATES: Single<[[u64; 2]; VECTORS]> = Single::new([[0; 2]; VECTORS]);
static HANDLER: Single<Option<Handler>> = Single::new(None);
