//! From the PVH entry in 32-bit protected mode to Rust in long mode.
//!
//! Source: Xen, "x86/HVM direct boot ABI" (PVH); Intel SDM volume 3, 11.8.5 "Initializing IA-32e Mode".
//!
//! The page tables are data of the image, so that no instruction is spent on them: an interpreter needs longer for a
//! loop over 2048 entries than for all the rest of the way. 0..4 GiB are mapped to themselves in pages of 2 MiB; two
//! pages behind them are a window for higher addresses ([`super::memory`]).

use core::arch::global_asm;

use super::Single;

/// Registers as the loader left them, and two points in time.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct EntryState {
    /// Time stamp counter at the first instruction.
    pub entry_tsc: u64,
    /// Time stamp counter at the first instruction in long mode.
    pub long_mode_tsc: u64,
    /// EAX.
    pub eax: u32,
    /// EBX, the address of the start info.
    pub ebx: u32,
    /// ESP.
    pub esp: u32,
    /// EFLAGS.
    pub eflags: u32,
    /// CR0.
    pub cr0: u32,
    /// CR3.
    pub cr3: u32,
    /// CR4.
    pub cr4: u32,
    /// Selectors CS, DS, ES, SS.
    pub selectors: [u16; 4],
}

/// The registers that the loader started this image with.
#[expect(unsafe_code, reason = "the entry code writes this static")]
pub fn entry_state() -> EntryState {
    unsafe extern "C" {
        static entry_state: Single<EntryState>;
    }
    // SAFETY: the entry code wrote it before any Rust ran and nothing writes it later.
    unsafe { *entry_state.0.get() }
}

#[expect(unsafe_code, reason = "the image's first instructions cannot be Rust")]
mod code {
    use super::global_asm;

    // EFLAGS is read last with a stack of our own; `cli` and `cld` come after it. RDTSC and the saves overwrite EAX, so
    // EAX goes first. Nothing assumes flags, a stack or a GDT of the loader, as the boot ABI demands.
    global_asm!(
        r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4                        /* n_namesz */
    .long 4                        /* n_descsz */
    .long 18                       /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .section .data.entry, "aw", @progbits
    .balign 8
    .global entry_state
    .type entry_state, @object
entry_state:
    .skip 56
    .size entry_state, . - entry_state

    .section .text32, "ax", @progbits
    .code32
    .global pvh_entry
    .type pvh_entry, @function
pvh_entry:
    movl %eax, entry_state + 16
    rdtsc
    movl %eax, entry_state + 0
    movl %edx, entry_state + 4
    movl %ebx, entry_state + 20
    movl %esp, entry_state + 24
    movl $stack_top, %esp
    pushfl
    popl entry_state + 28
    cli
    cld
    movl %cr0, %eax
    movl %eax, entry_state + 32
    movl %cr3, %eax
    movl %eax, entry_state + 36
    movl %cr4, %eax
    movl %eax, entry_state + 40
    movw %cs, entry_state + 44
    movw %ds, entry_state + 46
    movw %es, entry_state + 48
    movw %ss, entry_state + 50

    lgdtl gdt_pointer
    movl %cr4, %eax
    orl $0x620, %eax               /* PAE; OSFXSR and OSXMMEXCPT, so that a stray SSE move is no fault */
    movl %eax, %cr4
    movl $page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx         /* EFER */
    rdmsr
    orl $0x100, %eax               /* LME */
    wrmsr
    movl %cr0, %eax
    andl $0x9ffffff3, %eax         /* caches on, no emulation of the FPU, no task-switch trap */
    orl $0x80010022, %eax          /* PG; WP, NE, MP */
    movl %eax, %cr0
    ljmpl $0x08, $long_mode
    .size pvh_entry, . - pvh_entry

    .text
    .code64
    .type long_mode, @function
long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $stack_top, %esp
    rdtsc
    movl %eax, entry_state + 8
    movl %edx, entry_state + 12
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    shrl $3, %ecx
    xorl %eax, %eax
    rep stosq
    movl entry_state + 20, %edi
    xorl %ebp, %ebp
    call guest_main
2:  cli
    hlt
    jmp 2b
    .size long_mode, . - long_mode

    .section .data.gdt, "aw", @progbits
    .balign 8
    .global gdt
    .type gdt, @object
gdt:
    .quad 0
    .quad 0x00af9b000000ffff       /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff       /* 0x10: data */
    .quad 0, 0                     /* 0x18: task state, filled in by runtime::faults */
    .size gdt, . - gdt
    .type gdt_pointer, @object
gdt_pointer:
    .word 39
    .long gdt
    .size gdt_pointer, . - gdt_pointer

    .section .data.page_tables, "aw", @progbits
    .balign 4096
    .global page_map
page_map:
    .quad page_pointers + 3
    .fill 511, 8, 0
page_pointers:
    .quad page_directories + 0x0003
    .quad page_directories + 0x1003
    .quad page_directories + 0x2003
    .quad page_directories + 0x3003
    .quad window_directory + 3
    .fill 507, 8, 0
page_directories:
    .set address, 0
    .rept 2048
    .quad address + 0x83           /* present, writable, 2 MiB */
    .set address, address + 0x200000
    .endr
    .global window_directory
    .type window_directory, @object
window_directory:
    .fill 512, 8, 0
    .size window_directory, . - window_directory
    .text
"#,
        options(att_syntax)
    );
}

const _: () = assert!(core::mem::offset_of!(EntryState, eax) == 16);
const _: () = assert!(core::mem::offset_of!(EntryState, selectors) == 44);
const _: () = assert!(size_of::<EntryState>() == 56);
