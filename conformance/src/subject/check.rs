//! Tries a subject out, step by step: which of its ways lead to a machine that starts, speaks, answers and ends?

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::description::{Linked, Serial};
use super::process::{find_program, printable};
use super::{Lane, Subject};
use crate::machine::{Attempt, BootFailure, Depth, Machine, Stop, Width};

/// One way, tried.
pub struct Check {
    /// Depth, way and profile.
    pub title: String,
    /// What was tried, in order, up to the first that failed.
    pub attempts: Vec<Attempt>,
    /// This host has not what the way needs, so nothing was tried.
    pub unavailable: Option<String>,
}

impl Check {
    /// Whether everything worked that was tried, and something was.
    pub fn is_good(&self) -> bool {
        self.unavailable.is_none() && self.attempts.iter().all(|attempt| attempt.fix.is_none())
    }
}

/// What is tried once: the file, its programs, its version.
pub fn subject(subject: &Subject) -> Vec<Attempt> {
    let description = &subject.description;
    let counts = [
        ("wire", description.wire.len()),
        ("cpu", description.cpu.len()),
        ("guest", description.guest.len()),
        ("bench", description.bench.len()),
    ];
    let mut ways: Vec<_> = counts
        .iter()
        .filter(|(_, count)| *count != 0)
        .map(|(table, count)| format!("{count} [[{table}]]"))
        .collect();
    if matches!(description.bus, Some(Linked::InProcess | Linked::Null)) {
        ways.insert(0, "bus".to_owned());
    }
    let mut attempts = vec![Attempt::done(
        "file",
        format!("{}: {}", subject.asked_as, ways.join(", ")),
    )];
    let launches = [&description.wire, &description.cpu, &description.guest];
    let mut programs: Vec<&str> = launches
        .into_iter()
        .flatten()
        .map(|launch| launch.command[0].as_str())
        .collect();
    programs.sort_unstable();
    programs.dedup();
    attempts.extend(programs.into_iter().map(|program| match where_is(program) {
        Some(path) => Attempt::done("program", path.display().to_string()),
        None => Attempt::failed(
            "program",
            format!("'{program}' is neither beside this program nor in PATH"),
            "install it, extend PATH, or write its whole path into command",
        ),
    }));
    attempts.push(match subject.version() {
        Some(version) => Attempt::done("version", printable(&version)),
        None if description.version.is_empty() => {
            Attempt::done("version", "not asked: the file has no version = [...]")
        }
        None => Attempt::failed(
            "version",
            format!("'{}' printed no line", description.version.join(" ")),
            "version = [...] is a command that prints one line to standard output, or leave it out",
        ),
    });
    attempts
}

/// Tries every way of a lane with the default machine.
pub fn lane(lane: &Lane) -> Vec<Check> {
    let ways = lane.ways.iter().map(|way| {
        let dot = if way.name.is_empty() { "" } else { "." };
        let (attempts, unavailable) = match &way.adapter {
            Err(reason) => (Vec::new(), Some(reason.clone())),
            Ok(adapter) => (adapter.try_out(lane.layout), None),
        };
        Check {
            title: format!("{}{dot}{} as {}", lane.depth, way.name, lane.layout.profile),
            attempts,
            unavailable,
        }
    });
    ways.collect()
}

/// Steps of a machine that starts, speaks and is asked in one go.
pub(crate) fn booted(machine: Result<Box<dyn Machine>, BootFailure>, depth: Depth) -> Vec<Attempt> {
    let begin = Instant::now();
    match machine.map_err(Stop::from) {
        Err(Stop::Unavailable(reason)) => vec![no_command(&Stop::Unavailable(reason))],
        Err(stop) if depth == Depth::Wire => vec![Attempt::failed("started", text(&stop), FIX_WIRE)],
        Err(stop) => vec![not_started(&stop)],
        Ok(mut machine) => vec![
            Attempt::done("started", "the machine is there"),
            answered(machine.as_mut(), begin),
        ],
    }
}

/// The file has no words for the machine that is tried.
pub(super) fn no_command(stop: &Stop) -> Attempt {
    Attempt::failed(
        "command",
        text(stop),
        "every subject can be given the default machine; extend [arguments]",
    )
}

