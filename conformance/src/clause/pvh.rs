//! The boot ABI by which a kernel is entered: PVH.

use super::{Clause, Document, Origin};

/// The ABI, with the public header `start_info.h` that it refers to.
pub static DOCUMENT: Document = Document {
    name: "pvh",
    title: "Xen x86/HVM direct boot ABI, and public/arch-x86/hvm/start_info.h, version 1",
    url: "https://xenbits.xen.org/docs/unstable/misc/pvh.html",
    origin: Origin::BootProtocol,
};

clauses! { "pvh", DOCUMENT;
    ENTRY = "entry", "XEN_ELFNOTE_PHYS32_ENTRY",
        "The kernel is loaded and entered at the address that its PHYS32_ENTRY note names, and runs from there.";
    ENTRY_STATE = "entry-state", "machine state at the entry point",
        "At the entry CR0 has PE alone of its writeable bits, CR4 is 0, VM, IF and TF are 0, EBX has the start info.";
    START_INFO = "start-info", "hvm_start_info, magic and version",
        "The start info has the magic number 0x336ec578 and a version from 1 on, which has a memory map.";
    MODULES = "modules", "hvm_start_info, nr_modules and modlist_paddr",
        "Each module passed to the kernel has an entry in the module list, an initial RAM disk the first.";
    COMMAND_LINE = "command-line", "hvm_start_info, cmdline_paddr",
        "The start info points to the kernel's command line, which ends in a NUL.";
    RSDP = "rsdp", "hvm_start_info, rsdp_paddr",
        "The start info points to the ACPI root pointer, and to nothing where there are no ACPI tables.";
    MEMORY_MAP = "memory-map", "hvm_start_info, memmap_paddr and hvm_memmap_table_entry",
        "The memory map tells each range of addresses once: RAM as type 1, what is no free RAM under another type.";
}
