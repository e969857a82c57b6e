//! A child process that never outlives its owner, nor do its own children; the end of its standard error is kept.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::remains::Group;
use crate::machine::{BootFailure, Broken, Stop};

/// A running subject. Dropping it kills it; its remains are collected in the background.
pub struct Process {
    child: Option<Child>,
    /// What it has started itself dies with it.
    group: Option<Group>,
    program: String,
    began: Instant,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    /// Hangs up once standard error was read to its end.
    stderr_end: Receiver<()>,
}

impl Process {
    /// Starts `words[0]` with the other words as arguments. Standard input and output are `console`; without one there
    /// is no input, and output is kept with standard error.
    ///
    /// # Errors
    /// [`Broken::Start`] when the program cannot be started.
    pub fn spawn(words: &[String], console: Option<OwnedFd>) -> Result<Process, Broken> {
        let [program, arguments @ ..] = words else {
            return Err(Broken::Start("the command is empty".to_owned()));
        };
        let mut command = Command::new(find_program(program));
        // A group of its own: a script that starts the VMM ends together with it, and an interrupt typed at the
        // terminal is ours alone, so that running cases can end in order.
        command.args(arguments).process_group(0);
        let start = |error: io::Error| Broken::Start(format!("share the console: {error}"));
        let (pipe, words_out) = io::pipe().map_err(start)?;
        match console {
            Some(console) => command.stdin(console.try_clone().map_err(start)?).stdout(console),
            None => command
                .stdin(Stdio::null())
                .stdout(words_out.try_clone().map_err(start)?),
        };
        command.stderr(words_out);
        let child = command
            .spawn()
            .map_err(|error| Broken::Start(format!("run '{program}': {error}")))?;
        let group = Some(Group::new(child.id()));
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let (reading, stderr_end) = channel::<()>();
        // Our copies of the child's ends: the pipe ends when the child's do.
        drop(command);
        let tail = Arc::clone(&stderr);
        thread::spawn(move || {
            keep_tail(pipe, &tail);
            drop(reading);
        });
        Ok(Process {
            child: Some(child),
            group,
            program: program.clone(),
            began: Instant::now(),
            stderr,
            stderr_end,
        })
    }

    /// Attempts something that works once the process is far enough; `what` it has to open, for messages.
    ///
    /// # Errors
    /// [`Broken::Start`] when it ends before that, or does not get there by `deadline`.
    pub(super) fn retry<T>(
        &mut self,
        deadline: Instant,
        what: &str,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Result<T, Broken> {
        let mut pause = Duration::from_micros(200);
        loop {
            if let Ok(value) = attempt() {
                return Ok(value);
            }
            if self.status().is_some() {
                let end = self.end();
                return Err(Broken::Start(format!("it never opened {what}: {end}")));
            }
            if deadline <= Instant::now() {
                return Err(Broken::Start(format!("it did not open {what} in time")));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// How it ended, if it did.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Waits for its end, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(100);
        loop {
            let status = self.status();
            if status.is_some() || deadline <= Instant::now() {
                return status;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// What its end looks like from here, for a channel that was closed.
    pub fn end(&mut self) -> String {
        let program = self.program.clone();
        let end = match self.wait(END_WAIT) {
            Some(status) => format!("'{program}' ended with {status}"),
            None => format!("'{program}' closed the channel but still runs"),
        };
        // The reader of standard error may be a moment behind the end; a grandchild may hold it open for ever.
        let _end_or_late = self.stderr_end.recv_timeout(STDERR_WAIT);
        let stderr = self.stderr();
        match stderr.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{end}; last words: {}", printable(line.trim())),
            None => end,
        }
    }

    /// Asks it, by SIGQUIT, to print its registers to standard error and to end.
    pub(super) fn dump(&mut self) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.status().is_none()) {
            // It may have ended in between, and then there is nothing to ask.
            let _ended = kill_process(pid, Signal::QUIT);
            self.wait(DUMP_WAIT);
        }
    }

    /// All that is left of it, for a reader elsewhere: how it ended and after how long, its standard error, and
    /// `output`, what came out of its console.
    pub(super) fn obituary(&mut self, output: &str) -> String {
        let ms = self.began.elapsed().as_millis();
        let program = &self.program;
        let (end, behind) = match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                let end = format!("'{program}' ended with {status}, {ms} ms after its start at the latest");
                (end, STDERR_WAIT)
            }
            _ => {
                let end = format!("'{program}' still ran {ms} ms after its start and was killed");
                (end, STDERR_MOMENT)
            }
        };
        let _end_or_late = self.stderr_end.recv_timeout(behind);
        let mut text = format!("# {end}\n");
        for (what, said) in [("standard error", self.stderr().as_str()), ("console", output)] {
            let cut = said.ceil_char_boundary(said.len().saturating_sub(OUTPUT_BYTES_MAX));
            let said = said[cut..].trim_end();
            text.push_str(&match said {
                "" => format!("# {what}: nothing\n"),
                said => format!("# {what}, its end:\n{said}\n"),
            });
        }
        text
    }

    /// Why there is no machine, with [`Process::obituary`].
    pub(super) fn failure(&mut self, stop: impl Into<Stop>, output: &str) -> BootFailure {
        BootFailure {
            stop: stop.into(),
            shown: self.obituary(output),
        }
    }

    /// The last [`STDERR_BYTES_MAX`] bytes of its standard error.
    pub fn stderr(&self) -> String {
        let tail = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before the child is collected: until then its number is nobody else's.
        drop(self.group.take());
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, and then there is nothing to kill.
            let _ended = child.kill();
            reap(child);
        }
    }
}

