//! The peer of the guest's serial port, and of its debug console, which has no way back.
//!
//! Output never stalls a CPU: bytes go to a buffer of at most [`OUTPUT_BYTES_MAX`] that a thread of its own writes to
//! the host. When the host does not take them and the buffer is full, further bytes are dropped and counted; the run's
//! end says how many. Input waits on the host's side until the port has room, so nothing typed is lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::options::{DebugConsoleTo, SerialTo};
use super::sandbox::{Role, Sandbox};
use super::terminal;
use super::wake::Wake;

/// The way from the guest to the host.
#[derive(Debug)]
pub struct SerialOutput {
    to: Option<(Arc<Outbox>, Stream)>,
}

/// The way from the host to the guest.
#[derive(Debug)]
pub struct SerialInput {
    from: Stream,
}

/// What a read of the input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now.
    Later,
    /// Nothing ever again.
    End,
}

/// The port's peer, opened.
#[derive(Debug)]
pub struct Streams {
    /// For messages.
    option: &'static str,
    input: Option<Stream>,
    /// What the writer writes to, and the same to watch.
    output: Option<(Stream, Stream)>,
}

/// A host stream the port may be connected to.
#[derive(Debug)]
enum Stream {
    Stdin,
    Stdout,
    File(File),
    Unix(UnixStream),
}

/// Bytes on their way to the host.
#[derive(Debug, Default)]
struct Outbox {
    state: Mutex<OutState>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct OutState {
    waiting: Vec<u8>,
    /// Counts writes the host took, so that [`Outbox::drain`] can tell slow from stuck.
    writes: u64,
    /// Bytes the writer took and has not written yet.
    writing: usize,
    dropped_bytes: u64,
    /// The host refused bytes: nobody is there any more.
    failed: Option<io::ErrorKind>,
}

/// Opens the peer. `option` is what the user wrote before `to`, for messages.
///
/// # Errors
/// The file cannot be created, or nobody listens on the socket; the text names it.
pub fn open(option: &'static str, to: &SerialTo) -> Result<Streams, String> {
    let (input, output) = match to {
        SerialTo::Null => (None, None),
        SerialTo::Stdio => {
            terminal::take();
            (Some(Stream::Stdin), Some(Stream::Stdout))
        }
        SerialTo::File(path) => {
            let file = File::create(path);
            let file = file.map_err(|error| format!("{option}file:{}: create it: {error}", path.display()))?;
            (None, Some(Stream::File(file)))
        }
        SerialTo::Unix(path) => {
            let fail = |error| format!("{option}unix:{}: connect to it: {error}", path.display());
            let stream = UnixStream::connect(path).map_err(fail)?;
            let both = stream.try_clone().map_err(fail)?;
            (Some(Stream::Unix(stream)), Some(Stream::Unix(both)))
        }
    };
    Streams::new(option, input, output)
}

/// Opens what the debug console prints to; without `to` everything sent vanishes.
///
/// # Errors
/// The file cannot be created; the text names it.
pub fn open_debug_console(to: Option<&DebugConsoleTo>) -> Result<Streams, String> {
    let stream = match to {
        None => None,
        Some(DebugConsoleTo::Stdio) => Some(Stream::Stdout),
        Some(DebugConsoleTo::File(path)) => {
            let fail = |error| format!("--debug-console file:{}: create it: {error}", path.display());
            Some(Stream::File(File::create(path).map_err(fail)?))
        }
    };
    Streams::new("--debug-console", None, stream)
}

impl Streams {
    fn new(option: &'static str, input: Option<Stream>, output: Option<Stream>) -> Result<Streams, String> {
        let watched = output.as_ref().map(Stream::try_clone).transpose();
        let watched = watched.map_err(|error| format!("{option}: open it twice: {error}"))?;
        Ok(Streams {
            option,
            input,
            output: output.zip(watched),
        })
    }

    /// Starts the writer, in the sandbox. `gone` is raised when the peer turns out to be gone.
    ///
    /// # Errors
    /// The host gives no thread.
    pub fn start(self, gone: &Arc<Wake>, sandbox: &Sandbox) -> Result<(SerialOutput, Option<SerialInput>), String> {
        let start = |(output, watched)| Ok((start_writer(output, Arc::clone(gone), sandbox.clone())?, watched));
        let to = self.output.map(start).transpose();
        let to = to.map_err(|error: io::Error| format!("{}: start its writer: {error}", self.option))?;
        Ok((SerialOutput { to }, self.input.map(|from| SerialInput { from })))
    }
}

impl SerialOutput {
    /// Sends bytes; never waits for the host.
    pub fn send(&self, bytes: &[u8]) {
        if let Some((outbox, _)) = &self.to {
            outbox.push(bytes);
        }
    }

    /// Whether the writer found nobody to write to.
    pub fn is_gone(&self) -> bool {
        self.to
            .as_ref()
            .is_some_and(|(outbox, _)| outbox.state().failed.is_some())
    }

    /// Bytes that the host did not take in time.
    pub fn dropped_bytes(&self) -> u64 {
        self.to.as_ref().map_or(0, |(outbox, _)| outbox.state().dropped_bytes)
    }

