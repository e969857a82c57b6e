//! Every case as one trial against the reference machine, linked, as each profile: `cargo nextest run rtc/` just works.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use conformance::expectation::{Expectations, Standing};
use conformance::machine::Depth;
use conformance::runner::{Options, Plan, Selection, run_unit};
use conformance::subject::{Subject, Wanted};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let wanted = Wanted {
        depths: vec![Depth::Bus],
        ..Wanted::default()
    };
    let subject = Subject::find("reference").expect("its own subject parses");
    let lanes = subject.lanes(&wanted).expect("its own subject has lanes");
    let plan = Arc::new(Plan::new(lanes, &Selection::default()));
    let expectations = Arc::new(expectations());
    let trials = plan.units.iter().enumerate().map(|(index, unit)| {
        let lane = &plan.lanes[unit.lane];
        let name = format!("{}@{}", unit.case.id, lane.layout.profile);
        let absent = unit.case.features.iter().any(|feature| !lane.layout.has(*feature));
        let (plan, expectations) = (Arc::clone(&plan), Arc::clone(&expectations));
        // A part that the profile lacks is shown as ignored, not as passed.
        Trial::test(name, move || check(&plan, index, &expectations)).with_ignored_flag(absent)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn check(plan: &Plan, index: usize, expectations: &Expectations) -> Result<(), Failed> {
    let unit = &plan.units[index];
    let lane = &plan.lanes[unit.lane];
    let result = run_unit(unit, lane, &Options::default());
    let Standing::Unexpected(why) = expectations.standing(&result, lane) else {
        return Ok(());
    };
    let mut text = format!("{}: {why}\n", result.verdict);
    for mismatch in &result.record.mismatches {
        let point = mismatch.point.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "{point} {}: got {}, want {}\n",
            mismatch.what, mismatch.got, mismatch.want
        ));
    }
    text.push_str(result.reason.as_deref().unwrap_or_default());
    Err(text.into())
}

fn expectations() -> Expectations {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/expectations/reference.toml");
    if file.is_file() {
        Expectations::read(&file).expect("the reference's expectations can be read")
    } else {
        Expectations::default()
    }
}
