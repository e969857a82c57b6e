//! Replay: holds a recording against a machine, answer by answer.
//!
//! A difference that was settled in writing (see [`Settled`]) is counted apart; any other is a finding.

use std::path::Path;

use serde::Deserialize;

use crate::case::Setup;
use crate::files;
use crate::layout::Layout;
use crate::machine::{Adapter, Broken, Caps, LineEvent, Machine, Stop};
use crate::program::{Action, Hex, parse_number};
use crate::recording::{Operation, Record, Recording, Step, level_word};

/// Differences whose reason is written down: who is right, by which document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// The file, for messages.
    #[serde(skip)]
    pub place: String,
    /// One decision each.
    #[serde(default, rename = "difference")]
    pub differences: Vec<Decision>,
}

/// One decision: who is right, and where it shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Who is right, and the document that says so.
    pub reason: String,
    /// Where it shows, as `record | operation | recorded | answered`; `*` in a part stands for any text.
    pub at: Vec<String>,
}

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By area, sorted.
    pub areas: Vec<Area>,
    /// Differences that nobody settled, in order.
    pub findings: Vec<Difference>,
    /// Records that this subject could not be asked, with the reason.
    pub skipped: Vec<(String, String)>,
    /// Patterns of decisions that no difference needed.
    pub stale: Vec<String>,
}

/// One area of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// Its name.
    pub name: String,
    /// Records replayed.
    pub records: u64,
    /// Answers compared.
    pub answers: u64,
    /// Of these, how many differ for a settled reason.
    pub settled: u64,
    /// Of these, how many differ for no known reason.
    pub differ: u64,
}

/// One answer that is not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The record.
    pub record: String,
    /// Index of the step in the record.
    pub step: usize,
    /// What was done.
    pub operation: String,
    /// What was recorded.
    pub recorded: String,
    /// What the subject answered.
    pub answered: String,
}

/// What cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The decisions cannot be read.
    #[error("{place}: {problem}")]
    Settled {
        /// The file.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The subject broke.
    #[error("record {record}: {broken}")]
    Subject {
        /// The record.
        record: String,
        /// How.
        broken: Broken,
    },
    /// The record asks for something that no set-up can say.
    #[error("record {record}: {problem}")]
    Config {
        /// The record.
        record: String,
        /// What.
        problem: String,
    },
}

impl Settled {
    /// Reads the decisions.
    ///
    /// # Errors
    /// [`ReplayError::Settled`] names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Settled, ReplayError> {
        let place = path.display().to_string();
        let fail = |problem: String| ReplayError::Settled {
            place: place.clone(),
            problem,
        };
        let text = files::read_text(path, files::WRITTEN_BYTES_MAX).map_err(|error| fail(error.to_string()))?;
        let mut settled: Settled = toml::from_str(&text).map_err(|error| fail(error.to_string()))?;
        for decision in &settled.differences {
            if decision.reason.trim().is_empty() {
                return Err(fail(format!("the difference at {:?} has no reason", decision.at)));
            }
            if let Some(wrong) = decision.at.iter().find(|pattern| pattern.split(" | ").count() != 4) {
                return Err(fail(format!(
                    "'{wrong}' is not 'record | operation | recorded | answered'"
                )));
            }
        }
        settled.place = place;
        Ok(settled)
    }

    /// The pattern that covers a difference, as (decision, pattern) indices.
    fn find(&self, difference: &Difference) -> Option<(usize, usize)> {
        let texts = [
            &difference.record,
            &difference.operation,
            &difference.recorded,
            &difference.answered,
        ];
        let covers = |pattern: &String| {
            let parts: Vec<&str> = pattern.split(" | ").map(str::trim).collect();
            parts.len() == texts.len() && parts.iter().zip(texts).all(|(part, text)| matches(part, text))
        };
        let decisions = self.differences.iter().enumerate();
        decisions
            .into_iter()
            .find_map(|(index, decision)| Some((index, decision.at.iter().position(covers)?)))
    }
}

