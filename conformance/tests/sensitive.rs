//! Every case can fail: each one that passes on the reference fails when a single answer is falsified.
//!
//! Method: run the body once to count its answers, then again for a sample of them with that one answer inverted, in
//! three ways. At least one must be noticed. How many are is printed as the suite's sensitivity.

use conformance::case::{Body, Case, Level};
use conformance::cases;
use conformance::layout::Layout;
use conformance::machine::{Adapter, Stop};
use conformance::probe::{Probe, Record};
use conformance::subject::disturbed::Disturbed;
use conformance::subject::in_process::InProcessAdapter;

/// Answers falsified in turn for each case, spread over all it gets.
const SAMPLE: u64 = 8;

/// One bit, another bit, all bits.
const MASKS: [u64; 3] = [0x01, 0x80, u64::MAX];

#[test]
fn every_case_notices_a_falsified_answer() {
    let (mut tried, mut noticed) = (0u64, 0u64);
    let mut blind = Vec::new();
    for layout in Layout::ALL {
        for case in cases::all().filter(|case| case.level != Level::May) {
            let Some(answers) = answers_when_passing(case, layout) else {
                continue;
            };
            let step = answers.div_ceil(SAMPLE).max(1);
            let points = (0..answers)
                .step_by(step as usize)
                .flat_map(|at| MASKS.map(|mask| (at, mask)));
            let caught = points
                .clone()
                .filter(|(at, mask)| !passes(case, layout, *at, *mask))
                .count() as u64;
            tried += points.count() as u64;
            noticed += caught;
            if caught == 0 {
                blind.push(format!("{} ({answers} answers)", case.id));
            }
        }
    }
    println!("{noticed} of {tried} falsified answers are noticed");
    assert!(
        blind.is_empty(),
        "cases that no falsified answer turns red: {}",
        blind.join(", ")
    );
    assert!(
        tried / 2 < noticed,
        "only {noticed} of {tried} falsified answers are noticed"
    );
}

/// How many answers a case gets when it passes; `None` where it does not apply or is not asked at this depth.
fn answers_when_passing(case: &Case, layout: &Layout) -> Option<u64> {
    if !case.features.iter().all(|feature| layout.has(*feature)) {
        return None;
    }
    let (machine, outcome) = run(case, layout, u64::MAX, 0)?;
    outcome
        .ok()
        .filter(|record| record.mismatches.is_empty())
        .map(|_| machine.answers())
}

fn passes(case: &Case, layout: &Layout, at: u64, mask: u64) -> bool {
    matches!(run(case, layout, at, mask), Some((_, Ok(record))) if record.mismatches.is_empty())
}

fn run(case: &Case, layout: &Layout, at: u64, mask: u64) -> Option<(Disturbed, Result<Record, Stop>)> {
    if matches!(case.body, Body::Guest { .. }) {
        return None;
    }
    let machine = InProcessAdapter.boot(&case.setup, layout).ok()?;
    if !machine.caps().missing(case.needs).is_empty() {
        return None;
    }
    let mut machine = Disturbed::new(machine, at, mask);
    let mut probe = Probe::new(&mut machine, layout, &case.setup);
    let outcome = case.body.run(&mut probe);
    let record = probe.into_record();
    Some((machine, outcome.map(|()| record)))
}
