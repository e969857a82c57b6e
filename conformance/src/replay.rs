//! Replay: holds a recording against a machine, answer by answer.
//!
//! A difference that was settled in writing (see [`Settled`]) is counted apart; any other is a finding.

use std::fmt;

use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{Adapter, Broken, Caps, LineEvent, Machine, Stop};
use crate::program::{Action, Hex, parse_number};
use crate::recording::{ANY, Operation, Record, Recording, Step, level_word};
use crate::settled::{SEPARATOR, Settled};

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By area, sorted.
    pub areas: Vec<Area>,
    /// Differences that nobody settled, in order.
    pub findings: Vec<Difference>,
    /// Records that this subject could not be asked, with the reason.
    pub skipped: Vec<(String, String)>,
    /// For each decision, the differences that it settles.
    pub settled: Vec<Vec<Difference>>,
    /// What is wrong with the decisions if all of the recording was replayed on the machine they are about: a pattern
    /// that no difference needed, another count of differences.
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
    /// What was recorded. Of many changes of lines in one answer only those stay that differ, between dots.
    pub recorded: String,
    /// What the subject answered, likewise.
    pub answered: String,
}

/// As a pattern of a decision has it: `record | operation | recorded | answered`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.record, &self.operation, &self.recorded, &self.answered];
        f.write_str(&parts.map(String::as_str).join(SEPARATOR))
    }
}

/// What cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
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
    let mut summary = Summary {
        settled: vec![Vec::new(); settled.differences.len()],
        ..Summary::default()
    };
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
                            summary.settled[decision].push(difference);
                        }
                        None => {
                            area.differ += 1;
                            summary.findings.push(difference);
                        }
                    }
                }
                summary.add(area);
            }
            Err(Stop::Broken(Broken::Start(reason))) => {
                // One machine of many may be too large for this host.
                summary
                    .skipped
                    .push((record.name.clone(), format!("subject did not start: {reason}")));
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
        summary
            .stale
            .extend(unused.map(|(pattern, _)| format!("no difference needs '{pattern}'")));
    }
    for (decision, settled) in settled.differences.iter().zip(&summary.settled) {
        if settled.len() != decision.count {
            let (clause, count, at) = (&decision.clause, decision.count, &decision.at);
            let found = settled.len();
            let problem = format!("the decision by {clause} at {at:?} is about {count} answers; {found} differ so");
            summary.stale.push(problem);
        }
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
    let has_own_time = adapter.caps().has_own_time();
    for (index, step) in record.steps.iter().enumerate() {
        let answer = perform(machine.as_mut(), &step.operation)?;
        let events = if watching { machine.line_events()? } else { Vec::new() };
        if step.operation == Operation::WatchLines {
            machine.line_events()?;
            watching = true;
        }
        if step.answer == ANY {
            continue;
        }
        let lines = (step.events.as_slice(), events.as_slice());
        // Where time is the host's, changes come when it gets to them.
        let (recorded_lines, lines) = if has_own_time { (&[][..], &[][..]) } else { lines };
        let wanted = trim(step);
        let is_answer = !(lines.is_empty() && answer.is_empty() && recorded_lines.is_empty() && wanted.is_empty());
        answers += u64::from(is_answer);
        if (recorded_lines, &wanted) != (lines, &answer) {
            let (record, operation) = (record.name.clone(), step.operation.to_string());
            let [recorded_events, answered_events] = unlike(recorded_lines, lines);
            let recorded = format!("{recorded_events} {wanted}").trim().to_owned();
            let answered = format!("{answered_events} {answer}").trim().to_owned();
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
pub fn trim(step: &Step) -> String {
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

/// Two lists of changes as text; of long ones, the parts that differ between dots.
fn unlike(a: &[LineEvent], b: &[LineEvent]) -> [String; 2] {
    let mut lists = [a, b];
    let mut dots = ["", ""];
    if EVENTS_SHOWN_MAX < a.len().max(b.len()) {
        let common = |(a, b): &(&LineEvent, &LineEvent)| a == b;
        let start = a.iter().zip(b).take_while(common).count();
        lists = lists.map(|list| &list[start..]);
        let end = lists[0]
            .iter()
            .rev()
            .zip(lists[1].iter().rev())
            .take_while(common)
            .count();
        lists = lists.map(|list| &list[..list.len() - end]);
        dots = [start, end].map(|count| if count == 0 { "" } else { "…" });
    }
    lists.map(|list| {
        let words = [dots[0].to_owned(), shown(list, ""), dots[1].to_owned()].into_iter();
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    })
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

/// Lists of changes up to this long are shown whole in a difference.
const EVENTS_SHOWN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_changes_show_where_they_differ() {
        let toggles = |count: usize| -> Vec<LineEvent> {
            let event = |index: usize| LineEvent {
                gsi: 0,
                level: index.is_multiple_of(2),
            };
            (0..count).map(event).collect()
        };
        let late = LineEvent { gsi: 8, level: true };
        let long = toggles(40);
        let with_late = [&long[..20], &[late], &long[20..]].concat();
        assert_eq!(unlike(&long, &with_late), ["… …", "… raise 8 …"]);
        assert_eq!(
            unlike(&toggles(2), &toggles(3)),
            ["raise 0 lower 0", "raise 0 lower 0 raise 0"]
        );
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
