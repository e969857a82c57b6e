//! KVM's own chips for `kernel-irqchip=on`: the 8259 pair, the IOAPIC and the 8254, wired as the board wires ours.
//!
//! Source: Linux, "The Definitive KVM API Documentation": KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2, KVM_SET_GSI_ROUTING,
//! KVM_IRQ_LINE, KVM_SET_IRQCHIP, KVM_SET_PIT2, KVM_REINJECT_CONTROL. Power-on state of the 8254 and the wire from
//! GSI 0 to pin 2: the machine as first specified, which sets KVM's chips up so too.
//!
//! Deviations (KVM's, that nothing here can mend; ours are in [`crate::chip`]):
//! - The IOAPIC says version 0x11, as the 82093AA, and has no EOI register; it decodes 256 bytes, not 4 KiB.
//! - Indices without a register read as all ones. A window access of a byte or a word reads the register's low bytes.
//! - An IOAPIC entry with delivery mode ExtINT delivers nothing; the PIC's own wire to LINT0 does.
//! - The 8259s ignore accesses wider than a byte instead of taking them as ascending ports, and so do the 8254's
//!   counters, which see the low byte alone.
//! - Time is the host's: the 8254 ticks on when a CPU is late, and a tick that nobody took in time is lost, as on the
//!   chip (reinjection is off).
//!
//! Port 0x61 stays empty: KVM puts its speaker port there only when KVM_PIT_SPEAKER_DUMMY asks for it.

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVMIO, KvmIrqRouting,
    kvm_irq_routing_entry, kvm_irq_routing_irqchip, kvm_irqchip, kvm_pit_channel_state, kvm_pit_config, kvm_pit_state2,
    kvm_reinject_control,
};
use kvm_ioctls::{Cap, VmFd};
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_io_nr;

use super::SetupError;
use crate::irq::{GSI_COUNT, LineChange};

ioctl_io_nr!(KVM_REINJECT_CONTROL, KVMIO, 0x71);

/// The chips in the kernel, with what a reset puts back.
pub(super) struct Chips {
    irqchips: [kvm_irqchip; 3],
    /// Whether the 8254 is there.
    pit: bool,
}

impl Chips {
    /// What KVM must offer for this.
    pub(super) const NEEDED: [(Cap, &str); 4] = [
        (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
        (Cap::IrqRouting, "KVM_CAP_IRQ_ROUTING"),
        (Cap::PitState2, "KVM_CAP_PIT_STATE2"),
        (Cap::ReinjectControl, "KVM_CAP_REINJECT_CONTROL"),
    ];

    /// Creates and wires the chips, the 8254 only if it is wanted. Before the first CPU.
    pub(super) fn new(fd: &VmFd, pit: bool) -> Result<Chips, SetupError> {
        fd.create_irq_chip().map_err(SetupError::call("KVM_CREATE_IRQCHIP"))?;
        let mut irqchips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC].map(|id| kvm_irqchip {
            chip_id: id,
            ..Default::default()
        });
        for chip in &mut irqchips {
            fd.get_irqchip(chip).map_err(SetupError::call("KVM_GET_IRQCHIP"))?;
        }
        let table = KvmIrqRouting::from_entries(&routes()).map_err(|_| SetupError::Missing("room for 40 routes"))?;
        fd.set_gsi_routing(&table)
            .map_err(SetupError::call("KVM_SET_GSI_ROUTING"))?;
        if pit {
            fd.create_pit2(kvm_pit_config::default())
                .map_err(SetupError::call("KVM_CREATE_PIT2"))?;
            drop_late_ticks(fd).map_err(SetupError::call("KVM_REINJECT_CONTROL"))?;
        }
        let chips = Chips { irqchips, pit };
        chips.start_pit(fd)?;
        Ok(chips)
    }

    /// Puts the power-on state back. The devices have let go of their lines before.
    pub(super) fn reset(&self, fd: &VmFd) -> Result<(), SetupError> {
        // The timer first, so that none of its ticks meets the controllers' new state.
        self.start_pit(fd)?;
        for chip in &self.irqchips {
            fd.set_irqchip(chip).map_err(SetupError::call("KVM_SET_IRQCHIP"))?;
        }
        Ok(())
    }

    /// Tells the chips a line's level.
    pub(super) fn set_line(&self, fd: &VmFd, change: LineChange) {
        // All 24 lines have routes, so there is nothing that KVM could refuse.
        let _routed = fd.set_irq_line(u32::from(change.gsi), change.level);
    }

    fn start_pit(&self, fd: &VmFd) -> Result<(), SetupError> {
        if !self.pit {
            return Ok(());
        }
        let channel = kvm_pit_channel_state {
            count: 0x1_0000,
            mode: 3,
            gate: 1,
            ..Default::default()
        };
        // Nothing on this machine opens the gate of channel 2.
        let gated = kvm_pit_channel_state { gate: 0, ..channel };
        let state = kvm_pit_state2 {
            channels: [channel, channel, gated],
            ..Default::default()
        };
        fd.set_pit2(&state).map_err(SetupError::call("KVM_SET_PIT2"))
    }
}

/// Where each GSI goes: 0 to 15 to the PIC and to the IOAPIC's pin of the same number, but 0 to its pin 2; the others
/// to the IOAPIC alone. Nobody drives GSI 2, which is the slave's.
fn routes() -> Vec<kvm_irq_routing_entry> {
    let mut routes = Vec::new();
    for gsi in (0..u32::from(GSI_COUNT)).filter(|&gsi| gsi != 2) {
        match gsi {
            0..8 => routes.push(route(gsi, KVM_IRQCHIP_PIC_MASTER, gsi)),
            8..16 => routes.push(route(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8)),
            _ => {}
        }
        let pin = if gsi == 0 { 2 } else { gsi };
        routes.push(route(gsi, KVM_IRQCHIP_IOAPIC, pin));
    }
    routes
}

fn route(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        ..Default::default()
    };
    entry.u.irqchip = kvm_irq_routing_irqchip { irqchip, pin };
    entry
}

/// Ticks that the guest did not take in time are lost instead of coming later.
fn drop_late_ticks(fd: &VmFd) -> Result<(), errno::Error> {
    let control = kvm_reinject_control::default();
    // SAFETY: the call reads one `kvm_reinject_control`, which lives until it returns.
    match unsafe { ioctl_with_ref(fd, KVM_REINJECT_CONTROL(), &control) } {
        0 => Ok(()),
        _ => errno::errno_result(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_reaches_pin_2_and_every_other_line_its_own() {
        let seen: Vec<_> = routes()
            .iter()
            .map(|entry| {
                // SAFETY: all routes are of type KVM_IRQ_ROUTING_IRQCHIP, whose member this is.
                let to = unsafe { entry.u.irqchip };
                (entry.gsi, to.irqchip, to.pin)
            })
            .collect();
        assert_eq!(seen.len(), 15 + 23);
        for expected in [
            (0, 0, 0),
            (0, 2, 2),
            (1, 2, 1),
            (5, 0, 5),
            (8, 1, 0),
            (12, 1, 4),
            (23, 2, 23),
        ] {
            assert!(seen.contains(&expected), "{expected:?} not in {seen:?}");
        }
        let onto_pin_2 = seen.iter().filter(|(_, chip, pin)| (*chip, *pin) == (2, 2));
        assert_eq!(onto_pin_2.count(), 1);
    }
}
