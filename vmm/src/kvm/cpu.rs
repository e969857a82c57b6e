//! One virtual CPU: its state at power-on, at the reset vector and at a kernel's entry point.
//!
//! Source: Intel SDM volume 3, "Processor State After Reset", for a start in a firmware and for what a protocol leaves
//! open; for a start without one Xen "x86/HVM direct boot ABI" and "The Linux/x86 Boot Protocol", 64-bit. The former
//! leaves selectors and descriptor tables open: the tables are empty, so a guest that needs one brings its own.

use kvm_bindings::{
    KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED, Msrs, kvm_debugregs, kvm_dtable, kvm_fpu, kvm_lapic_state,
    kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_vcpu_events,
};
use kvm_ioctls::VcpuFd;

use super::vm::Vm;
use super::{SetupError, cpuid};
use crate::boot::direct::Entry;
use crate::boot::linux;

/// A CPU's state at power-on, which a reset puts back.
pub(super) struct PowerOn {
    pub(super) apic_id: u16,
    sregs: kvm_sregs,
    lapic: kvm_lapic_state,
    /// What a reset leaves in EDX: family, model and stepping.
    signature: u32,
}

/// Where the boot CPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// In the firmware, at the reset vector.
    ResetVector,
    /// In a kernel that was loaded for it.
    Direct(Entry),
}

impl PowerOn {
    /// Creates a CPU as it is after power-on, with its local APIC wired to the PIC and to NMI.
    pub(super) fn new(vm: &Vm, apic_id: u16) -> Result<(VcpuFd, PowerOn), SetupError> {
        let fd = vm.create_cpu(apic_id)?;
        let table = cpuid::for_cpu(&vm.supported_cpuid, apic_id)?;
        fd.set_cpuid2(&table).map_err(SetupError::call("KVM_SET_CPUID2"))?;
        let sregs = fd.get_sregs().map_err(SetupError::call("KVM_GET_SREGS"))?;
        let mut lapic = fd.get_lapic().map_err(SetupError::call("KVM_GET_LAPIC"))?;
        if apic_id == 0 {
            set_lapic_register(&mut lapic, lapic::LVT_LINT0, lapic::EXT_INT);
        }
        set_lapic_register(&mut lapic, lapic::LVT_LINT1, lapic::NMI);
        let signature = cpuid::signature(&table);
        let power_on = PowerOn {
            apic_id,
            sregs,
            lapic,
            signature,
        };
        power_on.set_lapic(&fd)?;
        set_msrs(&fd, &POWER_ON_MSRS);
        Ok((fd, power_on))
    }

    /// Puts the CPU where it starts, or to wait for its start-up message if it is not the boot CPU.
    pub(super) fn start(&self, fd: &VcpuFd, start: Start) -> Result<(), SetupError> {
        let Start::Direct(entry) = start else {
            // The special registers are as KVM made the CPU.
            return self.set_reset_registers(fd);
        };
        // What a firmware would have done.
        set_msrs(fd, &[MTRRS_CACHE_ALL]);
        if self.apic_id != 0 {
            return Ok(());
        }
        let mut sregs = self.sregs;
        let regs = match entry {
            Entry::Pvh { eip, start_info } => {
                pvh_segments(&mut sregs);
                kvm_regs {
                    rip: u64::from(eip),
                    rbx: u64::from(start_info),
                    ..Default::default()
                }
            }
            Entry::Linux64(entry) => {
                linux_segments(&mut sregs, &entry);
                kvm_regs {
                    rip: entry.rip,
                    rsi: entry.zero_page,
                    ..Default::default()
                }
            }
        };
        fd.set_sregs(&sregs).map_err(SetupError::call("KVM_SET_SREGS"))?;
        let regs = kvm_regs {
            rflags: RFLAGS_RESERVED,
            ..regs
        };
        fd.set_regs(&regs).map_err(SetupError::call("KVM_SET_REGS"))
    }