/// Replays the records that `select` takes on fresh machines, each on the first of `adapters` that can do what the
/// record needs. `progress` is told each record's name.
///
/// # Errors
/// [`ReplayError`] when the subject breaks or a record cannot be understood.
pub fn replay(
    recording: &Recording,
    adapters: &[&dyn Adapter],
    layout: &Layout,
    settled: &Settled,
    select: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Summary, ReplayError> {
    let mut summary = Summary::default();
    let mut used: Vec<Vec<bool>> = settled
        .differences
        .iter()
        .map(|decision| vec![false; decision.at.len()])
        .collect();
    for record in recording.records.iter().filter(|record| select(&record.name)) {
        progress(&record.name);
        let setup = setup(record)?;
        let needs = needs(record)?;
        let missing = |adapter: &&dyn Adapter| adapter.caps().missing(needs);
        let Some(adapter) = adapters.iter().copied().find(|adapter| missing(adapter).is_empty()) else {
            let caps = adapters.first().map_or(needs, missing);
            let reason = format!("subject lacks capability {caps}");
            summary.skipped.push((record.name.clone(), reason));
            continue;
        };
        let mut area = Area {
            name: record.area().to_owned(),
            records: 1,
            ..Area::default()
        };
        match replay_record(record, adapter, layout, &setup) {
            Ok((answers, differences)) => {
                area.answers = answers;
                for difference in differences {
                    match settled.find(&difference) {
                        Some((decision, pattern)) => {
                            used[decision][pattern] = true;
                            area.settled += 1;
                        }
                        None => {
                            area.differ += 1;
                            summary.findings.push(difference);
                        }
                    }
                }
                summary.add(area);
            }
            Err(Stop::Broken(broken)) => {
                return Err(ReplayError::Subject {
                    record: record.name.clone(),
                    broken,
                });
            }
            Err(Stop::Unavailable(reason) | Stop::NotApplicable(reason)) => {
                summary.skipped.push((record.name.clone(), reason));
            }
            Err(Stop::Unsupported(caps)) => {
                summary
                    .skipped
                    .push((record.name.clone(), format!("subject lacks capability {caps}")));
            }
            Err(Stop::NotMet) => {}
        }
    }
    for (decision, used) in settled.differences.iter().zip(used) {
        let unused = decision.at.iter().zip(used).filter(|(_, used)| !used);
        summary.stale.extend(unused.map(|(pattern, _)| pattern.clone()));
    }
    Ok(summary)
}

impl Summary {
    fn add(&mut self, area: Area) {
        match self.areas.binary_search_by(|own| own.name.cmp(&area.name)) {
            Ok(index) => {
                let own = &mut self.areas[index];
                own.records += area.records;
                own.answers += area.answers;
                own.settled += area.settled;
                own.differ += area.differ;
            }
            Err(index) => self.areas.insert(index, area),
        }
    }
}

/// The machine that a record was made on. Texts of a recording live as long as the program: there are few.
///
/// # Errors
/// [`ReplayError::Config`] names the value that makes no sense.
pub fn setup(record: &Record) -> Result<Setup, ReplayError> {
    let fail = |problem: String| ReplayError::Config {
        record: record.name.clone(),
        problem,
    };
    let mut setup = Setup {
        options: &[],
        ..Setup::DEFAULT
    };
    let mut options = Vec::new();
    for (key, value) in &record.config {
        let size = || parse_size(value).ok_or_else(|| fail(format!("{key}={value} is not a size")));
        match key.as_str() {
            "m" => setup.ram_bytes = size()?,
            "max-ram-below-4g" => setup.max_ram_below_4g = Some(size()?),
            "smp" => {
                let mut parts = value.split(",maxcpus=");
                let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
                setup.cpus = number(parts.next()).ok_or_else(|| fail(format!("smp={value} is not a number")))?;
                setup.cpus_max = number(parts.next()).unwrap_or(setup.cpus);
            }
            "modern" => setup.modern = value == "true",
            "devices" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                let names: Vec<&'static str> = names.map(|name| &*name.to_owned().leak()).collect();
                setup.devices = names.leak();
            }
            "append" => setup.append = Some(value.clone().leak()),
            "bz-image" => setup.bz_image = value == "true",
            "rtc-base" => setup.rtc_base = value.clone().leak(),
            "needs" => {}
            "kernel" => setup.append = setup.append.or(Some("")),
            _ => options.push((&*key.clone().leak(), &*value.clone().leak())),
        }
    }
    setup.options = options.leak();
    Ok(setup)
}

/// The capabilities that a record needs; none where it does not say.
///
/// # Errors
/// [`ReplayError::Config`] names the word that is no capability.
pub fn needs(record: &Record) -> Result<Caps, ReplayError> {
    let words = record.value("needs").unwrap_or_default().split(',');
    words
        .filter(|word| !word.is_empty())
        .try_fold(Caps::NONE, |caps, word| {
            let named = Caps::NAMED.iter().find(|(name, _)| *name == word);
            named
                .map(|(_, cap)| caps.with(*cap))
                .ok_or_else(|| ReplayError::Config {
                    record: record.name.clone(),
                    problem: format!("needs={word} is no capability"),
                })
        })
}

