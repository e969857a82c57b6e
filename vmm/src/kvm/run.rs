//! A run from power-on to its end: what the threads share, and how it can end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Instant;

use super::SetupError;
use super::counters::Counters;
use super::cpu::{PowerOn, Start};
use super::interrupt::EoiRoutes;
use super::kick::{self, Kicker};
use super::notify::Notifications;
use super::peers::{self, Peers};
use super::settle::nanos;
use super::stats::ExitStats;
use super::trap;
use super::vm::Vm;
use crate::board::BuildError;
use crate::board::config::{Blob, Config, KernelIrqchip};
use crate::boot::direct::{self, BootError, Payload};
use crate::host::entropy::HostEntropy;
use crate::host::marks::BootMarks;
use crate::host::options::RunOptions;
use crate::host::privileges;
use crate::host::sandbox::{Role, Sandbox, SandboxError};
use crate::host::serial::{self, SerialOutput};
use crate::host::signals::Signals;
use crate::host::terminal;
use crate::host::wake::Wake;
use crate::machine::Machine;
use crate::units::Nanos;

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host's KVM.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The machine.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Nothing to run.
    #[error("nothing to run: give a kernel with --kernel FILE or a firmware with --bios FILE")]
    Nothing,
    /// The kernel file.
    #[error("--kernel '{name}': {error}")]
    Boot {
        /// The file as the user named it.
        name: String,
        /// What is wrong with it.
        #[source]
        error: BootError,
    },
    /// A thread that cannot be confined.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file, socket or thread; the text says which.
    #[error("{0}")]
    Host(String),
}

impl RunError {
    /// Whether the command line is at fault, not the host.
    pub fn is_usage(&self) -> bool {
        match self {
            RunError::Nothing | RunError::Boot { .. } => true,
            RunError::Build(error) => !matches!(error, BuildError::Memory(_)),
            RunError::Setup(_) | RunError::Sandbox(_) | RunError::Host(_) => false,
        }
    }
}

/// Powers the machine on and runs the guest to its end; returns the process's exit status. `started` is when the
/// process began: boot marks count from there.
///
/// The guest ends the run by the debug-exit port (status `(value << 1) | 1`) or, with `no_reboot`, by a reset (0).
/// The RTC follows virtual time, which is the host's monotonic clock here, whatever `rtc_clock` says: nothing stops a
/// guest but its end, so both choices show the same.
///
/// SIGINT, SIGTERM, SIGHUP and a serial peer that hangs up end it with 0 and a line on standard error, SIGQUIT with
/// the registers of each CPU besides; a CPU that cannot go on ends it with 1 and a report there.
///
/// Everything is flushed on return and the terminal is as before, but the CPUs' threads are still there: the caller
/// ends the process, by [`super::leave`] best.
///
/// # Errors
/// [`RunError`] when the run cannot begin.
pub fn run(config: &Config, options: &RunOptions, started: Instant) -> Result<u8, RunError> {
    let result = start_and_wait(config, options, started);
    terminal::restore();
    let end = result?;
    if let Some(message) = &end.message {
        // Whoever started this may have closed it; the status says how it ended.
        let _unread = write!(io::stderr(), "{message}");
    }
    Ok(end.status)
}

