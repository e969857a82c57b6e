//! Signals that end a run in order: SIGINT, SIGTERM, SIGHUP, and SIGQUIT, which asks for the registers as well.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use signal_hook::consts::SIGQUIT;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Catches the signals from construction on; readable in poll(2) once one came.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Starts catching.
    ///
    /// # Errors
    /// The host has no file descriptors left.
    pub fn catch() -> io::Result<Signals> {
        let which = Arc::new(AtomicUsize::new(0));
        let (pipe, sender) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            // In this order: whoever sees the pipe readable finds the number.
            signal_hook::flag::register_usize(signal, Arc::clone(&which), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Signals { pipe, which })
    }

    /// The number of the latest signal, if one came.
    pub fn received(&self) -> Option<i32> {
        match self.which.load(Ordering::SeqCst) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
