use conformance::subject::mutant::{Mutant, MutantAdapter};

use super::peculiar::Peculiarity;
use super::*;

fn bench_of_mutant<'a>(area: &str, adapter: &'a MutantAdapter, settled: &'a Settled) -> Bench<'a> {
    Bench {
        area: Area::by_name(area).expect("an area"),
        subject: adapter,
        layout: &QEMU_7_2,
        settled,
    }
}

fn campaign<'a>(bench: Bench<'a>, runs: u64, into: &'a Path) -> AreaResult {
    let campaign = Campaign {
        bench,
        subject: "mutant",
        seed: 1,
        budget: Budget::new(600, Some(runs)),
        corpus: None,
        into,
    };
    campaign.run().expect("both machines start")
}

fn adapter(name: &str) -> MutantAdapter {
    MutantAdapter::new(Mutant::by_name(name).expect("a mutant"))
}

#[test]
fn lines_of_areas_are_actions() {
    for area in area::ALL {
        for lines in [area.begins, area.looks] {
            assert_eq!(actions(lines).len(), lines.len(), "{}", area.name());
        }
        for (name, _) in area.machines {
            assert!(area.target.setup(name).is_some(), "{} {name}", area.name());
        }
    }
    assert!(area::ALL.is_sorted_by_key(|area| area.name()));
}

#[test]
fn decisions_in_the_tree_can_be_read_and_name_their_clause() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/differential/qemu.toml");
    let settled = Settled::read(&path).expect("well-formed");
    for decision in &settled.decisions {
        let known = conformance::catalog::all().any(|case| case.clause.id == decision.clause);
        assert!(known, "{}", decision.clause);
    }
}

/// The bug is in the machine that is compared with: its answers differ, and what is left of the program is short.
#[rstest::rstest]
#[case("rtc", "rtc-register-d-invalid")]
#[case("pic", "pic-edge-level-bits-free")]
fn planted_bug_is_found_and_its_program_is_short(#[case] area: &str, #[case] bug: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (adapter, settled) = (adapter(bug), Settled::default());
    let result = campaign(bench_of_mutant(area, &adapter, &settled), 400, folder.path());
    assert_ne!(result.findings, 0, "{result:?}");
    let file = fs::read_dir(folder.path()).expect("the folder").next();
    let path = file.expect("a finding").expect("the folder").path();
    let text = fs::read_to_string(&path).expect("the finding");
    let bench = bench_of_mutant(area, &adapter, &settled);
    let program = campaign::read(bench.area, &path).expect("a finding is a program");
    assert!(program.actions.len() <= 6, "{text}");
    let mut pair = Pair::start(&bench, program.setup).expect("both machines start");
    let judged = pair.run(&bench, &program.actions).expect("both machines answer");
    assert!(judged.finding.is_some(), "{text}");
}

/// A program that leaves the clock's divider standing makes a change of format in the next one peculiar.
#[test]
fn what_the_clock_keeps_over_a_reset_is_known_to_the_next_program() {
    let (adapter, settled) = (adapter("pit-bcd-ignored"), Settled::default());
    let bench = bench_of_mutant("rtc", &adapter, &settled);
    let mut pair = Pair::start(&bench, 0).expect("both machines start");
    let mut run = |lines: &[&str]| {
        let judged = pair.run(&bench, &actions(lines)).expect("both machines answer");
        judged.rows.into_iter().flat_map(|row| row.peculiar).collect::<Vec<_>>()
    };
    let format = ["system_reset", "outb 0x70 0xb", "outb 0x71 0x4"];
    assert_eq!(run(&format), []);
    assert_eq!(run(&["outb 0x70 0xa", "outb 0x71 0x66"]), []);
    let seen = run(&format);
    assert!(seen.contains(&Peculiarity::FormatInSet), "{seen:?}");
}
