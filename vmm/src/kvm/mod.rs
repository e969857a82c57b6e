//! The machine on KVM: CPUs run guest code, everything else is [`crate::machine::Machine`].
//!
//! KVM keeps what every accelerator must: the CPUs and their local APICs. IOAPIC, PIC, PIT and all devices are ours, as
//! the machine model asks for (`kernel-irqchip=split`); with `kernel-irqchip=on` those three are KVM's (`chips`).
//!
//! Reading order: `run` (power-on, what the threads share, the end), `cpu_loop` (exits), `settle` (events and time),
//! `wait` (deadlines, typed bytes, signals), `notify` (queues, slow host calls); under them `vm`, `cpu`, `cpuid`,
//! `exit`, `interrupt`, `kick`; beside them `chips`, `counters`, `report` and `peers` (networks and consoles); `tun`
//! is a host call that `host::tap` needs.
//!
//! Threads: one for each CPU, one for serial output, with `ioeventfd=on` one for I/O, and the caller's, which waits
//! for deadlines of devices, typed bytes, signals and the end. The machine lies behind one lock; nobody keeps it
//! longer than one exit's work, or [`CATCH_UP_TIME_MAX`] when time has to catch up.
//!
//! Time: virtual time is the host's monotonic clock since power-on, and kvmclock counts from the same instant. It is
//! handed to the machine before every access; a machine that cannot keep up with its own timers lags behind instead of
//! stopping.

#![expect(
    unsafe_code,
    reason = "KVM's calls and the page it shares with each CPU are the kernel's, not Rust's"
)]

use std::io;

mod chips;
mod counters;
mod cpu;
mod cpu_loop;
mod cpuid;
mod exit;
mod interrupt;
mod kick;
mod notify;
mod peers;
mod report;
mod run;
mod settle;
mod stats;
mod trap;
pub mod tun;
mod vm;
mod wait;

pub use run::{RunError, run};
pub use settle::CATCH_UP_TIME_MAX;

/// The host cannot give us the machine.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No KVM at all, or not for us.
    #[error("open /dev/kvm: {0}; running a guest needs Linux with KVM and the right to use it")]
    Open(#[source] io::Error),
    /// A device of that name which is something else.
    #[error("/dev/kvm is not KVM: {0}; running a guest needs Linux with KVM and the right to use it")]
    NotKvm(#[source] io::Error),
    /// Another interface than the one every kernel since 2.6.22 has.
    #[error("KVM speaks interface version {0}, 12 is needed")]
    Version(i32),
    /// A capability this VMM cannot do without.
    #[error("KVM on this host lacks {0}")]
    Missing(&'static str),
    /// More CPUs than KVM runs in one machine.
    #[error("--smp {cpus}: KVM on this host runs at most {most} CPUs")]
    Cpus {
        /// CPUs asked for.
        cpus: u16,
        /// CPUs there can be.
        most: usize,
    },
    /// More RAM than KVM takes, or than the host's CPU can address.
    #[error("-m: KVM on this host takes no {length_bytes:#x} bytes of RAM at {gpa:#x}: {error}; give less RAM")]
    Memory {
        /// First guest-physical address.
        gpa: u64,
        /// Length of the range.
        length_bytes: u64,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// A call failed.
    #[error("{call}: {error}")]
    Call {
        /// The call's name in the KVM documentation.
        call: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

impl SetupError {
    /// Names the call whose error is being wrapped.
    fn call(call: &'static str) -> impl Fn(vmm_sys_util::errno::Error) -> SetupError {
        move |error| SetupError::Call {
            call,
            error: error.into(),
        }
    }
}

/// Ends the process at once. Whatever [`run`] has returned is flushed already; freeing the machine in order first would
/// only cost the user time.
pub fn leave(status: u8) -> ! {
    // SAFETY: ends the process without running anything of ours; no preconditions.
    unsafe { libc::_exit(i32::from(status)) }
}
