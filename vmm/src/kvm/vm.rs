//! The virtual machine: memory slots, where KVM keeps its own pages, the interrupt controllers and the clock.

use std::ffi::CStr;
use std::io;

use kvm_bindings::{
    CpuId, KVM_CAP_X2APIC_API, KVM_MAX_CPUID_ENTRIES, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
    KVM_X2APIC_API_USE_32BIT_IDS, KvmIrqRouting, kvm_clock_data, kvm_enable_cap, kvm_msi, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VcpuFd, VmFd};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

use super::chips::Chips;
use super::{SetupError, cpuid};
use crate::board::config::{Config, KernelIrqchip};
use crate::board::e820::KVM_PAGES;
use crate::irq::{GSI_COUNT, LineChange};
use crate::memory::Memory;
use crate::units::Nanos;

/// A virtual machine with memory and interrupt controllers, without CPUs.
pub(super) struct Vm {
    fd: VmFd,
    /// PIC, IOAPIC and PIT, where they are KVM's.
    chips: Option<Chips>,
    /// What KVM can show to guests, before the parts that differ from CPU to CPU.
    pub(super) supported_cpuid: CpuId,
    /// Keeps the host addresses valid that the slots name.
    _memory: Memory,
}

impl Vm {
    /// Opens /dev/kvm and sets a machine up around `memory`, with the CPUs and interrupt controllers of `config`.
    pub(super) fn new(memory: &Memory, config: &Config) -> Result<Vm, SetupError> {
        let cpus = config.cpus;
        let kvm = open(c"/dev/kvm")?;
        let irqchip = match config.kernel_irqchip {
            KernelIrqchip::Split => SPLIT_NEEDED.as_slice(),
            KernelIrqchip::On => Chips::NEEDED.as_slice(),
        };
        for &(cap, name) in NEEDED.iter().chain(irqchip) {
            if !kvm.check_extension(cap) {
                return Err(SetupError::Missing(name));
            }
        }
        let most = kvm.get_max_vcpus().min(kvm.get_max_vcpu_id());
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
        let supported_cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(SetupError::call("KVM_GET_SUPPORTED_CPUID"))?;
        if XAPIC_CPUS_MAX < cpus {
            if !cpuid::has_x2apic(&supported_cpuid) {
                return Err(SetupError::Missing("the x2APIC that more than 255 CPUs need"));
            }
            wide_apic_ids(&fd)?;
        }
        let chips = match config.kernel_irqchip {
            KernelIrqchip::Split => {
                split_irqchip(&fd)?;
                None
            }
            KernelIrqchip::On => Some(Chips::new(&fd, config.pit.unless_off())?),
        };
        Ok(Vm {
            fd,
            chips,
            supported_cpuid,
            _memory: memory.clone(),
        })
    }

    /// Creates the CPU with this APIC ID.
    pub(super) fn create_cpu(&self, apic_id: u16) -> Result<VcpuFd, SetupError> {
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

    /// Tells KVM's chips a line's level, if they are KVM's.
    pub(super) fn set_line(&self, change: LineChange) {
        if let Some(chips) = &self.chips {
            chips.set_line(&self.fd, change);
        }
    }

    /// Puts KVM's chips into their power-on state, if they are KVM's.
    pub(super) fn reset_chips(&self) -> Result<(), SetupError> {
        self.chips.as_ref().map_or(Ok(()), |chips| chips.reset(&self.fd))
    }

    /// Replaces the routes of the IOAPIC's pins.
    pub(super) fn set_gsi_routing(&self, table: &KvmIrqRouting) -> Result<(), SetupError> {
        self.fd
            .set_gsi_routing(table)
            .map_err(SetupError::call("KVM_SET_GSI_ROUTING"))
    }
}

/// Opens the device and makes sure that it is KVM.
fn open(path: &CStr) -> Result<Kvm, SetupError> {
    let kvm = Kvm::new_with_path(path).map_err(|error| SetupError::Open(error.into()))?;
    match kvm.get_api_version() {
        API_VERSION => Ok(kvm),
        // The call itself failed.
        version if version < 0 => Err(SetupError::NotKvm(io::Error::last_os_error())),
        version => Err(SetupError::Version(version)),
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

/// APIC IDs in KVM's calls have 32 bits, and 255 is a CPU like any other to CPUs in x2APIC mode.
fn wide_apic_ids(fd: &VmFd) -> Result<(), SetupError> {
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_X2APIC_API,
        ..Default::default()
    };
    cap.args[0] = u64::from(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
    fd.enable_cap(&cap)
        .map_err(SetupError::call("KVM_ENABLE_CAP(KVM_CAP_X2APIC_API)"))
}

/// Most CPUs whose APIC IDs all fit 8 bits, less the broadcast ID.
const XAPIC_CPUS_MAX: u16 = 255;

/// One page of identity map, then three of task state: what the machine's memory map reserves under KVM.
const IDENTITY_MAP_ADDRESS: u64 = KVM_PAGES.address;
const TSS_ADDRESS: usize = IDENTITY_MAP_ADDRESS as usize + 0x1000;
const API_VERSION: i32 = 12;

const NEEDED: [(Cap, &str); 5] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SetIdentityMapAddr, "KVM_CAP_SET_IDENTITY_MAP_ADDR"),
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::AdjustClock, "KVM_CAP_ADJUST_CLOCK"),
];

const SPLIT_NEEDED: [(Cap, &str); 1] = [(Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_that_opens_but_is_not_kvm_is_told_apart() {
        let error = open(c"/dev/null").expect_err("not KVM").to_string();
        assert!(error.starts_with("/dev/kvm is not KVM: "), "{error}");
        assert!(
            error.ends_with("running a guest needs Linux with KVM and the right to use it"),
            "{error}"
        );
    }
}
