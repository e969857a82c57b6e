//! Reports of campaigns, and the table of many.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The report of a campaign; its fields are stable.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    /// The target's name.
    pub target: String,
    /// What watched memory: `none` or `address`.
    pub sanitizer: String,
    /// What libFuzzer said at its end: executions, edges, features, seconds and more, by name.
    pub measured: BTreeMap<String, u64>,
    /// Inputs that the campaign kept.
    pub programs: u64,
    /// How many of them reach each canary.
    pub canaries: BTreeMap<String, u64>,
    /// Canaries that none reaches.
    pub missed: Vec<String>,
    /// Inputs that show a finding.
    pub findings: Vec<String>,
}

/// Reads the reports in a folder, writes `summary.md` beside them and returns its text.
pub(crate) fn write(folder: &Path) -> Result<String, String> {
    let fail = |what: &str, path: &Path, error: &dyn std::fmt::Display| format!("{what} {}: {error}", path.display());
    let mut reports: Vec<Report> = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| fail("read", folder, &error))? {
        let path = entry.map_err(|error| fail("read", folder, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).map_err(|error| fail("read", &path, &error))?;
            reports.push(serde_json::from_str(&text).map_err(|error| fail("understand", &path, &error))?);
        }
    }
    reports.sort_by(|one, other| (&one.sanitizer, &one.target).cmp(&(&other.sanitizer, &other.target)));
    let text = table(&reports);
    let path = folder.join("summary.md");
    fs::write(&path, &text).map_err(|error| fail("write", &path, &error))?;
    Ok(format!("{text}\n{}\n", path.display()))
}

fn table(reports: &[Report]) -> String {
    let mut text = "\
| target | sanitizer | seconds | executions | a second | a core's second | edges | features | kept | canaries | missed |
|---|---|---|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for report in reports {
        let number = |name| report.measured.get(name).copied().unwrap_or_default();
        let (canaries, missed) = (report.canaries.len(), report.missed.len());
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} of {canaries} | {} |\n",
            report.target,
            report.sanitizer,
            number("seconds"),
            number("executions"),
            number("executions_per_second"),
            number("executions_per_processor_second"),
            number("edges"),
            number("features"),
            report.programs,
            canaries - missed,
            if missed == 0 {
                "none".to_owned()
            } else {
                report.missed.join(", ")
            },
        ));
    }
    text
}
