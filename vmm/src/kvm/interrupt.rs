//! The two ways an interrupt reaches a CPU besides a message: the PIC's wire, and the IOAPIC's wish to hear of EOIs.

use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KVMIO, KvmIrqRouting, kvm_interrupt, kvm_irq_routing_entry, kvm_irq_routing_msi,
};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use super::vm::Vm;
use crate::chip::ioapic::{PIN_COUNT, Route};

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

/// Whether the CPU, as it came back last, can take an interrupt from the PIC right away.
pub(super) fn can_take(cpu: &mut VcpuFd) -> bool {
    let run = cpu.get_kvm_run();
    run.ready_for_interrupt_injection != 0 && run.if_flag != 0
}

/// Asks for an exit as soon as the CPU can take an interrupt, or no longer.
pub(super) fn request_window(cpu: &mut VcpuFd, wanted: bool) {
    cpu.get_kvm_run().request_interrupt_window = u8::from(wanted);
}

/// Gives the CPU a vector from the PIC. Only right after [`can_take`] said yes.
pub(super) fn inject(cpu: &VcpuFd, vector: u8) -> Result<(), errno::Error> {
    let interrupt = kvm_interrupt { irq: u32::from(vector) };
    // SAFETY: the call reads one `kvm_interrupt`, which lives until it returns.
    match unsafe { ioctl_with_ref(cpu, KVM_INTERRUPT(), &interrupt) } {
        0 => Ok(()),
        _ => errno::errno_result(),
    }
}

/// Which vectors of the IOAPIC's pins are level-triggered: their EOI must come back to us as an exit.
#[derive(Debug, Default)]
pub(super) struct EoiRoutes {
    known: Vec<(u32, Route)>,
}

impl EoiRoutes {
    /// Tells KVM when the level-triggered pins changed. Edge-triggered pins need no EOI, and telling costs time.
    pub(super) fn update(&mut self, vm: &Vm, routes: &[Route; PIN_COUNT]) {
        let level = |route: &Route| route.data & TRIGGER_LEVEL != 0;
        let wanted: Vec<(u32, Route)> = (0..).zip(*routes).filter(|(_, route)| level(route)).collect();
        if wanted == self.known {
            return;
        }
        let entries: Vec<_> = wanted.iter().map(|&(pin, route)| entry(pin, route)).collect();
        if let Ok(table) = KvmIrqRouting::from_entries(&entries) {
            // A destination that no CPU has is the guest's affair; the kernel takes any.
            let _refused = vm.set_gsi_routing(&table);
        }
        self.known = wanted;
    }
}

fn entry(pin: u32, route: Route) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi: pin,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi = kvm_irq_routing_msi {
        address_lo: route.address as u32,
        address_hi: (route.address >> 32) as u32,
        data: route.data,
        ..Default::default()
    };
    entry
}

/// Bit of a message's data.
const TRIGGER_LEVEL: u32 = 1 << 15;
