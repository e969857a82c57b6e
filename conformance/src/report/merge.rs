//! Merging: the reports of partitions, and of many machines, become one.

use std::collections::HashMap;

use super::{Entry, Host, LaneFacts, Part, Report};
use crate::catalog;
use crate::machine::Depth;

/// Merges reports, each with its place for messages. Lanes of one title and one host become one lane; the same title on
/// other hosts stays apart, and says which.
///
/// # Errors
/// One line when the reports are not of one suite, when one lane is of two versions of its subject, and when a case has
/// two results in one lane that differ.
pub fn merge(reports: &[(String, Report)], command: Vec<String>) -> Result<Report, String> {
    let Some(((first_place, first), _)) = reports.split_first() else {
        return Err("there is nothing to merge; give two reports or more".to_owned());
    };
    let mut merged = Report {
        command,
        seed: first.seed,
        duration_ms: 0,
        subjects: Vec::new(),
        lanes: Vec::new(),
        results: Vec::new(),
        problems: Vec::new(),
        recordings: Vec::new(),
        boot: reports.iter().find_map(|(_, report)| report.boot.clone()),
        merged: Vec::new(),
        ..first.clone()
    };
    let mut join = Join::default();
    for (place, report) in reports {
        if report.suite != first.suite {
            let [own, other] = [report, first].map(|report| {
                let suite = &report.suite;
                format!("{} {} with {} cases", suite.name, suite.version, suite.cases)
            });
            return Err(format!(
                "{place}: is of {own}, {first_place} of {other}; merge reports of one suite"
            ));
        }
        merged.seed = merged.seed.filter(|seed| report.seed == Some(*seed));
        merged.started = merged.started.min(report.started.clone());
        merged.duration_ms += report.duration_ms;
        merged.merged.extend(parts(report));
        for problem in &report.problems {
            if !merged.problems.contains(problem) {
                merged.problems.push(problem.clone());
            }
        }
        for recording in &report.recordings {
            if !merged.recordings.contains(recording) {
                merged.recordings.push(recording.clone());
            }
        }
        for subject in &report.subjects {
            let is_known = |own: &super::SubjectFacts| own.name == subject.name && own.version == subject.version;
            if !merged.subjects.iter().any(is_known) {
                merged.subjects.push(subject.clone());
            }
        }
        join.take(place, report)?;
    }
    join.end(&mut merged);
    Ok(merged)
}

/// Lanes and results as they come together.
#[derive(Default)]
struct Join<'a> {
    lanes: Vec<Joined<'a>>,
    results: Vec<(&'a str, Entry)>,
    index: HashMap<(usize, &'a str), usize>,
}

struct Joined<'a> {
    facts: LaneFacts,
    host: &'a Host,
    version: Option<&'a str>,
    place: &'a str,
    /// A run that left no case out is among the parts.
    is_complete: bool,
}

impl<'a> Join<'a> {
    fn take(&mut self, place: &'a str, report: &'a Report) -> Result<(), String> {
        let mut numbers = Vec::new();
        for lane in &report.lanes {
            numbers.push(self.lane(place, report, lane)?);
        }
        for entry in &report.results {
            let lane = numbers[entry.lane];
            let key = (lane, entry.case.as_str());
            let Some(&known) = self.index.get(&key) else {
                self.index.insert(key, self.results.len());
                self.results.push((place, Entry { lane, ..entry.clone() }));
                continue;
            };
            let (other_place, other) = &self.results[known];
            if !is_same(other, entry) {
                return Err(format!(
                    "{place}: {} on {} is {}, in {other_place} it is {} or differs in its details; merge only one of \
                     the two",
                    entry.case, self.lanes[lane].facts.title, entry.verdict, other.verdict
                ));
            }
            let planned = &mut self.lanes[lane].facts.planned;
            *planned = planned.saturating_sub(1);
        }
        Ok(())
    }

    /// The number of a report's lane among the joined ones.
    fn lane(&mut self, place: &'a str, report: &'a Report, lane: &'a LaneFacts) -> Result<usize, String> {
        let host = lane.host.as_ref().unwrap_or(&report.host);
        let title = plain_title(lane);
        let subject = report.subjects.iter().find(|subject| subject.name == lane.subject);
        let version = subject.and_then(|subject| subject.version.as_deref());
        let same = |own: &Joined<'_>| own.facts.title == title && own.host == host;
        let Some(number) = self.lanes.iter().position(same) else {
            self.lanes.push(Joined {
                facts: LaneFacts {
                    title: title.to_owned(),
                    host: None,
                    ..lane.clone()
                },
                host,
                version,
                place,
                is_complete: report.complete,
            });
            return Ok(self.lanes.len() - 1);
        };
        let own = &mut self.lanes[number];
        if own.version != version {
            let [this, other] = [version, own.version].map(|version| version.unwrap_or("unknown"));
            return Err(format!(
                "{place}: {title} is of version '{this}', in {} of '{other}'; merge runs of one version",
                own.place
            ));
        }
        own.facts.planned += lane.planned;
        own.is_complete |= report.complete;
        if lane.unavailable.is_none() {
            own.facts.unavailable = None;
        }
        Ok(number)
    }

