//! The guest's serial port as bytes, with deadlines, by whatever way a VMM offers it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use guest_protocol::Channel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

use super::description::Serial;
use super::process::Process;
use crate::machine::Broken;

/// Our end of a guest's serial port.
pub(crate) struct Console {
    stream: OwnedFd,
    limit: Duration,
    /// When what was sent last, or the start, is answered at the latest.
    deadline: Instant,
    noise: Vec<u8>,
}

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the console was closed")
    }
}

impl Console {
    /// Starts a command and opens its guest's serial port: on its standard input and output, or at `socket`. Opening
    /// and all receives together wait at most `limit` from the start, and a send and all receives from each send: a
    /// guest that prints for ever, however slowly, has no more time than one that is silent.
    pub(crate) fn spawn(
        words: &[String],
        serial: Serial,
        socket: &Path,
        limit: Duration,
    ) -> Result<(Process, Console), Broken> {
        let start = |error: io::Error| Broken::Start(format!("make a console: {error}"));
        let deadline = Instant::now() + limit;
        let (process, stream) = match serial {
            Serial::None | Serial::Stdio | Serial::Qtest => {
                let (ours, theirs) = UnixStream::pair().map_err(start)?;
                (Process::spawn(words, Some(theirs.into()))?, ours.into())
            }
            Serial::Pty => {
                let (ours, theirs) = terminal().map_err(|error| start(error.into()))?;
                (Process::spawn(words, Some(theirs))?, ours)
            }
            Serial::Connects => {
                // A start before this one may have left its own.
                let _left = std::fs::remove_file(socket);
                let listener = UnixListener::bind(socket).map_err(start)?;
                listener.set_nonblocking(true).map_err(start)?;
                let mut process = Process::spawn(words, None)?;
                let accept = || listener.accept().map(|(stream, _)| stream);
                let stream = process.retry(deadline, SERIAL, accept)?;
                (process, stream.into())
            }
            Serial::Listens => {
                let mut process = Process::spawn(words, None)?;
                let stream = process.retry(deadline, SERIAL, || UnixStream::connect(socket))?;
                (process, stream.into())
            }
        };
        let flags = fcntl_getfl(&stream).and_then(|flags| fcntl_setfl(&stream, flags | OFlags::NONBLOCK));
        flags.map_err(|error| start(error.into()))?;
        let console = Console {
            stream,
            limit,
            deadline,
            noise: Vec::new(),
        };
        Ok((process, console))
    }

    /// Another limit from the next send on.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// What came that was no frame, its end.
    pub(crate) fn noise_text(&self) -> String {
        String::from_utf8_lossy(&self.noise).trim().to_owned()
    }

    /// Receives what there is until `deadline`; 0 when nothing came.
    pub(crate) fn receive_until(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Closed> {
        loop {
            match rustix::io::read(&self.stream, &mut *buffer) {
                Ok(0) => return Err(Closed),
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => {
                    if !self.wait(PollFlags::IN, deadline) {
                        return Ok(0);
                    }
                }
                Err(Errno::INTR) => {}
                // A terminal nobody has open any more gives EIO.
                Err(_) => return Err(Closed),
            }
        }
    }

    /// Waits until the stream is ready; `false` when it is not by `deadline`.
    fn wait(&self, flags: PollFlags, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else {
                return false;
            };
            let mut polled = [PollFd::from_borrowed_fd(self.stream.as_fd(), flags)];
            match poll(&mut polled, Some(&left)) {
                Ok(0) => return false,
                Err(Errno::INTR) => {}
                // An error shows itself by what is done next.
                Ok(_) | Err(_) => return true,
            }
        }
    }
}

impl Channel for Console {
    type Error = Closed;

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        self.deadline = Instant::now() + self.limit;
        while !bytes.is_empty() {
            match rustix::io::write(&self.stream, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) if self.wait(PollFlags::OUT, self.deadline) => {}
                Err(Errno::INTR) => {}
                Err(_) => return Err(Closed),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Closed> {
        self.receive_until(buffer, self.deadline)
    }

    fn noise(&mut self, bytes: &[u8]) {
        self.noise.extend(bytes);
        let excess = self.noise.len().saturating_sub(NOISE_BYTES_MAX);
        self.noise.drain(..excess);
    }
}

/// A terminal that passes bytes on as they are: our end, and the one for a process.
fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(name.as_c_str(), flags, Mode::empty())?;
    let mut modes = tcgetattr(&theirs)?;
    modes.make_raw();
    // What a VMM turns on again must find nothing to do: output processing would make two bytes of a line feed.
    modes.output_modes = OutputModes::empty();
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    Ok((ours, theirs))
}

