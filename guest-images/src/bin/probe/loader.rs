//! What the loader left: registers, start info, command line, memory map.
//!
//! Source: Xen, "x86/HVM direct boot ABI" (PVH); public/arch-x86/hvm/start_info.h.

use guest_images::{
    command_line,
    ktap::{Bit, Quoted},
    runtime::{entry_state, memory},
    start_info::{MAGIC, MEMORY_ENTRY_LENGTH, MODULE_LENGTH, MemoryEntry, Module, is_sorted, judge_memory_map},
};

use crate::{Machine, Outcome, Report};

/// The boot ABI: EBX points to the start info, CR0 has PE alone among the bits that matter, CR4 is clear, EFLAGS has
/// VM, TF and IF clear.
pub(crate) fn entry(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let state = entry_state();
    let [cs, ds, es, ss] = state.selectors;
    report.fact(
        "entry",
        format_args!(
            "eax={:#x} ebx={:#x} esp={:#x} eflags={:#x} cr0={:#x} cr3={:#x} cr4={:#x} cs={cs:#x} ds={ds:#x} es={es:#x} \
             ss={ss:#x}",
            state.eax, state.ebx, state.esp, state.eflags, state.cr0, state.cr3, state.cr4
        ),
    );
    report.expect(
        state.cr0 & (CR0_PE | CR0_PG) == CR0_PE,
        format_args!("cr0={:#x}", state.cr0),
    );
    report.expect(state.cr4 == 0, format_args!("cr4={:#x}", state.cr4));
    report.expect(
        state.eflags & (EFLAGS_TF | EFLAGS_IF | EFLAGS_VM) == 0,
        format_args!("eflags={:#x}", state.eflags),
    );
    Outcome::Judged
}

pub(crate) fn start_info(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let address = machine.boot.start_info_address;
    let Some(info) = machine.boot.start_info else {
        report.wrong(format_args!("start-info address={address:#x} unreadable"));
        return Outcome::Judged;
    };
    report.fact(
        "start-info",
        format_args!(
            "address={address:#x} magic={:#x} version={} flags={:#x} modules={} module-list={:#x} command-line={:#x} \
             rsdp={:#x} memory-map={:#x} memory-map-entries={} reserved={:#x}",
            info.magic,
            info.version,
            info.flags,
            info.modules,
            info.module_list,
            info.command_line,
            info.rsdp,
            info.memory_map,
            info.memory_map_entries,
            info.reserved
        ),
    );
    report.expect(info.magic == MAGIC, format_args!("magic={:#x}", info.magic));
    report.expect(info.version >= 1, format_args!("version={}", info.version));
    if info.magic != MAGIC {
        return Outcome::Judged;
    }
    report.expect(info.modules <= MODULES_MAX, format_args!("modules={}", info.modules));
    for index in 0..info.modules.min(MODULES_MAX) {
        let mut bytes = [0; MODULE_LENGTH];
        match memory::read(
            info.module_list.wrapping_add(u64::from(index) * MODULE_LENGTH as u64),
            &mut bytes,
        ) {
            Ok(()) => {
                let Module {
                    base,
                    size,
                    command_line,
                } = Module::from_bytes(&bytes);
                report.fact(
                    "module",
                    format_args!("index={index} base={base:#x} size={size:#x} command-line={command_line:#x}"),
                );
            }
            Err(failure) => report.wrong(format_args!("module={index} {failure}")),
        }
    }
    Outcome::Judged
}

pub(crate) fn command_line(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let text = machine.boot.command_line();
    report.fact(
        "command-line",
        format_args!("length={} text={}", text.len(), Quoted(text)),
    );
    report.expect(!machine.boot.is_cut, format_args!("command-line without an end"));
    if let Some(word) = machine.boot.options().wrong {
        report.wrong(format_args!("option {}", Quoted(word.as_bytes())));
    }
    for word in command_line::virtio_devices(machine.boot.command_line_text()).filter_map(Result::err) {
        report.wrong(format_args!("device {}", Quoted(word.as_bytes())));
    }
    Outcome::Judged
}

pub(crate) fn memory_map(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let Some(info) = machine
        .boot
        .start_info
        .filter(|info| info.magic == MAGIC && info.version >= 1)
    else {
        report.wrong(format_args!("no start info with a memory map"));
        return Outcome::Judged;
    };
    let count = info.memory_map_entries as usize;
    report.expect(count <= MEMORY_ENTRIES_MAX, format_args!("memory-map-entries={count}"));
    let mut map = [MemoryEntry {
        base: 0,
        size: 0,
        kind: 0,
    }; MEMORY_ENTRIES_MAX];
    let mut length = 0;
    for (index, entry) in map.iter_mut().enumerate().take(count) {
        let mut bytes = [0; MEMORY_ENTRY_LENGTH];
        if let Err(failure) = memory::read(
            info.memory_map.wrapping_add((index * MEMORY_ENTRY_LENGTH) as u64),
            &mut bytes,
        ) {
            report.wrong(format_args!("entry={index} {failure}"));
            break;
        }
        *entry = MemoryEntry::from_bytes(&bytes);
        report.fact(
            "memory",
            format_args!(
                "index={index} base={:#x} size={:#x} type={}",
                entry.base, entry.size, entry.kind
            ),
        );
        length = index + 1;
    }
    let sorted = is_sorted(&map[..length]);
    report.fact("memory-map", format_args!("entries={length} sorted={}", Bit(sorted)));
    judge_memory_map(&map[..length], |complaint| report.wrong(format_args!("{complaint}")));
    Outcome::Judged
}

const CR0_PE: u32 = 1 << 0;
const CR0_PG: u32 = 1 << 31;
const EFLAGS_TF: u32 = 1 << 8;
const EFLAGS_IF: u32 = 1 << 9;
const EFLAGS_VM: u32 = 1 << 17;

const MODULES_MAX: u32 = 16;

/// Linux's boot_params holds as many.
const MEMORY_ENTRIES_MAX: usize = 128;