    fn end(self, merged: &mut Report) {
        let count = |lane: usize| self.results.iter().filter(|(_, entry)| entry.lane == lane).count();
        let is_own_suite =
            merged.suite.version == env!("CARGO_PKG_VERSION") && merged.suite.cases == catalog::all().count();
        let wanted: Vec<Option<usize>> = (self.lanes.iter())
            .map(|lane| is_own_suite.then(|| cases_of(&lane.facts)))
            .collect();
        let is_whole = |(number, lane): (usize, &Joined<'_>)| {
            lane.is_complete || wanted[number].is_some_and(|wanted| wanted == count(number))
        };
        merged.complete = self.lanes.iter().enumerate().all(is_whole);
        let mut hosts: Vec<&Host> = Vec::new();
        for lane in &self.lanes {
            if !hosts.contains(&lane.host) {
                hosts.push(lane.host);
            }
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            let mut facts = lane.facts.clone();
            if merged.complete
                && let Some(wanted) = wanted[number]
            {
                facts.planned = wanted;
            }
            let same_title = |other: &&Joined<'_>| other.facts.title == lane.facts.title;
            if self.lanes.iter().filter(same_title).count() != 1 {
                let host = hosts.iter().position(|host| *host == lane.host).unwrap_or_default();
                facts.title = format!("{}{HOST_MARK}{})", facts.title, host + 1);
            }
            facts.host = (*lane.host != merged.host).then(|| lane.host.clone());
            merged.lanes.push(facts);
        }
        let order: HashMap<&str, usize> = catalog::all().map(|case| case.id).zip(0..).collect();
        let place = |entry: &Entry| order.get(entry.case.as_str()).copied().unwrap_or(usize::MAX);
        merged.results = self.results.into_iter().map(|(_, entry)| entry).collect();
        merged.results.sort_by_key(|entry| (entry.lane, place(entry)));
    }
}

/// The runs behind a report: itself, or what it was merged from.
fn parts(report: &Report) -> Vec<Part> {
    if !report.merged.is_empty() {
        return report.merged.clone();
    }
    vec![Part {
        command: report.command.clone(),
        seed: report.seed,
        started: report.started.clone(),
        duration_ms: report.duration_ms,
        host: report.host.clone(),
    }]
}

