//! `kvm-floor IMAGE RAM_MIB COMMAND_LINE [BOOT_MARKS_FILE]`: the least a program can do to run a PVH image on KVM.
//!
//! One machine, one memory slot, one CPU, no interrupt controller and two ports: bytes written to 0x3f8 go to
//! standard output, and one written to 0xf4 ends the process; reads give all ones. `touchstone bench boot` measures
//! real VMMs against it, so it shares no code with this package's library.
//!
//! Source: Xen, "x86/HVM direct boot ABI" (PVH); Linux, "The Definitive KVM API Documentation".

#![expect(unsafe_code, reason = "a memory slot is a promise to the kernel")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_start_info};
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::{Cmdline, KernelLoader, load_cmdline};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

fn main() -> ExitCode {
    match boot(Instant::now()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("kvm-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn boot(started: Instant) -> Result<u8> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, image, ram_mib, command_line, rest @ ..] = &arguments[..] else {
        return Err("usage: kvm-floor IMAGE RAM_MIB COMMAND_LINE [BOOT_MARKS_FILE]".into());
    };
    let ram_mib = ram_mib.parse().ok().filter(|mib| (2..=3072_usize).contains(mib));
    let ram_mib = ram_mib.ok_or("RAM_MIB: give 2 to 3072")?;
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), ram_mib << 20)])?;
    let entry = load(&memory, image, command_line).map_err(|error| format!("{image}: {error}"))?;

    let kvm = Kvm::new().map_err(|error| format!("open /dev/kvm: {error}"))?;
    let vm = kvm.create_vm()?;
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: (ram_mib << 20) as u64,
        userspace_addr: memory.get_host_address(GuestAddress(0))? as u64,
    };
    // SAFETY: the range is the whole of `memory`, which lives until the process ends; all access to it from here goes
    // through vm-memory.
    unsafe { vm.set_user_memory_region(slot) }?;
    let mut cpu = vm.create_vcpu(0)?;
    cpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
    start(&cpu, entry)?;
    let (status, exits) = run(&mut cpu)?;
    if let Some(file) = rest.first() {
        let ns = started.elapsed().as_nanos();
        let line =
            format!("{{\"end\":\"debug-exit\",\"ns\":{ns},\"status\":{status},\"exits\":{{\"port_out\":{exits}}}}}\n");
        std::fs::write(file, line).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(status)
}

/// Puts the image, the command line and the start info into memory; returns the entry point.
fn load(memory: &GuestMemoryMmap, image: &str, command_line: &str) -> Result<u64> {
    let loaded = Elf::load(memory, None, &mut File::open(image)?, None)?;
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        return Err("no PVH entry point: give an ELF file with a PVH note".into());
    };
    let mut line = Cmdline::new(COMMAND_LINE_LENGTH_MAX)?;
    line.insert_str(command_line)?;
    load_cmdline(memory, GuestAddress(COMMAND_LINE), &line)?;
    let start_info = hvm_start_info {
        magic: 0x336e_c578,
        version: 1,
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: 1,
        ..Default::default()
    };
    memory.write_obj(start_info, GuestAddress(START_INFO))?;
    let ram = hvm_memmap_table_entry {
        addr: 0,
        size: memory.last_addr().0 + 1,
        type_: 1,
        reserved: 0,
    };
    memory.write_obj(ram, GuestAddress(MEMORY_MAP))?;
    Ok(entry.0)
}

/// 32-bit flat protected mode at the entry point.
fn start(cpu: &VcpuFd, entry: u64) -> Result<()> {
    let mut sregs: kvm_sregs = cpu.get_sregs()?;
    let data = kvm_segment {
        limit: u32::MAX,
        selector: 0x10,
        type_: 3,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    (sregs.ds, sregs.es, sregs.ss, sregs.fs, sregs.gs) = (data, data, data, data, data);
    sregs.cs = kvm_segment {
        selector: 8,
        type_: 11,
        ..data
    };
    sregs.cr0 = 0x11;
    cpu.set_sregs(&sregs)?;
    let regs = kvm_regs {
        rip: entry,
        rbx: START_INFO,
        rflags: 2,
        ..Default::default()
    };
    Ok(cpu.set_regs(&regs)?)
}

/// Runs to a byte on the exit port; that byte as `isa-debug-exit` makes it a status, and how often the guest left.
fn run(cpu: &mut VcpuFd) -> Result<(u8, u64)> {
    let mut exits = 0;
    loop {
        let exit = cpu.run()?;
        exits += 1;
        match exit {
            VcpuExit::IoOut(SERIAL, bytes) => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()?;
            }
            VcpuExit::IoOut(DEBUG_EXIT, bytes) => {
                return Ok((bytes.first().copied().unwrap_or_default() << 1 | 1, exits));
            }
            VcpuExit::IoIn(_, bytes) => bytes.fill(u8::MAX),
            // Without an interrupt nothing wakes it; whoever looks at this process ends it.
            VcpuExit::Hlt => loop {
                std::thread::park();
            },
            other => return Err(format!("the guest left with {other:?}").into()),
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SERIAL: u16 = 0x3f8;
const DEBUG_EXIT: u16 = 0xf4;

const START_INFO: u64 = 0x6000;
const MEMORY_MAP: u64 = 0x6100;
const COMMAND_LINE: u64 = 0x7000;
const COMMAND_LINE_LENGTH_MAX: usize = 2048;
