//! Recordings: machines one does not have, as programs and what a real machine answered.
//!
//! Two forms are read: gzip'd JSON as a recorder writes it, and a text form for review, one line for each operation:
//!
//! ```text
//! # source: QEMU 4.2.0
//! # profile: microvm-2019
//! record ram/1M
//! config m=1M rtc=on
//! outb 0x70 0x15
//! inb 0x71 -> 80
//! inb 0x511 *3 -> 0 0 10
//! clock_step 1000 -> raise 8
//! ```
//!
//! Numbers in answers are hexadecimal without prefix, and `inb 0x71 *3` is the same read three times. Changes of
//! interrupt lines stand before the answer; `raise 8 *4` is raise, lower, raise, lower of line 8. An answer `?` is
//! another one each time, and so no answer to hold anything against.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use crate::files;
use crate::machine::LineEvent;
use crate::program::Action;

/// What one machine answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The machine and its version.
    pub source: String,
    /// The profile that the machine is.
    pub profile: String,
    /// One power-on each.
    pub records: Vec<Record>,
}

/// One power-on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `area/…/number`.
    pub name: String,
    /// How the machine was started, as `(key, value)`: `m`, `smp`, `modern`, `devices`, `append`, machine options.
    pub config: Vec<(String, String)>,
    /// What was done and answered.
    pub steps: Vec<Step>,
}

/// One operation and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub operation: Operation,
    /// Changes of interrupt lines that the operation caused, where lines were watched.
    pub events: Vec<LineEvent>,
    /// The number or bytes answered, lower-case hexadecimal; empty for a bare OK, [`ANY`] where it differs each time.
    pub answer: String,
}

/// Something done to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An access, a clock step.
    Action(Action),
    /// From here on the changes of IOAPIC inputs are noted.
    WatchLines,
    /// The access is repeated until it gives the answer.
    Poll(Action, u64),
}

