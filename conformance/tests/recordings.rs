//! What real machines answered, held against the reference: every recording under `golden/recordings`.
//!
//! `touchstone replay golden/recordings/NAME` shows the same with each difference.

use std::path::{Path, PathBuf};

use conformance::layout::Layout;
use conformance::machine::{Adapter, Depth};
use conformance::recording::Recording;
use conformance::replay::{self, Summary};
use conformance::settled::Settled;
use conformance::subject::{Subject, Wanted};
use rstest::rstest;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../golden/recordings")
        .join(name)
}

/// Replays a recording on the first lane that a subject has at depth bus for the recording's profile.
fn replayed(name: &str, subject: &str, prefix: &str) -> Summary {
    let folder = folder(name);
    let recording = Recording::read(&folder).expect("the recording is in the tree");
    let decisions = Settled::beside(&folder).expect("its decisions are beside it");
    let settled = Settled::read(&decisions).expect("well-formed");
    let wanted = Wanted {
        depths: vec![Depth::Bus],
        profiles: vec![Layout::by_name(&recording.profile).expect("it says which profile it is")],
        ..Wanted::default()
    };
    let lanes = Subject::find(subject).expect(subject).lanes(&wanted).expect(subject);
    let lane = lanes.first().expect("it has depth bus");
    let adapters: Vec<&dyn Adapter> = lane.ways.iter().flat_map(|way| way.adapter.as_deref()).collect();
    let select = |record: &str| record.starts_with(prefix);
    replay::replay(&recording, &adapters, lane.layout, &settled, &select, &mut |_| {}).expect("it replays")
}

#[rstest]
#[case::first_release("qemu-4.2", 29_000)]
#[case::a_later_one("qemu-10.2", 29_000)]
fn reference_differs_from_a_recording_only_where_it_is_settled(#[case] name: &str, #[case] answers_min: u64) {
    let summary = replayed(name, "reference", "");
    let answers: u64 = summary.areas.iter().map(|area| area.answers).sum();
    assert_eq!(summary.findings, []);
    assert_eq!(summary.stale, Vec::<String>::new());
    assert_eq!(summary.skipped, []);
    assert!(answers_min <= answers, "{answers} answers");
}

/// The decisions are no wider than the differences that they are about: a bug in their midst still shows.
#[rstest]
#[case::modem_lines("serial-loopback-lines-dead", "random/serial/")]
#[case::read_data("virtio-blk-read-past-end-succeeds", "random/virtio_blk/")]
#[case::latched_count("pit-latch-ignored", "time/")]
fn bug_beside_a_settled_difference_is_found(#[case] mutant: &str, #[case] area: &str) {
    let summary = replayed("qemu-4.2", &format!("mutant:{mutant}"), area);
    assert!(!summary.findings.is_empty(), "{mutant} agrees with the recording");
}

/// The README's table of what was found in QEMU is true as long as QEMU's expectations say the same.
#[test]
fn readme_names_ten_deviations_that_qemu_is_known_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let expectations = std::fs::read_to_string(root.join("golden/expectations/qemu.toml")).expect("qemu.toml");
    let table = readme.lines().skip_while(|line| !line.contains("| QEMU 7.2 |"));
    let rows: Vec<&str> = table
        .skip(2)
        .take_while(|line| line.trim_start().starts_with('|'))
        .collect();
    assert_eq!(rows.len(), 10, "{rows:?}");
    for row in rows {
        let case = row.split('|').nth(3).unwrap_or_default().trim().trim_matches('`');
        assert!(
            expectations.contains(&format!("case = \"{case}\"\n")),
            "{case} is no known deviation: {row}"
        );
    }
}
