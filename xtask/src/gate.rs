//! `cargo xtask gate`: the release gate. One command, one answer, and one file of evidence for it; `gate verify` holds
//! that file against the commit and the reports that it speaks of.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::{guest_images, shell};

/// Form of the evidence; raised when a field changes its meaning.
const SCHEMA: u32 = 1;

/// The evidence's file in the gate's folder.
const EVIDENCE: &str = "evidence.toml";

/// Stands for the gate's folder in a step's arguments.
const FOLDER: &str = "{folder}";

/// What is run: a `cargo xtask` command line, and what it leaves in the gate's folder.
struct Step {
    name: &'static str,
    proves: &'static str,
    arguments: &'static [&'static str],
    leaves: &'static [&'static str],
}

/// Every step has to succeed. A name is permanent: evidence of earlier releases speaks of it.
const STEPS: &[Step] = &[
    Step {
        name: "test",
        proves: "format, lints, the source tree's rules, guest images, unit and integration tests, goldens",
        arguments: &["test"],
        leaves: &[],
    },
    Step {
        name: "golden-qemu",
        proves: "the goldens' facts, as a live QEMU tells them",
        arguments: &["golden", "verify", "--subject", "qemu"],
        leaves: &[],
    },
    Step {
        name: "conformance-reference",
        proves: "the reference at all depths; none may be missing",
        arguments: &[
            "conformance",
            "--require",
            "bus,wire,cpu,guest",
            "--report",
            "{folder}/reference.json",
            "--html",
            "{folder}/reference.html",
            "--capsules",
            "{folder}/reference-capsules",
        ],
        leaves: &["reference.json", "reference.html"],
    },
    Step {
        name: "conformance-qemu",
        proves: "QEMU does what is expected of it: the suite is right about a machine it was not written beside",
        arguments: &[
            "conformance",
            "--subject",
            "qemu",
            "--require",
            "wire,cpu,guest",
            "--report",
            "{folder}/qemu.json",
            "--html",
            "{folder}/qemu.html",
            "--capsules",
            "{folder}/qemu-capsules",
        ],
        leaves: &["qemu.json", "qemu.html"],
    },
    Step {
        name: "lab",
        proves: "on real KVM: interrupts, several CPUs, Linux by each of its boots, and a distribution's kernel",
        arguments: &[
            "lab",
            "--stock-kernel",
            "--",
            "--depth",
            "guest",
            "--require",
            "guest",
            "--report",
            "{folder}/lab.json",
            "--html",
            "{folder}/lab.html",
            "--capsules",
            "{folder}/lab-capsules",
        ],
        leaves: &["lab.json", "lab.html"],
    },
    Step {
        name: "planted-bugs",
        proves: "each planted bug is caught by the case that hunts it",
        arguments: &["conformance", "--mutants", "--report", "{folder}/mutants.json"],
        leaves: &["mutants.json"],
    },
    Step {
        name: "fuzz",
        proves: "a minute of every target: no finding, every canary reached",
        arguments: &["fuzz", "run", "all", "--time", "60"],
        leaves: &[],
    },
    Step {
        name: "boot",
        proves: "boot time and footprint within their limits, against a bare KVM loop in the same run",
        arguments: &[
            "bench",
            "boot",
            "--ratio-max",
            "2.5",
            "--beyond-max-kib",
            "5120",
            "--json",
            "{folder}/boot.json",
        ],
        leaves: &["boot.json"],
    },
];

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Holds a file of evidence against the commit and the files that it speaks of.
    Verify {
        /// The evidence, as the gate left it.
        file: PathBuf,
    },
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Gate {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Folder for the evidence, the reports and the steps' output; emptied first.
    #[arg(long, default_value = "target/gate")]
    folder: PathBuf,
    /// Leaves a step out, to look at the others; the answer is then no.
    #[arg(long, value_name = "STEP")]
    without: Vec<String>,
    /// Lists the steps and what each proves.
    #[arg(long)]
    list: bool,
}

/// All that the gate found, as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    schema: u32,
    /// `yes`, or `no`.
    answer: String,
    /// Why the answer is no; empty otherwise.
    reasons: Vec<String>,
    version: String,
    commit: String,
    /// Whether the tree was as committed, before and after.
    clean: bool,
    /// UTC, RFC 3339.
    started: String,
    host: String,
    rustc: String,
    qemu: String,
    /// git's hash of the folder `golden` in that commit.
    golden: String,
    /// git's hash of the folder `conformance/spec` in that commit.
    specification: String,
    #[serde(default)]
    step: Vec<Outcome>,
    #[serde(default)]
    file: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    name: String,
    proves: String,
    command: String,
    /// Exit code; absent when a signal ended the step.
    exit_code: Option<i32>,
    duration_s: u64,
    /// The last line that it printed.
    last_line: String,
}

