//! The machine of the lab: a QEMU that is started, listened to, and ended when it has to be.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The lab tells its time every second. Emulation on a busy host is slow, but never by this much.
const STALLED_AFTER: Duration = Duration::from_secs(120);
/// Between two looks at the machine, and two knocks at it.
///
/// QEMU's emulation of SVM changes what interrupts a CPU has pending without the lock under which timers add theirs
/// (`helper_vmrun` and `CPU_INTERRUPT_VIRQ`, at least up to 7.2), and so loses one now and then. Any other brings it
/// back; but a kernel that waits for a lost timer, and has nothing else to do, waits for ever. A byte for a port is
/// such another.
const LOOK: Duration = Duration::from_millis(50);
/// How long the emulator has for an answer on its monitor.
const MONITOR_WAIT: Duration = Duration::from_secs(5);

/// How a run of the machine ended.
pub(super) enum Ended {
    /// It powered itself off.
    Itself,
    /// It was alive when its time was over, and was stopped.
    AtLimit(String),
    /// Its clock stood still, so that nothing ran in it any more, and it was stopped.
    Stalled(String),
}

/// One machine, with its files in the folder of the lab.
pub(super) struct Machine {
    folder: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Machine {
    pub(super) fn new(folder: &Path, kernel: PathBuf, initramfs: PathBuf) -> Machine {
        Machine {
            folder: folder.to_owned(),
            kernel,
            initramfs,
        }
    }

    /// What its kernel prints.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("kernel.log")
    }

    /// What it sends.
    pub(super) fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    /// Where it tells its time, a number of seconds in a line, as long as programs run in it.
    fn alive(&self) -> PathBuf {
        self.folder.join("alive")
    }

    /// Starts the machine with so many CPUs, shows what the suite in it prints, and waits for its end, or ends it.
    pub(super) fn run(&self, cpus: u32, limit: Duration) -> Result<Ended> {
        let _left_by_another_run = fs::remove_file(self.alive());
        // A socket's path has to be short, and the project may lie deep.
        let monitor = std::env::temp_dir().join(format!("touchstone-lab-{}", std::process::id()));
        let mut machine = self.start(cpus, &monitor)?;
        let said = machine.stdout.take().context("QEMU has no standard output")?;
        let mut knocks = machine.stdin.take().context("QEMU has no standard input")?;
        let shown = thread::spawn(move || io::copy(&mut { said }, &mut io::stdout()));
        let ended = self.wait(&mut machine, &mut knocks, &monitor, limit);
        let _not_needed = fs::remove_file(&monitor);
        let ended = ended?;
        if matches!(ended, Ended::Itself) {
            // Nobody may be there to read it, which is no failure of the lab.
            let _unread = shown.join();
            let _not_needed = fs::remove_file(self.alive());
        }
        Ok(ended)
    }

    fn wait(&self, machine: &mut Child, knocks: &mut ChildStdin, monitor: &Path, limit: Duration) -> Result<Ended> {
        let begin = Instant::now();
        // The last time that it told, and when.
        let mut alive = (0, begin);
        loop {
            if let Some(status) = machine.try_wait().context("wait for QEMU")? {
                if !status.success() {
                    bail!("QEMU failed: {status}");
                }
                return Ok(Ended::Itself);
            }
            // A CPU that stands still may take the clock with it, while another still runs programs.
            let seconds = last_number(&self.alive());
            if alive.0 < seconds {
                alive = (seconds, Instant::now());
            }
            let (told, silent) = (alive.0, alive.1.elapsed());
            let is_stalled = STALLED_AFTER < silent;
            if is_stalled || limit < begin.elapsed() {
                let state = self.state(machine.id(), monitor);
                machine.kill().and_then(|()| machine.wait()).context("end QEMU")?;
                return Ok(if is_stalled {
                    let silent = silent.as_secs();
                    Ended::Stalled(format!(
                        "its clock stood still for {silent} s, {told} s after its start; {state}"
                    ))
                } else {
                    let limit = limit.as_secs();
                    Ended::AtLimit(format!(
                        "programs still ran in it after {limit} s (--limit-s), when it was stopped; {state}"
                    ))
                });
            }
            // It may just have ended, which the next look shows.
            let _knocked = knocks.write_all(b".");
            thread::sleep(LOOK);
        }
    }