/// The whole command line.
pub(super) fn command(words: &[String]) -> Attempt {
    let word = |word: &String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+@%".contains(c);
        let plain = !word.is_empty() && word.chars().all(is_plain);
        if plain {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    Attempt::done("command", words.iter().map(word).collect::<Vec<_>>().join(" "))
}

/// The program did not run, or did not open its guest's serial port.
pub(super) fn not_started(stop: &Stop) -> Attempt {
    Attempt::failed(
        "started",
        text(stop),
        "run the command above by hand; its messages say more",
    )
}

/// RAM keeps what is stored, whatever else the machine is.
pub(super) fn answered(machine: &mut dyn Machine, begin: Instant) -> Attempt {
    let mut ask = || -> Result<u64, Stop> {
        machine.store(PROBE_GPA, Width::Dword, PATTERN)?;
        machine.load(PROBE_GPA, Width::Dword)
    };
    match ask() {
        Ok(PATTERN) => {
            let waited_us = begin.elapsed().as_micros();
            Attempt::done(
                "answered",
                format!("RAM at {PROBE_GPA:#x} keeps what is stored, {waited_us} us for both"),
            )
        }
        Ok(got) => Attempt::failed(
            "answered",
            format!("RAM at {PROBE_GPA:#x} gave {got:#x} after {PATTERN:#x} was stored"),
            "no machine of these profiles has anything but RAM there; is the memory map right?",
        ),
        Err(stop) => Attempt::failed(
            "answered",
            text(&stop),
            "bytes to the guest are lost or late: does the VMM read its input as `serial` says? else raise answer-ms",
        ),
    }
}

/// No byte of ours came out of the guest.
pub(super) fn mute(stop: &Stop, has_ended: bool, console: &str, output: &str, serial: Serial) -> Attempt {
    let last = |text: &str| text.lines().rfind(|line| !line.trim().is_empty()).map(printable);
    let mut seen = text(stop);
    for (what, text) in [("the console says", console), ("its output ends", output)] {
        if let Some(line) = last(text).filter(|line| !seen.contains(line.trim())) {
            seen.push_str(&format!("; {what}: {line}"));
        }
    }
    let fix = match (has_ended, serial) {
        (true, _) => "the VMM ended before the image spoke: run the command above by hand, its messages say why",
        (false, Serial::Stdio | Serial::None) => {
            "the image is a PVH ELF and speaks through a 16550 at 0x3f8: is that port on standard output? A VMM that \
             wants a terminal there needs serial = \"pty\"; a slow one a larger start-ms"
        }
        (false, _) => {
            "the image is a PVH ELF and speaks through a 16550 at 0x3f8: is that port where `serial` says, and is the \
             image's format one that the VMM loads? A slow VMM needs a larger start-ms"
        }
    };
    Attempt::failed("spoke", seen, fix)
}

/// How the process ended, once its guest asked for that.
pub(super) fn exited(status: Option<ExitStatus>, problem: Option<String>) -> Attempt {
    match status {
        Some(status) => Attempt::done("exited", status.to_string()),
        None => {
            let problem = problem.map_or(String::new(), |problem| format!(" ({problem})"));
            let seconds = EXIT_WAIT.as_secs();
            Attempt::failed(
                "exited",
                format!("it still runs {seconds} s after the guest ended it{problem}"),
                FIX_EXIT,
            )
        }
    }
}

/// The suite ends the process.
pub(super) fn ends_by_us() -> Attempt {
    Attempt::done("exited", "not asked: by ends-by = \"halt\" the suite ends the process")
}

/// What a stop says, for a person.
pub(super) fn text(stop: &Stop) -> String {
    match stop {
        Stop::Unavailable(text) | Stop::NotApplicable(text) => text.clone(),
        Stop::Unsupported(caps) => format!("it lacks capability {caps}"),
        Stop::Broken(broken) => broken.to_string(),
        Stop::NotMet => "it does not answer as a machine".to_owned(),
    }
}

fn where_is(program: &str) -> Option<PathBuf> {
    let path = find_program(program);
    if path.is_file() {
        return Some(path);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(program));
    paths.find(|path| !program.contains('/') && path.is_file())
}

/// Longest wait for the end of a VMM whose guest asked for it.
pub(super) const EXIT_WAIT: Duration = Duration::from_secs(2);

/// What to do about a report that breaks off.
pub(super) const FIX_REPORT: &str = "the image did not get to its last line: a crash of the guest shows in its last \
                                     lines, a slow one needs a larger answer-ms";

const FIX_WIRE: &str = "does the command make it speak qtest, and does `channel` say who opens {socket}?";

const FIX_EXIT: &str = "ends-by says how a guest ends the machine: debug-exit at port 0xf4, i8042, triple-fault, \
                        PORT:BYTE; halt where nothing does. A VMM that starts over at a reset needs an option \
                        against it";

/// An address in low RAM that no image uses.
const PROBE_GPA: u64 = 0x7000;

const PATTERN: u64 = 0x5aa5_1234;
