//! First program of the lab (`cargo xtask lab`), the machine in which the suite finds real KVM: makes the folders of a
//! Linux system, loads KVM, runs `touchstone run`, sends what it left through a virtio port, and powers off.
//!
//! It is told by files: `/lab/modules/*.ko`, loaded in the order of their names; `/lab/arguments`, one of
//! `touchstone run` a line, with an empty line between one run and the next; `/lab/limit-s`, after how many seconds a
//! run is interrupted, so that it still reports. What the runs leave in `/out` is sent. What goes wrong stands in the
//! log of the kernel's serial port. The time since the start, in whole seconds on a port each second, tells the host
//! that this kernel still runs programs and that its clock goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::{RebootCommand, finit_module, reboot};

/// What the run prints; what comes from the host means nothing but that a CPU which waits is woken.
const SAID: &str = "/dev/vport0p1";
/// What the run leaves.
const RESULTS: &str = "/dev/vport0p2";
/// Where the lab shows that it is alive.
const ALIVE: &str = "/dev/vport0p3";
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// A terminal for the progress bar, there when the host has one.
const TERMINAL: &str = "/dev/hvc0";
/// Longest wait for a port, and between two looks.
const PORT_WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// How long a run may take to end in order once it is interrupted; then it is killed.
const IN_ORDER: Duration = Duration::from_secs(60);
/// Exit code of a run that a signal ended.
const ENDED_BY_SIGNAL: i32 = 3;

fn main() {
    match run() {
        Ok(code) => println!("lab-init: the run ended with exit code {code}"),
        Err(problem) => println!("lab-init: {problem}"),
    }
    rustix::fs::sync();
    reboot(RebootCommand::PowerOff).unwrap_or_else(|error| panic!("lab-init: power off: {error}"));
}

fn run() -> Result<i32, String> {
    folders()?;
    modules()?;
    let said = wait_for(SAID)?;
    let mut knocks = said.try_clone().map_err(|error| format!("{SAID}: {error}"))?;
    thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(count) = knocks.read(&mut bytes) {
            if count == 0 {
                thread::sleep(LOOK);
            }
        }
    });
    let mut alive = wait_for(ALIVE)?;
    let begin = Instant::now();
    thread::spawn(move || {
        // The host stops listening when it stops the lab.
        while writeln!(alive, "{}", begin.elapsed().as_secs()).is_ok() {
            thread::sleep(ALIVE_EVERY);
        }
    });
    let code = suite(&said)?;
    let mut results = wait_for(RESULTS)?;
    let sent = send(Path::new("/out"), &mut results).and_then(|()| writeln!(results, "end {code}"));
    sent.map_err(|error| format!("{RESULTS}: {error}"))?;
    Ok(code)
}

fn folders() -> Result<(), String> {
    let flags = MountFlags::empty();
    // The last two are what VMMs with a terminal for a serial port, and with shared guest memory, ask for.
    for (kind, folder) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
    ] {
        let mounted = fs::create_dir_all(folder).and_then(|()| Ok(mount(kind, folder, kind, flags, None)?));
        mounted.map_err(|error| format!("mount {folder}: {error}"))?;
    }
    // In memory as everything is; files that were taken along may lie in the first.
    for folder in ["/tmp", "/out"] {
        fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
    }
    // Guests may have more RAM than the lab, as long as they do not use it.
    let overcommit = "/proc/sys/vm/overcommit_memory";
    fs::write(overcommit, "1").map_err(|error| format!("{overcommit}: {error}"))
}

fn modules() -> Result<(), String> {
    let folder = fs::read_dir("/lab/modules").map_err(|error| format!("/lab/modules: {error}"))?;
    let mut files: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files {
        let loaded = File::open(&file).and_then(|module| Ok(finit_module(&module, c"", 0)?));
        loaded.map_err(|error| format!("load {}: {error}", file.display()))?;
    }
    Ok(())
}

/// Ports come up by themselves some time after their driver.
fn wait_for(port: &str) -> Result<File, String> {
    let begin = Instant::now();
    loop {
        match OpenOptions::new().read(true).write(true).open(port) {
            Ok(file) => return Ok(file),
            Err(error) if PORT_WAIT < begin.elapsed() => return Err(format!("{port}: {error}")),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// Runs the suite, once for each set of arguments, and returns the worst exit code.
fn suite(said: &File) -> Result<i32, String> {
    let read = |file: &str| fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let arguments = read("/lab/arguments")?;
    let limit_s = read("/lab/limit-s")?;
    let limit_s = limit_s
        .trim()
        .parse()
        .map_err(|error| format!("/lab/limit-s: {error}"))?;
    let end = Instant::now() + Duration::from_secs(limit_s);
    let mut worst = 0;
    for arguments in arguments.split("\n\n") {
        worst = worst.max(run_once(arguments.lines(), said, end)?);
    }
    Ok(worst)
}

fn run_once<'a>(arguments: impl Iterator<Item = &'a str>, said: &File, end: Instant) -> Result<i32, String> {
    let output = || said.try_clone().map(Stdio::from);
    // The bar shows itself on a terminal only; messages follow the text where there is none.
    let bar = OpenOptions::new().write(true).open(TERMINAL).map(Stdio::from);
    let mut command = Command::new("/bin/touchstone");
    command.arg("run").args(arguments);
    command
        .env("PATH", "/bin:/usr/bin")
        .env("TERM", "linux")
        .env("HOME", "/")
        .current_dir("/");
    let started = output().and_then(|text| {
        let messages = bar.or_else(|_| output())?;
        command.stdin(Stdio::null()).stdout(text).stderr(messages).spawn()
    });
    let mut child = started.map_err(|error| format!("/bin/touchstone: {error}"))?;
    let mut asked: Option<Instant> = None;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(code_of(status)),
            Ok(None) => {}
            Err(error) => return Err(format!("/bin/touchstone: {error}")),
        }
        match asked {
            // The run ends in order, with a report of what it got to.
            None if end < Instant::now() => {
                asked = Some(Instant::now());
                if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                    kill_process(pid, Signal::INT).map_err(|error| format!("interrupt the run: {error}"))?;
                }
            }
            Some(since) if IN_ORDER < since.elapsed() => {
                println!("lab-init: the run did not end when it was interrupted, and is killed; what was there:");
                show_tasks();
                asked = Some(Instant::now());
                child.kill().map_err(|error| format!("kill /bin/touchstone: {error}"))?;
            }
            None | Some(_) => {}
        }
        thread::sleep(LOOK);
    }
}

/// Prints every thread of every program with what it waits for, into the log.
fn show_tasks() {
    let ids = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .collect()
    };
    for process in ids("/proc") {
        // A thread of the kernel has no command line.
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        println!("{process}: {}", String::from_utf8_lossy(&line).replace('\0', " "));
        for thread in ids(&format!("/proc/{process}/task")) {
            let of = |file: &str| {
                let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/{file}")).unwrap_or_default();
                text.trim().to_owned()
            };
            let stat = of("stat");
            let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
            println!(
                "  {thread} {} {}, system call {}, in {}",
                of("comm"),
                state.unwrap_or("?"),
                of("syscall"),
                of("wchan")
            );
        }
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or(ENDED_BY_SIGNAL)
}

/// Sends every file of a folder: a line `file LENGTH PATH`, then its bytes.
fn send(folder: &Path, to: &mut File) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            send(&path, to)?;
        } else {
            let bytes = fs::read(&path)?;
            let name = path.strip_prefix("/out").unwrap_or(&path);
            writeln!(to, "file {} {}", bytes.len(), name.display())?;
            to.write_all(&bytes)?;
        }
    }
    Ok(())
}
