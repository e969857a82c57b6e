//! The one host call that a tap interface needs and that has no safe wrapper. It is here because here is where unsafe
//! code may be; KVM has no part in it.
#![expect(unsafe_code, reason = "TUNSETIFF takes a pointer")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Makes `tun`, an open `/dev/net/tun`, the other end of the tap interface `name`: each read and write is one frame,
/// without anything in front of it. An interface that does not exist is made, and goes with `tun`.
///
/// # Errors
/// As ioctl(2) TUNSETIFF; [`io::ErrorKind::InvalidInput`] for a name that no interface can have.
pub fn attach(tun: impl AsFd, name: &str) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short,
        },
    };
    // The last character stays NUL.
    let room = &mut request.ifr_name[..libc::IFNAMSIZ - 1];
    if name.is_empty() || room.len() < name.len() || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (into, byte) in room.iter_mut().zip(name.bytes()) {
        *into = byte as libc::c_char;
    }
    // SAFETY: the descriptor is open for as long as `tun` is borrowed; TUNSETIFF reads and writes one `struct ifreq`,
    // which `request` is, and keeps no pointer to it.
    let result = unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
