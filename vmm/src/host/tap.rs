//! A tap interface of the host: the other end of a network device's cable.
//!
//! Nothing here waits: a frame that the host does not take at once is dropped, as on any network, and frames for the
//! guest stay in the interface's own queue until the device has room.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::kvm::tun;

/// An attached tap interface.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
}

impl Tap {
    /// Attaches to the tap interface `name`, which is made when it does not exist and the caller may do that.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn attach(name: &str) -> Result<Tap, String> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(TUN, flags, Mode::empty()).map_err(|error| {
            format!(
                "open {TUN}: {}; load the module tun, or drop tap=",
                io::Error::from(error)
            )
        })?;
        tun::attach(&fd, name).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM) => {
                format!("attach to it: {error}; make it yours with: ip tuntap add dev {name} mode tap user $USER")
            }
            Some(Errno::BUSY) => format!("attach to it: {error}; another VMM has it, name another interface"),
            Some(Errno::INVAL) => format!("attach to it: {error}; it is no tap interface, name another"),
            _ => format!("attach to it: {error}"),
        })?;
        Ok(Tap { fd })
    }

    /// Sends a frame; false when the host does not take it.
    pub fn send(&self, frame: &[u8]) -> bool {
        rustix::io::write(&self.fd, frame).is_ok()
    }

    /// Receives a frame into `into` and returns its length; `Ok(None)` when none is there now. What exceeds `into` is
    /// lost.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.fd, into) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const TUN: &str = "/dev/net/tun";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_that_is_no_tap_is_refused_in_one_line() {
        // The name is too long for any interface, so this fails the same way with and without privileges.
        match Tap::attach("a-name-of-twenty-one") {
            Ok(_) => panic!("no interface has such a name"),
            Err(text) if text.starts_with("open ") => println!("skipped: {text}"),
            Err(text) => assert!(text.starts_with("attach to it: ") && !text.contains('\n'), "{text}"),
        }
        match Tap::attach("lo") {
            Ok(_) => panic!("lo is no tap interface"),
            Err(text) if text.starts_with("open ") => println!("skipped: {text}"),
            Err(text) => assert!(text.starts_with("attach to it: ") && text.contains("; "), "{text}"),
        }
    }

    #[test]
    fn new_interface_has_no_frames_and_one_owner() {
        let name = format!("mvm{}", std::process::id() % 1_000_000);
        let tap = match Tap::attach(&name) {
            Ok(tap) => tap,
            Err(text) => {
                println!("skipped: this user cannot make a tap interface: {text}");
                return;
            }
        };
        assert_eq!(tap.receive(&mut [0; 64]).expect("it is there"), None);
        assert!(!tap.send(&[0; 64]), "an interface that is down takes nothing");
        let error = Tap::attach(&name).expect_err("taken");
        assert!(error.contains("another VMM has it"), "{error}");
    }
}
