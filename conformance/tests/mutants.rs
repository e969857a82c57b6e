//! Each planted bug is caught by the case that claims it, and the machine without it passes that case.

use conformance::catalog;
use conformance::layout::Layout;
use conformance::machine::Depth;
use conformance::runner::{Options, Unit, run_unit};
use conformance::subject::mutant::MUTANTS;
use conformance::subject::{Lane, Subject, Wanted};
use conformance::verdict::Verdict;

fn bus_lane(subject: &str, profiles: &[&'static Layout]) -> Lane {
    let subject = Subject::find(subject).expect("the suite's own subject");
    let wanted = Wanted {
        depths: vec![Depth::Bus],
        profiles: profiles.to_vec(),
        ..Wanted::default()
    };
    let lanes = subject.lanes(&wanted).expect("it has lanes");
    lanes.into_iter().next().expect("it has depth bus")
}

#[test]
fn each_bug_is_caught_by_its_case() {
    let mut problems = Vec::new();
    for mutant in MUTANTS {
        let Some(case) = catalog::by_id(mutant.case) else {
            problems.push(format!("{}: there is no case {}", mutant.name, mutant.case));
            continue;
        };
        let unit = Unit { case, lane: 0 };
        let ill = bus_lane(&format!("mutant:{}", mutant.name), &[]);
        let healthy = bus_lane("reference", &[ill.layout]);
        let caught = run_unit(&unit, &ill, &Options::default()).verdict;
        let want = mutant.caught();
        if caught != want {
            problems.push(format!("{}: {} gave {caught}, not {want}", mutant.name, mutant.case));
        }
        let without = run_unit(&unit, &healthy, &Options::default()).verdict;
        if without != Verdict::Pass {
            problems.push(format!("{}: without it {} gave {without}", mutant.name, mutant.case));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn mutants_are_sorted_and_described() {
    for pair in MUTANTS.windows(2) {
        assert!(
            pair[0].name < pair[1].name,
            "{} stands before {}",
            pair[0].name,
            pair[1].name
        );
    }
    for mutant in MUTANTS {
        assert!(mutant.title.ends_with('.'), "{}", mutant.name);
    }
    let historic = MUTANTS.iter().filter(|mutant| mutant.origin().is_some()).count();
    assert_eq!(historic, 34, "each entry of the table of origins names a mutant");
}
