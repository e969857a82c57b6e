//! Boot time and footprint of VMMs, measured side by side: one guest, one run, the subjects in turn.
//!
//! Numbers of different runs do not compare; ratios within one run do. The guest is an image, `halt` or `toll`, or
//! Linux up to its first program and back, told to write its boot marks to the serial port, so that a mark is a byte on
//! the subject's standard output and is seen in the same way of each. What only the VMM can see of its own start, and
//! how often the guest had left to it by which mark, comes from subjects that note it (`exits = "boot-marks"`); what a
//! subject does not tell stays out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::case::Setup;
use crate::machine::{Broken, Stop};
use crate::marks::{BootMarks, Exits};
use crate::subject::Subject;
use crate::subject::console::Console;
use crate::subject::description::{self, Launch, Places};
use crate::subject::linux::{self, Form, Linux};
use crate::subject::process::{Process, is_there};
use crate::subject::qmp::Qmp;

/// What one run of the bench measured; this is the JSON that is written, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Version of this form.
    pub schema: u32,
    /// What was measured: `boot`.
    pub bench: String,
    /// The guest's image.
    pub image: String,
    /// Guest RAM in MiB.
    pub ram_mib: u64,
    /// Starts of each subject.
    pub runs: u32,
    /// One row for each subject and way of starting it, in the order of the command line.
    pub rows: Vec<Row>,
    /// What could not be measured, and why.
    pub skipped: Vec<Skipped>,
}

/// One subject's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `SUBJECT` or `SUBJECT.WAY`.
    pub subject: String,
    /// What its version command prints.
    pub version: Option<String>,
    /// Ends of the phases of a boot, in order: the VMM's own where it tells them (`process`: its first instruction of
    /// ours, `memory`, `image`, `vm`, `cpus`, `run`: the first CPU enters the guest), then the guest's marks (`kernel`,
    /// `console`, `done`; of Linux `console`, its first byte, `init`, and `done`) and the `end` of the process.
    pub phases: Vec<Phase>,
    /// From the start of the process to the guest's first byte, in milliseconds.
    pub first_byte_ms: Spread,
    /// From the start of the process to its end, in milliseconds.
    pub end_ms: Spread,
    /// `first_byte_ms` as a multiple of the first row's, medians.
    pub first_byte_ratio: f64,
    /// Exits from the guest to the VMM in one boot, where it counts them.
    pub exits: Option<u64>,
    /// The same by phase: what was added until each of the guest's marks, and until the end.
    pub counts: Vec<PhaseExits>,
    /// Exits in one boot as KVM counts them, by its counters' names; `exits` is all, also those it handles itself.
    pub kvm_exits: BTreeMap<String, u64>,
    /// Most memory that was resident, guest RAM included, in KiB.
    pub peak_kib: u64,
    /// Guest RAM that was resident at the end, in KiB.
    pub guest_kib: u64,
    /// Most memory beyond guest RAM, in KiB: the peak without guest RAM, or what is there at the end if that is more.
    pub beyond_kib: u64,
}

/// When a phase of a boot was over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// From the start of the process, in milliseconds.
    pub ms: Spread,
}

/// Exits of one phase of a boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseExits {
    /// The mark, or `end`, that the phase ends with.
    pub until: String,
    /// How many.
    pub exits: Exits,
}

/// Several measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Half of the measurements are below.
    pub median: f64,
    /// Nine of ten are below.
    pub p90: f64,
}

/// A subject that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// A guest whose boot is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Guest {
    /// The smallest image.
    Halt,
    /// The image that makes a known number of accesses.
    Toll,
    /// Linux, by its PVH note, with the boot probe as its first program.
    Linux,
}

