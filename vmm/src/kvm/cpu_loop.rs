//! A CPU's thread: it runs guest code and turns exits into accesses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{OnceLock, PoisonError};
use std::thread;

use kvm_ioctls::VcpuFd;
use vmm_sys_util::errno;

use super::counters::Kind;
use super::cpu::PowerOn;
use super::exit::{self, Broken, Exit};
use super::interrupt;
use super::kick::Kicker;
use super::report;
use super::run::{End, RunError, Shared};
use super::settle::acknowledge_pic;
use crate::chip::ioapic;
use crate::device::Space;
use crate::host::sandbox::Role;
use crate::machine::Machine;
use crate::units::Width;

impl Shared {
    pub(super) fn cpu_thread(&self, fd: VcpuFd, state: &PowerOn) {
        let entered = self.sandbox.enter(Role::Vcpu);
        self.confined.wait();
        self.end(match entered {
            Ok(()) => match catch_unwind(AssertUnwindSafe(|| self.cpu_loop(fd, state))) {
                Ok(end) => end,
                // The panic has been printed.
                Err(_) => End::failure(format!("microvm: cpu {}: internal error\n", state.apic_id)),
            },
            Err(error) => End::failure(format!("microvm: {error}\n")),
        });
        // The handle of this thread stays valid for kicks until the process ends.
        loop {
            thread::park();
        }
    }

    /// Runs a CPU until the machine ends because of it.
    fn cpu_loop(&self, fd: VcpuFd, state: &PowerOn) -> End {
        let (kicker, cpu) = Kicker::for_this_thread(fd);
        let kicker = self.kickers[usize::from(state.apic_id)].get_or_init(|| kicker);
        if state.apic_id == 0 {
            self.phase("run");
        }
        loop {
            kicker.arm();
            if self.stop.load(Ordering::SeqCst) {
                self.show_registers(cpu, state.apic_id);
            }
            if self.reset.load(Ordering::SeqCst) {
                if let Err(error) = self.meet_for_reset(cpu, kicker, state) {
                    return End::failure(format!("microvm: reset the machine: {error}\n"));
                }
                continue;
            }
            if state.apic_id == 0
                && let Err(error) = self.offer_pic_interrupt(cpu)
            {
                return End::failure(format!("microvm: KVM_INTERRUPT: {error}\n"));
            }
            let exit = match exit::run(cpu) {
                Ok(exit) => exit,
                Err(error) => Exit::Broken(Broken::from(format!("KVM_RUN: {error}"))),
            };
            match exit {
                Exit::PortIn { port, width, data } => self.port_in(port, width, data),
                Exit::PortOut { port, width, data } => self.port_out(port, width, data),
                Exit::Load { gpa, data } => self.load(gpa, data),
                Exit::Store { gpa, data } => self.store(gpa, data),
                Exit::Eoi { vector } => self.end_of_interrupt(vector),
                Exit::IrqWindow => self.counters.count(Kind::IrqWindow),
                Exit::Interrupted => self.counters.count(Kind::Interrupted),
                Exit::Shutdown if self.no_reboot => {
                    let mut machine = self.machine_now();
                    self.notify_all(&mut machine);
                    self.settle(&mut machine);
                    return End::guest("guest-reset", 0);
                }
                Exit::Shutdown => self.request_reset(),
                Exit::Broken(broken) => {
                    let machine = self.machine();
                    let what = format!("cannot go on: {}", broken.title);
                    let text = report::describe(cpu, state.apic_id, machine.memory(), &what, &broken.instruction);
                    return End::failure(text);
                }
            }
        }
    }

    /// Shows where the CPU is, which never runs again.
    fn show_registers(&self, cpu: &VcpuFd, apic_id: u16) -> ! {
        let text = report::describe(cpu, apic_id, self.machine().memory(), "was stopped", &[]);
        let mut registers = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        registers.insert(apic_id, text);
        drop(registers);
        self.shown.notify_all();
        loop {
            thread::park();
        }
    }

    fn port_in(&self, port: u16, width: Width, data: &mut [u8]) {
        self.counters.count_access(Kind::PortIn, Space::Port, u64::from(port));
        let mut machine = self.machine_now();
        for element in data.chunks_exact_mut(width.bytes()) {
            let value = machine.port_read(port, width).to_le_bytes();
            element.copy_from_slice(&value[..width.bytes()]);
        }
        self.settle(&mut machine);
    }

    fn port_out(&self, port: u16, width: Width, data: &[u8]) {
        self.counters.count_access(Kind::PortOut, Space::Port, u64::from(port));
        let mut machine = self.machine_now();
        for element in data.chunks_exact(width.bytes()) {
            let mut value = [0; 4];
            value[..width.bytes()].copy_from_slice(element);
            machine.port_write(port, width, u32::from_le_bytes(value));
        }
        self.settle(&mut machine);
    }

    fn load(&self, gpa: u64, data: &mut [u8]) {
        self.counters.count_access(Kind::MmioRead, Space::Mmio, gpa);
        let mut machine = self.machine_now();
        self.notify_before(&mut machine, gpa, data.len());
        for (offset, width) in powers_of_two(data.len()) {
            let value = machine.load(gpa.wrapping_add(offset as u64), width).to_le_bytes();
            data[offset..offset + width.bytes()].copy_from_slice(&value[..width.bytes()]);
        }
        self.settle(&mut machine);
    }

