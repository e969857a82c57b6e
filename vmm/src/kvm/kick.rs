//! Brings a CPU out of KVM_RUN, without losing a kick that arrives just before it enters.

use std::sync::atomic::{AtomicU8, Ordering};

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use super::SetupError;

/// A handle on a CPU's thread that any thread may use for the rest of the process.
pub(super) struct Kicker {
    immediate_exit: &'static AtomicU8,
    thread: libc::pthread_t,
}

/// Makes the kick's signal harmless. Once for the process, before the first CPU runs.
pub(super) fn prepare() -> Result<(), SetupError> {
    register_signal_handler(SIGRTMIN(), ignore).map_err(SetupError::call("rt_sigaction"))
}

impl Kicker {
    /// A handle on the calling thread, which runs `cpu` and never ends: a machine's CPUs live as long as the process,
    /// whose end frees everything at once. Leaks `cpu` to hold that promise.
    pub(super) fn for_this_thread(cpu: VcpuFd) -> (Kicker, &'static mut VcpuFd) {
        let cpu = Box::leak(Box::new(cpu));
        let field = &raw mut cpu.get_kvm_run().immediate_exit;
        // SAFETY: `field` is one byte, aligned for AtomicU8, in the mapping owned by the leaked `cpu`, hence valid for
        // the rest of the process. From here on Rust writes it only through this atomic: `for_this_thread` is the
        // only caller that takes its address and nobody calls `set_kvm_immediate_exit`. The kernel reads it once at
        // entry and expects other threads to write it.
        let immediate_exit = unsafe { AtomicU8::from_ptr(field) };
        // SAFETY: no preconditions.
        let thread = unsafe { libc::pthread_self() };
        (Kicker { immediate_exit, thread }, cpu)
    }

    /// Makes KVM_RUN return, be it under way or about to start. The caller has set the request that the CPU is to see
    /// before. The CPU's own thread sees it anyway: for it this does nothing.
    pub(super) fn kick(&self) {
        // SAFETY: both are handles of threads that exist.
        if unsafe { libc::pthread_equal(libc::pthread_self(), self.thread) } != 0 {
            return;
        }
        self.immediate_exit.store(1, Ordering::SeqCst);
        // SAFETY: the thread never ends before the process does (see `for_this_thread`), so its handle is valid.
        let _thread_is_there = unsafe { libc::pthread_kill(self.thread, SIGRTMIN()) };
    }

    /// Makes this thread's next KVM_RUN finish what is pending and return without running the guest.
    pub(super) fn hold(&self) {
        self.immediate_exit.store(1, Ordering::SeqCst);
    }

    /// Forgets earlier kicks. The CPU's thread calls this before it looks at requests, so that a kick after that look
    /// still ends the run.
    pub(super) fn arm(&self) {
        self.immediate_exit.store(0, Ordering::SeqCst);
    }
}

/// Does nothing: that the signal came is what ends KVM_RUN.
extern "C" fn ignore(_signal: libc::c_int, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {}
