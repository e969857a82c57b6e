//! Regressions: a program, and the answers that a right machine gives to some of its operations.
//!
//! The file is a recording with one record (see [`crate::recording`]) and a head of `# key: value` lines. Operations
//! without `->` are performed and nothing is asked of their answers; a subject that crashes or hangs at one of them
//! fails all the same. Addresses are those of the machine as first specified.

use std::collections::BTreeSet;

use crate::case::{Feature, Level, Setup};
use crate::clause::{Clause, DOCUMENTS};
use crate::layout::Layout;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;
use crate::program::Action;
use crate::recording::{Operation, Recording, Step};
use crate::replay;

/// One regression.
#[derive(Debug)]
pub struct Regression {
    /// `regress/DEVICE/NAME`.
    pub id: String,
    /// One sentence.
    pub title: String,
    /// What is required.
    pub clause: &'static Clause,
    /// How binding that is.
    pub level: Level,
    /// Where it comes from, and who says that the answers are right.
    pub reason: String,
    /// Parts of the machine that the program is about.
    pub features: Vec<Feature>,
    /// What a subject must be able to do.
    pub needs: Caps,
    /// The machine.
    pub setup: Setup,
    steps: Vec<Step>,
}

impl Regression {
    /// Reads a file's text; `place` names it in errors. The set-up's texts live as long as the program.
    ///
    /// # Errors
    /// One line that names the place and what is wrong.
    pub fn parse(place: &str, text: &str) -> Result<Regression, String> {
        let fail = |problem: String| format!("golden/regress/{place}: {problem}");
        let mut recording = Recording::from_text(place, text).map_err(|error| fail(error.to_string()))?;
        let head = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
            line.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let needed = |key: &str| head(key).ok_or_else(|| fail(format!("there is no line '# {key}: …'")));
        let (1, Some(record)) = (recording.records.len(), recording.records.pop()) else {
            return Err(fail("it wants one line 'record regress/DEVICE/NAME'".to_owned()));
        };
        let clause = needed("clause")?;
        let clauses = || DOCUMENTS.iter().flat_map(|document| document.iter());
        let found = clauses().find(|own| own.id == clause);
        let level = needed("level")?;
        let levels = [Level::Must, Level::Should];
        let found_level = levels.into_iter().find(|own| own.word() == level);
        let mut features: BTreeSet<Feature> = record.steps.iter().flat_map(|step| features(&step.operation)).collect();
        let setup = replay::setup(&record).map_err(|error| fail(error.to_string()))?;
        if features.contains(&Feature::VirtioMmio) {
            features.insert(Feature::AllTransports);
            features.insert(if setup.modern {
                Feature::VirtioModern
            } else {
                Feature::VirtioLegacy
            });
        }
        let named = replay::needs(&record).map_err(|error| fail(error.to_string()))?;
        if !record.name.starts_with("regress/") || record.name.split('/').count() != 3 {
            return Err(fail(format!("'{}' is not regress/DEVICE/NAME", record.name)));
        }
        if record.steps.iter().all(|step| !is_pinned(step)) {
            return Err(fail(
                "no operation has an answer, so that no machine can fail it".to_owned(),
            ));
        }
        Ok(Regression {
            title: needed("title")?,
            clause: found.ok_or_else(|| fail(format!("there is no clause '{clause}'; see touchstone trace")))?,
            level: found_level.ok_or_else(|| fail(format!("level '{level}' is neither must nor should")))?,
            reason: needed("reason")?,
            features: features.into_iter().collect(),
            needs: record
                .steps
                .iter()
                .map(|step| needs(&step.operation))
                .fold(named, Caps::with),
            id: record.name,
            setup,
            steps: record.steps,
        })
    }