impl Guest {
    /// Its file in the folder of images.
    fn file(self) -> &'static str {
        match self {
            Guest::Halt => "halt",
            Guest::Toll => "toll",
            Guest::Linux => "vmlinux",
        }
    }

    /// Its marks in order (guest-images/README.md).
    fn marks(self) -> &'static [(u8, &'static str)] {
        match self {
            // The kernel runs, its console is up, it is done.
            Guest::Halt | Guest::Toll => &[(1, "kernel"), (2, "console"), (LAST_MARK, "done")],
            // Its first program begins, and is done.
            Guest::Linux => &[(INIT_MARK, "init"), (LAST_MARK, "done")],
        }
    }

    /// The mark at which it is weighed: the last behind which it keeps running.
    fn weighed_at(self) -> u8 {
        match self {
            Guest::Halt | Guest::Toll => LAST_MARK,
            Guest::Linux => INIT_MARK,
        }
    }

    /// What a mark is called.
    fn mark_name(self, mark: u8) -> String {
        let known = self.marks().iter().find(|(value, _)| *value == mark);
        known.map_or_else(|| format!("mark {mark}"), |(_, name)| (*name).to_owned())
    }
}

/// Measures subjects in turn, `runs` times each, with a guest of the folder `images`; `done` is told of each start.
///
/// # Errors
/// One line for a subject that was started and did not do its part.
pub fn boot(
    subjects: &[&Subject],
    images: &Path,
    guest: Guest,
    runs: u32,
    mut done: impl FnMut(),
) -> Result<Bench, String> {
    let mut measured = Vec::new();
    let mut skipped = Vec::new();
    for subject in subjects {
        match Contender::new(subject, images, guest) {
            Ok(contenders) => measured.extend(contenders),
            Err(reason) => skipped.push(Skipped {
                subject: subject.description.name.clone(),
                reason,
            }),
        }
    }
    for contender in &mut measured {
        // What the first start finds cold, the others find warm.
        contender.time()?;
        contender.phases.clear();
        contender.count()?;
        contender.weigh()?;
        done();
    }
    for _ in 0..runs {
        for contender in &mut measured {
            contender.time()?;
            done();
        }
    }
    let mut rows: Vec<Row> = measured.into_iter().map(Contender::row).collect();
    if let Some(floor) = rows.first().map(|row| row.first_byte_ms.median) {
        for row in &mut rows {
            row.first_byte_ratio = (row.first_byte_ms.median / floor * 1000.0).round() / 1000.0;
        }
    }
    Ok(Bench {
        schema: SCHEMA,
        bench: "boot".to_owned(),
        image: guest.file().to_owned(),
        ram_mib: SETUP.ram_bytes >> 20,
        runs,
        rows,
        skipped,
    })
}

/// How many starts [`boot`] tells of for one subject.
pub fn starts(runs: u32) -> u64 {
    u64::from(runs) + 1
}

/// One way of starting a subject, and what was measured of it.
struct Contender<'a> {
    subject: &'a Subject,
    launch: &'a Launch,
    name: String,
    guest: Guest,
    kernel: String,
    initrd: Option<String>,
    folder: tempfile::TempDir,
    /// Times in milliseconds, in the order in which the phases first came.
    phases: Vec<(String, Vec<f64>)>,
    exits: Option<u64>,
    counts: Vec<PhaseExits>,
    kvm_exits: BTreeMap<String, u64>,
    memory: Memory,
}

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Memory {
    peak: u64,
    guest: u64,
    other: u64,
}

