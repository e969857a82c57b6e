//! The suite at depth bus against the linked reference, as one test that ends at the first unexpected result: the test
//! of `cargo mutants`, where what counts is how soon a change is noticed.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conformance::expectation::{Expectations, Standing};
use conformance::machine::Depth;
use conformance::runner::{self, CaseResult, Options, Plan, Progress, Selection};
use conformance::subject::{Lane, Subject, Wanted};
use conformance::verdict::Verdict;

fn main() -> ExitCode {
    // Runners that look for tests find this one.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("bus: test");
        }
        return ExitCode::SUCCESS;
    }
    let wanted = Wanted {
        depths: vec![Depth::Bus],
        ..Wanted::default()
    };
    let subject = Subject::find("reference").expect("its own subject parses");
    let lanes = subject.lanes(&wanted).expect("its own subject has lanes");
    let plan = Arc::new(Plan::new(lanes, &Selection::default()));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/expectations/reference.toml");
    let expectations = if file.is_file() {
        Expectations::read(&file).expect("the reference's expectations can be read")
    } else {
        Expectations::default()
    };
    let options = Options {
        case_limit: CASE_LIMIT,
        grace: Duration::ZERO,
        ..Options::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut watch = Watch {
        plan: &plan,
        expectations: &expectations,
        stop: &stop,
        unexpected: Vec::new(),
    };
    let results = runner::run(&plan, &options, &stop, &mut watch);
    for line in &watch.unexpected {
        println!("{line}");
    }
    println!(
        "{} of {} results, {} unexpected",
        results.len(),
        plan.units.len(),
        watch.unexpected.len()
    );
    if watch.unexpected.is_empty() && results.len() == plan.units.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Ends the run at the first unexpected result.
struct Watch<'a> {
    plan: &'a Plan,
    expectations: &'a Expectations,
    stop: &'a AtomicBool,
    unexpected: Vec<String>,
}

impl Progress for Watch<'_> {
    fn done(&mut self, result: &CaseResult) {
        let lane = &self.plan.lanes[result.lane];
        let why = match self.expectations.standing(result, lane) {
            Standing::Unexpected(why) => why,
            Standing::Expected if is_evaded(result, lane) => "the machine has what the case needs".to_owned(),
            Standing::Expected | Standing::Known(_) => return,
        };
        let (id, profile, verdict) = (result.case.id, lane.layout.profile, result.verdict);
        self.unexpected.push(format!("{id}@{profile}: {verdict}: {why}"));
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Whether a case said nothing though the profile has its parts and the machine can be asked: the reference does not
/// withdraw a feature or fail to start and stay as good as it was.
fn is_evaded(result: &CaseResult, lane: &Lane) -> bool {
    let silent = matches!(result.verdict, Verdict::NotApplicable | Verdict::Unsupported);
    let has_parts = result.case.features.iter().all(|feature| lane.layout.has(*feature));
    let adapters = lane.ways.iter().filter_map(|way| way.adapter.as_ref().ok());
    let mut caps = adapters.map(|adapter| adapter.caps());
    silent && has_parts && caps.any(|caps| caps.missing(result.case.needs).is_empty())
}

/// Longest run of one case. On an idle machine none takes a second; a change that makes one hang is noticed by it.
const CASE_LIMIT: Duration = Duration::from_secs(10);
