//! The I/O thread: it carries out notifications of virtio queues that come without an exit, and host calls that
//! devices leave to it.
//!
//! Source: Linux, The Definitive KVM API Documentation, 4.59 KVM_IOEVENTFD.
//!
//! With `ioeventfd=on` a store of a queue's index to `QueueNotify`, 4 bytes wide, adds to an eventfd and the CPU goes
//! on. This thread then does what the store would have done: the same store, under the machine's lock. Any other store
//! to the register (another width, an index of no queue) still exits.
//!
//! What a guest can tell: only when. Every other way to the device looks first whether a notification is waiting and
//! carries it out before itself: any access to the same transport, a reset of the machine, the guest's own end of the
//! run. A notification is taken off its eventfd under the lock by whoever is first, so it is carried out exactly once,
//! never after an access that the same CPU made later, and never on the new life of a device that was reset. Several
//! stores that come before anyone looks count as one: processing a queue looks at all of it anyway.
//!
//! Registrations are made before the first CPU runs and never undone: undoing one costs the host ten milliseconds.
//!
//! A flush of a disk may take the host long, so the I/O thread waits for it without the lock, and the request completes
//! afterwards. Reads and writes of a disk do hold the lock: they move data between the host's page cache and guest
//! memory while the ring they came from must stay as it is, which the lock is for. A guest that waits on a slow host's
//! disk can therefore hold up its other CPUs' exits for [`crate::virtio::blk::ROUND_BYTES_MAX`] at a time.
//!
//! Off is the default, by measurement (software KVM, 2 CPUs, QEMU's default is on). A guest that waits for each of 400
//! requests of entropy makes 413 exits with `off` and 13 with `on`, and takes 7.6 ms with `off` and 13.8 ms with `on`:
//! what an exit costs is less than what waking another thread takes. It pays for guests that go on meanwhile, and for
//! those whose disk is slow to flush.
//!
//! There is no irqfd. It would take the place of one call by another: measured as above, KVM_SIGNAL_MSI takes 1.4 us
//! and a write to an irqfd with the same message 1.5 to 1.8 us; KVM_IRQ_LINE up and down take 2.3 us, a write to an
//! irqfd of that line 2.0 us. It spares something only where who interrupts is not this process. And it would be seen:
//! the wire of a virtio device is high until the guest acknowledges, which is what a read of the 8259's or the
//! IOAPIC's request register shows. An irqfd is a pulse, or with a resampler high until an EOI, masked or not.

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use kvm_ioctls::IoEventAddress;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::SetupError;
use super::run::{End, Shared};
use super::vm::Vm;
use crate::board::Board;
use crate::host::sandbox::Role;
use crate::host::wake::Wake;
use crate::machine::Machine;
use crate::units::Width;
use crate::virtio::mmio::{QUEUE_NOTIFY, REGION_BYTES};
use crate::virtio::{Background, Job};

/// Everything the I/O thread waits for.
pub(super) struct Notifications {
    queues: Vec<QueueNotification>,
    jobs: Arc<Jobs>,
    epoll: Epoll,
}

/// One queue of one device.
struct QueueNotification {
    /// Guest-physical address of the device's transport.
    transport: u64,
    index: u16,
    event: EventFd,
}

/// Host calls that devices left behind.
struct Jobs {
    waiting: Mutex<Vec<Job>>,
    wake: Wake,
}

impl Notifications {
    /// Makes KVM hold the notifications of every queue, and gives the devices somewhere to leave slow host calls.
    ///
    /// # Errors
    /// The host has no file descriptors left, or KVM refuses.
    pub(super) fn register(vm: &Vm, machine: &mut Machine) -> Result<Notifications, SetupError> {
        let eventfd = |error| SetupError::Call { call: "eventfd", error };
        let epoll_call = |error| SetupError::Call { call: "epoll", error };
        let jobs = Arc::new(Jobs {
            waiting: Mutex::default(),
            wake: Wake::new().map_err(eventfd)?,
        });
        let epoll = Epoll::new().map_err(epoll_call)?;
        let watch = |fd, number| {
            let event = EpollEvent::new(EventSet::IN, number);
            epoll.ctl(ControlOperation::Add, fd, event).map_err(epoll_call)
        };
        watch(jobs.wake.as_raw_fd(), JOBS)?;
        let mut queues = Vec::new();
        for (transport, index) in queues_of(machine.board()) {
            let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(eventfd)?;
            vm.register_ioevent(
                &event,
                &IoEventAddress::Mmio(transport + QUEUE_NOTIFY),
                u32::from(index),
            )?;
            watch(event.as_raw_fd(), queues.len() as u64)?;
            queues.push(QueueNotification {
                transport,
                index,
                event,
            });
        }
        machine.with_board(|board, _| {
            for backend in board
                .transports
                .iter_mut()
                .filter_map(|transport| transport.backend_mut())
            {
                backend.use_background(Arc::clone(&jobs) as Arc<dyn Background>);
            }
        });
        Ok(Notifications { queues, jobs, epoll })
    }
}