/// A program that stands beside this one is meant before one in `PATH`: a build has its own `microvm`.
pub fn find_program(program: &str) -> PathBuf {
    let plain = PathBuf::from(program);
    if program.contains('/') {
        return plain;
    }
    let Ok(this) = std::env::current_exe() else {
        return plain;
    };
    // Test programs stand one folder below the binaries.
    let folders = this.ancestors().skip(1).take(2);
    let mut beside = folders.map(|folder| folder.join(program));
    beside.find(|path| path.is_file()).unwrap_or(plain)
}

/// A subject's text for a message of one line: what moves a terminal's cursor or changes its colours is replaced, and
/// what is too long is cut.
pub(super) fn printable(text: &str) -> String {
    let replace = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut characters = text.chars().map(replace);
    let shown: String = characters.by_ref().take(SHOWN_CHARS_MAX).collect();
    match characters.next() {
        Some(_) => format!("{shown}…"),
        None => shown,
    }
}

/// Whether a program can be found.
pub fn is_there(program: &str) -> bool {
    let path = find_program(program);
    if path.is_file() {
        return true;
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    !program.contains('/') && std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

fn keep_tail(mut pipe: PipeReader, tail: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&buffer[..count]);
        let excess = tail.len().saturating_sub(STDERR_BYTES_MAX);
        tail.drain(..excess);
    }
}

/// Collects the remains of a killed child off the critical path: a large machine takes milliseconds to go away.
fn reap(child: Child) {
    static REAPER: OnceLock<Mutex<Sender<Child>>> = OnceLock::new();
    let reaper = REAPER.get_or_init(|| {
        let (sender, receiver) = channel::<Child>();
        thread::spawn(move || {
            for mut child in receiver {
                // Nothing to be done about a child that cannot be waited for.
                let _status = child.wait();
            }
        });
        Mutex::new(sender)
    });
    let sender = reaper.lock().unwrap_or_else(PoisonError::into_inner);
    // The receiver lives as long as this program.
    let _sent = sender.send(child);
}

/// Longest part of a line shown in a message.
const SHOWN_CHARS_MAX: usize = 120;

/// Bytes of standard error that are kept.
pub const STDERR_BYTES_MAX: usize = 16 << 10;

/// Bytes of a console that are shown of a subject that is gone.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Longest wait for a subject that was asked for its registers.
const DUMP_WAIT: Duration = Duration::from_secs(2);

/// Longest wait for the end of a process that closed its channel.
const END_WAIT: Duration = Duration::from_millis(500);

/// Longest that the last bytes of standard error are behind.
const STDERR_WAIT: Duration = Duration::from_millis(500);

/// The same of a process that still runs, whose standard error has no end to wait for.
const STDERR_MOMENT: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn shell(script: &str) -> Process {
        let words = ["sh", "-c", script].map(str::to_owned);
        Process::spawn(&words, None).expect("a shell")
    }

    #[test]
    fn end_of_a_process_names_status_and_last_words() {
        let mut process = shell("echo first >&2; echo why >&2; exit 3");
        assert_eq!(process.end(), "'sh' ended with exit status: 3; last words: why");
    }

    #[test]
    fn output_of_a_process_without_a_console_is_kept() {
        let mut process = shell("echo to output; exit 4");
        assert_eq!(process.end(), "'sh' ended with exit status: 4; last words: to output");
    }

    #[test]
    fn children_of_a_script_end_with_it() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let words = ["sh", "-c", "sleep 60 & echo; wait"].map(str::to_owned);
        let process = Process::spawn(&words, Some(theirs.into())).expect("a shell");
        ours.read_exact(&mut [0]).expect("the script has started its child");
        drop(process);
        // The stream ends when nobody holds its other side any more, the child included.
        ours.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        assert_eq!(ours.read(&mut [0]).expect("the end of the stream"), 0);
    }

    #[test]
    fn flood_on_standard_error_is_cut() {
        let mut process = shell("yes complaint | head -c 300000 >&2; echo end >&2");
        process.wait(Duration::from_secs(10)).expect("ends");
        process.end();
        let kept = process.stderr();
        assert!(kept.len() <= STDERR_BYTES_MAX, "{}", kept.len());
        assert!(kept.ends_with("end\n"));
    }

    #[test]
    fn missing_program_is_a_start_error_that_names_it() {
        let words = ["no-such-program".to_owned()];
        match Process::spawn(&words, None) {
            Err(Broken::Start(text)) => assert!(text.contains("no-such-program"), "{text}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("started"),
        }
    }
}
