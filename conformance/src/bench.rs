//! Boot time and footprint of VMMs, measured side by side: one guest, one run, the subjects in turn.
//!
//! Numbers of different runs do not compare; ratios within one run do. The guest is the image `halt`, told to write its
//! boot marks to the serial port, so that a mark is a byte on the subject's standard output.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::case::Setup;
use crate::machine::{Broken, Stop};
use crate::subject::Subject;
use crate::subject::console::Console;
use crate::subject::description::{Exits, Launch, Places};
use crate::subject::process::{Process, is_there};
use crate::subject::qmp::Qmp;

/// What one run of the bench measured; this is the JSON that is written, too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bench {
    /// Version of this form.
    pub schema: u32,
    /// What was measured: `boot`.
    pub bench: &'static str,
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `SUBJECT` or `SUBJECT.WAY`.
    pub subject: String,
    /// What its version command prints.
    pub version: Option<String>,
    /// From the start of the process to the guest's first byte, in milliseconds.
    pub first_byte_ms: Spread,
    /// From the start of the process to its end, in milliseconds.
    pub end_ms: Spread,
    /// `first_byte_ms` as a multiple of the first row's, medians.
    pub first_byte_ratio: f64,
    /// Exits from the guest in one boot: counted by the VMM where the subject file says `boot-marks`, by KVM where it
    /// says `qmp`.
    pub exits: Option<u64>,
    /// Most memory that was resident, guest RAM included, in KiB.
    pub peak_kib: u64,
    /// Guest RAM that was resident at the end, in KiB.
    pub guest_kib: u64,
    /// Most memory beyond guest RAM, in KiB: the peak without guest RAM, or what is there at the end if that is more.
    pub beyond_kib: u64,
}

/// Several measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Half of the measurements are below.
    pub median: f64,
    /// Nine of ten are below.
    pub p90: f64,
}

