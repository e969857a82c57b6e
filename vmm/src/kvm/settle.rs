//! The shared machine: brought up to the host's time, and what its devices tell carried out.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::run::{End, Shared};
use crate::board::serial_port::SerialPort;
use crate::device::Event;
use crate::machine::Machine;
use crate::units::Nanos;

impl Shared {
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        // A panic under the lock ends the run (see `cpu_thread`); until then what it left is good enough to report.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine, brought up to the host's time.
    pub(super) fn machine_now(&self) -> MutexGuard<'_, Machine> {
        let mut machine = self.machine();
        catch_up(&mut machine, self.power_on);
        machine
    }

    /// The machine, brought up to the host's time, unless somebody has it now.
    pub(super) fn try_machine_now(&self) -> Option<MutexGuard<'_, Machine>> {
        let mut machine = match self.machine.try_lock() {
            Ok(machine) => machine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        catch_up(&mut machine, self.power_on);
        Some(machine)
    }

    /// Carries out what the devices told the outside world, and sees to it that the waiting thread wakes in time.
    pub(super) fn settle(&self, machine: &mut Machine) {
        let (mut sent, mut printed) = (Vec::new(), Vec::new());
        for change in machine.take_line_changes() {
            self.vm.set_line(change);
        }
        loop {
            let events = machine.take_events();
            if events.is_empty() {
                break;
            }
            for event in events {
                match event {
                    Event::SerialOut(byte) => sent.push(byte),
                    Event::DebugOut(byte) => printed.push(byte),
                    Event::DebugExit { value } => {
                        // What the guest asked for before it comes before.
                        self.notify_all(machine);
                        self.end(End::guest("debug-exit", (value << 1 | 1) as u8));
                    }
                    Event::BootMark { mark } => self.mark(mark),
                    Event::Reset => {
                        // What the guest asked for before it comes before, also when the run ends here.
                        self.notify_all(machine);
                        self.request_reset();
                    }
                    Event::Msi { address, data } => self.message(machine, address, data),
                    Event::Intr { level } => self.pic_wire(level),
                    Event::VirtioOut => self.peers.send(machine.take_output()),
                }
            }
        }
        if !sent.is_empty() {
            self.output.send(&sent);
        }
        if !printed.is_empty() {
            self.debug_output.send(&printed);
        }
        let deadline = machine.deadline().map_or(u64::MAX, |deadline| deadline.0);
        if deadline < self.timer.load(Ordering::SeqCst) {
            self.timer.store(deadline, Ordering::SeqCst);
            self.wake.raise();
        }
        if self.peers.take_room(machine) {
            self.wake.raise();
        }
        if self.input_waits.load(Ordering::SeqCst) && serial_room(machine) != 0 {
            self.input_waits.store(false, Ordering::SeqCst);
            self.wake.raise();
        }
    }

    /// A message of the IOAPIC to the local APICs. ExtINT means that the vector is the PIC's: KVM's local APICs take
    /// that on their own wire only, so the vector is fetched here and sent as an ordinary interrupt.
    fn message(&self, machine: &mut Machine, address: u64, data: u32) {
        if data & DELIVERY_MODE != DELIVERY_EXT_INT {
            self.vm.signal_msi(address, data);
        } else if let Some(vector) = acknowledge_pic(machine) {
            self.vm.signal_msi(address, u32::from(vector));
        }
    }

    /// The PIC's INT output, wired to LINT0 of the boot CPU.
    fn pic_wire(&self, level: bool) {
        self.pic_waits.store(level, Ordering::SeqCst);
        if level && let Some(boot_cpu) = self.kickers[0].get() {
            boot_cpu.kick();
        }
    }

    fn mark(&self, mark: u8) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marks) = marks.as_mut() {
            marks.mark(mark, &self.exits_json());
        }
    }

    /// Every count of exits so far, as fields of a JSON object.
    pub(super) fn exits_json(&self) -> String {
        let mut kvm = BTreeMap::new();
        self.stats.iter().for_each(|stats| stats.add_to(&mut kvm));
        self.counters.json(&kvm)
    }

    /// Notes that a phase of ours is over.
    pub(super) fn phase(&self, phase: &str) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marks) = marks.as_mut() {
            marks.phase(phase);
        }
    }

    /// Ends the run; the first reason stands.
    pub(super) fn end(&self, end: End) {
        if self.end.set(end).is_ok() {
            self.wake.raise();
        }
    }
}

/// How many typed bytes the serial port takes now.
pub(super) fn serial_room(machine: &Machine) -> usize {
    machine.board().serial.as_ref().map_or(0, SerialPort::room)
}

/// Lets the PIC name its most urgent interrupt; `None` without a PIC.
pub(super) fn acknowledge_pic(machine: &mut Machine) -> Option<u8> {
    machine.with_board(|board, ctx| board.pic.as_mut().map(|pic| pic.acknowledge(ctx)))
}

/// A host time as virtual nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Brings the machine up to the host's time. With timers so fast that the host cannot keep up, gives up after
/// [`CATCH_UP_TIME_MAX`] and leaves the rest for later.
fn catch_up(machine: &mut Machine, power_on: Instant) {
    let target = Nanos(nanos(power_on.elapsed()));
    let began = Instant::now();
    loop {
        match machine.deadline() {
            Some(deadline) if deadline <= target => {
                machine.advance_to(deadline.max(machine.now()).saturating_add(CATCH_UP_STEP).min(target));
            }
            _ => machine.advance_to(target),
        }
        if target <= machine.now() || CATCH_UP_TIME_MAX <= began.elapsed() {
            break;
        }
    }
}

/// Longest time that catching up with the host's clock may take at a stretch.
pub const CATCH_UP_TIME_MAX: Duration = Duration::from_millis(5);

/// Virtual time after which catching up looks at the clock again.
const CATCH_UP_STEP: Nanos = Nanos(100_000);

/// Delivery mode of a message: bits 10:8 of its data.
const DELIVERY_MODE: u32 = 7 << 8;

/// The delivery mode that takes its vector from the PIC.
const DELIVERY_EXT_INT: u32 = 7 << 8;
