//! Two machines side by side: the same actions, and where their answers differ.

use conformance::layout::Layout;
use conformance::machine::{Adapter, Answered, Broken, Caps, Machine, Stop};
use conformance::program::{Action, Hex};
use conformance::replay::shown;
use conformance::subject::in_process::InProcessAdapter;

use super::actions;
use super::area::Area;
use super::peculiar::{Peculiarity, Watcher};
use super::settled::{Settled, Then};

/// What a comparison needs beside the program.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// What is compared.
    pub area: &'static Area,
    /// Starts the other machine.
    pub subject: &'a dyn Adapter,
    /// The profile that both machines are.
    pub layout: &'static Layout,
    /// Differences that are known.
    pub settled: &'a Settled,
}

/// Both machines, powered on together.
pub struct Pair {
    reference: Box<dyn Machine>,
    subject: Box<dyn Machine>,
    /// Sees all that both do from power-on: the clock goes on from one program to the next.
    watcher: Watcher,
}

/// One operation and both answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The action's line.
    pub operation: String,
    /// What the subject gave.
    pub subject: String,
    /// What the reference gave.
    pub reference: String,
    /// Whether the two shall be the same.
    pub counts: bool,
    /// What is peculiar about the action.
    pub peculiar: Vec<Peculiarity>,
}

/// One answer that is not the other machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Index of the row.
    pub index: usize,
    /// The action's line.
    pub operation: String,
    /// What the subject gave.
    pub subject: String,
    /// What the reference gave.
    pub reference: String,
}

/// What one program showed.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Both answers to each operation.
    pub rows: Vec<Row>,
    /// How many of them were compared: all, or those before the states were known to differ.
    pub compared: usize,
    /// Decisions that covered a difference, as (decision, pattern).
    pub settled: Vec<(usize, usize)>,
    /// The first difference that none covers.
    pub finding: Option<Difference>,
    /// What the machines need before the next program.
    pub then: Then,
}

impl Pair {
    /// Powers both machines on.
    ///
    /// # Errors
    /// [`Stop`] when one does not start.
    pub fn start(bench: &Bench<'_>, setup: u8) -> Result<Pair, Stop> {
        let none = || Stop::Unavailable("the area has no machine for this set-up".to_owned());
        let setup = bench.area.machine(setup).ok_or_else(none)?;
        Ok(Pair {
            reference: InProcessAdapter.boot(setup, bench.layout)?,
            subject: bench.subject.boot(setup, bench.layout)?,
            watcher: Watcher::new(),
        })
    }

    /// Performs the actions on both and compares, until the first difference that is not settled or after which nothing
    /// more can be compared.
    ///
    /// # Errors
    /// [`Stop`] when the reference cannot be asked, or the subject's transport makes no sense. A subject that ends or
    /// does not answer is a difference.
    pub fn run(&mut self, bench: &Bench<'_>, actions: &[Action]) -> Result<Judged, Stop> {
        let (actions, counts) = begun(bench, actions);
        let placed: Vec<Action> = actions.iter().map(|action| bench.layout.place(action)).collect();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        self.reference.perform(&placed, &mut ours)?;
        let broken = match self.ask_subject(&placed, &mut theirs) {
            Ok(()) => None,
            Err(Stop::Broken(broken @ (Broken::Crash(_) | Broken::Timeout(_)))) => Some(broken),
            Err(stop) => return Err(stop),
        };
        let mut judged = Judged::default();
        let text = |answered: &Answered| shown(&answered.events, &answered.answer);
        for (index, action) in actions.iter().enumerate().take(ours.len()) {
            let (subject, ended) = match (theirs.get(index), &broken) {
                (Some(theirs), _) => (text(theirs), false),
                (None, Some(broken)) => (broken.to_string(), true),
                (None, None) => break,
            };
            judged.rows.push(Row {
                operation: action.to_string(),
                subject,
                reference: text(&ours[index]),
                counts: counts[index] || ended,
                peculiar: self.watcher.see(action),
            });
            if ended {
                judged.then = Then::Restart;
                break;
            }
        }
        if broken.is_none() {
            self.compare_output(&mut judged)?;
        }
        judge(bench, &mut judged);
        Ok(judged)
    }

    /// Resets both without a look at what that gives, after a program that left them in different states.
    ///
    /// # Errors
    /// As [`Pair::run`].
    pub fn reset(&mut self) -> Result<(), Stop> {
        self.watcher.see(&Action::Reset);
        self.reference.perform(&[Action::Reset], &mut Vec::new())?;
        self.subject.perform(&[Action::Reset], &mut Vec::new())
    }