    /// Where the emulated CPUs stand, as far as the emulator still answers, and whether its threads run.
    fn state(&self, pid: u32, monitor: &Path) -> String {
        let registers = ask(
            monitor,
            &["info registers -a", "info lapic 0", "info lapic 1", "info pic"],
        )
        .unwrap_or_else(|error| format!("the emulator's monitor does not answer: {error:#}\n"));
        let threads = threads(pid);
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let mut text = format!("threads of the emulator, by /proc:\n{threads}\n{registers}\nlog of its kernel:\n{log}");
        text.retain(|letter| letter != '\r');
        let file = self.folder.join("stalled.txt");
        let written = match fs::write(&file, &text) {
            Ok(()) => format!("all of where it stood: {}", file.display()),
            Err(error) => format!("where it stood could not be written: {}: {error}", file.display()),
        };
        // Who sees no more than what is printed can still tell a CPU that waits from one that runs.
        let places = registers
            .lines()
            .filter(|line| line.starts_with("RIP="))
            .collect::<Vec<_>>();
        format!("{written}\n{threads}{}", places.join("\n"))
    }

    /// Starts QEMU. What the suite prints comes out of its standard output, and what goes into its input knocks.
    fn start(&self, cpus: u32, monitor: &Path) -> Result<Child> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-M",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-m",
            "3072",
            "-smp",
        ]);
        command.arg(cpus.to_string());
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs);
        command.args(["-append", "console=ttyS0 panic=-1 quiet loglevel=5 rdinit=/init"]);
        command
            .arg("-monitor")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()));
        let chardev = |id: &str, path: &Path| format!("file,id={id},path={}", path.display());
        command
            .arg("-chardev")
            .arg(chardev("log", &self.log()))
            .args(["-serial", "chardev:log"]);
        command.args(["-device", "virtio-serial-pci"]);
        if io::stderr().is_terminal() {
            command.arg("-chardev").arg(chardev("bar", Path::new("/dev/stderr")));
            command.args(["-device", "virtconsole,chardev=bar,nr=0"]);
        }
        command.args(["-chardev", "stdio,id=said,signal=off"]);
        for (id, path) in [("results", &self.results()), ("alive", &self.alive())] {
            command.arg("-chardev").arg(chardev(id, path));
        }
        for (number, id) in [(1, "said"), (2, "results"), (3, "alive")] {
            command
                .arg("-device")
                .arg(format!("virtserialport,chardev={id},nr={number}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
            .spawn()
            .with_context(|| format!("start {}", shell::line(&command)))
    }
}

/// What QEMU's monitor says to each of some commands.
fn ask(monitor: &Path, commands: &[&str]) -> Result<String> {
    let mut stream = UnixStream::connect(monitor)?;
    stream.set_read_timeout(Some(MONITOR_WAIT))?;
    let mut answers = String::new();
    for question in [""].iter().chain(commands) {
        if !question.is_empty() {
            stream.write_all(format!("{question}\n").as_bytes())?;
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"(qemu) ") {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes)? {
                0 => bail!("it hung up"),
                length => answer.extend_from_slice(&bytes[..length]),
            }
        }
        answers += &String::from_utf8_lossy(&answer);
    }
    Ok(answers)
}

/// The number in the last whole line of a file; 0 without one.
fn last_number(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .next_back()
        .and_then(|line| line.parse().ok())
        .unwrap_or(0)
}

/// State, processor time in ticks and place of each thread of a process.
fn threads(pid: u32) -> String {
    let folder = format!("/proc/{pid}/task");
    let mut lines = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let of = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let stat = of("stat");
        // Behind the name, which may hold anything: state, ten numbers, then user and system time.
        let rest: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let field = |index: usize| rest.get(index).copied().unwrap_or("?");
        let (state, user, system) = (field(0), field(11), field(12));
        let thread = entry.file_name();
        lines += &format!(
            "thread {}: {state}, {user} user and {system} system ticks, in {}\n",
            thread.to_string_lossy(),
            of("wchan")
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A monitor that answers as QEMU's does, or hangs up after its greeting.
    fn monitor(name: &str, answers: bool) -> (PathBuf, thread::JoinHandle<()>) {
        let path = std::env::temp_dir().join(format!("touchstone-{name}-{}", std::process::id()));
        let _old = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("bind");
        let serve = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            stream.write_all(b"QEMU 7.2 monitor\r\n(qemu) ").expect("greet");
            let mut question = [0; 64];
            while answers && stream.read(&mut question).expect("read") != 0 {
                stream.write_all(b"RIP=1\r\n(qemu) ").expect("answer");
            }
        });
        (path, serve)
    }

    #[test]
    fn monitor_is_asked_one_question_after_another() {
        let (path, serve) = monitor("answers", true);
        let text = ask(&path, &["info cpus", "info registers -a"]).expect("answers");
        assert_eq!(text.matches("RIP=1").count(), 2, "{text}");
        serve.join().expect("monitor");
        fs::remove_file(path).expect("remove");
    }

    #[test]
    fn dead_monitor_is_an_error_and_no_hang() {
        let (path, serve) = monitor("dead", false);
        assert!(ask(&path, &["info cpus"]).is_err());
        serve.join().expect("monitor");
        fs::remove_file(&path).expect("remove");
        assert!(ask(&path, &["info cpus"]).is_err());
    }
}
