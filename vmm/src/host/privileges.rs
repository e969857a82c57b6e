//! What the process gives up once everything is opened: capabilities, its user, new files, core dumps.
//!
//! System calls that change credentials change the calling thread's; threads started later inherit them. So all of this
//! comes before the first thread is started.

use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Whom to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Numeric user ID, not `u32::MAX`.
    pub uid: u32,
    /// Numeric group ID, not `u32::MAX`.
    pub gid: u32,
}

/// Becomes another user, without further groups. The calling thread only: before any other is started.
///
/// # Errors
/// One line with what to do about it.
pub fn become_user(user: User) -> Result<(), String> {
    let fail = |what: &'static str| {
        move |error: Errno| {
            let User { uid, gid } = user;
            format!("--user {uid}:{gid}: {what}: {error}; start microvm as root, or drop the option")
        }
    };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // The user last: with it goes the right to the others.
    set_thread_groups(&[]).map_err(fail("leave all groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(fail("set the group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(fail("set the user"))
}

/// Gives up all capabilities, also of root; new file descriptors, which nothing needs any more; and core dumps, which
/// would leave guest memory on the host's disk. The calling thread's capabilities only: before any other is started.
///
/// # Errors
/// One line.
pub fn drop_all() -> Result<(), String> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(|error| format!("--sandbox on: give up capabilities: {error}"))?;
    for (resource, most, name) in [
        (Resource::Core, 0, "RLIMIT_CORE"),
        (Resource::Nofile, FILES_MAX, "RLIMIT_NOFILE"),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|error| format!("--sandbox on: set {name}: {error}"))?;
    }
    Ok(())
}

/// Bound of new file descriptors' numbers, and of how many poll(2) takes. What is open stays open.
const FILES_MAX: u64 = 64;