    /// The program, for machines as first specified.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().filter_map(|step| match &step.operation {
            Operation::Action(action) => Some(action),
            Operation::WatchLines | Operation::Poll(..) => None,
        })
    }

    /// Performs the program and checks what is known; then, where that can be seen, that a reset lowers the lines.
    ///
    /// # Errors
    /// As the probe's methods.
    pub fn run(&self, probe: &mut Probe<'_>) -> Result<(), Stop> {
        let layout = probe.layout();
        let watches = probe.caps().missing(Caps::LINES).is_empty();
        let mut high = BTreeSet::new();
        let mut follow = |events: &[crate::machine::LineEvent]| {
            for event in events {
                if event.level {
                    high.insert(event.gsi);
                } else {
                    high.remove(&event.gsi);
                }
            }
        };
        for (number, step) in self.steps.iter().enumerate() {
            let Operation::Action(action) = &step.operation else {
                continue;
            };
            let answer = probe.act(&layout.place(action))?;
            let events = if watches { probe.line_events()? } else { Vec::new() };
            follow(&events);
            if is_pinned(step) {
                let what = format!("operation {}, '{action}'", number + 1);
                let seen = |events| {
                    if watches {
                        replay::shown(events, "")
                    } else {
                        String::new()
                    }
                };
                let want = format!("{} {}", seen(&step.events), replay::trim(step));
                let got = format!("{} {answer}", seen(&events));
                probe.check(&what, got == want, got.trim(), want.trim());
            }
        }
        if watches && probe.caps().missing(Caps::RESET).is_empty() {
            probe.reset()?;
            let events = probe.line_events()?;
            follow(&events);
            // No document says what the timer's OUT is before it is programmed.
            high.remove(&TIMER_GSI);
            let got = format!("{high:?}");
            probe.check("lines high after a reset", high.is_empty(), got, "{}");
        }
        Ok(())
    }
}

fn is_pinned(step: &Step) -> bool {
    !step.answer.is_empty() || !step.events.is_empty()
}

/// The parts that an operation is about.
fn features(operation: &Operation) -> Vec<Feature> {
    let Operation::Action(action) = operation else {
        return Vec::new();
    };
    match action {
        Action::PortRead { port, .. } | Action::PortWrite { port, .. } => match port {
            0x20..=0x21 | 0xa0..=0xa1 | 0x4d0..=0x4d1 => vec![Feature::Pic],
            0x40..=0x43 => vec![Feature::Pit],
            0x70..=0x71 => vec![Feature::Rtc],
            0x3f8..=0x3ff => vec![Feature::Serial, Feature::SerialLine],
            0x510..=0x51b => vec![Feature::FwCfg],
            _ => Vec::new(),
        },
        Action::Load { gpa, .. } | Action::Store { gpa, .. } => match gpa {
            0xfec0_0000..=0xfec0_00ff => vec![Feature::Ioapic],
            _ if Layout::ALL[0].is_transport(*gpa) => vec![Feature::VirtioMmio],
            _ => Vec::new(),
        },
        Action::SerialInput { .. } => vec![Feature::Serial],
        _ => Vec::new(),
    }
}

fn needs(operation: &Operation) -> Caps {
    let Operation::Action(action) = operation else {
        return Caps::LINES;
    };
    match action {
        Action::PortRead { port, .. } | Action::PortWrite { port, .. } if (0x3f8..=0x3ff).contains(port) => {
            Caps::SERIAL
        }
        Action::Store { gpa, .. } if Layout::ALL[0].is_transport(*gpa) && gpa & 0x1ff == QUEUE_NOTIFY => Caps::QUEUES,
        Action::Advance { .. } => Caps::CLOCK,
        Action::SerialInput { .. } => Caps::SERIAL.with(Caps::SERIAL_INPUT),
        Action::Reset => Caps::RESET,
        _ => Caps::NONE,
    }
}

/// The timer's line.
const TIMER_GSI: u8 = 0;

/// Virtio 1.2, 4.2.2.
const QUEUE_NOTIFY: u64 = 0x50;

#[cfg(test)]
mod tests;