/// A recording that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct RecordingError {
    /// File, with the line or record.
    pub place: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl Recording {
    /// Reads a recording: a `.json.gz` file, a `.txt` file in the text form, or a folder of such text files.
    ///
    /// # Errors
    /// [`RecordingError`] names the file and the line.
    pub fn read(path: &Path) -> Result<Recording, RecordingError> {
        let recording = Recording::read_any(path)?;
        if recording.records.is_empty() {
            return Err(RecordingError {
                place: path.display().to_string(),
                problem: "there is no record in it; give FILE.json.gz, FILE.txt or a folder of text files".to_owned(),
            });
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = recording.records.iter().find(|record| !names.insert(&record.name)) {
            return Err(RecordingError {
                place: path.display().to_string(),
                problem: format!("record {} stands there twice; remove one", twice.name),
            });
        }
        Ok(recording)
    }

    fn read_any(path: &Path) -> Result<Recording, RecordingError> {
        let fail = |problem: String| RecordingError {
            place: path.display().to_string(),
            problem,
        };
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|error| fail(error.to_string()))?;
            let mut files: Vec<_> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
            files.sort();
            let mut whole = Recording::default();
            for file in &files {
                let part = Recording::read_any(file)?;
                if !whole.records.is_empty() && (&part.source, &part.profile) != (&whole.source, &whole.profile) {
                    let (own, others) = (&part.source, &whole.source);
                    return Err(RecordingError {
                        place: file.display().to_string(),
                        problem: format!("is of '{own}', the files before it of '{others}'; keep them in two folders"),
                    });
                }
                (whole.source, whole.profile) = (part.source, part.profile);
                whole.records.extend(part.records);
            }
            return Ok(whole);
        }
        let bytes = files::read(path, files::RECORDING_BYTES_MAX).map_err(|error| fail(error.to_string()))?;
        if bytes.starts_with(&GZIP_MAGIC) {
            let mut text = Vec::new();
            let decoder = flate2::read::GzDecoder::new(bytes.as_slice());
            decoder
                .take(UNPACKED_LENGTH_MAX)
                .read_to_end(&mut text)
                .map_err(|error| fail(error.to_string()))?;
            Recording::from_json(&text).map_err(fail)
        } else {
            let text = String::from_utf8(bytes).map_err(|_| fail("neither gzip'd JSON nor text".to_owned()))?;
            Recording::from_text(&path.display().to_string(), &text)
        }
    }

    /// Reads the recorder's JSON.
    fn from_json(text: &[u8]) -> Result<Recording, String> {
        #[derive(Deserialize)]
        struct File {
            label: String,
            records: Vec<RawRecord>,
        }
        #[derive(Deserialize)]
        struct RawRecord {
            name: String,
            config: serde_json::Map<String, serde_json::Value>,
            ops: Vec<String>,
            replies: Vec<String>,
        }
        let file: File = serde_json::from_slice(text).map_err(|error| format!("not a recording: {error}"))?;
        let mut recording = Recording {
            source: file.label,
            ..Recording::default()
        };
        for raw in file.records {
            let mut record = Record {
                name: raw.name,
                config: flat_config(&raw.config),
                steps: Vec::new(),
            };
            if raw.ops.len() != raw.replies.len() {
                return Err(format!("record {}: as many replies as ops are needed", record.name));
            }
            for (op, reply) in raw.ops.iter().zip(&raw.replies) {
                let step =
                    Step::from_qtest(op, reply).map_err(|problem| format!("record {}: {problem}", record.name))?;
                record.steps.push(step);
            }
            recording.records.push(record);
        }
        Ok(recording)
    }

    /// Reads the text form; `place` names the text in errors.
    ///
    /// # Errors
    /// [`RecordingError`] names the line.
    pub fn from_text(place: &str, text: &str) -> Result<Recording, RecordingError> {
        let mut recording = Recording::default();
        for (index, line) in text.lines().enumerate() {
            let parsed = recording.take_line(line);
            parsed.map_err(|problem| RecordingError {
                place: format!("{place}:{}", index + 1),
                problem,
            })?;
        }
        Ok(recording)
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        if let Some(source) = line.strip_prefix("# source: ") {
            self.source = source.to_owned();
        } else if let Some(profile) = line.strip_prefix("# profile: ") {
            self.profile = profile.to_owned();
        } else if line.is_empty() || line.starts_with('#') {
        } else if let Some(name) = line.strip_prefix("record ") {
            self.records.push(Record {
                name: name.to_owned(),
                ..Record::default()
            });
        } else {
            let record = self.records.last_mut().ok_or("a line before the first `record`")?;
            if let Some(config) = line.strip_prefix("config ") {
                record.config = parse_config(config)?;
            } else {
                record.steps.extend(Step::from_line(line)?);
            }
        }
        Ok(())
    }

    /// The text form of the records whose name begins with `prefix`.
    pub fn to_text(&self, prefix: &str) -> String {
        let mut text = format!("# source: {}\n# profile: {}\n", self.source, self.profile);
        for record in self.records.iter().filter(|record| record.name.starts_with(prefix)) {
            let config = record.config_text();
            let _infallible = write!(text, "\nrecord {}\nconfig {config}\n", record.name);
            let mut steps = record.steps.as_slice();
            while let Some(first) = steps.first() {
                let run = if first.is_repeatable() {
                    steps
                        .iter()
                        .take_while(|step| step.operation == first.operation && step.is_repeatable())
                        .count()
                } else {
                    1
                };
                text.push_str(&first.to_line(&steps[..run]));
                text.push('\n');
                steps = &steps[run..];
            }
        }
        text
    }

    /// The areas: first words of the records' names, and two words for `random/…`, sorted, without repetition.
    pub fn areas(&self) -> Vec<String> {
        let mut areas: Vec<String> = self.records.iter().map(|record| record.area().to_owned()).collect();
        areas.sort();
        areas.dedup();
        areas
    }
}

impl Record {
    /// The first word of the name, or the first two of `random/…`.
    pub fn area(&self) -> &str {
        let words = if self.name.starts_with("random/") { 2 } else { 1 };
        let end = self
            .name
            .match_indices('/')
            .nth(words - 1)
            .map_or(self.name.len(), |(at, _)| at);
        &self.name[..end]
    }

    /// The configuration as one line has it.
    pub fn config_text(&self) -> String {
        let pairs = self.config.iter();
        let pairs = pairs.map(|(key, value)| format!("{key}={}", quote(value)));
        pairs.collect::<Vec<_>>().join(" ")
    }

    /// A value of the configuration.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.config
            .iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value.as_str())
    }
}