/// A file of the gate's folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Within the gate's folder.
    path: String,
    /// Of the build that was tried, for files of the target folder; of a report or a log otherwise.
    sha256: String,
}

/// Does what the user asked for.
pub(crate) fn run(gate: &Gate) -> Result<()> {
    if let Some(Verb::Verify { file }) = &gate.verb {
        return verify(file);
    }
    if gate.list {
        for step in STEPS {
            println!("{:22} {}", step.name, step.proves);
        }
        return Ok(());
    }
    if let Some(unknown) = gate
        .without
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        bail!("--without {unknown}: there is no such step; `cargo xtask gate --list` has them");
    }
    let folder = absolute(&gate.folder)?;
    empty(&folder)?;
    let mut evidence = circumstances()?;
    for (number, step) in STEPS.iter().enumerate() {
        if gate.without.iter().any(|name| name == step.name) {
            eprintln!("gate: {}/{} {}: left out", number + 1, STEPS.len(), step.name);
            continue;
        }
        eprintln!("gate: {}/{} {}: {}", number + 1, STEPS.len(), step.name, step.proves);
        let outcome = carry_out(step, &folder)?;
        eprintln!(
            "gate: {}/{} {}: {} in {} s: {}",
            number + 1,
            STEPS.len(),
            step.name,
            if outcome.exit_code == Some(0) { "ok" } else { "FAILED" },
            outcome.duration_s,
            outcome.last_line
        );
        for path in step
            .leaves
            .iter()
            .map(|name| (*name).to_owned())
            .chain([log_name(step.name)])
        {
            // A step that failed may have left nothing; its exit code says enough.
            if folder.join(&path).is_file() {
                let sha256 = guest_images::hash_of(&folder.join(&path))?;
                evidence.file.push(Kept { path, sha256 });
            }
        }
        evidence.step.push(outcome);
    }
    evidence.clean = evidence.clean && is_clean()?;
    evidence.reasons = objections(&evidence);
    evidence.answer = answer(&evidence.reasons).to_owned();
    let file = folder.join(EVIDENCE);
    fs::write(&file, toml::to_string(&evidence).context("the evidence as TOML")?)
        .with_context(|| format!("write {}", file.display()))?;
    println!("evidence: {}", file.display());
    conclude(&evidence)
}

/// Prints the answer; no is an error.
fn conclude(evidence: &Evidence) -> Result<()> {
    println!(
        "{}: touchstone {}, commit {}",
        evidence.answer, evidence.version, evidence.commit
    );
    if !evidence.reasons.is_empty() {
        bail!("the gate says no:\n  {}", evidence.reasons.join("\n  "));
    }
    Ok(())
}

/// Everything that speaks against a yes, from the evidence alone.
fn objections(evidence: &Evidence) -> Vec<String> {
    let mut reasons = Vec::new();
    if !evidence.clean {
        reasons.push("the tree is not as committed: commit or remove what `git status` shows".to_owned());
    }
    for step in STEPS {
        match evidence.step.iter().find(|outcome| outcome.name == step.name) {
            None => reasons.push(format!("step {} was left out", step.name)),
            Some(outcome) if outcome.exit_code != Some(0) => reasons.push(format!(
                "step {} failed; see {} and `{}`",
                step.name,
                log_name(step.name),
                outcome.command
            )),
            Some(_) => {
                let kept = |path: &str| evidence.file.iter().any(|file| file.path == path);
                for path in step.leaves.iter().filter(|path| !kept(path)) {
                    reasons.push(format!("step {} left no {path}", step.name));
                }
            }
        }
    }
    reasons
}

fn answer(reasons: &[String]) -> &'static str {
    if reasons.is_empty() { "yes" } else { "no" }
}

fn log_name(step: &str) -> String {
    format!("{step}.log")
}

/// Runs one step with its output in its log.
fn carry_out(step: &Step, folder: &Path) -> Result<Outcome> {
    let log = folder.join(log_name(step.name));
    let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let folder_text = folder
        .to_str()
        .context("the gate's folder has a name that is no UTF-8")?;
    let arguments: Vec<String> = step
        .arguments
        .iter()
        .map(|argument| argument.replace(FOLDER, folder_text))
        .collect();
    let start = Instant::now();
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    let status = command
        .args(&arguments)
        .current_dir(shell::root())
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("a second handle of the log")?)
        .stderr(output)
        .status()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    let text = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    Ok(Outcome {
        name: step.name.to_owned(),
        proves: step.proves.to_owned(),
        command: format!("cargo xtask {}", step.arguments.join(" ")),
        exit_code: status.code(),
        duration_s: start.elapsed().as_secs(),
        last_line: text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .to_owned(),
    })
}

