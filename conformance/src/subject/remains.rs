//! What must not outlive this program: the processes and folders of subjects.
//!
//! Whatever is dropped takes care of itself. An interrupt that ends the program at once drops nothing: [`exit`] is for
//! it.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A folder for the sockets and files of one start of a subject; dropping it removes it.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> io::Result<Folder> {
        let folder = tempfile::Builder::new().prefix("touchstone-").tempdir()?;
        live().add_folder(folder.path());
        Ok(Folder(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        live().remove_folder(self.path());
    }
}

/// A process group, by its leader's id.
pub(super) struct Group(u32);

impl Group {
    pub(super) fn new(leader: u32) -> Group {
        live().add_group(leader);
        Group(leader)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut live = live();
        kill(self.0);
        live.remove_group(self.0);
    }
}

/// Ends this program with `code`, every process of a subject, and removes their folders.
pub fn exit(code: i32) -> ! {
    // Held to the end: whoever notices that its subject is gone waits here and does nothing more.
    let live = live();
    live.groups.iter().copied().for_each(kill);
    live.folders.iter().for_each(|folder| remove(folder));
    std::process::exit(code)
}

/// Starts `program guard`, which is to call [`guard`]: it ends subjects and removes their folders when this program
/// goes without doing so, killed for want of memory or by a job's time limit.
///
/// # Errors
/// The program cannot be started.
pub fn start_guard(program: &Path) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg("guard").stdin(Stdio::piped());
    // A group of its own, so that what is sent to ours does not reach it.
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    live().guard = command.spawn()?.stdin.take();
    Ok(())
}

/// Takes note of what `notes` tells until it ends, and then ends and removes what is left of it.
pub fn guard(notes: impl BufRead) {
    let mut live = Live::new();
    for note in notes.split(b'\n').map_while(Result::ok) {
        let Some((&kind, rest)) = note.split_first() else {
            continue;
        };
        let group = std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok());
        let folder = || PathBuf::from(std::ffi::OsStr::from_bytes(rest));
        match (kind, group) {
            (b'+', Some(group)) => live.add_group(group),
            (b'-', Some(group)) => live.remove_group(group),
            (b'f', _) => live.add_folder(&folder()),
            (b'r', _) => live.remove_folder(&folder()),
            _ => {}
        }
    }
    live.groups.iter().copied().for_each(kill);
    live.folders.iter().for_each(|folder| remove(folder));
}

/// What there is to end and to remove.
struct Live {
    groups: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
    guard: Option<ChildStdin>,
}

impl Live {
    const fn new() -> Live {
        Live {
            groups: BTreeSet::new(),
            folders: BTreeSet::new(),
            guard: None,
        }
    }

    fn add_group(&mut self, leader: u32) {
        self.groups.insert(leader);
        self.tell(b'+', leader.to_string().as_bytes());
    }

    fn remove_group(&mut self, leader: u32) {
        self.groups.remove(&leader);
        self.tell(b'-', leader.to_string().as_bytes());
    }

    fn add_folder(&mut self, folder: &Path) {
        self.folders.insert(folder.to_owned());
        self.tell(b'f', folder.as_os_str().as_bytes());
    }

    fn remove_folder(&mut self, folder: &Path) {
        self.folders.remove(folder);
        self.tell(b'r', folder.as_os_str().as_bytes());
    }

    fn tell(&mut self, kind: u8, what: &[u8]) {
        if let Some(guard) = &mut self.guard
            && !what.contains(&b'\n')
        {
            // A guard that is gone guards nothing, and nothing else depends on it.
            let _gone = guard.write_all(&[&[kind], what, b"\n"].concat());
        }
    }
}

fn live() -> MutexGuard<'static, Live> {
    static LIVE: Mutex<Live> = Mutex::new(Live::new());
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(folder: &Path) {
    // Nothing to be done about what cannot be removed, and nobody to tell.
    let _removed = std::fs::remove_dir_all(folder);
}

fn kill(leader: u32) {
    let group = i32::try_from(leader).ok().and_then(Pid::from_raw);
    // All of it may have ended by itself, and then there is nothing to kill.
    let _ended = group.map(|group| kill_process_group(group, Signal::KILL));
}
