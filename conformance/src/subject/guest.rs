//! Depth guest: a resident image in any VMM; cases judge what it printed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::check;
use super::console::Console;
use super::description::{Description, Dump, EndsBy, Launch};
use super::disk;
use super::kernel;
use super::linux::{self, Form, Linux};
use super::process::{Process, printable};
use super::start::{Kernel, Start};
use crate::case::{Feature, Setup};
use crate::layout::Layout;
use crate::machine::{Adapter, Attempt, BootFailure, Broken, Caps, Depth, Facts, Machine, Resident, Stop};

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

    fn plan(&self, image: &Path, setup: &Setup, layout: &Layout) -> Result<Start, Stop> {
        let mut append = setup.append.map_or(String::new(), |user| format!("{user} "));
        if layout.has(Feature::VirtioMmio) {
            append.push_str(&format!(
                "virtio-base={:#x} virtio-stride={:#x} virtio-count={}",
                layout.virtio_base, layout.virtio_stride_bytes, layout.virtio_count
            ));
        }
        append.push_str(&self.launch.ends_by.option());
        let append = append.trim_start().to_owned();
        Start::plan(
            &self.description,
            &self.launch,
            setup,
            layout,
            &Kernel::image(image),
            append,
        )
    }

    fn boot_resident(&self, image: &Path, setup: &Setup, layout: &Layout) -> Result<Resident, BootFailure> {
        let bytes = std::fs::read(image).map_err(|error| {
            let image = image.display();
            let text = format!("{image}: read: {error}; build it with cargo xtask guest-images");
            Stop::Unavailable(text)
        })?;
        let plan = self.plan(image, setup, layout)?;
        let mut facts = Facts {
            append: Some(plan.append.clone()),
            kernel_entry: kernel::pvh_entry(&bytes),
            kvm: self.launch.needs_kvm(),
            ..Facts::default()
        };
        let log = self.collect(&plan, Limits::of(&self.launch))?;
        facts.boot_marks = plan.boot_marks();
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
        let given: Vec<&str> = self.description.devices_of(setup);
        let is_other = given != setup.devices;
        let setup = &Setup {
            // A boot is kept for as long as the suite runs, and so is this.
            devices: given.clone().leak(),
            ..setup.clone()
        };
        let append = linux::command_line(setup, layout);
        let kernel = Kernel {
            path: &linux.kernel,
            is_bz_image: form == Form::BzImage,
            initrd: Some(&linux.initramfs),
        };
        let plan = Start::plan(&self.description, &self.launch, setup, layout, &kernel, append)?;
        // It is told to be quiet until its first program speaks.
        let limits = Limits {
            silence_ms: self.launch.linux_ms,
            all_ms: self.launch.linux_ms,
        };
        let mut log = self.collect(&plan, limits)?;
        for path in plan.disks.iter().flatten() {
            log.push_str(&disk::changes(Path::new(path))?);
        }
        Ok(Resident {
            log: Arc::from(log),
            facts: Facts {
                append: Some(plan.append.clone()),
                kvm: self.launch.needs_kvm(),
                devices: is_other.then_some(given),
                own_kernel: self.kernel.is_some(),
                boot_marks: plan.boot_marks(),
                ..Facts::default()
            },
        })
    }

    /// Starts the subject and keeps what it prints, each line with the time at which it began.
    fn collect(&self, plan: &Start, limits: Limits) -> Result<String, BootFailure> {
        let mut boot = Boot::begin(plan, &self.launch)?;
        if let Err(broken) = boot.run(&self.launch, limits) {
            if self.launch.dump == Dump::Sigquit {
                boot.process.dump();
            }
            return Err(boot.process.failure(broken, &boot.log.text));
        }
        boot.finish(&self.launch)
    }
}

/// A run of an image, and what came of it so far.
struct Boot {
    process: Process,
    console: Console,
    log: Log,
}

impl Boot {
    fn begin(plan: &Start, launch: &Launch) -> Result<Boot, Stop> {
        let log = Log::new(Instant::now());
        let (process, console) = plan.console(launch)?;
        Ok(Boot { process, console, log })
    }

    /// Keeps what the image prints, each line with the time at which it began, until it ends the machine. One that
    /// cannot is done when it has said all.
    fn run(&mut self, launch: &Launch, limits: Limits) -> Result<(), Broken> {
        let heard = self.listen(launch, limits);
        self.log.finish();
        heard
    }

