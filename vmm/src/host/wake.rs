//! Wakes a thread that waits in poll(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};

/// A flag another thread can wait for with poll(2).
#[derive(Debug)]
pub struct Wake {
    fd: OwnedFd,
}

impl Wake {
    /// A flag that is down.
    ///
    /// # Errors
    /// The host has no file descriptors left.
    pub fn new() -> io::Result<Wake> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { fd })
    }

    /// Raises the flag. Raising it twice is raising it once.
    pub fn raise(&self) {
        let _already_up = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }

    /// Lowers the flag.
    pub fn lower(&self) {
        let _already_down = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
