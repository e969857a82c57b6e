//! From the start-up message in real mode to Rust in long mode, for every CPU but the first.
//!
//! Source: Intel SDM volume 3, 10.4.4 "MP Initialization Example", 11.8.5 "Initializing IA-32e Mode".
//!
//! A CPU draws a number as it comes and owns the area of that number: its descriptor table, task state and stacks. All
//! use the page tables of the boot CPU.

#![expect(unsafe_code, reason = "the first instructions of a CPU, and its tables")]

use core::{
    arch::{asm, global_asm},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use guest_images::runtime::{Pointer, interrupts, memory};
use guest_protocol::Failure;

/// Copies the first instructions, and what they load, to where a start-up message can point, below 1 MiB.
pub(crate) fn prepare() -> Result<(), Failure> {
    unsafe extern "C" {
        static ap_start_16: u8;
        static ap_start_16_end: u8;
        static ap_gdt: u8;
    }
    // SAFETY: both symbols bound one run of bytes of the image.
    let code = unsafe {
        let (start, end) = (&raw const ap_start_16, &raw const ap_start_16_end);
        core::slice::from_raw_parts(start, end as usize - start as usize)
    };
    let page = u64::from(PAGE) << 12;
    let (limit, base) = (31u16.to_le_bytes(), (&raw const ap_gdt as u32).to_le_bytes());
    memory::write(page, code)?;
    memory::write(page + POINTER, &limit)?;
    memory::write(page + POINTER + 2, &base)
}

/// How many CPUs came since [`forget`].
pub(crate) fn count() -> u32 {
    // SAFETY: the entry code changes it by one locked instruction.
    unsafe { ap_ticket.load(SeqCst) }
}

/// Forgets the CPUs that came, before all of them are started anew.
pub(crate) fn forget() {
    // SAFETY: as in `count`.
    unsafe { ap_ticket.store(0, SeqCst) }
}

/// Number of the CPU that uses this stack: 0 for the boot CPU, else one more than what it drew.
pub(crate) fn number(stack: u64) -> usize {
    let areas = &raw const ap_areas as u64;
    match stack.checked_sub(areas).map(|offset| (offset / AREA_LENGTH) as usize) {
        Some(index) if index < CPUS_MAX => index + 1,
        _ => 0,
    }
}

/// Gives this CPU its tables; called first by each that came, with what it drew.
pub(crate) fn set_up(index: u32) {
    let area = &raw const ap_areas as u64 + u64::from(index) * AREA_LENGTH;
    let (table, task_state) = (area as *mut [u64; 5], (area + TASK_STATE) as *mut [u32; 26]);
    let base = area + TASK_STATE;
    let limit = size_of::<[u32; 26]>() as u64 - 1;
    let descriptor = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    let fault_stack = area + FAULT_STACK_TOP;
    let mut state = [0u32; 26];
    state[9] = fault_stack as u32;
    state[25] = (size_of::<[u32; 26]>() as u32) << 16;
    let pointer = Pointer {
        limit: size_of::<[u64; 5]>() as u16 - 1,
        base: area,
    };
    // SAFETY: the area belongs to this CPU alone; code and data descriptors are those that it runs with already.
    unsafe {
        task_state.write(state);
        table.write([0, CODE_64, DATA, descriptor, base >> 32]);
        asm!("lgdt [{}]", "ltr {:x}", in(reg) &raw const pointer, in(reg) 0x18u32, options(nostack));
    }
    interrupts::load_table();
}

/// Page of the first instructions: the vector of the start-up message.
pub(crate) const PAGE: u32 = 0x08;

/// Most CPUs beside the boot CPU; one more than the machine can have.
pub(crate) const CPUS_MAX: usize = 288;

/// Where in that page the operand of the first LGDT lies.
const POINTER: u64 = 0x100;

const AREA_LENGTH: u64 = 8192;
const TASK_STATE: u64 = 64;
const FAULT_STACK_TOP: u64 = 4096;

const CODE_64: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;

unsafe extern "C" {
    static ap_ticket: AtomicU32;
    static ap_areas: u8;
}

// The code and data descriptors that the 16-bit part loads are those of the boot CPU and one for 32-bit code.
global_asm!(
    r#"
    .section .data.ap, "aw", @progbits
    .balign 8
    .global ap_gdt
ap_gdt:
    .quad 0
    .quad 0x00af9b000000ffff       /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff       /* 0x10: data */
    .quad 0x00cf9b000000ffff       /* 0x18: 32-bit code */
    .global ap_ticket
    .type ap_ticket, @object
ap_ticket:
    .long 0
    .size ap_ticket, . - ap_ticket

    .section .noinit.ap, "aw", @nobits
    .balign 4096
    .global ap_areas
    .type ap_areas, @object
ap_areas:
    .skip 288 * 8192
    .size ap_areas, . - ap_areas

    .section .text16, "ax", @progbits
    .code16
    .global ap_start_16
    .type ap_start_16, @function
ap_start_16:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl 0x100                    /* POINTER, in the page of these instructions */
    movl %cr0, %eax
    andl $0x9ffffff3, %eax         /* caches on, no emulation of the FPU */
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x18, $ap_start_32
    .size ap_start_16, . - ap_start_16
    .global ap_start_16_end
ap_start_16_end:

    .section .text32, "ax", @progbits
    .code32
    .type ap_start_32, @function
ap_start_32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %cr4, %eax
    orl $0x620, %eax
    movl %eax, %cr4
    movl $page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80010022, %eax
    movl %eax, %cr0
    ljmpl $0x08, $ap_start_64
    .size ap_start_32, . - ap_start_32

    .text
    .code64
    .type ap_start_64, @function
ap_start_64:
    movl $1, %edi
    lock xaddl %edi, ap_ticket
    cmpl $288, %edi
    jae 2f
    movl %edi, %eax
    incl %eax
    shll $13, %eax
    addl $ap_areas, %eax
    movl %eax, %esp
    xorl %ebp, %ebp
    call ap_main
2:  cli
    hlt
    jmp 2b
    .size ap_start_64, . - ap_start_64
"#,
    options(att_syntax)
);
