//! The Linux boot probe: `/init` of an initramfs, which uses every device that it finds, tells what the kernel saw of
//! the machine, and reboots it.
//!
//! What is right on every machine gets a verdict here; what depends on the machine is printed as facts, and whoever
//! reads the report judges them. README.md of the package has the grammar of both.

mod blk;
mod console;
mod files;
mod interrupts;
mod kernel;
mod memory;
mod net;
mod rng;
mod rtc;
mod serial;
mod virtio;

use std::io::{Write as _, stdout};
use std::panic;
use std::process::ExitCode;

use guest_images::{command_line::Options, ktap, mark};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    let mounted = mount_all();
    let text = files::text("/proc/cmdline").unwrap_or_default();
    let options = Options::parse(&text);
    let marks = options.marks.filter(|&port| claim(port));
    set_mark(marks, mark::INIT);
    // A panic of the first program stops the kernel without a word of ours.
    panic::set_hook(Box::new(|info| {
        println!("# fatal: {info}");
        restart();
    }));

    let mut report = Report::begin(Out, VERDICTS.len() as u32);
    report.fact("init", format_args!("version={FACTS_VERSION}"));
    if let Err(problem) = mounted {
        report.wrong(format_args!("{problem}"));
    }
    let machine = Machine { command_line: &text };
    for (name, judge) in VERDICTS {
        match judge(&mut report, &machine) {
            Ok(()) => report.verdict(name),
            Err(Ends::Absent(reason)) => report.skip(name, &reason),
            Err(Ends::Wrong(problem)) => {
                report.wrong(format_args!("{problem}"));
                report.verdict(name);
            }
        }
    }
    report.end();
    set_mark(marks, mark::DONE);
    restart();
    // Only where it is not the first program, or may not reboot.
    println!("# fatal: this program may not reboot");
    ExitCode::FAILURE
}

type Report = ktap::Report<Out>;

/// What every judge may need.
struct Machine<'a> {
    command_line: &'a str,
}

impl Machine<'_> {
    /// Whether `touchstone.echo=` names this device.
    fn echoes(&self, device: &str) -> bool {
        let words = self.command_line.split_ascii_whitespace();
        let mut lists = words.filter_map(|word| word.strip_prefix("touchstone.echo="));
        lists.any(|list| list.split(',').any(|own| own == device))
    }
}

/// Why a judge came to no good end.
enum Ends {
    /// The machine has no such thing; says what is not there.
    Absent(String),
    /// Something does not work.
    Wrong(String),
}

impl Ends {
    /// For `map_err`: something could not be done.
    fn wrong<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Ends {
        move |error| Ends::Wrong(format!("{what}: {error}"))
    }
}

/// Looks at one area: prints its facts, and what is wrong with them.
type Judge = fn(&mut Report, &Machine<'_>) -> Result<(), Ends>;

/// The verdicts in order; names are permanent. Devices are used before the interrupts they made are counted.
const VERDICTS: &[(&str, Judge)] = &[
    ("command-line", kernel::command_line),
    ("cpus", kernel::cpus),
    ("clocksource", kernel::clocksource),
    ("memory-map", memory::memory_map),
    ("iomem", memory::iomem),
    ("serial", serial::serial),
    ("rtc", rtc::rtc),
    ("virtio", virtio::virtio),
    ("rng", rng::rng),
    ("blk", blk::blk),
    ("net", net::net),
    ("console", console::console),
    ("interrupts", interrupts::interrupts),
];

/// Version of the facts: their keys and fields, and the names of the verdicts.
const FACTS_VERSION: u32 = 1;

/// The console that the kernel gave its first program.
struct Out;

impl std::fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        stdout().write_all(text.as_bytes()).map_err(|_| std::fmt::Error)
    }
}

fn mount_all() -> Result<(), String> {
    for (kind, folder) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        // It may be there, when the archive or the kernel made it.
        let _there = std::fs::create_dir(folder);
        mount(kind, folder, kind, MountFlags::empty(), None).map_err(|error| format!("mount {folder}: {error}"))?;
    }
    Ok(())
}

fn restart() {
    // The kernel's own last words do not wait for what is still on its way to the console, and a reset drops it. A
    // console that is no terminal has sent all it was given.
    let _sent = rustix::termios::tcdrain(stdout());
    // What was written to disks is there before the machine is gone; both return only when they fail.
    rustix::fs::sync();
    let _failed = reboot(RebootCommand::Restart);
}

/// Asks for the use of a port.
#[expect(unsafe_code, reason = "a system call that no library offers")]
fn claim(port: u16) -> bool {
    // SAFETY: the call changes nothing but this thread's right to use one port.
    unsafe { libc::ioperm(port.into(), 1, 1) == 0 }
}

#[expect(unsafe_code, reason = "port I/O is an instruction")]
fn set_mark(port: Option<u16>, value: u8) {
    if let Some(port) = port {
        // SAFETY: whoever wrote the command line named this port for marks, and `claim` was granted its use. An `out`
        // touches neither memory nor stack.
        unsafe {
            core::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }
}
