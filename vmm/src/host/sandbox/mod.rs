//! What each thread of a running VMM may ask of the host: a seccomp filter for each, after everything is opened.
//!
//! A guest that breaks out of a device model finds itself in a thread that can do its work and nothing else: no file
//! can be opened, no program started, no socket made, and a CPU's thread may use KVM for its CPU alone. A forbidden
//! system call ends the process: the filter traps it, and the handler of SIGSYS says which call it was before it ends
//! the process with [`TRAP_STATUS`]. That is kinder to whoever forgot an entry in [`lists`] than a silent kill, and as
//! strict: the call does not happen, and what the handler needs is all the thread can still do.
//!
//! A new kind of thread takes a [`Role`], a list in [`lists`], and `sandbox.enter(role)` as its first line.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use seccompiler::BpfProgram;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vmm_sys_util::signal::{self, block_signal};

mod lists;

/// What a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Waits for deadlines, typed bytes, signals and the end.
    Main,
    /// Runs a CPU.
    Vcpu,
    /// Carries out what comes without an exit, and the host calls that devices leave to it.
    Io,
    /// Writes what the guest sends to a stream of the host.
    Output,
}

/// The filters of a run, or none. Clones share them.
#[derive(Clone, Debug)]
pub struct Sandbox {
    filters: Option<Arc<Filters>>,
}

/// Why a thread cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The lists do not make a filter.
    #[error("--sandbox on: make the filter of {role}: {error}")]
    Compile {
        /// Whose filter.
        role: Role,
        /// What is wrong with it.
        #[source]
        error: seccompiler::BackendError,
    },
    /// The kernel refused.
    #[error(
        "--sandbox on: install the filter of {role}: {error}; a kernel without seccomp filters needs --sandbox off, \
         and then a guest that breaks out of the VMM can do what its user can"
    )]
    Install {
        /// Whose filter.
        role: Role,
        /// What the kernel said.
        #[source]
        error: seccompiler::Error,
    },
    /// A signal cannot be kept away.
    #[error("--sandbox on: block signals in {role}: {error}")]
    Signals {
        /// Which thread.
        role: Role,
        /// What the kernel said.
        error: signal::Error,
    },
}

#[derive(Debug)]
struct Filters {
    main: BpfProgram,
    vcpu: BpfProgram,
    io: BpfProgram,
    output: BpfProgram,
}

impl Sandbox {
    /// Threads that may do what the process may.
    pub fn off() -> Sandbox {
        Sandbox { filters: None }
    }

    /// Makes the filters, which hold for this process and none that it forks. From here on a panic is printed without a
    /// backtrace, which would have to open files.
    ///
    /// # Errors
    /// [`SandboxError::Compile`].
    pub fn new() -> Result<Sandbox, SandboxError> {
        let filters = Filters {
            main: lists::compile(Role::Main)?,
            vcpu: lists::compile(Role::Vcpu)?,
            io: lists::compile(Role::Io)?,
            output: lists::compile(Role::Output)?,
        };
        std::panic::set_hook(Box::new(|info| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("?");
            let _unread = writeln!(
                io::stderr(),
                "microvm: thread '{name}' {info}\nmicrovm: --sandbox off makes RUST_BACKTRACE work"
            );
        }));
        Ok(Sandbox {
            filters: Some(Arc::new(filters)),
        })
    }

    /// Confines the calling thread for the rest of its life. The process's signals are the main thread's from here on.
    ///
    /// # Errors
    /// [`SandboxError`]; the thread must end then, without having touched what a guest made.
    pub fn enter(&self, role: Role) -> Result<(), SandboxError> {
        let Some(filters) = &self.filters else {
            return Ok(());
        };
        let filter = match role {
            Role::Main => &filters.main,
            Role::Vcpu => &filters.vcpu,
            Role::Io => &filters.io,
            Role::Output => &filters.output,
        };
        if role != Role::Main {
            // Their handlers make a system call that only the main thread may make.
            for number in [SIGINT, SIGTERM, SIGHUP] {
                match block_signal(number) {
                    Ok(()) | Err(signal::Error::SignalAlreadyBlocked(_)) => {}
                    Err(error) => return Err(SandboxError::Signals { role, error }),
                }
            }
        }
        ROLE.set(Some(role));
        seccompiler::apply_filter(filter).map_err(|error| SandboxError::Install { role, error })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Role {
    /// For messages.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Main => "the main thread",
            Role::Vcpu => "a CPU's thread",
            Role::Io => "the I/O thread",
            Role::Output => "an output thread",
        }
    }

    /// What the calling thread entered as. May be asked in a signal handler.
    pub fn of_this_thread() -> Option<Role> {
        ROLE.get()
    }
}

thread_local! {
    // Constant and without a destructor: reading it in a signal handler is reading memory.
    static ROLE: Cell<Option<Role>> = const { Cell::new(None) };
}

/// Exit status after a forbidden system call: what a shell shows for a process that SIGSYS killed.
pub const TRAP_STATUS: u8 = 128 + 31;
