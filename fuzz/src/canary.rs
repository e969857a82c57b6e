//! Canaries: states that a target must reach. A campaign whose corpus does not reach them tests less than it says.

use std::collections::BTreeMap;

use conformance::program::Action;
use vmm::machine::Machine;

use crate::execution::{self, Answer, Finding, Observer};
use crate::program::Program;
use crate::target::Target;

/// A state that a target must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Lower-case words.
    pub name: &'static str,
    /// One sentence that says what was reached.
    pub meaning: &'static str,
}

/// Tells which canaries an action reached.
pub trait Watch {
    /// Before each action.
    fn before(&mut self, machine: &Machine, action: &Action);

    /// After each action: names each canary of the target that holds now.
    fn after(&mut self, machine: &Machine, action: &Action, answer: &Answer, reached: &mut dyn FnMut(&'static str));
}

/// How many programs of a corpus reach each canary of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of programs.
    pub programs: u64,
    /// By name, every canary of the target.
    pub reached: BTreeMap<&'static str, u64>,
}

/// A [`Watch`] that needs to see nothing before an action.
pub struct Look(pub fn(&Machine, &Action, &Answer, &mut dyn FnMut(&'static str)));

impl Canary {
    /// A state and the sentence about it.
    pub const fn new(name: &'static str, meaning: &'static str) -> Canary {
        Canary { name, meaning }
    }
}

impl Tally {
    /// Nothing run, nothing reached.
    pub fn new(target: &Target) -> Tally {
        Tally {
            programs: 0,
            reached: target.canaries.iter().map(|canary| (canary.name, 0)).collect(),
        }
    }

    /// Runs one program and counts what it reaches, up to a finding.
    ///
    /// # Errors
    /// The [`Finding`].
    pub fn add(&mut self, target: &Target, program: &Program) -> Result<(), Finding> {
        let mut watched = Watched {
            watch: (target.watch)(),
            reached: BTreeMap::new(),
        };
        let ended = execution::run(target, program, &mut watched);
        self.programs += 1;
        for name in watched.reached.into_keys() {
            *self.reached.entry(name).or_default() += 1;
        }
        ended.map(|_| ())
    }

    /// The canaries that no program reached.
    pub fn missed(&self) -> Vec<&'static str> {
        let missed = self.reached.iter().filter(|(_, count)| **count == 0);
        missed.map(|(name, _)| *name).collect()
    }
}

/// The canaries that one program reaches, each with the number of the action (from 1) that first does.
pub fn reached(target: &Target, program: &Program) -> BTreeMap<&'static str, usize> {
    let mut watched = Watched {
        watch: (target.watch)(),
        reached: BTreeMap::new(),
    };
    // A finding ends the program; what it reached before counts.
    let _ended = execution::run(target, program, &mut watched);
    watched.reached
}

impl Watch for Look {
    fn before(&mut self, _machine: &Machine, _action: &Action) {}

    fn after(&mut self, machine: &Machine, action: &Action, answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
        (self.0)(machine, action, answer, reached);
    }
}

struct Watched {
    watch: Box<dyn Watch>,
    reached: BTreeMap<&'static str, usize>,
}

impl Observer for Watched {
    fn before(&mut self, machine: &Machine, action: &Action) {
        self.watch.before(machine, action);
    }

    fn after(&mut self, machine: &Machine, number: usize, action: &Action, answer: &Answer) -> Result<(), Finding> {
        let reached = &mut self.reached;
        let mut note = |name| {
            reached.entry(name).or_insert(number);
        };
        self.watch.after(machine, action, answer, &mut note);
        Ok(())
    }
}