impl<'a> Contender<'a> {
    fn new(subject: &'a Subject, images: &Path, guest: Guest) -> Result<Vec<Contender<'a>>, String> {
        let description = &subject.description;
        if description.bench.is_empty() {
            return Err("its subject file has no [[bench]] table".to_owned());
        }
        let kernel = images.join(guest.file());
        let mut initrd = None;
        if guest == Guest::Linux {
            if description.arguments.initrd.is_none() {
                return Err("its subject file has no way to give it an initial RAM disk".to_owned());
            }
            let found = Linux::find(images, guest.file(), Form::Elf, None).map_err(|stop| match stop {
                Stop::Unavailable(reason) => reason,
                other => format!("{other:?}"),
            })?;
            initrd = Some(found.initramfs.display().to_string());
        } else if !kernel.is_file() {
            let kernel = kernel.display();
            return Err(format!("{kernel} is not there; build it with cargo xtask guest-images"));
        }
        let mut contenders = Vec::new();
        for launch in &description.bench {
            if let Some(reason) = launch.missing_need() {
                return Err(reason);
            }
            if guest == Guest::Linux
                && launch.needs_kvm()
                && let Some(reason) = linux::kvm_refusal()
            {
                return Err(reason);
            }
            if !is_there(&launch.command[0]) {
                return Err(format!("'{}' is not installed here", launch.command[0]));
            }
            let name = match launch.name.as_str() {
                "" => description.name.clone(),
                way => format!("{}.{way}", description.name),
            };
            contenders.push(Contender {
                subject,
                launch,
                name,
                guest,
                kernel: kernel.display().to_string(),
                initrd: initrd.clone(),
                folder: tempfile::tempdir().map_err(|error| format!("make a folder: {error}"))?,
                phases: Vec::new(),
                exits: None,
                counts: Vec::new(),
                kvm_exits: BTreeMap::new(),
                memory: Memory::default(),
            });
        }
        Ok(contenders)
    }

    /// One start to the guest's own end.
    fn time(&mut self) -> Result<(), String> {
        let words = self.words(SERIAL_PORT, true)?;
        // Nobody asks anything in a timed run, but the subject wants to be connected.
        let _qmp = self.listen()?;
        let begin_ns = monotonic_ns();
        let begin = Instant::now();
        let mut running = self.start(&words)?;
        let marks = self.marks_until(&mut running, None)?;
        let end = begin.elapsed();
        if self.launch.exits == description::Exits::BootMarks {
            // The file is complete only once the process is gone, which its closed console says.
            let noted = self.noted()?;
            if let Some(process_ns) = noted.monotonic_ns {
                for (name, ns) in &noted.phases {
                    let at = Duration::from_nanos((process_ns + ns).saturating_sub(begin_ns));
                    self.note(name, at);
                }
            }
            self.exits = noted.end.map(|end| end.exits.total());
        }
        for (name, at) in marks {
            self.note(&name, at - begin);
        }
        self.note(END, end);
        Ok(())
    }

    /// One start whose marks the subject notes by itself, with its counts of exits.
    fn count(&mut self) -> Result<(), String> {
        let Some(port) = self.launch.noted_marks_port() else {
            return Ok(());
        };
        let words = self.words(port, true)?;
        let mut running = self.start(&words)?;
        self.closed(&mut running)?;
        let noted = self.noted()?;
        let mut before = Exits::default();
        let marks = noted.marks.into_iter();
        let marks = marks.map(|mark| (self.guest.mark_name(mark.value), mark.exits));
        for (until, exits) in marks.chain(noted.end.map(|end| (END.to_owned(), end.exits))) {
            self.counts.push(PhaseExits {
                until,
                exits: exits.since(&before),
            });
            before = exits;
        }
        self.kvm_exits = before.kvm;
        Ok(())
    }

    /// One start that is not ended by the guest: it halts, and can be looked at.
    fn weigh(&mut self) -> Result<(), String> {
        let mut qmp = self.listen()?;
        let words = self.words(SERIAL_PORT, false)?;
        let mut running = self.start(&words)?;
        self.marks_until(&mut running, Some(self.guest.weighed_at()))?;
        if let Some(qmp) = &mut qmp {
            let exits = qmp.vcpu_exits();
            self.kvm_exits = exits.map_err(|error| self.problem(&format!("query-stats: {error}")))?;
        }
        self.memory = memory_of(running.0.id(), SETUP.ram_bytes >> 10)
            .map_err(|error| self.problem(&format!("look at its memory: {error}")))?;
        Ok(())
    }

    /// What the subject noted in its last start.
    fn noted(&self) -> Result<BootMarks, String> {
        let file = self.folder.path().join("marks");
        BootMarks::read(&file).map_err(|error| self.problem(&format!("its boot marks: {error}")))
    }

    fn note(&mut self, phase: &str, at: Duration) {
        match self.phases.iter_mut().find(|(name, _)| name == phase) {
            Some((_, times)) => times.push(ms(at)),
            None => self.phases.push((phase.to_owned(), vec![ms(at)])),
        }
    }

    /// Somebody for the subject to connect to, where its exits are asked for over QMP.
    fn listen(&self) -> Result<Option<Qmp>, String> {
        if self.launch.exits != description::Exits::Qmp {
            return Ok(None);
        }
        let path = self.folder.path().join("qmp");
        let _first_start = std::fs::remove_file(&path);
        let limit = Duration::from_millis(self.launch.answer_ms);
        let qmp = Qmp::listen(&path, limit).map_err(|error| self.problem(&format!("listen for QMP: {error}")))?;
        Ok(Some(qmp))
    }

    /// The command that starts the subject with the guest, which is told the port of its marks, and how it ends.
    fn words(&self, marks_port: u16, is_to_end: bool) -> Result<Vec<String>, String> {
        let description = &self.subject.description;
        let layout = description.profiles.first().and_then(|name| description.layout(name));
        let layout = layout.ok_or_else(|| self.problem("no profile"))?;
        let mut append = format!("marks={marks_port:#x}");
        if self.guest == Guest::Linux {
            // Its notices are few, and begin as soon as it has a console.
            let words = linux::command_line(&SETUP, layout).replace("quiet", "loglevel=6");
            append = format!("{words} {append}");
        } else if is_to_end {
            append += &self.launch.ends_by.option();
        }
        let places = Places {
            kernel: Some(self.kernel.clone()),
            initrd: self.initrd.clone(),
            append,
            qmp: self.folder.path().join("qmp").display().to_string(),
            boot_marks: self.folder.path().join("marks").display().to_string(),
            socket: self.folder.path().join(SOCKET).display().to_string(),
            folder: self.folder.path().to_owned(),
            ..Places::default()
        };
        let words = description.prepare(self.launch, &SETUP, layout, &places);
        words.map_err(|stop| match stop {
            Stop::Unavailable(reason) => self.problem(&reason),
            other => self.problem(&format!("{other:?}")),
        })
    }

    fn start(&self, words: &[String]) -> Result<(Process, Console), String> {
        let limit = Duration::from_millis(self.launch.start_ms);
        Console::spawn(words, self.launch.serial, &self.folder.path().join(SOCKET), limit).map_err(
            |broken| match broken {
                Broken::Start(reason) => self.problem(&reason),
                other => self.problem(&format!("{other:?}")),
            },
        )
    }

    /// When each of the guest's marks came, by name, up to `last` or, without one, until the console is closed;
    /// firmware may print before them. Of Linux the first byte is one: its console is up.
    fn marks_until(
        &self,
        (process, console): &mut (Process, Console),
        last: Option<u8>,
    ) -> Result<Vec<(String, Instant)>, String> {
        let deadline = Instant::now() + self.limit();
        let known = self.guest.marks();
        let mut buffer = [0; 256];
        let mut marks = Vec::new();
        let mut latest = None;
        loop {
            match console.receive_until(&mut buffer, deadline) {
                Ok(0) if marks.is_empty() => return Err(self.problem("the guest did not speak in time")),
                Ok(0) => return Err(self.problem("it did not end in time")),
                Ok(count) => {
                    let now = Instant::now();
                    if self.guest == Guest::Linux && marks.is_empty() {
                        marks.push((CONSOLE.to_owned(), now));
                    }
                    for byte in &buffer[..count] {
                        if let Some((mark, name)) = known.iter().find(|(mark, _)| mark == byte) {
                            marks.push(((*name).to_owned(), now));
                            latest = Some(*mark);
                        }
                    }
                    if last.is_some() && latest == last {
                        return Ok(marks);
                    }
                }
                Err(_closed) if last.is_none() && latest == Some(LAST_MARK) => return Ok(marks),
                Err(_closed) => return Err(self.problem(&process.end())),
            }
        }
    }

    /// Waits until the console is closed.
    fn closed(&self, (_, console): &mut (Process, Console)) -> Result<(), String> {
        let deadline = Instant::now() + self.limit();
        let mut buffer = [0; 256];
        loop {
            match console.receive_until(&mut buffer, deadline) {
                Ok(0) => return Err(self.problem("it did not end in time")),
                Ok(_) => {}
                Err(_closed) => return Ok(()),
            }
        }
    }

    /// The longest boot.
    fn limit(&self) -> Duration {
        Duration::from_millis(match self.guest {
            Guest::Halt | Guest::Toll => self.launch.answer_ms,
            Guest::Linux => self.launch.linux_ms,
        })
    }

    fn problem(&self, what: &str) -> String {
        format!("{}: {what}", self.name)
    }

    fn row(self) -> Row {
        let Memory { peak, guest, other } = self.memory;
        let phases = self.phases.into_iter().map(|(name, times)| Phase {
            name,
            ms: Spread::of(times),
        });
        let phases: Vec<Phase> = phases.collect();
        let of = |name: &str| phases.iter().find(|phase| phase.name == name);
        let spread = |name: &str| of(name).map_or_else(|| Spread::of(Vec::new()), |phase| phase.ms);
        Row {
            version: self.subject.version(),
            subject: self.name,
            first_byte_ms: spread(match self.guest {
                Guest::Halt | Guest::Toll => self.guest.marks()[0].1,
                Guest::Linux => CONSOLE,
            }),
            end_ms: spread(END),
            first_byte_ratio: 1.0,
            phases,
            exits: self.exits,
            counts: self.counts,
            kvm_exits: self.kvm_exits,
            peak_kib: peak,
            guest_kib: guest,
            beyond_kib: other.max(peak.saturating_sub(guest)),
        }
    }
}

impl Spread {
    /// Of at least one value; without any, all zero.
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = (values.len().saturating_sub(1) as f64 * part).round() as usize;
            values.get(index).map_or(0.0, |value| (value * 1000.0).round() / 1000.0)
        };
        Spread {
            min: at(0.0),
            median: at(0.5),
            p90: at(0.9),
        }
    }
}