impl Step {
    /// From a qtest line and its reply, with `IRQ raise N; ` before the reply for each event.
    fn from_qtest(op: &str, reply: &str) -> Result<Step, String> {
        let operation = Operation::parse(op)?;
        let mut parts: Vec<&str> = reply.split("; ").collect();
        let last = parts.pop().unwrap_or_default();
        let answer = last
            .strip_prefix("OK")
            .ok_or_else(|| format!("'{op}' was answered '{reply}'"))?
            .trim();
        let events = parts
            .into_iter()
            .map(|part| parse_event(part.strip_prefix("IRQ ").unwrap_or(part)));
        let events = events.collect::<Result<_, _>>()?;
        // Where a step went is no answer of the machine's.
        let answer = if matches!(operation, Operation::Action(Action::Advance { .. })) {
            ""
        } else {
            answer
        };
        let answer = answer.strip_prefix("0x").unwrap_or(answer).to_owned();
        Ok(Step {
            operation,
            events,
            answer,
        })
    }

    fn from_line(line: &str) -> Result<Vec<Step>, String> {
        let (left, right) = line.split_once(" -> ").unwrap_or((line, ""));
        let (op, count) = match left.rsplit_once(" *") {
            Some((op, count)) => (op, count.parse().map_err(|_| format!("'*{count}' is not a count"))?),
            None => (left, 1usize),
        };
        let operation = Operation::parse(op)?;
        let mut words = right.split_ascii_whitespace().peekable();
        let mut events = Vec::new();
        while let Some(&word) = words.peek()
            && (word == "raise" || word == "lower")
        {
            words.next();
            let first = parse_event(&format!("{word} {}", words.next().unwrap_or_default()))?;
            let count = words.next_if(|word| word.starts_with('*')).map_or(Ok(1), |word| {
                let count = word[1..].parse().ok().filter(|count| (1..=EVENTS_MAX).contains(count));
                count.ok_or_else(|| format!("'{word}' is not a count of 1..={EVENTS_MAX}"))
            })?;
            events.extend((0..count).map(|index| LineEvent {
                level: first.level ^ (index % 2 != 0),
                ..first
            }));
        }
        let answers: Vec<&str> = words.collect();
        if 1 < count && answers.len() != count {
            return Err(format!("{count} answers are announced, {} stand there", answers.len()));
        }
        let answer = |index: usize| answers.get(index).copied().unwrap_or_default().to_owned();
        let step = |index: usize| Step {
            operation: operation.clone(),
            events: Vec::new(),
            answer: answer(index),
        };
        let mut steps: Vec<Step> = (0..count).map(step).collect();
        if let Some(first) = steps.first_mut() {
            first.events = events;
        }
        Ok(steps)
    }

    /// Makes it a step without an answer to hold anything against.
    pub fn mask(&mut self) {
        if let Operation::Poll(action, _) = &self.operation {
            self.operation = Operation::Action(action.clone());
        }
        self.events.clear();
        ANY.clone_into(&mut self.answer);
    }

    fn is_repeatable(&self) -> bool {
        self.events.is_empty() && !self.answer.is_empty() && matches!(self.operation, Operation::Action(_))
    }

    fn to_line(&self, run: &[Step]) -> String {
        let mut line = self.operation.to_string();
        if 1 < run.len() {
            let _infallible = write!(line, " *{}", run.len());
        }
        let toggles = |a: &LineEvent, b: &LineEvent| a.gsi == b.gsi && a.level != b.level;
        let events = self.events.chunk_by(toggles).map(|run| {
            let first = format!("{} {}", level_word(run[0].level), run[0].gsi);
            if run.len() == 1 {
                first
            } else {
                format!("{first} *{}", run.len())
            }
        });
        let answers = run
            .iter()
            .map(|step| step.answer.clone())
            .filter(|answer| !answer.is_empty());
        let right: Vec<String> = events.chain(answers).collect();
        if !right.is_empty() {
            let _infallible = write!(line, " -> {}", right.join(" "));
        }
        line
    }
}

impl Operation {
    fn parse(op: &str) -> Result<Operation, String> {
        if op.starts_with("irq_intercept_in ") {
            return Ok(Operation::WatchLines);
        }
        if let Some(poll) = op.strip_prefix("poll ") {
            let (access, want) = poll
                .rsplit_once(' ')
                .ok_or_else(|| format!("'{op}' lacks the answer to wait for"))?;
            let action = Action::parse(access).map_err(|error| error.to_string())?;
            let want = crate::program::parse_number(want).ok_or_else(|| format!("'{want}' is not a number"))?;
            return Ok(Operation::Poll(action, want));
        }
        Action::parse(op)
            .map(Operation::Action)
            .map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Operation::Action(action) => action.fmt(f),
            Operation::WatchLines => f.write_str("irq_intercept_in ioapic"),
            Operation::Poll(action, want) => write!(f, "poll {action} {want:#x}"),
        }
    }
}