fn start_and_wait(config: &Config, options: &RunOptions, started: Instant) -> Result<End, RunError> {
    if config.kernel.is_none() && config.bios.is_none() {
        return Err(RunError::Nothing);
    }
    let config = Config {
        kvm: true,
        chips_in_kernel: config.kernel_irqchip == KernelIrqchip::On,
        entropy: || Box::new(HostEntropy),
        ..config.clone()
    };
    let mut machine = Machine::new(&config)?;
    if config.chips_in_kernel {
        machine.watch_lines();
    }
    for warning in &machine.board().warnings {
        let _unread = writeln!(io::stderr(), "microvm: warning: {warning}");
    }
    let power_on = Instant::now();
    let mut phases = vec![("memory", power_on)];
    let boot = Boot::new(&config);
    let start = boot.load(&machine)?;
    phases.push(("image", Instant::now()));
    let vm = Vm::new(machine.memory(), &config)?;
    phases.push(("vm", Instant::now()));
    let mut cpus = Vec::new();
    for apic_id in 0..config.cpus {
        let (fd, state) = PowerOn::new(&vm, apic_id)?;
        state.start(&fd, start)?;
        cpus.push((fd, state));
    }
    phases.push(("cpus", Instant::now()));
    kick::prepare()?;
    let notifications = if config.ioeventfd {
        Some(Notifications::register(&vm, &mut machine)?)
    } else {
        None
    };

    let host = |what: &'static str| move |error| RunError::Host(format!("{what}: {error}"));
    let signals = Signals::catch().map_err(host("catch signals"))?;
    let wake = Arc::new(Wake::new().map_err(host("create an eventfd"))?);
    let marks = options
        .boot_marks
        .as_deref()
        .map(|path| BootMarks::create(path, started, &phases));
    let marks = marks.transpose().map_err(RunError::Host)?;
    // Where KVM does not count, ours are all there is.
    let stats = cpus.iter().filter(|_| marks.is_some());
    let stats = stats.filter_map(|(fd, _)| ExitStats::open(fd).ok()).collect();
    let sandbox = if options.sandbox {
        trap::prepare()?;
        Sandbox::new()?
    } else {
        Sandbox::off()
    };
    let serial = serial::open("--serial ", &options.serial).map_err(RunError::Host)?;
    let debug_console = serial::open_debug_console(options.debug_console.as_ref()).map_err(RunError::Host)?;
    let peers = peers::open(&config).map_err(RunError::Host)?;
    // Everything is opened, and no thread is started.
    if let Some(user) = options.user {
        privileges::become_user(user).map_err(RunError::Host)?;
    }
    if options.sandbox {
        privileges::drop_all().map_err(RunError::Host)?;
    }
    let (output, input) = serial.start(&wake, &sandbox).map_err(RunError::Host)?;
    let (debug_output, _) = debug_console.start(&wake, &sandbox).map_err(RunError::Host)?;
    let (peers, peer_inputs) = Peers::start(peers, &wake, &sandbox).map_err(RunError::Host)?;
    vm.set_clock(Nanos(nanos(power_on.elapsed())))?;

    let shared = Arc::new(Shared {
        counters: Counters::new(machine.board()),
        machine: Mutex::new(machine),
        vm,
        boot,
        start,
        power_on,
        no_reboot: options.no_reboot,
        output,
        debug_output,
        peers,
        marks: Mutex::new(marks),
        stats,
        wake,
        notifications,
        timer: AtomicU64::new(u64::MAX),
        input_waits: AtomicBool::new(false),
        pic_waits: AtomicBool::new(false),
        eoi_routes: Mutex::default(),
        kickers: cpus.iter().map(|_| OnceLock::new()).collect(),
        reset: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        registers: Mutex::default(),
        shown: Condvar::new(),
        meeting: Barrier::new(cpus.len()),
        confined: Barrier::new(cpus.len() + 1 + usize::from(config.ioeventfd)),
        sandbox,
        end: OnceLock::new(),
    });
    if shared.notifications.is_some() {
        let shared = Arc::clone(&shared);
        let thread = thread::Builder::new().name("io".into());
        thread
            .spawn(move || shared.io_thread())
            .map_err(host("start the I/O thread"))?;
    }
    for (fd, state) in cpus {
        let shared = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(format!("cpu {}", state.apic_id))
            .stack_size(CPU_STACK_BYTES);
        thread
            .spawn(move || shared.cpu_thread(fd, &state))
            .map_err(host("start a CPU's thread"))?;
    }
    let entered = shared.sandbox.enter(Role::Main);
    shared.confined.wait();
    entered?;
    shared.wait(&signals, input, peer_inputs);
    Ok(shared.finish())
}

