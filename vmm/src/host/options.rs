//! What `microvm run` is told beyond the machine itself.

use std::path::PathBuf;

use super::privileges::User;

/// Where a run's console goes, how it ends and what it measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The peer of the serial port.
    pub serial: SerialTo,
    /// Where the debug console prints; [`crate::board::config::Config::debug_console`] is set then.
    pub debug_console: Option<DebugConsoleTo>,
    /// A guest's reset (triple fault) ends the VMM instead of restarting the machine.
    pub no_reboot: bool,
    /// File that gets one line for each boot mark; [`crate::board::config::Config::boot_marks`] is set then.
    pub boot_marks: Option<PathBuf>,
    /// What drives the RTC.
    pub rtc_clock: RtcClock,
    /// Confine the threads and give privileges up once everything is opened.
    pub sandbox: bool,
    /// Whom to become then.
    pub user: Option<User>,
}

/// The peer of the serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialTo {
    /// Standard input and output of the VMM.
    Stdio,
    /// Output vanishes, nothing is ever typed.
    Null,
    /// Output goes to this file, created or emptied at start; nothing is ever typed.
    File(PathBuf),
    /// Both ways over this listening stream socket, to which the VMM connects at start.
    Unix(PathBuf),
}

/// Where the debug console prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebugConsoleTo {
    /// Standard output of the VMM.
    Stdio,
    /// This file, created or emptied at start.
    File(PathBuf),
}

/// What drives the RTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcClock {
    /// The host's clock: it goes on while the guest is stopped.
    Host,
    /// The machine's virtual time.
    Vm,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            serial: SerialTo::Stdio,
            debug_console: None,
            no_reboot: false,
            boot_marks: None,
            rtc_clock: RtcClock::Host,
            sandbox: true,
            user: None,
        }
    }
}