/// The word for a level, as qtest has it.
pub fn level_word(level: bool) -> &'static str {
    if level { "raise" } else { "lower" }
}

fn parse_event(text: &str) -> Result<LineEvent, String> {
    let wrong = || format!("'{text}' is not `raise GSI` or `lower GSI`");
    let (word, gsi) = text.split_once(' ').ok_or_else(wrong)?;
    let level = match word {
        "raise" => true,
        "lower" => false,
        _ => return Err(wrong()),
    };
    Ok(LineEvent {
        gsi: gsi.parse().map_err(|_| wrong())?,
        level,
    })
}

/// `m`, `smp` and so on as they are, machine options without their own level, devices joined by commas.
fn flat_config(config: &serde_json::Map<String, serde_json::Value>) -> Vec<(String, String)> {
    use serde_json::Value;
    let mut flat = Vec::new();
    for (key, value) in config {
        match value {
            Value::Object(options) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                flat.extend(options.iter().map(|(key, value)| (key.clone(), text(value))));
            }
            Value::Array(devices) => {
                let names: Vec<&str> = devices.iter().filter_map(Value::as_str).collect();
                flat.push((key.clone(), names.join(",")));
            }
            Value::String(text) => flat.push((key.clone(), text.clone())),
            other => flat.push((key.clone(), other.to_string())),
        }
    }
    flat.sort();
    flat
}

/// Values with spaces, quotes, control characters or nothing in them are quoted as JSON strings.
fn quote(value: &str) -> String {
    let odd = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '"' || letter == '\\';
    let plain = !value.is_empty() && !value.contains(odd);
    if plain {
        value.to_owned()
    } else {
        serde_json::Value::from(value).to_string()
    }
}

fn parse_config(line: &str) -> Result<Vec<(String, String)>, String> {
    let mut rest = line.trim();
    let mut config = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once('=')
            .ok_or_else(|| format!("'{rest}' is not key=value"))?;
        let (value, tail) = if after.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
            let value = values
                .next()
                .and_then(Result::ok)
                .ok_or_else(|| format!("'{after}' is not a quoted text"))?;
            (value, &after[values.byte_offset()..])
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        config.push((key.to_owned(), value));
        rest = tail.trim_start();
    }
    Ok(config)
}

/// The answer of a step that is answered otherwise each time; its events are not kept either.
pub const ANY: &str = "?";

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Most changes of a line in one answer.
const EVENTS_MAX: usize = 1 << 20;

/// Most bytes a recording may unpack to.
const UNPACKED_LENGTH_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# source: a machine\n# profile: microvm-2019\n\nrecord time/0\n\
                        config append=\"a=b -- c\" m=64M rtc=on\nirq_intercept_in ioapic\noutb 0x70 0xc -> raise 8\n\
                        inb 0x71 *3 -> d0 0 0\nclock_step 1000 -> raise 0 *2\npoll readw 0x6002 0x1 -> 1\n\
                        read 0x1000 0x2 -> aabb\n";

    #[test]
    fn text_form_round_trips() {
        let recording = Recording::from_text("test", TEXT).expect("well-formed");
        assert_eq!(recording.records[0].steps.len(), 8);
        assert_eq!(recording.records[0].value("append"), Some("a=b -- c"));
        assert_eq!(recording.to_text(""), TEXT);
    }

    #[test]
    fn wrong_line_is_named() {
        for (text, message) in [
            ("inb 0x71 -> 0\n", "test:1: a line before the first `record`"),
            (
                "record x\nfly 1\n",
                "test:2: 'fly 1' is not an action: 'fly' is no known verb",
            ),
            (
                "record x\ninb 0x71 *3 -> 0\n",
                "test:2: 3 answers are announced, 1 stand there",
            ),
            ("record x\nconfig m\n", "test:2: 'm' is not key=value"),
        ] {
            assert_eq!(Recording::from_text("test", text).expect_err(text).to_string(), message);
        }
    }
}