fn replay_record(
    record: &Record,
    adapter: &dyn Adapter,
    layout: &Layout,
    setup: &Setup,
) -> Result<(u64, Vec<Difference>), Stop> {
    let mut machine = adapter.boot(setup, layout)?;
    let mut watching = false;
    let (mut answers, mut differences) = (0, Vec::new());
    for (index, step) in record.steps.iter().enumerate() {
        let answer = perform(machine.as_mut(), &step.operation)?;
        let events = if watching { machine.line_events()? } else { Vec::new() };
        if step.operation == Operation::WatchLines {
            machine.line_events()?;
            watching = true;
        }
        let (recorded, answered) = (shown(&step.events, &trim(step)), shown(&events, &answer));
        answers += u64::from(!recorded.is_empty() || !answered.is_empty());
        if recorded != answered {
            let (record, operation) = (record.name.clone(), step.operation.to_string());
            differences.push(Difference {
                record,
                step: index,
                operation,
                recorded,
                answered,
            });
        }
    }
    Ok((answers, differences))
}

/// Numbers without leading zeros; bytes as they are.
fn trim(step: &Step) -> String {
    match step.operation {
        Operation::Action(Action::ReadMemory { .. }) => step.answer.clone(),
        _ if step.answer.is_empty() => String::new(),
        _ => match step.answer.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        },
    }
}

/// An answer as text, with the changes of lines before it: `raise 8 d0`.
pub fn shown(events: &[LineEvent], answer: &str) -> String {
    let events = events
        .iter()
        .map(|event| format!("{} {}", level_word(event.level), event.gsi));
    let answer = (!answer.is_empty()).then(|| answer.to_owned());
    events.chain(answer).collect::<Vec<_>>().join(" ")
}

fn perform(machine: &mut dyn Machine, operation: &Operation) -> Result<String, Stop> {
    match operation {
        Operation::Action(action) => act(machine, action),
        Operation::WatchLines => Ok(String::new()),
        Operation::Poll(action, want) => {
            let mut answer = act(machine, action)?;
            for _ in 0..POLLS_MAX {
                if u64::from_str_radix(&answer, 16) == Ok(*want) {
                    break;
                }
                answer = act(machine, action)?;
            }
            Ok(answer)
        }
    }
}

/// Performs an action; the answer is a number in hexadecimal, bytes, or empty.
///
/// # Errors
/// As the machine's methods.
pub fn act<M: Machine + ?Sized>(machine: &mut M, action: &Action) -> Result<String, Stop> {
    let number = |value: u64| format!("{value:x}");
    let bytes = |bytes: &[u8]| Hex(bytes).to_string().split_off(2);
    match action {
        Action::PortRead { port, width } => machine.port_read(*port, *width).map(|value| number(u64::from(value))),
        Action::PortWrite { port, width, value } => machine.port_write(*port, *width, *value).map(|()| String::new()),
        Action::Load { gpa, width } => machine.load(*gpa, *width).map(number),
        Action::Store { gpa, width, value } => machine.store(*gpa, *width, *value).map(|()| String::new()),
        Action::ReadMemory { gpa, length_bytes } => {
            let mut into = vec![0; *length_bytes as usize];
            machine.read_memory(*gpa, &mut into)?;
            Ok(bytes(&into))
        }
        Action::WriteMemory { gpa, bytes } => machine.write_memory(*gpa, bytes).map(|()| String::new()),
        Action::FillMemory {
            gpa,
            length_bytes,
            byte,
        } => machine
            .write_memory(*gpa, &vec![*byte; *length_bytes as usize])
            .map(|()| String::new()),
        Action::Advance { by_ns } => machine.advance(*by_ns).map(|()| String::new()),
        Action::SerialInput { bytes } => machine
            .host(&crate::machine::HostAction::SerialInput(bytes.clone()))
            .map(|()| String::new()),
        Action::Reset => machine.reset().map(|()| String::new()),
    }
}

/// `*` stands for any text, the rest for itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// `128M`, `5G`, `2883576K`: bytes, rounded up to 8 KiB as the machine rounds RAM.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.chars().last()? {
        'K' => (&text[..text.len() - 1], 10),
        'M' => (&text[..text.len() - 1], 20),
        'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    parse_number(digits)?.checked_shl(shift)
}

/// Most looks of one `poll`.
const POLLS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_text() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("random/rtc/*", "random/rtc/17", true),
            ("*/modern", "random/virtio_mmio/3/modern", true),
            ("readl 0x*e70", "readl 0xc0000e70", true),
            ("a*b*c", "a-b-b-c", true),
            ("a", "ab", false),
            ("a*b", "a", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn record_becomes_the_machine_it_was_made_on() {
        let text = "record x\nconfig devices=virtio-rng m=5G max-ram-below-4g=1M modern=true smp=5,maxcpus=8 rtc=on\n";
        let recording = Recording::from_text("test", text).expect("well-formed");
        let setup = setup(&recording.records[0]).expect("well-formed");
        assert_eq!((setup.ram_bytes, setup.max_ram_below_4g), (5 << 30, Some(1 << 20)));
        assert_eq!((setup.cpus, setup.cpus_max, setup.modern), (5, 8, true));
        assert_eq!(
            (setup.devices, setup.options),
            (&["virtio-rng"][..], &[("rtc", "on")][..])
        );
    }
}
