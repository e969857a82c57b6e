//! One readable block about a CPU that stands still.

use std::fmt::Write;

use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;

use crate::memory::Memory;

/// Describes why a CPU stopped, its registers and the instruction it stands at; `not_emulated` is what KVM failed at,
/// if it says so. Ends with a newline.
pub(super) fn describe(cpu: &VcpuFd, apic_id: u16, memory: &Memory, why: &str, not_emulated: &[u8]) -> String {
    let mut text = format!("microvm: cpu {apic_id} {why}\n");
    let (Ok(regs), Ok(sregs)) = (cpu.get_regs(), cpu.get_sregs()) else {
        text.push_str("  its registers cannot be read\n");
        return text;
    };
    let at_rip = sregs.cs.base.wrapping_add(regs.rip);
    if !not_emulated.is_empty() {
        line(&mut text, "not emulated", &hex(not_emulated));
    }
    let around = match read_virtual(cpu, memory, at_rip) {
        Some((gpa, bytes)) => format!("{} (at physical {gpa:#x})", hex(&bytes)),
        None => format!("not mapped ({at_rip:#x})"),
    };
    line(&mut text, "bytes at rip", &around);
    line(&mut text, "mode", mode(&sregs));
    registers(&mut text, &regs, &sregs);
    text
}

fn registers(text: &mut String, regs: &kvm_regs, sregs: &kvm_sregs) {
    let general: [&[(&str, u64)]; 7] = [
        &[("rip", regs.rip), ("rflags", regs.rflags)],
        &[
            ("rax", regs.rax),
            ("rbx", regs.rbx),
            ("rcx", regs.rcx),
            ("rdx", regs.rdx),
        ],
        &[
            ("rsi", regs.rsi),
            ("rdi", regs.rdi),
            ("rbp", regs.rbp),
            ("rsp", regs.rsp),
        ],
        &[("r8", regs.r8), ("r9", regs.r9), ("r10", regs.r10), ("r11", regs.r11)],
        &[
            ("r12", regs.r12),
            ("r13", regs.r13),
            ("r14", regs.r14),
            ("r15", regs.r15),
        ],
        &[
            ("cr0", sregs.cr0),
            ("cr2", sregs.cr2),
            ("cr3", sregs.cr3),
            ("cr4", sregs.cr4),
        ],
        &[("efer", sregs.efer), ("apic", sregs.apic_base)],
    ];
    for row in general {
        for (name, value) in row {
            let _to_a_string = write!(text, "  {name:>6} {value:016x}");
        }
        text.push('\n');
    }
    for (name, segment) in [
        ("cs", &sregs.cs),
        ("ss", &sregs.ss),
        ("ds", &sregs.ds),
        ("es", &sregs.es),
        ("tr", &sregs.tr),
    ] {
        line(text, name, &describe_segment(segment));
    }
    for (name, table) in [("gdt", &sregs.gdt), ("idt", &sregs.idt)] {
        line(text, name, &describe_table(table));
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _to_a_string = writeln!(text, "  {name:>12}: {value}");
}

fn describe_segment(segment: &kvm_segment) -> String {
    format!(
        "{:04x} base {:x} limit {:x} type {:x} dpl {} {}{}",
        segment.selector,
        segment.base,
        segment.limit,
        segment.type_,
        segment.dpl,
        if segment.db != 0 { "32-bit" } else { "" },
        if segment.l != 0 { "64-bit" } else { "" },
    )
}

fn describe_table(table: &kvm_dtable) -> String {
    format!("base {:x} limit {:x}", table.base, table.limit)
}

fn mode(sregs: &kvm_sregs) -> &'static str {
    let (protected, paging, long) = (sregs.cr0 & 1 != 0, sregs.cr0 >> 31 & 1 != 0, sregs.efer & 1 << 10 != 0);
    match (protected, paging, long) {
        (false, _, _) => "real",
        (true, false, _) => "protected, no paging",
        (true, true, false) => "protected, paging",
        (true, true, true) => "long",
    }
}

/// The bytes from a virtual address on, to the end of its page at most.
fn read_virtual(cpu: &VcpuFd, memory: &Memory, address: u64) -> Option<(u64, Vec<u8>)> {
    let translation = cpu.translate_gva(address).ok().filter(|answer| answer.valid != 0)?;
    let gpa = translation.physical_address;
    let left_in_page = 0x1000 - (gpa & 0xfff) as usize;
    let length = memory.available(gpa, INSTRUCTION_BYTES_MAX.min(left_in_page));
    let mut bytes = vec![0; length];
    memory.read(gpa, &mut bytes).ok()?;
    (length != 0).then_some((gpa, bytes))
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// The longest x86 instruction.
const INSTRUCTION_BYTES_MAX: usize = 15;
