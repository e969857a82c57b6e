//! Tries a subject out: does each way of starting it lead to a machine that answers?

use super::Lane;
use crate::case::Setup;
use crate::machine::{Depth, Machine, Stop, Width};

/// One way, tried.
pub struct Check {
    /// Depth, way and profile.
    pub title: String,
    /// What did not work; `None` when the subject started, spoke and answered.
    pub problem: Option<String>,
}

/// Tries every way of a lane with the default machine and one access.
pub fn lane(lane: &Lane) -> Vec<Check> {
    let ways = lane.ways.iter().map(|way| {
        let dot = if way.name.is_empty() { "" } else { "." };
        let problem = match &way.adapter {
            Err(reason) => Some(reason.clone()),
            Ok(adapter) if lane.depth == Depth::Guest => {
                let resident = adapter.resident("probe", &Setup::DEFAULT, lane.layout);
                resident.err().map(|failure| text(&failure.stop))
            }
            Ok(adapter) => {
                let machine = adapter.boot(&Setup::DEFAULT, lane.layout);
                let answered = machine.map_err(Stop::from).and_then(answers);
                answered.err().map(|stop| text(&stop))
            }
        };
        Check {
            title: format!("{}{dot}{} as {}", lane.depth, way.name, lane.layout.profile),
            problem,
        }
    });
    ways.collect()
}

/// RAM keeps what is stored, whatever else the machine is.
fn answers(mut machine: Box<dyn Machine>) -> Result<(), Stop> {
    machine.store(PROBE_GPA, Width::Dword, PATTERN)?;
    let got = machine.load(PROBE_GPA, Width::Dword)?;
    if got == PATTERN {
        Ok(())
    } else {
        let text = format!("started and spoke, but RAM at {PROBE_GPA:#x} gave {got:#x} after {PATTERN:#x} was stored");
        Err(Stop::Unavailable(text))
    }
}

fn text(stop: &Stop) -> String {
    match stop {
        Stop::Unavailable(text) | Stop::NotApplicable(text) => text.clone(),
        Stop::Unsupported(caps) => format!("it lacks capability {caps}"),
        Stop::Broken(broken) => broken.to_string(),
        Stop::NotMet => "it does not answer as a machine".to_owned(),
    }
}

/// An address in low RAM that no image uses.
const PROBE_GPA: u64 = 0x7000;

const PATTERN: u64 = 0x5aa5_1234;
