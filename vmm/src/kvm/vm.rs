//! The virtual machine: memory slots, where KVM keeps its own pages, the split interrupt controllers and the clock.

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KvmIrqRouting, kvm_clock_data, kvm_enable_cap, kvm_msi, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VcpuFd, VmFd};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

use super::SetupError;
use crate::board::e820::KVM_PAGES;
use crate::irq::GSI_COUNT;
use crate::memory::Memory;
use crate::units::Nanos;

/// A virtual machine with memory and interrupt controllers, without CPUs.
pub(super) struct Vm {
    fd: VmFd,
    /// What KVM can show to guests, before the parts that differ from CPU to CPU.
    pub(super) supported_cpuid: CpuId,
    /// Keeps the host addresses valid that the slots name.
    _memory: Memory,
}

impl Vm {
    /// Opens /dev/kvm and sets a machine up around `memory` for `cpus` CPUs.
    pub(super) fn new(memory: &Memory, cpus: u16) -> Result<Vm, SetupError> {
        let kvm = Kvm::new().map_err(|error| SetupError::Open(error.into()))?;
        let version = kvm.get_api_version();
        if version != API_VERSION {
            return Err(SetupError::Version(version));
        }
        for (cap, name) in NEEDED {
            if !kvm.check_extension(cap) {
                return Err(SetupError::Missing(name));
            }
        }
        let most = kvm.get_max_vcpus();
        if most < usize::from(cpus) {
            return Err(SetupError::Cpus { cpus, most });
        }
        let fd = kvm.create_vm().map_err(SetupError::call("KVM_CREATE_VM"))?;
        add_memory(&fd, memory)?;
        // Before the first CPU: that is when KVM takes its pages into use.
        fd.set_identity_map_address(IDENTITY_MAP_ADDRESS)
            .map_err(SetupError::call("KVM_SET_IDENTITY_MAP_ADDR"))?;
        fd.set_tss_address(TSS_ADDRESS)
            .map_err(SetupError::call("KVM_SET_TSS_ADDR"))?;
        split_irqchip(&fd)?;
        let supported_cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(SetupError::call("KVM_GET_SUPPORTED_CPUID"))?;
        Ok(Vm {
            fd,
            supported_cpuid,
            _memory: memory.clone(),
        })
    }

    /// Creates the CPU with this APIC ID.
    pub(super) fn create_cpu(&self, apic_id: u8) -> Result<VcpuFd, SetupError> {
        self.fd
            .create_vcpu(u64::from(apic_id))
            .map_err(SetupError::call("KVM_CREATE_VCPU"))
    }

    /// Makes kvmclock show `now`, so that it and the devices count from the same instant.
    pub(super) fn set_clock(&self, now: Nanos) -> Result<(), SetupError> {
        let clock = kvm_clock_data {
            clock: now.0,
            ..Default::default()
        };
        self.fd.set_clock(&clock).map_err(SetupError::call("KVM_SET_CLOCK"))
    }

    /// Sends a message to the local APICs. What a guest programs may reach no CPU: then nothing happens.
    pub(super) fn signal_msi(&self, address: u64, data: u32) {
        let msi = kvm_msi {
            address_lo: address as u32,
            address_hi: (address >> 32) as u32,
            data,
            ..Default::default()
        };
        let _reached_nobody = self.fd.signal_msi(msi);
    }

    /// Makes 4-byte stores of `value` to `address` add to `event` instead of exiting.
    pub(super) fn register_ioevent(
        &self,
        event: &EventFd,
        address: &IoEventAddress,
        value: u32,
    ) -> Result<(), SetupError> {
        self.fd
            .register_ioevent(event, address, value)
            .map_err(SetupError::call("KVM_IOEVENTFD"))
    }

    /// Replaces the routes of the IOAPIC's pins.
    pub(super) fn set_gsi_routing(&self, table: &KvmIrqRouting) -> Result<(), SetupError> {
        self.fd
            .set_gsi_routing(table)
            .map_err(SetupError::call("KVM_SET_GSI_ROUTING"))
    }
}

fn add_memory(fd: &VmFd, memory: &Memory) -> Result<(), SetupError> {
    for (slot, region) in (0..).zip(memory.map().iter()) {
        let address = region
            .get_host_address(MemoryRegionAddress(0))
            .map_err(|_| SetupError::Missing("host memory behind guest RAM"))?;
        let slot = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: address as u64,
        };
        // SAFETY: the range `address..address + len` is one mapping owned by `memory`, of which [`Vm`] keeps a clone
        // next to the file descriptor, so it outlives the slot. The guest may write to it at any time: all access from
        // Rust goes through vm-memory, which uses volatile copies and hands out no references. Slots do not overlap
        // because the regions of a guest memory map do not.
        unsafe { fd.set_user_memory_region(slot) }.map_err(|error| SetupError::Memory {
            gpa: slot.guest_phys_addr,
            length_bytes: slot.memory_size,
            error: error.into(),
        })?;
    }
    Ok(())
}

/// Local APICs in the kernel; IOAPIC, PIC and PIT are ours.
fn split_irqchip(fd: &VmFd) -> Result<(), SetupError> {
    let mut cap = kvm_enable_cap {
        cap: Cap::SplitIrqchip as u32,
        ..Default::default()
    };
    cap.args[0] = u64::from(GSI_COUNT);
    fd.enable_cap(&cap)
        .map_err(SetupError::call("KVM_ENABLE_CAP(KVM_CAP_SPLIT_IRQCHIP)"))
}

/// One page of identity map, then three of task state: what the machine's memory map reserves under KVM.
const IDENTITY_MAP_ADDRESS: u64 = KVM_PAGES.address;
const TSS_ADDRESS: usize = IDENTITY_MAP_ADDRESS as usize + 0x1000;
const API_VERSION: i32 = 12;

const NEEDED: [(Cap, &str); 6] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SetIdentityMapAddr, "KVM_CAP_SET_IDENTITY_MAP_ADDR"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"),
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::AdjustClock, "KVM_CAP_ADJUST_CLOCK"),
];
