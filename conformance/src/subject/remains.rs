//! What must not outlive this program: the processes and folders of subjects.
//!
//! Whatever is dropped takes care of itself. An interrupt that ends the program at once drops nothing: [`exit`] is for
//! it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A folder for the sockets and files of one start of a subject; dropping it removes it.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> io::Result<Folder> {
        let folder = tempfile::Builder::new().prefix("touchstone-").tempdir()?;
        live().folders.insert(folder.path().to_owned());
        Ok(Folder(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        live().folders.remove(self.path());
    }
}

/// A process group, by its leader's id.
pub(super) struct Group(u32);

impl Group {
    pub(super) fn new(leader: u32) -> Group {
        live().groups.insert(leader);
        Group(leader)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        live().groups.remove(&self.0);
        kill(self.0);
    }
}

/// Ends this program with `code`, every process of a subject, and removes their folders.
pub fn exit(code: i32) -> ! {
    // Held to the end: whoever notices that its subject is gone waits here and does nothing more.
    let live = live();
    live.groups.iter().copied().for_each(kill);
    for folder in &live.folders {
        // Nothing to be done about what cannot be removed, and nobody to tell.
        let _removed = std::fs::remove_dir_all(folder);
    }
    std::process::exit(code)
}

struct Live {
    groups: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
}

fn live() -> MutexGuard<'static, Live> {
    static LIVE: Mutex<Live> = Mutex::new(Live {
        groups: BTreeSet::new(),
        folders: BTreeSet::new(),
    });
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(leader: u32) {
    let group = i32::try_from(leader).ok().and_then(Pid::from_raw);
    // All of it may have ended by itself, and then there is nothing to kill.
    let _ended = group.map(|group| kill_process_group(group, Signal::KILL));
}