/// Everything the threads share.
pub(super) struct Shared {
    pub(super) machine: Mutex<Machine>,
    pub(super) vm: Vm,
    pub(super) boot: Boot,
    pub(super) start: Start,
    pub(super) power_on: Instant,
    pub(super) no_reboot: bool,
    pub(super) counters: Counters,
    pub(super) output: SerialOutput,
    pub(super) debug_output: SerialOutput,
    pub(super) peers: Peers,
    pub(super) marks: Mutex<Option<BootMarks>>,
    /// KVM's counts of each CPU's exits, where marks are wanted.
    pub(super) stats: Vec<ExitStats>,
    /// Wakes the waiting thread.
    pub(super) wake: Arc<Wake>,
    /// Notifications that come without an exit, with `ioeventfd=on`.
    pub(super) notifications: Option<Notifications>,
    /// When the waiting thread wakes by itself, in virtual nanoseconds.
    pub(super) timer: AtomicU64,
    /// Typed bytes wait for room in the port.
    pub(super) input_waits: AtomicBool,
    /// The PIC has an interrupt for the boot CPU.
    pub(super) pic_waits: AtomicBool,
    pub(super) eoi_routes: Mutex<EoiRoutes>,
    pub(super) kickers: Vec<OnceLock<Kicker>>,
    /// All CPUs are to meet for a reset.
    pub(super) reset: AtomicBool,
    pub(super) meeting: Barrier,
    /// All CPUs are to stop for good and to show their registers.
    pub(super) stop: AtomicBool,
    /// What they showed, by local APIC ID.
    pub(super) registers: Mutex<BTreeMap<u16, String>>,
    /// Rung when one more has.
    pub(super) shown: Condvar,
    pub(super) sandbox: Sandbox,
    /// No CPU runs before all threads are in the sandbox.
    pub(super) confined: Barrier,
    pub(super) end: OnceLock<End>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// One word for the boot-marks file.
    pub(super) reason: &'static str,
    pub(super) status: u8,
    /// For standard error, with its newline.
    pub(super) message: Option<String>,
}

/// What is put into memory at every power-on and reset beyond what the machine puts there itself.
pub(super) struct Boot {
    /// The kernel that is started without a firmware; with one there is nothing to do.
    direct: Option<Blob>,
    initrd: Option<Blob>,
    cpus: u16,
}

impl Boot {
    fn new(config: &Config) -> Boot {
        Boot {
            direct: config.kernel.clone().filter(|_| config.bios.is_none()),
            initrd: config.initrd.clone(),
            cpus: config.cpus,
        }
    }

    pub(super) fn load(&self, machine: &Machine) -> Result<Start, RunError> {
        let (Some(file), Some(kernel)) = (&self.direct, &machine.board().kernel) else {
            return Ok(Start::ResetVector);
        };
        let command_line = machine.board().command_line.as_deref().unwrap_or_default();
        let payload = Payload {
            kernel,
            initrd: self.initrd.as_ref().map(|initrd| &*initrd.bytes),
            command_line: command_line.as_bytes(),
            cpus: self.cpus,
            e820: &machine.board().e820,
        };
        let entry = direct::load(machine.memory(), &payload).map_err(|error| RunError::Boot {
            name: file.name.clone(),
            error,
        })?;
        Ok(Start::Direct(entry))
    }
}

impl End {
    pub(super) fn guest(reason: &'static str, status: u8) -> End {
        End {
            reason,
            status,
            message: None,
        }
    }

    pub(super) fn outside(reason: &'static str, message: String) -> End {
        End {
            reason,
            status: 0,
            message: Some(message),
        }
    }

    pub(super) fn hung_up() -> End {
        End::outside("serial-gone", "microvm: the serial port's peer hung up\n".into())
    }

    pub(super) fn failure(message: String) -> End {
        End {
            reason: "failure",
            status: 1,
            message: Some(message),
        }
    }
}

/// Stack of a CPU's thread. It carries one exit's work, the deepest of which is a disk request; a panic's report needs
/// the most.
const CPU_STACK_BYTES: usize = 256 << 10;
