//! A report as JUnit XML: one test suite for each lane.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::{Entry, Report, StandingFacts};

/// The XML text.
///
/// # Errors
/// When the XML cannot be written, as one line.
pub fn render(report: &Report) -> Result<String, String> {
    let mut out = quick_junit::Report::new("touchstone");
    out.set_time(Duration::from_millis(report.duration_ms));
    for (index, lane) in report.lanes.iter().enumerate() {
        let mut suite = TestSuite::new(lane.title.as_str());
        for entry in report.results.iter().filter(|entry| entry.lane == index) {
            suite.add_test_case(test_case(&lane.title, entry));
        }
        out.add_test_suite(suite);
    }
    if !report.problems.is_empty() {
        let mut suite = TestSuite::new("run");
        for problem in &report.problems {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(problem.as_str());
            suite.add_test_case(TestCase::new("problem", status));
        }
        out.add_test_suite(suite);
    }
    out.to_string().map_err(|error| format!("write JUnit XML: {error}"))
}

fn test_case(lane: &str, entry: &Entry) -> TestCase {
    let mut status = match &entry.standing {
        StandingFacts::Unexpected(why) => {
            let kind = if ["fail", "warn", "pass", "note"].contains(&entry.verdict.as_str()) {
                NonSuccessKind::Failure
            } else {
                NonSuccessKind::Error
            };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(format!("{}: {why}", entry.verdict));
            status.set_type(entry.verdict.as_str());
            status.set_description(description(entry));
            status
        }
        StandingFacts::Known(why) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("known {}: {why}", entry.verdict));
            status
        }
        StandingFacts::Expected if entry.is_skip() => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!(
                "{}: {}",
                entry.verdict,
                entry.reason.as_deref().unwrap_or_default()
            ));
            status
        }
        StandingFacts::Expected => TestCaseStatus::success(),
    };
    if let TestCaseStatus::Success { flaky_runs } = &mut status {
        flaky_runs.clear();
    }
    let mut case = TestCase::new(entry.case.as_str(), status);
    case.set_classname(lane.replace('/', "."));
    case.set_time(Duration::from_micros(entry.duration_us));
    if entry.is_unexpected() && !entry.transcript.is_empty() {
        case.set_system_out(XmlString::new(entry.transcript.join("\n")));
    }
    if !entry.post_mortem.is_empty() {
        case.set_system_err(XmlString::new(&entry.post_mortem));
    }
    case
}

fn description(entry: &Entry) -> String {
    let mut lines = vec![entry.title.clone()];
    for mismatch in &entry.mismatches {
        let point = mismatch
            .point
            .as_ref()
            .map_or(String::new(), |point| format!("{point}: "));
        lines.push(format!(
            "{point}{}: got {}, want {}",
            mismatch.what, mismatch.got, mismatch.want
        ));
    }
    lines.extend(entry.reason.clone());
    lines.push(format!(
        "required by {}, {}: {}",
        entry.clause.document, entry.clause.section, entry.clause.requirement
    ));
    lines.push(format!("replay: {}", entry.replay));
    lines.join("\n")
}