    /// Undoes what the guest did since power-on; [`PowerOn::start`] is next.
    pub(super) fn reset(&self, fd: &VcpuFd) -> Result<(), SetupError> {
        // Events first: a pending exception or NMI must not meet the new state.
        fd.set_vcpu_events(&kvm_vcpu_events::default())
            .map_err(SetupError::call("KVM_SET_VCPU_EVENTS"))?;
        // The APIC base goes back with the special registers, so the APIC's registers come after them.
        fd.set_sregs(&self.sregs).map_err(SetupError::call("KVM_SET_SREGS"))?;
        self.set_lapic(fd)?;
        self.set_reset_registers(fd)?;
        let fpu = kvm_fpu {
            fcw: 0x37f,
            mxcsr: 0x1f80,
            ..Default::default()
        };
        fd.set_fpu(&fpu).map_err(SetupError::call("KVM_SET_FPU"))?;
        let debug = kvm_debugregs {
            dr6: 0xffff_0ff0,
            dr7: 0x400,
            ..Default::default()
        };
        fd.set_debug_regs(&debug)
            .map_err(SetupError::call("KVM_SET_DEBUGREGS"))?;
        set_msrs(fd, &RESET_MSRS);
        set_msrs(fd, &POWER_ON_MSRS);
        let state = if self.apic_id == 0 {
            KVM_MP_STATE_RUNNABLE
        } else {
            KVM_MP_STATE_UNINITIALIZED
        };
        fd.set_mp_state(kvm_mp_state { mp_state: state })
            .map_err(SetupError::call("KVM_SET_MP_STATE"))
    }

    fn set_reset_registers(&self, fd: &VcpuFd) -> Result<(), SetupError> {
        let regs = kvm_regs {
            rip: 0xfff0,
            rdx: u64::from(self.signature),
            rflags: RFLAGS_RESERVED,
            ..Default::default()
        };
        fd.set_regs(&regs).map_err(SetupError::call("KVM_SET_REGS"))
    }

    fn set_lapic(&self, fd: &VcpuFd) -> Result<(), SetupError> {
        fd.set_lapic(&self.lapic).map_err(SetupError::call("KVM_SET_LAPIC"))
    }
}

/// Sets model-specific registers one by one; a host that lacks one has nothing to put back.
fn set_msrs(fd: &VcpuFd, values: &[(u32, u64)]) {
    for &(index, data) in values {
        let entry = kvm_msr_entry {
            index,
            data,
            ..Default::default()
        };
        if let Ok(msrs) = Msrs::from_entries(&[entry]) {
            let _not_on_this_host = fd.set_msrs(&msrs);
        }
    }
}

/// 32-bit flat protected mode without paging.
fn pvh_segments(sregs: &mut kvm_sregs) {
    let flat = kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment {
        type_: segment::DATA_READ_WRITE_ACCESSED,
        selector: 0x10,
        ..flat
    };
    sregs.cs = kvm_segment {
        type_: segment::CODE_EXECUTE_READ_ACCESSED,
        selector: 8,
        ..flat
    };
    (sregs.ds, sregs.es, sregs.ss, sregs.fs, sregs.gs) = (data, data, data, data, data);
    sregs.tr = kvm_segment {
        base: 0,
        limit: 0x67,
        type_: segment::TSS_32_BUSY,
        present: 1,
        ..Default::default()
    };
    (sregs.gdt, sregs.idt) = (kvm_dtable::default(), kvm_dtable::default());
    // PE alone; ET is hard-wired to one on every CPU since the 486.
    sregs.cr0 = 0x11;
    (sregs.cr3, sregs.cr4, sregs.efer) = (0, 0, 0);
}

/// 64-bit mode with everything below 4 GiB mapped to itself.
fn linux_segments(sregs: &mut kvm_sregs, entry: &linux::Entry) {
    pvh_segments(sregs);
    sregs.cs.selector = entry.code_selector;
    (sregs.cs.l, sregs.cs.db) = (1, 0);
    for data in [
        &mut sregs.ds,
        &mut sregs.es,
        &mut sregs.ss,
        &mut sregs.fs,
        &mut sregs.gs,
    ] {
        data.selector = entry.data_selector;
    }
    sregs.gdt.base = entry.descriptors;
    sregs.gdt.limit = entry.descriptors_bytes - 1;
    sregs.cr0 |= control::CR0_PG;
    sregs.cr3 = entry.page_tables;
    sregs.cr4 = control::CR4_PAE;
    sregs.efer = control::EFER_LME | control::EFER_LMA;
}