/// A lane's title without the number of a host that an earlier merge gave it.
fn plain_title(lane: &LaneFacts) -> &str {
    let marked = lane
        .title
        .strip_suffix(')')
        .and_then(|title| title.rsplit_once(HOST_MARK));
    match marked {
        Some((title, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => title,
        _ => &lane.title,
    }
}

/// Two results are one when they say the same; how long they took and what was written down on the way may differ.
fn is_same(a: &Entry, b: &Entry) -> bool {
    (&a.verdict, &a.standing, &a.mismatches, &a.reason) == (&b.verdict, &b.standing, &b.mismatches, &b.reason)
}

/// How many cases of this suite a lane takes.
fn cases_of(lane: &LaneFacts) -> usize {
    let depth = Depth::ALL.into_iter().find(|depth| depth.word() == lane.depth);
    let takes = |case: &&crate::case::Case| {
        depth.is_some_and(|depth| catalog::depths(case).contains(&depth))
            && (lane.areas.is_empty() || lane.areas.iter().any(|area| area == catalog::area(case)))
    };
    catalog::all().filter(takes).count()
}

/// What stands between a title and the number of its host.
const HOST_MARK: &str = " (host ";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, SystemTime};

    use super::super::tests::sample;
    use super::super::{Circumstances, SubjectFacts};
    use super::*;
    use crate::layout::MICROVM_2019;
    use crate::runner::{self, CaseResult, Options, Plan, Progress, Selection};
    use crate::subject::{Subject, Wanted};

    struct Quiet;

    impl Progress for Quiet {
        fn done(&mut self, _result: &CaseResult) {}
    }

    fn part_of_null(partition: Option<(usize, usize)>) -> Report {
        let wanted = Wanted {
            depths: vec![Depth::Bus],
            profiles: vec![&MICROVM_2019],
            ..Wanted::default()
        };
        let subject = Subject::find("null").expect("a built-in subject");
        let lanes = subject.lanes(&wanted).expect("it has depth bus");
        let selection = Selection {
            partition,
            ..Selection::default()
        };
        let plan = Arc::new(Plan::new(lanes, &selection));
        let stop = Arc::new(AtomicBool::new(false));
        let results = runner::run(&plan, &Options::default(), &stop, &mut Quiet);
        let subjects = [(subject, crate::expectation::Expectations::default())];
        let circumstances = Circumstances {
            command: vec!["touchstone".to_owned()],
            seed: None,
            started: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            subjects: &subjects,
            transcripts: false,
            complete: partition.is_none(),
            host: None,
            replay_by: "cargo xtask conformance",
        };
        Report::new(&plan, &results, &circumstances)
    }

    fn merged(reports: &[Report]) -> Result<Report, String> {
        let named = reports.iter().enumerate();
        let named: Vec<_> = named.map(|(n, report)| (format!("{n}.json"), report.clone())).collect();
        merge(&named, vec!["merge".to_owned()])
    }

    #[test]
    fn partitions_merge_into_the_whole_run() {
        let whole = part_of_null(None);
        let parts = [1, 2, 3].map(|k| part_of_null(Some((k, 3))));
        let all = merged(&parts).expect("merges");
        assert!(all.complete);
        assert_eq!(all.lanes[0].planned, whole.lanes[0].planned);
        let verdicts = |report: &Report| -> Vec<_> {
            let results = report.results.iter();
            results
                .map(|entry| (entry.case.clone(), entry.verdict.clone()))
                .collect()
        };
        assert_eq!(verdicts(&all), verdicts(&whole));
        assert_eq!(all.claim(0), whole.claim(0));
        assert_eq!(all.merged.len(), 3);
        let two = merged(&parts[..2]).expect("merges");
        assert!(!two.complete);
        assert_eq!(Report::parse(&all.to_json()).expect("a report"), all);
    }

    #[test]
    fn equal_results_count_once_and_others_are_refused() {
        let mut report = sample();
        report.lanes[0].planned = report.results.len();
        let twice = merged(&[report.clone(), report.clone()]).expect("merges");
        assert_eq!(twice.results, report.results);
        assert_eq!(twice.lanes[0].planned, report.lanes[0].planned);
        let mut other = report.clone();
        other.results[0].verdict = "crash".to_owned();
        let problem = merged(&[report, other]).expect_err("two verdicts");
        assert_eq!(
            problem,
            "1.json: a/passes/so on qemu/wire.paused/qemu-7.2 is crash, in 0.json it is pass or differs in its \
             details; merge only one of the two"
        );
    }

    #[test]
    fn other_hosts_are_kept_apart_also_when_merged_again() {
        let report = sample();
        let mut other = report.clone();
        other.host.cpu = "another".to_owned();
        other.results[0].verdict = "crash".to_owned();
        let both = merged(&[report.clone(), other.clone()]).expect("merges");
        let titles = |report: &Report| report.lanes.iter().map(|lane| lane.title.clone()).collect::<Vec<_>>();
        let expected = [
            "qemu/wire.paused/qemu-7.2 (host 1)",
            "qemu/wire.paused/qemu-7.2 (host 2)",
        ];
        assert_eq!(titles(&both), expected);
        assert_eq!(both.lanes[1].host.as_ref(), Some(&other.host));
        let again = merged(&[both, other]).expect("merges");
        assert_eq!(titles(&again), expected);
        let text = super::super::terminal::summary(&again);
        assert!(text.contains("host 2: linux, another, 2 CPUs, KVM absent"), "{text}");
    }

    #[test]
    fn other_suite_and_other_version_are_refused() {
        let mut report = sample();
        report.subjects = vec![SubjectFacts {
            name: "qemu".to_owned(),
            title: "QEMU".to_owned(),
            version: Some("7.2".to_owned()),
            commands: std::collections::BTreeMap::new(),
            expectations: None,
        }];
        let mut suite = report.clone();
        suite.suite.cases = 5;
        let problem = merged(&[report.clone(), suite]).expect_err("another suite");
        assert_eq!(
            problem,
            "1.json: is of touchstone 0.0.0 with 5 cases, 0.json of touchstone 0.0.0 with 4 cases; merge reports \
             of one suite"
        );
        let mut version = report.clone();
        version.subjects[0].version = Some("8.0".to_owned());
        let problem = merged(&[report, version]).expect_err("another version");
        assert_eq!(
            problem,
            "1.json: qemu/wire.paused/qemu-7.2 is of version '8.0', in 0.json of '7.2'; merge runs of one version"
        );
    }
}
