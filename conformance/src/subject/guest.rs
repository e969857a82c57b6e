//! Depth guest: a resident image in any VMM; cases judge what it printed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::console::Console;
use super::description::{Description, Dump, Launch, Places};
use super::disk;
use super::kernel;
use super::linux::{self, Form, Linux};
use super::peer::Peers;
use super::process::printable;
use super::remains::Folder;
use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{Adapter, BootFailure, Broken, Caps, Depth, Facts, Machine, Resident, Stop};

/// Boots resident images, each once for a set-up.
pub struct GuestAdapter {
    description: Arc<Description>,
    launch: Launch,
    caps: Caps,
    images: PathBuf,
    kernel: Option<PathBuf>,
    logs: Mutex<HashMap<Key, Slot>>,
}

/// Image, set-up and profile.
type Key = (String, Setup, &'static str);

/// What a boot gave, once it was made.
type Slot = Arc<OnceLock<Result<Resident, BootFailure>>>;

impl GuestAdapter {
    /// An adapter for one way of starting a described subject with images out of a folder, and a kernel of the user's
    /// in place of the Linux there.
    ///
    /// # Errors
    /// A capability that does not exist.
    pub fn new(
        description: Arc<Description>,
        launch: Launch,
        images: PathBuf,
        kernel: Option<PathBuf>,
    ) -> Result<GuestAdapter, String> {
        let caps = launch.caps()?;
        Ok(GuestAdapter {
            description,
            launch,
            caps,
            images,
            kernel,
            logs: Mutex::default(),
        })
    }

    fn boot_resident(&self, image: &Path, setup: &Setup, layout: &Layout) -> Result<Resident, BootFailure> {
        let bytes = std::fs::read(image).map_err(|error| {
            let image = image.display();
            let text = format!("{image}: read: {error}; build it with cargo xtask guest-images");
            Stop::Unavailable(text)
        })?;
        let mut append = setup.append.map_or(String::new(), |user| format!("{user} "));
        append.push_str(&format!(
            "exit={DEBUG_EXIT_PORT:#x} virtio-base={:#x} virtio-stride={:#x} virtio-count={}",
            layout.virtio_base, layout.virtio_stride_bytes, layout.virtio_count
        ));
        let (folder, disks) = disk::folder_with_images(setup)?;
        let peers = Peers::start(folder.as_ref().map(Folder::path), setup)?;
        let places = Places {
            kernel: Some(image.display().to_string()),
            append: append.clone(),
            disks,
            peers: peers.paths(),
            ..Places::default()
        };
        let facts = Facts {
            append: Some(append),
            kernel_entry: kernel::pvh_entry(&bytes),
            kvm: self.launch.needs_kvm(),
            ..Facts::default()
        };
        let words = self.description.command_line(&self.launch, setup, layout, &places)?;
        let log = self.collect(
            &words,
            Limits {
                silence_ms: self.launch.start_ms,
                all_ms: self.launch.answer_ms,
            },
        )?;
        Ok(Resident {
            log: Arc::from(log),
            facts,
        })
    }

    fn boot_linux(&self, image: &str, form: Form, setup: &Setup, layout: &Layout) -> Result<Resident, BootFailure> {
        if self.launch.needs_kvm()
            && let Some(reason) = linux::kvm_refusal()
        {
            return Err(Stop::Unavailable(reason).into());
        }
        let linux = Linux::find(&self.images, image, form, self.kernel.as_deref())?;
        let append = linux::command_line(setup, layout);
        let (folder, disks) = disk::folder_with_images(setup)?;
        let peers = Peers::start(folder.as_ref().map(Folder::path), setup)?;
        let places = Places {
            kernel: Some(linux.kernel.display().to_string()),
            initrd: Some(linux.initramfs.display().to_string()),
            append: append.clone(),
            disks: disks.clone(),
            peers: peers.paths(),
            ..Places::default()
        };
        let words = self.description.command_line(&self.launch, setup, layout, &places)?;
        // It is told to be quiet until its first program speaks.
        let limits = Limits {
            silence_ms: self.launch.linux_ms,
            all_ms: self.launch.linux_ms,
        };
        let mut log = self.collect(&words, limits)?;
        for path in disks.into_iter().flatten() {
            log.push_str(&disk::changes(Path::new(&path))?);
        }
        Ok(Resident {
            log: Arc::from(log),
            facts: Facts {
                append: Some(append),
                kvm: self.launch.needs_kvm(),
                own_kernel: self.kernel.is_some(),
                ..Facts::default()
            },
        })
    }

    /// Starts the subject and keeps what it prints, each line with the time at which it began.
    fn collect(&self, words: &[String], limits: Limits) -> Result<String, BootFailure> {
        let begin = Instant::now();
        let (mut process, mut console) = Console::spawn(words, Duration::from_millis(self.launch.start_ms))?;
        let mut log = Log::new(begin);
        if let Err(broken) = self.listen(&mut console, &mut log, limits) {
            if self.launch.dump == Dump::Sigquit {
                process.dump();
            }
            log.finish();
            return Err(process.failure(broken, &log.text));
        }
        log.finish();
        let status = process.wait(EXIT_WAIT);
        let code = status.and_then(|status| status.code());
        if code.is_none_or(|code| !self.launch.exit.contains(&code)) && !log.text.contains(END_MARK) {
            let end = process.end();
            let broken = if log.text.is_empty() {
                Broken::Start(format!("the image printed nothing: {end}"))
            } else {
                Broken::Crash(format!("{end}; the image printed: {}", log.tail()))
            };
            return Err(process.failure(broken, &log.text));
        }
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        log.push(format!("# host: exit={code}\n").as_bytes());
        Ok(log.text)
    }

    /// Keeps what comes until the console is closed.
    fn listen(&self, console: &mut Console, log: &mut Log, limits: Limits) -> Result<(), Broken> {
        let deadline = log.begin + Duration::from_millis(limits.all_ms);
        let silence = log.begin + Duration::from_millis(limits.silence_ms);
        let mut buffer = [0; 4096];
        let mut received = 0;
        loop {
            let until = if received == 0 { silence.min(deadline) } else { deadline };
            match console.receive_until(&mut buffer, until) {
                Ok(0) if received == 0 => {
                    let limit = limits.silence_ms.min(limits.all_ms);
                    return Err(Broken::Start(format!("the image printed nothing within {limit} ms")));
                }
                Ok(0) => {
                    let (limit, shown) = (limits.all_ms, log.tail());
                    let text = format!("the image did not end within {limit} ms; it printed: {shown}");
                    return Err(Broken::Timeout(text));
                }
                Ok(count) => {
                    received += count;
                    log.push(&buffer[..count]);
                }
                Err(_closed) => return Ok(()),
            }
            // A line counts once it is whole and with its time, so both are looked at.
            if LOG_BYTES_MAX < received.max(log.text.len()) {
                let text = format!(
                    "the image printed more than {LOG_BYTES_MAX} bytes; it printed: {}",
                    log.tail()
                );
                return Err(Broken::Transport(text));
            }
        }
    }
}

/// How long an image may take.
#[derive(Clone, Copy)]
struct Limits {
    /// Until it says something.
    silence_ms: u64,
    /// Until its end.
    all_ms: u64,
}

impl Adapter for GuestAdapter {
    fn depth(&self) -> Depth {
        Depth::Guest
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn boot(&self, _setup: &Setup, _layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        Err(Stop::Unavailable("a resident image takes no accesses from outside".to_owned()).into())
    }

    fn resident(&self, image: &str, setup: &Setup, layout: &Layout) -> Result<Resident, BootFailure> {
        let key = (image.to_owned(), setup.clone(), layout.profile);
        let slot = {
            let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(logs.entry(key).or_default())
        };
        let boot = || match Form::of_image(image) {
            Some(form) => self.boot_linux(image, form, setup, layout),
            None => self.boot_resident(&self.images.join(image), setup, layout),
        };
        slot.get_or_init(boot).clone()
    }
}

/// Lines as they come, each with the host's time since the start.
struct Log {
    begin: Instant,
    text: String,
    line: Vec<u8>,
    line_began: Duration,
}

impl Log {
    fn new(begin: Instant) -> Log {
        Log {
            begin,
            text: String::new(),
            line: Vec::new(),
            line_began: Duration::ZERO,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let now = self.begin.elapsed();
        for &byte in bytes {
            if self.line.is_empty() {
                self.line_began = now;
            }
            match byte {
                b'\n' => self.finish(),
                _ if self.line.len() < LINE_BYTES_MAX => self.line.push(byte),
                _ => {}
            }
        }
    }

    /// Ends the line that is open, if it has any text.
    fn finish(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if !line.is_empty() {
            let (seconds, micros) = (self.line_began.as_secs(), self.line_began.subsec_micros());
            self.text.push_str(&format!("[{seconds:4}.{micros:06}] {line}\n"));
        }
    }

    /// The last lines, as one; a line that is still open counts.
    fn tail(&self) -> String {
        let open = String::from_utf8_lossy(&self.line);
        let open = (!open.trim().is_empty()).then(|| printable(open.trim()));
        let whole = self.text.lines().rev().map(printable);
        let lines: Vec<_> = open.into_iter().chain(whole).take(3).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        if lines.is_empty() {
            "nothing".to_owned()
        } else {
            lines.join(" / ")
        }
    }
}

/// The port at which subject files put a debug-exit device for images.
const DEBUG_EXIT_PORT: u16 = 0xf4;

/// The image's last line.
const END_MARK: &str = "# end";

/// Longest log of one image.
const LOG_BYTES_MAX: usize = 4 << 20;

/// Longest line that is kept whole.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Longest wait for the end of a VMM whose guest asked for it.
const EXIT_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_keeps_whole_lines_with_their_times() {
        let mut log = Log::new(Instant::now());
        log.push(b"KTAP ver");
        log.push(b"sion 1\r\n\nok 1");
        log.finish();
        let lines: Vec<_> = log.text.lines().map(|line| &line[14..]).collect();
        assert_eq!(lines, ["KTAP version 1", "ok 1"]);
        assert!(log.text.starts_with("[   0.0"), "{}", log.text);
    }
}
