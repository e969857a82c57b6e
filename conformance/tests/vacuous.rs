//! A subject without a machine tests the suite: no case at level Must may pass on it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use conformance::case::Level;
use conformance::expectation::{Expectations, Standing};
use conformance::runner::{self, CaseResult, Options, Plan, Progress, Selection};
use conformance::subject::{Subject, Wanted};
use conformance::verdict::Verdict;

struct Quiet;

impl Progress for Quiet {
    fn done(&mut self, _result: &CaseResult) {}
}

#[test]
fn no_must_passes_without_a_machine() {
    let subject = Subject::find("null").expect("the suite's own subject");
    let lanes = subject.lanes(&Wanted::default()).expect("it has lanes");
    let plan = Arc::new(Plan::new(lanes, &Selection::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let results = runner::run(&plan, &Options::default(), &stop, &mut Quiet);
    assert_eq!(results.len(), plan.units.len(), "every unit has a result");
    let passed = results.iter().filter(|result| result.verdict == Verdict::Pass);
    let passed: Vec<_> = passed
        .filter(|result| result.case.level == Level::Must)
        .map(|result| format!("{} as {}", result.case.id, plan.lanes[result.lane].layout.profile))
        .collect();
    assert!(passed.is_empty(), "these prove nothing:\n{}", passed.join("\n"));
}

#[test]
fn its_expectations_hold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/expectations/null.toml");
    let expectations = Expectations::read(&file).expect("can be read");
    let subject = Subject::find("null").expect("the suite's own subject");
    let lanes = subject.lanes(&Wanted::default()).expect("it has lanes");
    let plan = Arc::new(Plan::new(lanes, &Selection::default()));
    let results = runner::run(&plan, &Options::default(), &Arc::default(), &mut Quiet);
    let unexpected =
        results
            .iter()
            .filter_map(|result| match expectations.standing(result, &plan.lanes[result.lane]) {
                Standing::Unexpected(why) => Some(format!("{}: {} {why}", result.case.id, result.verdict)),
                Standing::Expected | Standing::Known(_) => None,
            });
    let unexpected: Vec<_> = unexpected.collect();
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}