    fn store(&self, gpa: u64, data: &[u8]) {
        self.counters.count_access(Kind::MmioWrite, Space::Mmio, gpa);
        let mut machine = self.machine_now();
        self.notify_before(&mut machine, gpa, data.len());
        let is_ioapic = (ioapic::BASE..ioapic::BASE + ioapic::LENGTH).contains(&gpa);
        for (offset, width) in powers_of_two(data.len()) {
            let mut value = [0; 8];
            value[..width.bytes()].copy_from_slice(&data[offset..offset + width.bytes()]);
            machine.store(gpa.wrapping_add(offset as u64), width, u64::from_le_bytes(value));
        }
        if is_ioapic {
            // Before the message that the store may have caused, so that its EOI is watched for.
            self.update_eoi_routes(&machine);
        }
        self.settle(&mut machine);
    }

    fn end_of_interrupt(&self, vector: u8) {
        self.counters.count(Kind::Eoi);
        let mut machine = self.machine_now();
        machine.with_board(|board, ctx| {
            if let Some(ioapic) = &mut board.ioapic {
                ioapic.eoi(vector, ctx);
            }
        });
        self.settle(&mut machine);
    }

    fn update_eoi_routes(&self, machine: &Machine) {
        if let Some(ioapic) = &machine.board().ioapic {
            let mut routes = self.eoi_routes.lock().unwrap_or_else(PoisonError::into_inner);
            routes.update(&self.vm, &ioapic.routes());
        }
    }

    /// Hands the PIC's interrupt to the boot CPU if there is one and the CPU can take it; else asks to be told when.
    fn offer_pic_interrupt(&self, cpu: &mut VcpuFd) -> Result<(), errno::Error> {
        if self.pic_waits.load(Ordering::SeqCst) && interrupt::can_take(cpu) {
            let mut machine = self.machine_now();
            let vector = acknowledge_pic(&mut machine);
            self.settle(&mut machine);
            drop(machine);
            if let Some(vector) = vector {
                interrupt::inject(cpu, vector)?;
            }
        }
        interrupt::request_window(cpu, self.pic_waits.load(Ordering::SeqCst));
        Ok(())
    }

    /// Resets the machine once all CPUs are here.
    fn meet_for_reset(&self, cpu: &mut VcpuFd, kicker: &Kicker, state: &PowerOn) -> Result<(), RunError> {
        complete_access(cpu, kicker);
        let mut result = Ok(());
        if self.meeting.wait().is_leader() {
            let mut machine = self.machine_now();
            // What the guest asked for before it comes before.
            self.notify_all(&mut machine);
            machine.reset();
            self.update_eoi_routes(&machine);
            self.settle(&mut machine);
            // The lines are low by now.
            result = self.vm.reset_chips().map_err(RunError::from);
            result = result.and_then(|()| self.boot.load(&machine).map(drop));
            self.reset.store(false, Ordering::SeqCst);
        }
        // Nobody touches its CPU before the devices are quiet, and nobody runs before all CPUs are reset.
        self.meeting.wait();
        result?;
        state.reset(cpu)?;
        state.start(cpu, self.start)?;
        self.meeting.wait();
        Ok(())
    }

    /// The guest resets the machine: the run ends, or all CPUs meet for it.
    pub(super) fn request_reset(&self) {
        if self.no_reboot {
            self.end(End::guest("guest-reset", 0));
            return;
        }
        self.counters.count(Kind::Reset);
        self.reset.store(true, Ordering::SeqCst);
        self.kick_all();
    }

    pub(super) fn kick_all(&self) {
        for kicker in self.kickers.iter().filter_map(OnceLock::get) {
            kicker.kick();
        }
    }
}

/// Lets KVM finish the access that the CPU exited with. It does so at the next entry, and an access finished after a
/// reset would change registers that were just reset.
fn complete_access(cpu: &mut VcpuFd, kicker: &Kicker) {
    // An access can take several exits of up to 8 bytes each; a page of string output is the longest.
    for _ in 0..ACCESS_EXITS_MAX {
        kicker.hold();
        if matches!(exit::run(cpu), Ok(Exit::Interrupted) | Err(_)) {
            break;
        }
    }
    kicker.arm();
}

/// Cuts 1 to 8 bytes into accesses a CPU can make, ascending: offsets and widths.
fn powers_of_two(length: usize) -> impl Iterator<Item = (usize, Width)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = length - done;
        let width = Width::ALL.into_iter().rev().find(|width| width.bytes() <= left)?;
        let offset = done;
        done += width.bytes();
        Some((offset, width))
    })
}

/// Most exits of one instruction that is cut short by a reset.
const ACCESS_EXITS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_across_a_page_is_cut_into_what_cpus_do() {
        let cut = |length| {
            powers_of_two(length)
                .map(|(at, width)| (at, width.bytes()))
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(3), [(0, 2), (2, 1)]);
        assert_eq!(cut(7), [(0, 4), (4, 2), (6, 1)]);
        assert_eq!(cut(8), [(0, 8)]);
    }
}
