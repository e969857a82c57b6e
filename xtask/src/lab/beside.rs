//! `cargo xtask conformance --lab`: what needs no KVM runs here, what needs it runs in the lab, and the two reports
//! become one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::arguments::{OUTPUTS, pairs};
use super::{LIMIT_S, Options};
use crate::{conformance, shell};

/// Depths without a guest CPU, for this host, and those with one, for the lab.
const HERE: [&str; 2] = ["bus", "wire"];
const IN_LAB: [&str; 2] = ["cpu", "guest"];
/// Exit codes of `touchstone run`.
const USAGE: u8 = 2;
const NOTHING: u8 = 4;
/// `touchstone report --format` for each kind of file.
const FORMATS: [(&str, &str); 4] = [
    ("--junit", "junit"),
    ("--markdown", "md"),
    ("--html", "html"),
    ("--tap", "tap"),
];

/// Runs both parts and returns the worse exit code.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    let parts = Parts::new(arguments)?;
    let folder = shell::target().join("touchstone/with-lab");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let [here, in_lab, merged] = ["here.json", "lab.json", "report.json"].map(|name| folder.join(name));
    for file in [&here, &in_lab, &merged] {
        // It may not be there.
        let _gone = fs::remove_file(file);
    }
    let mut codes = Vec::new();
    if let Some(mut arguments) = parts.of(&HERE) {
        arguments.extend(["--report".to_owned(), here.display().to_string()]);
        arguments.extend(parts.capsules(""));
        let code = conformance::try_run(&arguments)?;
        if code == USAGE {
            return Ok(code);
        }
        codes.push(code);
    }
    if let Some(mut arguments) = parts.of(&IN_LAB) {
        arguments.extend(["--report".to_owned(), in_lab.display().to_string()]);
        arguments.extend(parts.capsules("lab"));
        let options = Options {
            limit_s: LIMIT_S,
            carry: Vec::new(),
            stock_kernel: false,
            arguments,
        };
        codes.push(super::run(&options)?);
    }
    // A part of which nothing was selected says nothing, as long as the other has something.
    let code = codes.iter().copied().filter(|code| *code != NOTHING).max();
    let reports: Vec<&PathBuf> = [&here, &in_lab].into_iter().filter(|file| file.is_file()).collect();
    match reports[..] {
        [] => {}
        [one] => drop(fs::copy(one, &merged).with_context(|| format!("write {}", merged.display()))?),
        [..] => {
            let mut command = touchstone(&["report", "merge"]);
            shell::succeed(command.args(&reports).arg("--out").arg(&merged))?;
        }
    }
    if merged.is_file() {
        parts.write_outputs(&merged)?;
    }
    Ok(code.unwrap_or(NOTHING))
}

/// Arguments of `touchstone run`, with what differs between the parts taken out.
#[derive(Debug, Default)]
struct Parts {
    both: Vec<String>,
    depths: Vec<String>,
    required: Vec<String>,
    outputs: Vec<(String, PathBuf)>,
}

impl Parts {
    fn new(arguments: &[String]) -> Result<Parts> {
        let mut parts = Parts::default();
        for (option, value) in pairs(arguments)? {
            let listed = || value.iter().flat_map(|value| value.split(',')).map(str::to_owned);
            match (option.as_str(), &value) {
                ("--depth", Some(_)) => parts.depths.extend(listed()),
                ("--require", Some(_)) => parts.required.extend(listed()),
                (name, Some(value)) if OUTPUTS.contains(&name) => parts.outputs.push((option, PathBuf::from(value))),
                _ => {
                    parts.both.push(option);
                    parts.both.extend(value);
                }
            }
        }
        let all: Vec<&str> = HERE.iter().chain(&IN_LAB).copied().collect();
        let asked = parts.depths.iter().chain(&parts.required);
        if let Some(unknown) = asked.clone().find(|depth| !all.contains(&depth.as_str())) {
            bail!("there is no depth '{unknown}': choose from {}", all.join(", "));
        }
        if parts.depths.is_empty() {
            parts.depths = all.iter().map(|depth| (*depth).to_owned()).collect();
        }
        Ok(parts)
    }

    /// The arguments of one part; `None` when none of its depths is wanted.
    fn of(&self, depths: &[&str]) -> Option<Vec<String>> {
        let wanted = only(&self.depths, depths);
        if wanted.is_empty() {
            return None;
        }
        let mut arguments = self.both.clone();
        arguments.extend(["--depth".to_owned(), wanted.join(",")]);
        let required = only(&self.required, depths);
        if !required.is_empty() {
            arguments.extend(["--require".to_owned(), required.join(",")]);
        }
        Some(arguments)
    }

    fn capsules(&self, below: &str) -> Vec<String> {
        let folder = self.outputs.iter().find(|(option, _)| option == "--capsules");
        let words = folder.map(|(option, folder)| [option.clone(), folder.join(below).display().to_string()]);
        words.into_iter().flatten().collect()
    }

    /// Writes what the caller asked for out of the merged report.
    fn write_outputs(&self, merged: &Path) -> Result<()> {
        for (option, file) in &self.outputs {
            let written = match FORMATS.iter().find(|(own, _)| own == option) {
                Some((_, format)) => {
                    let mut command = touchstone(&["report", "--format", format]);
                    let output = command.arg(merged).output().context("start touchstone")?;
                    if !output.status.success() {
                        bail!("{} failed: {}", shell::line(&command), output.status);
                    }
                    fs::write(file, output.stdout)
                }
                None if option == "--report" => fs::copy(merged, file).map(drop),
                None => continue,
            };
            written.with_context(|| format!("write {}", file.display()))?;
        }
        Ok(())
    }
}

/// The depths asked for that are among these.
fn only<'a>(asked: &'a [String], depths: &[&str]) -> Vec<&'a str> {
    let asked = asked.iter().map(String::as_str);
    asked.filter(|depth| depths.contains(depth)).collect()
}

fn touchstone(arguments: &[&str]) -> Command {
    let mut command = Command::new(shell::target().join("debug/touchstone"));
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(words: &str) -> Result<Parts> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Parts::new(&words)
    }

    #[test]
    fn each_part_gets_its_depths() {
        let both = parts("--filter rtc --require wire,guest --html h.html --capsules c").expect("good arguments");
        let line = |depths: &[&str]| both.of(depths).map(|words| words.join(" "));
        assert_eq!(
            line(&HERE).as_deref(),
            Some("--filter rtc --depth bus,wire --require wire")
        );
        assert_eq!(
            line(&IN_LAB).as_deref(),
            Some("--filter rtc --depth cpu,guest --require guest")
        );
        assert_eq!(both.capsules("lab"), ["--capsules", "c/lab"]);
        let guest = parts("--depth=guest").expect("good arguments");
        assert!(guest.of(&HERE).is_none());
        assert_eq!(
            guest.of(&IN_LAB).map(|words| words.join(" ")).as_deref(),
            Some("--depth guest")
        );
    }

    #[test]
    fn unknown_depth_is_refused() {
        let problem = parts("--depth cpu,buss").expect_err("no such depth").to_string();
        assert_eq!(problem, "there is no depth 'buss': choose from bus, wire, cpu, guest");
    }
}