    /// Performs the actions on the subject. Bytes that wait to be typed come while nobody asks, as soon as there is
    /// room.
    fn ask_subject(&mut self, actions: &[Action], answers: &mut Vec<Answered>) -> Result<(), Stop> {
        let types = actions
            .iter()
            .any(|action| matches!(action, Action::SerialInput { .. }));
        if !types {
            return self.subject.perform(actions, answers);
        }
        for row in actions.chunks(1) {
            self.subject.perform(row, answers)?;
            let late = self.subject.line_events()?;
            if let Some(last) = answers.last_mut() {
                last.events.extend(late);
            }
        }
        Ok(())
    }

    /// What the serial ports sent.
    fn compare_output(&mut self, judged: &mut Judged) -> Result<(), Stop> {
        let can = |machine: &dyn Machine| machine.caps().missing(Caps::SERIAL_OUTPUT).is_empty();
        if can(self.subject.as_ref()) && can(self.reference.as_ref()) {
            let bytes = |bytes: Vec<u8>| Hex(&bytes).to_string();
            judged.rows.push(Row {
                operation: SENT.to_owned(),
                subject: bytes(self.subject.serial_output()?),
                reference: bytes(self.reference.serial_output()?),
                counts: true,
                peculiar: Vec::new(),
            });
        }
        Ok(())
    }
}

/// Puts what the area begins with before the first action and behind each reset, and tells which answers count.
fn begun(bench: &Bench<'_>, program: &[Action]) -> (Vec<Action>, Vec<bool>) {
    let begins = actions(bench.area.begins);
    let (mut all, mut counts) = (begins.clone(), vec![false; begins.len()]);
    for action in program {
        all.push(action.clone());
        counts.push(true);
        if *action == Action::Reset {
            all.extend_from_slice(&begins);
            counts.resize(all.len(), false);
        }
    }
    (all, counts)
}

fn judge(bench: &Bench<'_>, judged: &mut Judged) {
    let mut before: Vec<Peculiarity> = Vec::new();
    for (index, row) in judged.rows.iter().enumerate() {
        judged.compared = index + 1;
        if row.operation == RESET {
            before.retain(|peculiar| peculiar.lasts());
        }
        before.extend(&row.peculiar);
        if row.subject == row.reference || !row.counts {
            continue;
        }
        let difference = Difference {
            index,
            operation: row.operation.clone(),
            subject: row.subject.clone(),
            reference: row.reference.clone(),
        };
        match bench.settled.find(bench.area.name(), &difference, &before) {
            Some(place) => {
                let then = bench.settled.decisions[place.0].then;
                judged.settled.push(place);
                judged.then = judged.then.max(then);
                if then != Then::GoOn {
                    break;
                }
            }
            None => {
                judged.finding = Some(difference);
                judged.then = Then::Restart;
                break;
            }
        }
    }
    if judged
        .rows
        .iter()
        .flat_map(|row| &row.peculiar)
        .any(|peculiar| peculiar.lasts())
    {
        judged.then = Then::Restart;
    }
}

impl Difference {
    /// Whether both answers are numbers that differ in these bits alone.
    pub fn is_within(&self, mask: u64) -> bool {
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        match (number(&self.subject), number(&self.reference)) {
            (Some(theirs), Some(ours)) => (theirs ^ ours) & !mask == 0,
            _ => false,
        }
    }

    /// What findings of one cause mostly share: the verb and the address.
    pub fn signature(&self) -> String {
        let words: Vec<&str> = self.operation.split(' ').take(2).collect();
        words.join(" ")
    }
}

/// Rows as text that is a program again: the reference's answers, and the subject's behind `#`. What the area begins
/// with is left out, as it is put in again.
pub fn text(rows: &[Row], subject: &str) -> String {
    let mut text = String::new();
    for row in rows {
        if !row.counts || row.operation == SENT && row.subject == row.reference {
            continue;
        }
        let mut line = row.operation.clone();
        if row.operation == SENT {
            line = format!("# {line}");
        }
        if !row.reference.is_empty() || !row.subject.is_empty() {
            line.push_str(&format!(" -> {}", row.reference));
        }
        if row.subject != row.reference {
            line.push_str(&format!("  # {subject}: {}", row.subject));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The line of [`Action::Reset`].
const RESET: &str = "system_reset";

/// The row that compares what the serial ports sent.
const SENT: &str = "serial sent";