impl Shared {
    /// Carries out notifications that wait for a transport which an access of `length` bytes at `gpa` reaches. To be
    /// called before the access.
    pub(super) fn notify_before(&self, machine: &mut Machine, gpa: u64, length: usize) {
        self.carry_out(machine, |transport| {
            transport < gpa.saturating_add(length as u64) && gpa - gpa.min(transport) < REGION_BYTES
        });
    }

    /// Carries out all notifications that wait.
    pub(super) fn notify_all(&self, machine: &mut Machine) {
        self.carry_out(machine, |_| true);
    }

    /// The I/O thread, if there is something for it; returns only by a mistake of ours.
    pub(super) fn io_thread(&self) {
        let Some(notifications) = &self.notifications else {
            return;
        };
        let entered = self.sandbox.enter(Role::Io);
        self.confined.wait();
        let what = match entered {
            Ok(()) => match catch_unwind(AssertUnwindSafe(|| self.io_loop(notifications))) {
                Ok(error) => error.to_string(),
                // The panic has been printed.
                Err(_) => "internal error".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        self.end(End::failure(format!("microvm: I/O thread: {what}\n")));
    }

    fn io_loop(&self, notifications: &Notifications) -> std::io::Error {
        let mut ready = [EpollEvent::default(); READY_MAX];
        loop {
            let count = match notifications.epoll.wait(-1, &mut ready) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return error,
            };
            let mut has_jobs = false;
            let mut machine = self.machine_now();
            for event in &ready[..count] {
                match notifications.queues.get(event.data() as usize) {
                    Some(queue) => queue.carry_out(&mut machine),
                    None => has_jobs = true,
                }
            }
            self.settle(&mut machine);
            drop(machine);
            if has_jobs {
                self.run_jobs(&notifications.jobs);
            }
        }
    }

    /// Makes the host calls that wait, without the machine, and lets the devices that left them look at how they went.
    fn run_jobs(&self, jobs: &Jobs) {
        jobs.wake.lower();
        for job in jobs.take() {
            job();
        }
        let mut machine = self.machine_now();
        machine.with_board(|board, ctx| {
            let waits = |backend: &dyn crate::virtio::VirtioDevice| backend.waits_for_host();
            for transport in &mut board.transports {
                if transport.backend().is_some_and(waits) {
                    transport.run(ctx);
                }
            }
        });
        self.settle(&mut machine);
    }

    fn carry_out(&self, machine: &mut Machine, is_wanted: impl Fn(u64) -> bool) {
        let queues = self
            .notifications
            .iter()
            .flat_map(|notifications| &notifications.queues);
        for queue in queues.filter(|queue| is_wanted(queue.transport)) {
            queue.carry_out(machine);
        }
    }
}

impl QueueNotification {
    /// Makes the store that was held back, if there was one.
    fn carry_out(&self, machine: &mut Machine) {
        if self.event.read().is_ok() {
            machine.store(self.transport + QUEUE_NOTIFY, Width::Dword, u64::from(self.index));
        }
    }
}

impl Jobs {
    fn take(&self) -> Vec<Job> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Background for Jobs {
    fn later(&self, job: Job) -> Result<(), Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if JOBS_MAX <= waiting.len() {
            return Err(job);
        }
        waiting.push(job);
        self.wake.raise();
        Ok(())
    }
}

/// The transport and the index of every queue there is.
fn queues_of(board: &Board) -> Vec<(u64, u16)> {
    let mut all = Vec::new();
    for transport in &board.transports {
        let count = transport.backend().map_or(0, |backend| backend.queue_sizes().len()) as u16;
        all.extend((0..count).map(|index| (transport.config().base, index)));
    }
    all
}

/// What the event of waiting jobs is called; queues are called by their place in the list.
const JOBS: u64 = u64::MAX;

/// Events taken at a time; the rest come with the next look.
const READY_MAX: usize = 32;

/// Most host calls that wait. A device whose call is refused makes it itself.
const JOBS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::config::{Config, DeviceConfig, DeviceKind};

    #[test]
    fn every_queue_of_every_device_is_listed_and_no_empty_slot() {
        let rng = |transport| DeviceConfig {
            kind: DeviceKind::Rng,
            transport,
        };
        let config = Config {
            devices: vec![rng(None), rng(Some(2))],
            ..Config::default()
        };
        let machine = Machine::new(&config).expect("128 MiB fit");
        assert_eq!(queues_of(machine.board()), [(0xc000_0400, 0), (0xc000_0e00, 0)]);
    }

    #[test]
    fn full_list_gives_a_job_back() {
        let jobs = Jobs {
            waiting: Mutex::default(),
            wake: Wake::new().expect("an eventfd"),
        };
        for _ in 0..JOBS_MAX {
            assert!(jobs.later(Box::new(|| {})).is_ok());
        }
        assert!(jobs.later(Box::new(|| {})).is_err());
        assert_eq!(jobs.take().len(), JOBS_MAX);
        assert!(jobs.later(Box::new(|| {})).is_ok());
    }
}