/// The evidence before any step.
fn circumstances() -> Result<Evidence> {
    Ok(Evidence {
        schema: SCHEMA,
        answer: String::new(),
        reasons: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: git(&["rev-parse", "HEAD"])?,
        clean: is_clean()?,
        started: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        host: said("uname", &["-srm"]),
        rustc: said("rustc", &["--version"]),
        qemu: said("qemu-system-x86_64", &["--version"]),
        golden: git(&["rev-parse", "HEAD:golden"])?,
        specification: git(&["rev-parse", "HEAD:conformance/spec"])?,
        step: Vec::new(),
        file: Vec::new(),
    })
}

/// Says whether evidence is of this commit, whole, and untouched.
fn verify(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let evidence: Evidence =
        toml::from_str(&text).with_context(|| format!("{}: not a gate's evidence", file.display()))?;
    if evidence.schema != SCHEMA {
        bail!(
            "{}: schema {}, this gate reads {SCHEMA}",
            file.display(),
            evidence.schema
        );
    }
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let mut wrong = Vec::new();
    for kept in &evidence.file {
        match guest_images::hash_of(&folder.join(&kept.path)) {
            Ok(sha256) if sha256 == kept.sha256 => {}
            Ok(_) => wrong.push(format!("{} is not the file that the gate left", kept.path)),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    for (path, tree) in [
        ("golden", &evidence.golden),
        ("conformance/spec", &evidence.specification),
    ] {
        if git(&["rev-parse", &format!("{}:{path}", evidence.commit)])? != **tree {
            wrong.push(format!("{path} of commit {} is not what the gate saw", evidence.commit));
        }
    }
    let reasons = objections(&evidence);
    if evidence.reasons != reasons || evidence.answer != answer(&reasons) {
        wrong.push("the answer is not what its steps say".to_owned());
    }
    if git(&["rev-parse", "HEAD"])? != evidence.commit {
        wrong.push(format!(
            "it speaks of commit {}, which is not checked out here",
            evidence.commit
        ));
    }
    if !wrong.is_empty() {
        bail!("{} does not hold:\n  {}", file.display(), wrong.join("\n  "));
    }
    conclude(&evidence)
}

fn is_clean() -> Result<bool> {
    Ok(git(&["status", "--porcelain"])?.is_empty())
}

/// What git prints, without the line's end.
fn git(arguments: &[&str]) -> Result<String> {
    let mut command = shell::program("git", arguments);
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", shell::line(&command), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program's first line, or that it is not here.
fn said(program: &str, arguments: &[&str]) -> String {
    shell::first_line(program, arguments).unwrap_or_else(|| format!("no {program}"))
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    let rooted = shell::root().join(folder);
    std::path::absolute(&rooted).with_context(|| format!("the folder {}", rooted.display()))
}

/// Makes the folder and removes what an earlier gate left; a folder with anything else is somebody's own.
fn empty(folder: &Path) -> Result<()> {
    let holds_something = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something {
        if !folder.join(EVIDENCE).is_file() {
            bail!(
                "{} holds files and no {EVIDENCE}: name another --folder, or remove it",
                folder.display()
            );
        }
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    // From here on the folder is the gate's own, also when the gate is interrupted.
    fs::write(folder.join(EVIDENCE), "").with_context(|| format!("write to {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_well() -> Evidence {
        let mut evidence = circumstances().unwrap();
        evidence.clean = true;
        for step in STEPS {
            evidence.step.push(Outcome {
                name: step.name.to_owned(),
                proves: String::new(),
                command: String::new(),
                exit_code: Some(0),
                duration_s: 1,
                last_line: String::new(),
            });
            for path in step.leaves {
                evidence.file.push(Kept {
                    path: (*path).to_owned(),
                    sha256: String::new(),
                });
            }
        }
        evidence
    }

    #[test]
    fn a_yes_needs_every_step_every_report_and_a_clean_tree() {
        assert_eq!(objections(&all_well()), Vec::<String>::new());

        let mut dirty = all_well();
        dirty.clean = false;
        assert_eq!(objections(&dirty).len(), 1);

        for (index, step) in STEPS.iter().enumerate() {
            let mut left_out = all_well();
            left_out.step.remove(index);
            assert_eq!(objections(&left_out), [format!("step {} was left out", step.name)]);

            for exit_code in [Some(1), None] {
                let mut failed = all_well();
                failed.step[index].exit_code = exit_code;
                assert!(objections(&failed)[0].starts_with(&format!("step {} failed", step.name)));
            }
        }

        let mut without_report = all_well();
        without_report.file.retain(|file| file.path != "qemu.json");
        assert_eq!(objections(&without_report), ["step conformance-qemu left no qemu.json"]);
    }

    #[test]
    fn evidence_is_read_as_it_was_written() {
        let evidence = all_well();
        let text = toml::to_string(&evidence).unwrap();
        let read: Evidence = toml::from_str(&text).unwrap();
        assert_eq!(toml::to_string(&read).unwrap(), text);
    }
}