/// What a process keeps resident. A mapping of half the guest's RAM or more is guest RAM: a VMM may split it.
fn memory_of(pid: u32, ram_kib: u64) -> std::io::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let mut memory = parse_maps(&maps, ram_kib);
    memory.peak = kib(&status, "VmHWM:").unwrap_or_default();
    Ok(memory)
}

fn parse_maps(maps: &str, ram_kib: u64) -> Memory {
    let mut memory = Memory::default();
    let mut size = 0;
    for line in maps.lines() {
        if let Some(kib) = kib(line, "Size:") {
            size = kib;
        } else if let Some(rss) = kib(line, "Rss:") {
            let sum = if ram_kib / 2 <= size {
                &mut memory.guest
            } else {
                &mut memory.other
            };
            *sum += rss;
        }
    }
    memory
}

/// The number behind a key at the beginning of a line.
fn kib(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The clock by which subjects tell when they began.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Version of [`Bench`].
const SCHEMA: u32 = 2;

const SETUP: Setup = Setup {
    options: &[],
    ..Setup::DEFAULT
};

/// Linux runs its first program.
const INIT_MARK: u8 = 4;

/// The guest is done.
const LAST_MARK: u8 = 3;

/// Linux has its console.
const CONSOLE: &str = "console";

/// The last phase.
const END: &str = "end";

const SERIAL_PORT: u16 = 0x3f8;

/// The socket of a serial port, in a start's folder.
const SOCKET: &str = "serial";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_of_sorted_values() {
        let spread = Spread::of((1..=11).rev().map(f64::from).collect());
        assert_eq!((spread.min, spread.median, spread.p90), (1.0, 6.0, 10.0));
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }

    #[test]
    fn large_mappings_are_guest_memory() {
        let maps = "7f00-7f01 rw-p 0 00:00 0\nSize: 131072 kB\nRss: 164 kB\n\
                    5500-5501 r-xp 0 00:00 0  /bin/x\nSize: 1024 kB\nRss: 1000 kB\nPss: 500 kB\n";
        let memory = parse_maps(maps, 128 << 10);
        assert_eq!((memory.guest, memory.other), (164, 1000));
    }
}