/// What a subject opens, in messages.
const SERIAL: &str = "its serial port's socket";

/// Bytes kept of what was no frame.
const NOISE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn shell(script: &str, serial: Serial, socket: &Path, limit_ms: u64) -> Result<(Process, Console), Broken> {
        let words = ["sh", "-c", script].map(str::to_owned);
        Console::spawn(&words, serial, socket, Duration::from_millis(limit_ms))
    }

    fn echoes(console: &mut Console) {
        // Every byte, also those that mean something to a terminal.
        let bytes: Vec<u8> = (0..=255).collect();
        console.send(&bytes).expect("sent");
        let mut back: Vec<u8> = Vec::new();
        let mut buffer = [0; 64];
        while back.len() < bytes.len() {
            let count = console.receive(&mut buffer).expect("open");
            assert_ne!(count, 0, "{} bytes came back", back.len());
            back.extend(&buffer[..count]);
        }
        assert_eq!(back, bytes);
    }

    #[rstest]
    #[case(Serial::Stdio)]
    #[case(Serial::Pty)]
    fn bytes_pass_standard_input_and_output_as_they_are(#[case] serial: Serial) {
        let test = if serial == Serial::Pty {
            // Some VMMs turn output processing on.
            "test -t 0 -a -t 1 && stty opost"
        } else {
            "test ! -t 0"
        };
        let script = format!("{test} && exec head -c 256");
        let (mut process, mut console) = shell(&script, serial, Path::new(""), 10_000).expect("starts");
        echoes(&mut console);
        let status = process.wait(Duration::from_secs(10)).expect("ends");
        assert!(status.success());
        assert_eq!(console.receive(&mut [0]), Err(Closed));
    }

    #[test]
    fn last_bytes_of_a_process_that_ended_are_not_lost() {
        for serial in [Serial::Stdio, Serial::Pty] {
            let (mut process, mut console) = shell("echo last", serial, Path::new(""), 10_000).expect("starts");
            process.wait(Duration::from_secs(10)).expect("ends");
            let mut buffer = [0; 16];
            assert_eq!(console.receive(&mut buffer), Ok(5), "{serial:?}");
            assert_eq!(&buffer[..5], b"last\n");
            assert_eq!(console.receive(&mut buffer), Err(Closed), "{serial:?}");
        }
    }

    #[test]
    fn subject_that_listens_on_a_socket_is_connected_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).expect("bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let mut copy = stream.try_clone().expect("a copy");
            // Ends when the other side hangs up, with either result.
            let _ended = io::copy(&mut stream, &mut copy);
        });
        let (process, mut console) = shell("exec sleep 60", Serial::Listens, &socket, 10_000).expect("starts");
        echoes(&mut console);
        drop((process, console));
        server.join().expect("no panic");
    }

    #[rstest]
    #[case(
        Serial::Connects,
        "exec sleep 60",
        "it did not open its serial port's socket in time"
    )]
    #[case(Serial::Listens, "exec sleep 60", "it did not open its serial port's socket in time")]
    #[case(Serial::Connects, "echo why; exit 3", "ended with exit status: 3; last words: why")]
    #[case(
        Serial::Listens,
        "echo why >&2; exit 3",
        "ended with exit status: 3; last words: why"
    )]
    fn subject_that_never_opens_its_socket_is_a_start_error(
        #[case] serial: Serial,
        #[case] script: &str,
        #[case] part: &str,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let limit_ms = if script.contains("sleep") { 100 } else { 10_000 };
        match shell(script, serial, &folder.path().join("s"), limit_ms) {
            Err(Broken::Start(text)) => assert!(text.contains(part), "{text}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("started"),
        }
    }
}