fn set_lapic_register(state: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (byte, value) in state.regs[offset..offset + 4].iter_mut().zip(value.to_le_bytes()) {
        *byte = value as _;
    }
}

mod lapic {
    //! Offsets of local vector table entries and delivery modes (bits 10:8), Intel SDM volume 3, "Local Vector Table".
    pub(super) const LVT_LINT0: usize = 0x350;
    pub(super) const LVT_LINT1: usize = 0x360;
    pub(super) const NMI: u32 = 4 << 8;
    pub(super) const EXT_INT: u32 = 7 << 8;
}

mod control {
    //! Bits of the control registers and of EFER that 64-bit mode has set.
    pub(super) const CR0_PG: u64 = 1 << 31;
    pub(super) const CR4_PAE: u64 = 1 << 5;
    pub(super) const EFER_LME: u64 = 1 << 8;
    pub(super) const EFER_LMA: u64 = 1 << 10;
}

mod segment {
    //! Descriptor types.
    pub(super) const DATA_READ_WRITE_ACCESSED: u8 = 3;
    pub(super) const CODE_EXECUTE_READ_ACCESSED: u8 = 0xb;
    pub(super) const TSS_32_BUSY: u8 = 0xb;
}

const RFLAGS_RESERVED: u64 = 2;

/// Fast strings are on; memory types are not set up.
const POWER_ON_MSRS: [(u32, u64); 2] = [(msr::MISC_ENABLE, 1), (msr::MTRR_DEF_TYPE, 0)];

/// Memory is cacheable unless said otherwise.
const MTRRS_CACHE_ALL: (u32, u64) = (msr::MTRR_DEF_TYPE, 1 << 11 | 6);

/// Reset values of registers a kernel writes. The time-stamp counter goes on, as on a warm start.
const RESET_MSRS: [(u32, u64); 17] = [
    (msr::KVM_SYSTEM_TIME_OLD, 0),
    (msr::KVM_WALL_CLOCK_OLD, 0),
    (msr::KVM_WALL_CLOCK, 0),
    (msr::KVM_SYSTEM_TIME, 0),
    (msr::KVM_ASYNC_PF, 0),
    (msr::KVM_STEAL_TIME, 0),
    (msr::KVM_PV_EOI, 0),
    (msr::SYSENTER_CS, 0),
    (msr::SYSENTER_ESP, 0),
    (msr::SYSENTER_EIP, 0),
    (msr::PAT, 0x0007_0406_0007_0406),
    (msr::TSC_DEADLINE, 0),
    (msr::STAR, 0),
    (msr::LSTAR, 0),
    (msr::CSTAR, 0),
    (msr::SYSCALL_MASK, 0),
    (msr::KERNEL_GS_BASE, 0),
];

mod msr {
    pub(super) const KVM_WALL_CLOCK_OLD: u32 = 0x11;
    pub(super) const KVM_SYSTEM_TIME_OLD: u32 = 0x12;
    pub(super) const KVM_WALL_CLOCK: u32 = 0x4b56_4d00;
    pub(super) const KVM_SYSTEM_TIME: u32 = 0x4b56_4d01;
    pub(super) const KVM_ASYNC_PF: u32 = 0x4b56_4d02;
    pub(super) const KVM_STEAL_TIME: u32 = 0x4b56_4d03;
    pub(super) const KVM_PV_EOI: u32 = 0x4b56_4d04;
    pub(super) const SYSENTER_CS: u32 = 0x174;
    pub(super) const SYSENTER_ESP: u32 = 0x175;
    pub(super) const SYSENTER_EIP: u32 = 0x176;
    pub(super) const MISC_ENABLE: u32 = 0x1a0;
    pub(super) const PAT: u32 = 0x277;
    pub(super) const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub(super) const TSC_DEADLINE: u32 = 0x6e0;
    pub(super) const STAR: u32 = 0xc000_0081;
    pub(super) const LSTAR: u32 = 0xc000_0082;
    pub(super) const CSTAR: u32 = 0xc000_0083;
    pub(super) const SYSCALL_MASK: u32 = 0xc000_0084;
    pub(super) const KERNEL_GS_BASE: u32 = 0xc000_0102;
}