    fn listen(&mut self, launch: &Launch, limits: Limits) -> Result<(), Broken> {
        let deadline = self.log.begin + Duration::from_millis(limits.all_ms);
        let silence = self.log.begin + Duration::from_millis(limits.silence_ms);
        let mut buffer = [0; 4096];
        let mut received = 0;
        loop {
            let until = if received == 0 { silence.min(deadline) } else { deadline };
            match self.console.receive_until(&mut buffer, until) {
                Ok(0) if received == 0 => {
                    let limit = limits.silence_ms.min(limits.all_ms);
                    return Err(Broken::Start(format!("the image printed nothing within {limit} ms")));
                }
                Ok(0) => {
                    let (limit, shown) = (limits.all_ms, self.log.tail());
                    let text = format!("the image did not end within {limit} ms; it printed: {shown}");
                    return Err(Broken::Timeout(text));
                }
                Ok(count) => {
                    received += count;
                    self.log.push(&buffer[..count]);
                }
                Err(_closed) => return Ok(()),
            }
            // A line counts once it is whole and with its time, so both are looked at.
            if LOG_BYTES_MAX < received.max(self.log.text.len()) {
                let text = format!(
                    "the image printed more than {LOG_BYTES_MAX} bytes; it printed: {}",
                    self.log.tail()
                );
                return Err(Broken::Transport(text));
            }
            if self.has_stopped(launch) {
                return Ok(());
            }
        }
    }

    /// Whether the image said all and cannot end the machine.
    fn has_stopped(&self, launch: &Launch) -> bool {
        launch.ends_by == EndsBy::Halt && self.log.has_ended()
    }

    /// The whole log, once the image ended the machine as it should.
    fn finish(mut self, launch: &Launch) -> Result<String, BootFailure> {
        if self.has_stopped(launch) {
            return Ok(self.log.text);
        }
        let status = self.process.wait(check::EXIT_WAIT);
        let code = status.and_then(|status| status.code());
        if code.is_none_or(|code| !launch.exit.contains(&code)) && !self.log.has_ended() {
            let end = self.process.end();
            let broken = if self.log.text.is_empty() {
                Broken::Start(format!("the image printed nothing: {end}"))
            } else {
                Broken::Crash(format!("{end}; the image printed: {}", self.log.tail()))
            };
            return Err(self.process.failure(broken, &self.log.text));
        }
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.log.push(format!("# host: exit={code}\n").as_bytes());
        Ok(self.log.text)
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

impl Limits {
    fn of(launch: &Launch) -> Limits {
        Limits {
            silence_ms: launch.start_ms,
            all_ms: launch.answer_ms,
        }
    }
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

    fn try_out(&self, layout: &Layout) -> Vec<Attempt> {
        let plan = match self.plan(&self.images.join(IMAGE), &Setup::DEFAULT, layout) {
            Ok(plan) => plan,
            Err(stop) => return vec![check::no_command(&stop)],
        };
        let mut attempts = vec![check::command(&plan.words)];
        let mut boot = match Boot::begin(&plan, &self.launch) {
            Ok(boot) => boot,
            Err(stop) => {
                attempts.push(check::not_started(&stop));
                return attempts;
            }
        };
        attempts.push(Attempt::done("started", "the program runs"));
        let run = boot.run(&self.launch, Limits::of(&self.launch)).map_err(Stop::from);
        let Some((first_ms, first)) = boot.log.first() else {
            let status = boot.process.wait(check::EXIT_WAIT);
            let stop = match run {
                Ok(()) => Broken::Start(format!("the image printed nothing: {}", boot.process.end())).into(),
                Err(stop) => stop,
            };
            let console = boot.log.tail();
            let output = boot.process.stderr();
            attempts.push(check::mute(
                &stop,
                status.is_some(),
                &console,
                &output,
                self.launch.serial,
            ));
            return attempts;
        };
        attempts.push(Attempt::done(
            "spoke",
            format!("'{}' after {first_ms} ms", printable(&first)),
        ));
        if !boot.log.has_ended() {
            let seen = match run {
                Ok(()) => format!("{}; the last lines: {}", boot.process.end(), boot.log.tail()),
                Err(stop) => check::text(&stop),
            };
            attempts.push(Attempt::failed("answered", seen, check::FIX_REPORT));
            return attempts;
        }
        let count = boot.log.text.lines().count();
        attempts.push(Attempt::done("answered", format!("a whole report of {count} lines")));
        attempts.push(if self.launch.ends_by == EndsBy::Halt {
            check::ends_by_us()
        } else {
            check::exited(boot.process.wait(check::EXIT_WAIT), None)
        });
        attempts
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

    /// Whether the image said its last.
    fn has_ended(&self) -> bool {
        self.text.contains(END_MARK)
    }

    /// The report's first line, and when it began, in milliseconds since the start.
    fn first(&self) -> Option<(u128, String)> {
        let line = self.text.lines().find(|line| line.contains(FIRST_MARK))?;
        let (time, line) = line.strip_prefix('[')?.split_once("] ")?;
        let time: f64 = time.trim().parse().ok()?;
        Some((Duration::from_secs_f64(time).as_millis(), line.to_owned()))
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

/// The image that is tried out.
const IMAGE: &str = "probe";

/// The report's first line.
const FIRST_MARK: &str = "KTAP version";

/// The report's last line.
const END_MARK: &str = "# end";

/// Longest log of one image.
const LOG_BYTES_MAX: usize = 4 << 20;

/// Longest line that is kept whole.
const LINE_BYTES_MAX: usize = 16 << 10;

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