/// A subject that was left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// Measures subjects in turn, `runs` times each; `images` is the folder with `halt`, and `done` is told of each start.
///
/// # Errors
/// One line for a subject that was started and did not do its part.
pub fn boot(subjects: &[Subject], images: &Path, runs: u32, mut done: impl FnMut()) -> Result<Bench, String> {
    let mut measured = Vec::new();
    let mut skipped = Vec::new();
    for subject in subjects {
        match Contender::new(subject, images) {
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
        (contender.first_byte_ms, contender.end_ms) = (Vec::new(), Vec::new());
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
        bench: "boot",
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
    kernel: String,
    folder: tempfile::TempDir,
    first_byte_ms: Vec<f64>,
    end_ms: Vec<f64>,
    exits: Option<u64>,
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
    fn new(subject: &'a Subject, images: &Path) -> Result<Vec<Contender<'a>>, String> {
        let description = &subject.description;
        if description.bench.is_empty() {
            return Err("its subject file has no [[bench]] table".to_owned());
        }
        let kernel = images.join(IMAGE);
        if !kernel.is_file() {
            let kernel = kernel.display();
            return Err(format!("{kernel} is not there; build it with cargo xtask guest-images"));
        }
        let mut contenders = Vec::new();
        for launch in &description.bench {
            if let Some(reason) = launch.missing_need() {
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
                kernel: kernel.display().to_string(),
                folder: tempfile::tempdir().map_err(|error| format!("make a folder: {error}"))?,
                first_byte_ms: Vec::new(),
                end_ms: Vec::new(),
                exits: None,
                memory: Memory::default(),
            });
        }
        Ok(contenders)
    }

    /// One start to the guest's own end.
    fn time(&mut self) -> Result<(), String> {
        let marks = self.folder.path().join("marks");
        let words = self.words(&format!("marks={SERIAL_PORT:#x}{}", self.launch.ends_by.option()))?;
        // Nobody asks anything in a timed run, but the subject wants to be connected.
        let _qmp = self.listen()?;
        let begin = Instant::now();
        let mut console = self.start(&words)?;
        let first = self.byte_until(&mut console, FIRST_MARK)?;
        self.first_byte_ms.push(ms(first - begin));
        self.end_of(&mut console)?;
        self.end_ms.push(ms(begin.elapsed()));
        if self.launch.exits == Exits::BootMarks {
            // The file is complete only once the process is gone, which its closed console says.
            self.exits = exits_of(&std::fs::read_to_string(marks).unwrap_or_default());
        }
        Ok(())
    }

    /// One start that is not ended by the guest: it halts, and can be looked at.
    fn weigh(&mut self) -> Result<(), String> {
        let mut qmp = self.listen()?;
        let words = self.words(&format!("marks={SERIAL_PORT:#x}"))?;
        let mut console = self.start(&words)?;
        self.byte_until(&mut console, LAST_MARK)?;
        if let Some(qmp) = &mut qmp {
            let exits = qmp.vcpu_exits();
            self.exits = Some(exits.map_err(|error| self.problem(&format!("query-stats: {error}")))?);
        }
        self.memory = memory_of(console.0.id(), SETUP.ram_bytes >> 10)
            .map_err(|error| self.problem(&format!("look at its memory: {error}")))?;
        Ok(())
    }

    /// Somebody for the subject to connect to, where its exits are asked for over QMP.
    fn listen(&self) -> Result<Option<Qmp>, String> {
        if self.launch.exits != Exits::Qmp {
            return Ok(None);
        }
        let path = self.folder.path().join("qmp");
        let _first_start = std::fs::remove_file(&path);
        let limit = Duration::from_millis(self.launch.answer_ms);
        let qmp = Qmp::listen(&path, limit).map_err(|error| self.problem(&format!("listen for QMP: {error}")))?;
        Ok(Some(qmp))
    }

    fn words(&self, append: &str) -> Result<Vec<String>, String> {
        let places = Places {
            kernel: Some(self.kernel.clone()),
            append: append.to_owned(),
            qmp: self.folder.path().join("qmp").display().to_string(),
            boot_marks: self.folder.path().join("marks").display().to_string(),
            socket: self.folder.path().join(SOCKET).display().to_string(),
            folder: self.folder.path().to_owned(),
            ..Places::default()
        };
        let layout = self
            .subject
            .description
            .profiles
            .first()
            .and_then(|name| self.subject.description.layout(name));
        let layout = layout.ok_or_else(|| self.problem("no profile"))?;
        let words = self.subject.description.prepare(self.launch, &SETUP, layout, &places);
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

    /// Waits for a mark; firmware may print before it.
    fn byte_until(&self, (process, console): &mut (Process, Console), mark: u8) -> Result<Instant, String> {
        let deadline = Instant::now() + Duration::from_millis(self.launch.answer_ms);
        let mut buffer = [0; 256];
        loop {
            match console.receive_until(&mut buffer, deadline) {
                Ok(0) => return Err(self.problem("the guest did not speak in time")),
                Ok(count) if buffer[..count].contains(&mark) => return Ok(Instant::now()),
                Ok(_) => {}
                Err(_closed) => return Err(self.problem(&process.end())),
            }
        }
    }

    fn end_of(&self, (_, console): &mut (Process, Console)) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_millis(self.launch.answer_ms);
        let mut buffer = [0; 256];
        loop {
            match console.receive_until(&mut buffer, deadline) {
                Ok(0) => return Err(self.problem("it did not end in time")),
                Ok(_) => {}
                Err(_closed) => return Ok(()),
            }
        }
    }

    fn problem(&self, what: &str) -> String {
        format!("{}: {what}", self.name)
    }

    fn row(self) -> Row {
        let Memory { peak, guest, other } = self.memory;
        Row {
            version: self.subject.version(),
            subject: self.name,
            first_byte_ms: Spread::of(self.first_byte_ms),
            end_ms: Spread::of(self.end_ms),
            first_byte_ratio: 1.0,
            exits: self.exits,
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

/// All exits of the line that a boot-marks file ends with.
fn exits_of(marks: &str) -> Option<u64> {
    let end: serde_json::Value = serde_json::from_str(marks.lines().last()?).ok()?;
    let kinds = end.get("exits")?.as_object()?;
    Some(kinds.values().filter_map(serde_json::Value::as_u64).sum())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Version of [`Bench`].
const SCHEMA: u32 = 1;

const IMAGE: &str = "halt";
const SETUP: Setup = Setup {
    options: &[],
    ..Setup::DEFAULT
};

/// The image's marks: guest-images/README.md.
const FIRST_MARK: u8 = 1;
const LAST_MARK: u8 = 3;

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

    #[test]
    fn exits_are_summed_over_their_kinds() {
        let first = r#"{"mark":1,"ns":5,"exits":{"port_out":1}}"#;
        let end = r#"{"end":"debug-exit","ns":9,"status":33,"exits":{"port_out":3,"eoi":2},"devices":{}}"#;
        let marks = &format!("{first}\n{end}\n");
        assert_eq!(exits_of(marks), Some(5));
        assert_eq!(exits_of(""), None);
    }
}
