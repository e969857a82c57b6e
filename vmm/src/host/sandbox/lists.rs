//! The system calls of each role, and why each is there.
//!
//! What no list names is trapped. Calls come from four places: our own code, std (locks, panics, the end of a thread),
//! the C library's allocator, and rustix.

use std::collections::BTreeMap;

use kvm_bindings::{
    KVMIO, kvm_debugregs, kvm_fpu, kvm_interrupt, kvm_irq_level, kvm_irq_routing, kvm_irqchip, kvm_lapic_state,
    kvm_mp_state, kvm_msi, kvm_msrs, kvm_pit_state2, kvm_regs, kvm_sregs, kvm_translation, kvm_vcpu_events,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use vmm_sys_util::{ioctl_io_nr, ioctl_ior_nr, ioctl_iow_nr, ioctl_iowr_nr};

use super::{Role, SandboxError};

/// Makes the filter of a role.
pub(super) fn compile(role: Role) -> Result<BpfProgram, SandboxError> {
    filter(role).map_err(|error| SandboxError::Compile { role, error })
}

fn filter(role: Role) -> Result<BpfProgram, BackendError> {
    let mut rules = Rules::default();
    rules.common()?;
    match role {
        Role::Main => {
            rules.devices()?;
            rules.main()?;
        }
        Role::Vcpu => {
            rules.devices()?;
            rules.vcpu()?;
        }
        Role::Io => {
            rules.devices()?;
            rules.allow(&[libc::SYS_epoll_wait, libc::SYS_epoll_pwait]);
        }
        Role::Output => rules.output()?,
    }
    let filter = SeccompFilter::new(rules.0, SeccompAction::Trap, SeccompAction::Allow, TargetArch::x86_64)?;
    filter.try_into()
}

/// Rules by system call; a call with an empty list is allowed whatever its arguments.
#[derive(Default)]
struct Rules(BTreeMap<libc::c_long, Vec<SeccompRule>>);

impl Rules {
    /// What every thread does.
    fn common(&mut self) -> Result<(), BackendError> {
        // Allocation. Nothing may become executable.
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            let not_executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
            self.when(call, 2, SeccompCmpArgLen::Dword, not_executable, 0)?;
        }
        self.allow(&[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk]);
        // How many arenas the allocator makes depends on the number of CPUs.
        self.allow(&[libc::SYS_sched_getaffinity]);
        // Locks and parking, and the keys of a hash map.
        self.allow(&[
            libc::SYS_futex,
            libc::SYS_sched_yield,
            libc::SYS_restart_syscall,
            libc::SYS_getrandom,
        ]);
        // Clocks, where the host's kernel does not show them to user space.
        self.allow(&[libc::SYS_clock_gettime]);
        // Standard error, eventfds, marks and what the guest prints; writing is safe with what is open.
        self.allow(&[libc::SYS_write]);
        // Signals within this process: kicks, and abort.
        self.allow(&[libc::SYS_rt_sigreturn, libc::SYS_rt_sigprocmask, libc::SYS_sigaltstack]);
        self.allow(&[libc::SYS_getpid, libc::SYS_gettid]);
        let own_process = u64::from(std::process::id());
        self.when(
            libc::SYS_tgkill,
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            own_process,
        )?;
        // The end, of a thread or of all.
        self.allow(&[libc::SYS_exit, libc::SYS_exit_group]);
        // A panic puts the terminal back, whichever thread it is in. No other ioctl of terminals: one of them types.
        for request in [libc::TCGETS, libc::TCSETS, libc::TCGETS2, libc::TCSETS2] {
            self.ioctl(request)?;
        }
        Ok(())
    }

    /// What devices do, in whichever thread an access or a deadline brings them to work.
    fn devices(&mut self) -> Result<(), BackendError> {
        let disk = [
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_fdatasync,
            libc::SYS_fallocate,
        ];
        self.allow(&disk);
        // An eventfd of a notification that came without an exit, which whoever is first takes.
        self.allow(&[libc::SYS_read]);
        // Interrupts: messages of our IOAPIC, and lines of KVM's.
        self.ioctl(KVM_SIGNAL_MSI())?;
        self.ioctl(KVM_IRQ_LINE())
    }

    fn main(&mut self) -> Result<(), BackendError> {
        self.allow(&[libc::SYS_poll, libc::SYS_ppoll]);
        self.close()?;
        // The handler of SIGINT, SIGTERM and SIGHUP wakes the thread through a connected socket: no address.
        self.when(libc::SYS_sendto, 4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
    }

    fn vcpu(&mut self) -> Result<(), BackendError> {
        let requests = [
            KVM_RUN(),
            KVM_INTERRUPT(),
            // Which interrupts are level-triggered.
            KVM_SET_GSI_ROUTING(),
            // The report of a CPU that cannot go on.
            KVM_GET_REGS(),
            KVM_GET_SREGS(),
            KVM_TRANSLATE(),
            // A reset.
            KVM_SET_VCPU_EVENTS(),
            KVM_SET_SREGS(),
            KVM_SET_LAPIC(),
            KVM_SET_REGS(),
            KVM_SET_FPU(),
            KVM_SET_DEBUGREGS(),
            KVM_SET_MSRS(),
            KVM_SET_MP_STATE(),
            KVM_SET_IRQCHIP(),
            KVM_SET_PIT2(),
        ];
        requests.into_iter().try_for_each(|request| self.ioctl(request))
    }

    fn output(&mut self) -> Result<(), BackendError> {
        // A stream that somebody else made non-blocking is waited for; one whose reader is gone ends the thread.
        self.allow(&[libc::SYS_poll, libc::SYS_ppoll]);
        self.close()
    }

    fn close(&mut self) -> Result<(), BackendError> {
        self.allow(&[libc::SYS_close]);
        // With debug assertions std looks whether what it closes is open.
        let look = libc::F_GETFD as u64;
        self.when(libc::SYS_fcntl, 1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, look)
    }

    fn allow(&mut self, calls: &[libc::c_long]) {
        for &call in calls {
            self.0.insert(call, Vec::new());
        }
    }

    /// Also allows a call if an argument compares so.
    fn when(
        &mut self,
        call: libc::c_long,
        argument: u8,
        length: SeccompCmpArgLen,
        comparison: SeccompCmpOp,
        value: u64,
    ) -> Result<(), BackendError> {
        let condition = SeccompCondition::new(argument, length, comparison, value)?;
        let rule = SeccompRule::new(vec![condition])?;
        self.0.entry(call).or_default().push(rule);
        Ok(())
    }

    fn ioctl(&mut self, request: libc::c_ulong) -> Result<(), BackendError> {
        // The kernel looks at 32 bits of the request.
        self.when(libc::SYS_ioctl, 1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)
    }
}

// The requests' numbers, from the kernel's virt/kvm/api documentation; kvm-ioctls keeps its own to itself.
ioctl_io_nr!(KVM_RUN, KVMIO, 0x80);
ioctl_iow_nr!(KVM_IRQ_LINE, KVMIO, 0x61, kvm_irq_level);
// Declared as if it read, by a slip that became the interface.
ioctl_ior_nr!(KVM_SET_IRQCHIP, KVMIO, 0x63, kvm_irqchip);
ioctl_iow_nr!(KVM_SET_PIT2, KVMIO, 0xa0, kvm_pit_state2);
ioctl_iow_nr!(KVM_SET_GSI_ROUTING, KVMIO, 0x6a, kvm_irq_routing);
ioctl_ior_nr!(KVM_GET_REGS, KVMIO, 0x81, kvm_regs);
ioctl_iow_nr!(KVM_SET_REGS, KVMIO, 0x82, kvm_regs);
ioctl_ior_nr!(KVM_GET_SREGS, KVMIO, 0x83, kvm_sregs);
ioctl_iow_nr!(KVM_SET_SREGS, KVMIO, 0x84, kvm_sregs);
ioctl_iowr_nr!(KVM_TRANSLATE, KVMIO, 0x85, kvm_translation);
ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);
ioctl_iow_nr!(KVM_SET_MSRS, KVMIO, 0x89, kvm_msrs);
ioctl_iow_nr!(KVM_SET_FPU, KVMIO, 0x8d, kvm_fpu);
ioctl_iow_nr!(KVM_SET_LAPIC, KVMIO, 0x8f, kvm_lapic_state);
ioctl_iow_nr!(KVM_SET_MP_STATE, KVMIO, 0x99, kvm_mp_state);
ioctl_iow_nr!(KVM_SET_VCPU_EVENTS, KVMIO, 0xa0, kvm_vcpu_events);
ioctl_iow_nr!(KVM_SET_DEBUGREGS, KVMIO, 0xa2, kvm_debugregs);
ioctl_iow_nr!(KVM_SIGNAL_MSI, KVMIO, 0xa5, kvm_msi);
