//! What comes back from the lab.

use std::fs;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::conformance::NOT_STARTED;

/// Writes the files that the lab sent, and returns the exit code that it sent last.
pub(super) fn unpack(results: &Path, into: &Path) -> Result<u8> {
    let bytes = fs::read(results).context("nothing came back from it")?;
    let code = unpack_bytes(&bytes, |name, content| {
        let file = into.join(name);
        let folder = file.parent().unwrap_or(into);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, content))
            .with_context(|| format!("write {name}"))
    })?;
    fs::remove_file(results).context("remove what came back")?;
    Ok(code)
}

/// Lines `file LENGTH PATH`, each before its bytes, then `end CODE`.
fn unpack_bytes(mut bytes: &[u8], mut write: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<u8> {
    loop {
        let length = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .context("it ended before it sent its results")?;
        let (line, rest) = bytes.split_at(length);
        let line = String::from_utf8_lossy(line).into_owned();
        bytes = &rest[1..];
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("end"), Some(code), None) => {
                let code: i32 = code.parse().with_context(|| format!("its exit code: {line}"))?;
                return Ok(u8::try_from(code).unwrap_or(NOT_STARTED));
            }
            (Some("file"), Some(length), Some(name)) if is_below(name) => {
                let length: usize = length.parse().with_context(|| format!("its results: {line}"))?;
                let content = bytes.get(..length).context("it ended while it sent its results")?;
                write(name, content)?;
                bytes = &bytes[length..];
            }
            _ => bail!("its results cannot be read: {line}"),
        }
    }
}

/// Whether the results of these reports that nobody expected are timeouts, all of them, and there is no other problem.
pub(super) fn only_timeouts(reports: &[String]) -> Result<bool> {
    let mut timeouts = 0;
    for report in reports {
        let report: Report = serde_json::from_str(report).context("its report")?;
        let unexpected = report
            .results
            .iter()
            .filter(|entry| entry.standing.kind == "unexpected");
        for entry in unexpected {
            if entry.verdict != "timeout" {
                return Ok(false);
            }
            timeouts += 1;
        }
        if !report.problems.is_empty() {
            return Ok(false);
        }
    }
    Ok(timeouts != 0)
}

/// What is read of a report of the suite.
#[derive(Deserialize)]
struct Report {
    results: Vec<Entry>,
    problems: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    verdict: String,
    standing: Standing,
}

#[derive(Deserialize)]
struct Standing {
    kind: String,
}

/// Whether a path stays below the folder that it is joined to.
fn is_below(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files = Vec<(String, Vec<u8>)>;

    fn unpacked(bytes: &[u8]) -> Result<(u8, Files)> {
        let mut files = Vec::new();
        let code = unpack_bytes(bytes, |name, content| {
            files.push((name.to_owned(), content.to_vec()));
            Ok(())
        })?;
        Ok((code, files))
    }

    #[test]
    fn results_come_back_whole() {
        let (code, files) = unpacked(b"file 3 a/b c\nx\nyfile 0 d\nend 1\n").expect("whole");
        assert_eq!(code, 1);
        assert_eq!(
            files,
            [("a/b c".to_owned(), b"x\ny".to_vec()), ("d".to_owned(), Vec::new())]
        );
    }

    #[test]
    fn only_timeouts_alone_are_worth_another_run() {
        let report = |verdict: &str, kind: &str, problems: &str| {
            format!(
                r#"{{"schema":1,"problems":[{problems}],"results":[
                    {{"case":"a","verdict":"fail","standing":{{"kind":"known","why":"x"}}}},
                    {{"case":"b","verdict":"{verdict}","standing":{{"kind":"{kind}","why":"y"}}}}]}}"#
            )
        };
        let timeout = report("timeout", "unexpected", "");
        let good = report("pass", "expected", "");
        let judge = |reports: &[&String]| {
            let reports: Vec<String> = reports.iter().map(|report| (*report).clone()).collect();
            only_timeouts(&reports).expect("reports")
        };
        assert!(judge(&[&timeout]) && judge(&[&good, &timeout]));
        assert!(!judge(&[&good]), "nothing to do again");
        assert!(!judge(&[&timeout, &report("fail", "unexpected", "")]));
        assert!(!judge(&[&timeout, &report("crash", "unexpected", "")]));
        assert!(!judge(&[&report("timeout", "unexpected", "\"a depth is missing\"")]));
        assert!(only_timeouts(&["{}".to_owned()]).is_err());
    }

    #[test]
    fn a_lab_that_died_is_no_success() {
        for bytes in [
            &b""[..],
            b"file 3 a\nxy",
            b"file 3 a\nxyz",
            b"file 1 ../a\nxend 0\n",
            b"end x\n",
            b"hello\n",
        ] {
            assert!(unpacked(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