    /// Waits until everything sent has reached the host, or the host takes none of it for `limit`. Returns how many
    /// bytes are still waiting.
    pub fn drain(&self, limit: Duration) -> usize {
        self.to.as_ref().map_or(0, |(outbox, _)| outbox.drain(limit))
    }

    /// What to poll, for no event, to see the peer disappear.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().map(|(_, stream)| stream.as_fd())
    }
}

impl SerialInput {
    /// Reads what poll has announced.
    pub fn read(&mut self, into: &mut [u8]) -> Input {
        match rustix::io::read(self.from.as_fd(), into) {
            Ok(count) if 0 < count => Input::Bytes(count),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Input::Later,
            Ok(_) | Err(_) => Input::End,
        }
    }

    /// Whether the end of input means that the peer is gone: so with a socket, not with standard input.
    pub fn ends_peer(&self) -> bool {
        matches!(self.from, Stream::Unix(_))
    }
}

impl AsFd for SerialInput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Stdin => rustix::stdio::stdin(),
            Stream::Stdout => rustix::stdio::stdout(),
            Stream::File(file) => file.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Stdin => Stream::Stdin,
            Stream::Stdout => Stream::Stdout,
            Stream::File(file) => Stream::File(file.try_clone()?),
            Stream::Unix(socket) => Stream::Unix(socket.try_clone()?),
        })
    }
}

impl OutState {
    /// Bytes that have not reached the host.
    fn left(&self) -> usize {
        self.waiting.len() + self.writing
    }
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, OutState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.failed.is_some() {
            return;
        }
        let room = OUTPUT_BYTES_MAX.saturating_sub(state.left());
        let taken = bytes.len().min(room);
        state.dropped_bytes += (bytes.len() - taken) as u64;
        let was_empty = state.waiting.is_empty();
        state.waiting.extend_from_slice(&bytes[..taken]);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    fn drain(&self, limit: Duration) -> usize {
        let mut state = self.state();
        let mut writes = state.writes;
        let mut deadline = Instant::now() + limit;
        while state.failed.is_none() && state.left() != 0 {
            let now = Instant::now();
            if state.writes != writes {
                writes = state.writes;
                deadline = now + limit;
            }
            if deadline <= now {
                break;
            }
            (state, _) = self
                .emptied
                .wait_timeout(state, deadline - now)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.left()
    }

    /// Writes until the host refuses.
    fn write_all_to(&self, mut stream: Stream, gone: &Wake) {
        let mut bytes = Vec::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            bytes.clear();
            std::mem::swap(&mut bytes, &mut state.waiting);
            state.writing = bytes.len();
            drop(state);
            if let Err(error) = self.write_patiently(&mut stream, &bytes) {
                self.state().failed = Some(error.kind());
                self.emptied.notify_all();
                gone.raise();
                return;
            }
        }
    }

    /// Writes everything, also to a stream that someone else has made non-blocking.
    fn write_patiently(&self, stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    let mut state = self.state();
                    state.writing -= count;
                    state.writes += 1;
                    self.emptied.notify_all();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
                    let _then_try_again = poll(&mut fds, None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn start_writer(stream: Stream, gone: Arc<Wake>, sandbox: Sandbox) -> io::Result<Arc<Outbox>> {
    let outbox = Arc::new(Outbox::default());
    let writer = Arc::clone(&outbox);
    thread::Builder::new().name("serial-out".into()).spawn(move || {
        if sandbox.enter(Role::Output).is_ok() {
            writer.write_all_to(stream, &gone);
        } else {
            // The main thread fails in the same way, and says so.
            writer.state().failed = Some(io::ErrorKind::PermissionDenied);
            gone.raise();
        }
    })?;
    Ok(outbox)
}

/// Most output bytes that wait for the host.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn connect() -> (SerialOutput, SerialInput, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let gone = Arc::new(Wake::new().expect("an eventfd"));
        let both = ours.try_clone().expect("a second handle");
        let streams = Streams::new("--serial", Some(Stream::Unix(ours)), Some(Stream::Unix(both))).expect("a handle");
        let (output, input) = streams.start(&gone, &Sandbox::off()).expect("a thread");
        (output, input.expect("both ways"), theirs)
    }

    #[test]
    fn peer_that_reads_nothing_costs_bytes_but_no_time() {
        let (output, _input, mut theirs) = connect();
        let page = [b'x'; 4096];
        let mut sent = 0;
        // Our buffer and the socket's own, however large this host makes it.
        while output.dropped_bytes() == 0 {
            output.send(&page);
            sent += page.len();
            assert!(sent < 1 << 30, "a socket that swallows a gigabyte");
        }
        assert_ne!(output.drain(Duration::from_millis(50)), 0);
        let dropped = output.dropped_bytes();
        let mut rest = vec![0; sent - dropped as usize];
        theirs
            .read_exact(&mut rest)
            .expect("everything that was not dropped arrives");
        assert_eq!(output.drain(Duration::from_secs(10)), 0);
    }

    #[test]
    fn peer_that_hangs_up_is_noticed() {
        let (output, mut input, theirs) = connect();
        drop(theirs);
        output.send(b"anyone?");
        output.drain(Duration::from_secs(10));
        assert!(output.is_gone());
        assert_eq!(input.read(&mut [0; 8]), Input::End);
    }
}
