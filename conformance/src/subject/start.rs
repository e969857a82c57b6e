//! One start of a VMM with an image of ours: its folder, its command line, its console.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::console::Console;
use super::description::{Description, Launch, Places};
use super::disk;
use super::peer::Peers;
use super::process::Process;
use super::remains::Folder;
use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{Broken, Stop};
use crate::marks::BootMarks;

/// Everything that has to be there while the VMM runs, and its command line.
pub(super) struct Start {
    /// Program and arguments.
    pub(super) words: Vec<String>,
    /// The kernel's command line.
    pub(super) append: String,
    /// Paths of the devices' disks, as in [`Places`].
    pub(super) disks: Vec<Option<String>>,
    socket: String,
    /// Where the VMM notes boot marks, if it does so.
    boot_marks: Option<PathBuf>,
    _peers: Peers,
    _folder: Folder,
}

/// What is started.
pub(super) struct Kernel<'a> {
    pub(super) path: &'a Path,
    pub(super) is_bz_image: bool,
    pub(super) initrd: Option<&'a Path>,
}

impl Kernel<'_> {
    /// One of our images, all of which are ELF files.
    pub(super) fn image(path: &Path) -> Kernel<'_> {
        Kernel {
            path,
            is_bz_image: false,
            initrd: None,
        }
    }
}

impl Start {
    /// Prepares a start with a kernel. A guest whose marks the VMM notes is told their port behind `append`.
    ///
    /// # Errors
    /// As [`Description::prepare`], and [`Broken::Start`] when files or sockets cannot be made.
    pub(super) fn plan(
        description: &Description,
        launch: &Launch,
        setup: &Setup,
        layout: &Layout,
        kernel: &Kernel<'_>,
        mut append: String,
    ) -> Result<Start, Stop> {
        let start = |error: std::io::Error| Broken::Start(format!("prepare its folder: {error}"));
        let folder = Folder::new().map_err(start)?;
        let peers = Peers::start(folder.path(), setup)?;
        let noted = launch.noted_marks_port();
        if let Some(port) = noted {
            append.push_str(&format!(" marks={port:#x}"));
        }
        let boot_marks = folder.path().join("marks");
        let places = Places {
            boot_marks: boot_marks.display().to_string(),
            socket: folder.path().join("serial").display().to_string(),
            kernel: Some(kernel.path.display().to_string()),
            is_bz_image: kernel.is_bz_image,
            initrd: kernel.initrd.map(|initrd| initrd.display().to_string()),
            append,
            folder: folder.path().to_owned(),
            disks: disk::write_images(folder.path(), setup).map_err(start)?,
            peers: peers.paths(),
            ..Places::default()
        };
        Ok(Start {
            words: description.prepare(launch, setup, layout, &places)?,
            append: places.append,
            disks: places.disks,
            socket: places.socket,
            boot_marks: noted.map(|_| boot_marks),
            _peers: peers,
            _folder: folder,
        })
    }

    /// What the VMM noted of a boot that is over; cases that need it say so where there is none.
    pub(super) fn boot_marks(&self) -> Option<Arc<BootMarks>> {
        let file = self.boot_marks.as_ref()?;
        BootMarks::read(file).ok().map(Arc::new)
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`Broken::Start`] when the program cannot be started or does not open the guest's serial port.
    pub(super) fn console(&self, launch: &Launch) -> Result<(Process, Console), Broken> {
        let limit = Duration::from_millis(launch.start_ms);
        Console::spawn(&self.words, launch.serial, Path::new(&self.socket), limit)
    }
}
