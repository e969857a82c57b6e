//! Programs to compare: random inputs in the codec of the campaigns, and seeds that are cut, joined and disturbed.

use conformance::program::Action;
use vmm::virtio::rng::{Entropy, Xorshift};

use super::area::Area;
use super::peculiar::Watcher;
use crate::codec;
use crate::program::Program;

/// Makes programs of one area.
pub struct Generator<'a> {
    area: &'a Area,
    seeds: &'a [Program],
    random: Xorshift,
}

impl<'a> Generator<'a> {
    /// The same area, seeds and number give the same programs.
    pub fn new(area: &'a Area, seeds: &'a [Program], seed: u64) -> Generator<'a> {
        let mut random = Xorshift::new(seed.wrapping_mul(SPREAD) ^ SPREAD);
        random.fill(&mut [0; 64]);
        Generator { area, seeds, random }
    }

    /// The next program, with nothing in it that the area does not keep.
    pub fn program(&mut self) -> Program {
        loop {
            let mut program = match self.below(4) {
                0 | 1 => self.noise(),
                2 => self.disturbed(),
                _ => self.joined(),
            };
            program.actions.retain(|action| self.area.keeps(action));
            if self.below(WILD_EVERY) != 0 {
                tame(&mut program);
            }
            program.actions.truncate(ACTIONS_MAX);
            if !program.actions.is_empty() && self.area.machine(program.setup).is_some() {
                return program;
            }
        }
    }

    fn noise(&mut self) -> Program {
        let mut bytes = vec![0; 16 + self.below(INPUT_BYTES_MAX)];
        self.random.fill(&mut bytes);
        codec::decode(self.area.target, &bytes)
    }

    fn seed(&mut self) -> Program {
        match self.seeds.len() {
            0 => self.noise(),
            count => self.seeds[self.below(count)].clone(),
        }
    }

    /// A seed with actions left out, doubled, changed and put in.
    fn disturbed(&mut self) -> Program {
        let mut program = self.seed();
        let noise = self.noise();
        for _ in 0..=self.below(8) {
            let length = program.actions.len();
            if length == 0 {
                break;
            }
            let at = self.below(length);
            match self.below(5) {
                0 => drop(program.actions.remove(at)),
                1 => program.actions.insert(at, program.actions[at].clone()),
                2 => self.change(&mut program.actions[at]),
                3 => program.actions.swap(at, length - 1 - at),
                _ => {
                    if let Some(action) = noise.actions.get(self.below(noise.actions.len().max(1))) {
                        program.actions.insert(at, action.clone());
                    }
                }
            }
        }
        program
    }

    /// The beginning of one seed, noise, and the end of another.
    fn joined(&mut self) -> Program {
        let mut program = self.seed();
        let other = self.seed();
        let length = program.actions.len();
        program.actions.truncate(self.below(length + 1));
        if self.below(2) == 0 {
            let noise = self.noise();
            program.actions.extend(noise.actions.into_iter().take(16));
        }
        if other.setup == program.setup {
            let from = self.below(other.actions.len() + 1);
            program.actions.extend_from_slice(&other.actions[from..]);
        }
        program
    }

    /// Another value in a write.
    fn change(&mut self, action: &mut Action) {
        let bit = 1 << self.below(32);
        match action {
            Action::PortWrite { width, value, .. } => *value = (*value ^ bit) & width.mask() as u32,
            Action::Store { width, value, .. } => *value = (*value ^ u64::from(bit)) & width.mask(),
            Action::WriteMemory { bytes, .. } => {
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << (bit % 8);
            }
            _ => {}
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        ((u64::from_le_bytes(bytes) >> 16) % limit.max(1) as u64) as usize
    }
}

/// Leaves out what is peculiar.
fn tame(program: &mut Program) {
    let mut watcher = Watcher::new();
    program.actions.retain(|action| {
        let mut then = watcher.clone();
        let plain = then.see(action).is_empty();
        if plain {
            watcher = then;
        }
        plain
    });
}

/// One program in so many keeps what is peculiar.
const WILD_EVERY: usize = 16;

/// Random input: some hundred actions at most.
const INPUT_BYTES_MAX: usize = 512;

/// Most actions of a program: what comes after a state that differs for a settled reason is lost.
const ACTIONS_MAX: usize = 200;

/// Makes of small seeds numbers that look like nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
