//! Exceptions: those of a guarded access become its result, any other ends the image with a reason.
//!
//! Each vector has a stack of its own through the IST: precompiled parts of core use the red zone below RSP.

#![expect(unsafe_code, reason = "descriptor tables, and handlers that no Rust function calls")]

use core::{arch::asm, arch::global_asm, fmt};

use guest_protocol::{ErrorCode, Failure};

use super::{Pointer, Single, memory};

/// One exception.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Vector, 0..=31.
    pub vector: u8,
    /// Error code that the CPU pushed, 0 for vectors without one.
    pub error_code: u32,
    /// Instruction that faulted.
    pub instruction: u64,
    /// CR2, the address of a page fault.
    pub address: u64,
}

impl Fault {
    /// The fault as the protocol tells it.
    pub(super) fn failure(&self) -> Failure {
        Failure {
            code: ErrorCode::FAULT,
            vector: self.vector,
            error_code: self.error_code,
            address: if self.vector == PAGE_FAULT {
                self.address
            } else {
                self.instruction
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vector,
            error_code,
            instruction,
            address,
        } = self;
        write!(
            f,
            "exception vector={vector} error_code={error_code:#x} rip={instruction:#x} cr2={address:#x}"
        )
    }
}

/// Sets up the interrupt table and the stack of its handlers; to be called first, once.
pub fn install() {
    unsafe extern "C" {
        static gdt: Single<[u64; 5]>;
        static fault_stack_top: u8;
        static fault_stubs: u8;
    }
    // SAFETY: tables of this module and the GDT of the entry code, which nothing else uses while this runs; the
    // descriptors written are those of the SDM, volume 3, 7.14.1 and 8.2.3.
    unsafe {
        let task_state = &mut *TASK_STATE.0.get();
        let stack = &raw const fault_stack_top as u64;
        // IST1 stands at byte 36 of the task state.
        task_state[9] = stack as u32;
        task_state[10] = (stack >> 32) as u32;
        // No I/O bitmap: its offset is behind the limit.
        task_state[25] = (size_of_val(task_state) as u32) << 16;

        let base = TASK_STATE.0.get() as u64;
        let limit = size_of_val(task_state) as u64 - 1;
        let table = &mut *gdt.0.get();
        table[3] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        table[4] = base >> 32;

        let gates = &mut *GATES.0.get();
        for (vector, entry) in gates.iter_mut().enumerate() {
            *entry = gate(&raw const fault_stubs as u64 + vector as u64 * STUB_LENGTH, STACK);
        }
        let pointer = Pointer {
            limit: size_of_val(gates) as u16 - 1,
            base: GATES.0.get() as u64,
        };
        asm!("lidt [{}]", "ltr {:x}", in(reg) &raw const pointer, in(reg) 0x18u32, options(nostack));
    }
}

/// The gates of the exceptions.
pub(super) fn gates() -> &'static [[u64; 2]; 32] {
    // SAFETY: written by `install` alone, which runs first and once.
    unsafe { &*GATES.0.get() }
}

/// A present interrupt gate to `handler` in the code selector 0x08, on that stack of the IST, 0 for none.
pub(super) fn gate(handler: u64, stack: u64) -> [u64; 2] {
    let low = handler & 0xffff | 0x08 << 16 | stack << 32 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// The fault of the last guarded access that had one.
pub(super) fn last() -> Fault {
    // SAFETY: written by the handler, which ended before the guarded access returned.
    unsafe { *LAST.0.get() }
}

/// What the CPU and a stub left on the handler's stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error_code: u64,
    instruction: u64,
    code_selector: u64,
    flags: u64,
    stack: u64,
    stack_selector: u64,
}

/// Called by the stubs; returns when the access was guarded, and then the stub returns to the access's caller.
#[unsafe(no_mangle)]
extern "C" fn guest_fault(frame: &Frame) {
    unsafe extern "Rust" {
        fn guest_fatal(fault: &Fault) -> !;
    }
    let address: u64;
    // SAFETY: reading CR2 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    let fault = Fault {
        vector: frame.vector as u8,
        error_code: frame.error_code as u32,
        instruction: frame.instruction,
        address,
    };
    if !memory::is_guarded(frame.instruction) {
        // SAFETY: defined by the macro `image!` with this signature.
        unsafe { guest_fatal(&fault) }
    }
    // SAFETY: read only after this handler ended.
    unsafe { *LAST.0.get() = fault };
}

// Stubs of 16 bytes each. A handler of a guarded access returns without `iretq`: RSP of the access points to its return
// address, the direction flag is made clear again, and all that its caller expects to be kept was kept.
global_asm!(
    r#"
    .text
    .balign 16
    .global fault_stubs
    .type fault_stubs, @function
fault_stubs:
    .set vector, 0
    .rept 32
    .balign 16, 0x90
    .if ((0x60227d00 >> vector) & 1) == 0    /* vectors 8, 10 to 14, 17, 21, 29, 30 push an error code themselves */
    push 0
    .endif
    push vector
    jmp fault_common
    .set vector, vector + 1
    .endr
    .balign 16, 0x90
fault_common:
    cld
    mov rdi, rsp
    call guest_fault
    mov rsp, [rsp + 40]
    mov edx, 1
    ret
    .size fault_stubs, . - fault_stubs
"#
);

static TASK_STATE: Single<[u32; 26]> = Single::new([0; 26]);
static GATES: Single<[[u64; 2]; 32]> = Single::new([[0; 2]; 32]);
static LAST: Single<Fault> = Single::new(Fault {
    vector: 0,
    error_code: 0,
    instruction: 0,
    address: 0,
});

/// Distance between two stubs.
const STUB_LENGTH: u64 = 16;

/// Stack of the IST that exceptions use.
pub(super) const STACK: u64 = 1;

/// Vector of a page fault.
pub(super) const PAGE_FAULT: u8 = 14;
