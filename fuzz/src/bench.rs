//! How fast a target is without an engine: random inputs of a fixed number of actions, run over and over.

use std::time::{Duration, Instant};

use conformance::program::Action;

use crate::codec;
use crate::execution;
use crate::program::Program;
use crate::target::Target;

/// Runs random programs of `accesses` single accesses and steps of time for about `budget`, and returns executions a
/// second of processor time, or of wall-clock time where the host does not tell. Everything that a campaign does for an
/// input is done: decoding it, the checks, for some the costly ones.
///
/// # Errors
/// The finding, as text with its program.
pub fn executions_per_second(target: &Target, accesses: usize, budget: Duration) -> Result<f64, String> {
    let inputs: Vec<Vec<u8>> = (1..=INPUTS).map(|seed| input(target, accesses, seed)).collect();
    let (begin, begin_used) = (Instant::now(), processor_time());
    let mut executions = 0_u64;
    loop {
        for input in &inputs {
            execution::check(target, input)
                .map_err(|finding| format!("{finding}\n{}", codec::decode(target, input).text(target)))?;
        }
        executions += inputs.len() as u64;
        let elapsed = begin.elapsed();
        if budget <= elapsed {
            let used = begin_used
                .zip(processor_time())
                .map(|(begin, end)| end.saturating_sub(begin));
            return Ok(executions as f64 / used.unwrap_or(elapsed).as_secs_f64());
        }
    }
}

/// A random program of so many accesses, encoded. Bulk accesses to memory and typed bytes are left out.
fn input(target: &Target, accesses: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut program = Program {
        setup: target.setup_of_byte(random.byte()),
        actions: Vec::new(),
    };
    while program.actions.len() < accesses {
        let bytes: Vec<u8> = (0..ACTION_BYTES).map(|_| random.byte()).collect();
        let Some(action) = codec::decode(target, &bytes).actions.into_iter().next() else {
            continue;
        };
        if is_access(&action) {
            program.actions.push(action);
            if codec::encode(target, &program).is_err() {
                program.actions.pop();
            }
        }
    }
    codec::encode(target, &program).unwrap_or_default()
}

fn is_access(action: &Action) -> bool {
    use Action::{Advance, Load, PortRead, PortWrite, Store};
    matches!(
        action,
        PortRead { .. } | PortWrite { .. } | Load { .. } | Store { .. } | Advance { .. }
    )
}

/// What this process has used of a processor, in user mode and in the kernel: proc(5), `/proc/self/stat`, fields 14 and
/// 15, in ticks of 10 ms.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = ticks(11)? + ticks(12)?;
    (ticks != 0).then(|| Duration::from_millis(10 * ticks))
}

/// Xorshift: the same bytes for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(SPREAD) | 1)
    }

    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}

/// Inputs that are run in turn.
const INPUTS: u64 = 1000;

/// More bytes than any access takes.
const ACTION_BYTES: usize = 24;

/// Makes of small seeds numbers that look like nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
