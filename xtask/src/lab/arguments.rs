//! Arguments of `touchstone run` on their way into the lab: files that it reads are taken along, files that it writes
//! are brought back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Options whose value is a file or folder that the run writes.
pub(super) const OUTPUTS: [&str; 6] = ["--report", "--junit", "--markdown", "--html", "--tap", "--capsules"];
/// Options whose value is a file that the run reads.
const INPUTS: [&str; 3] = ["--expectations", "--initramfs", "--kernel"];
/// Options that the lab has to have, with their values when they are not given. Everything in it is slow.
const DEFAULTS: [(&str, &str); 4] = [
    ("--depth", "cpu,guest"),
    ("--patience", "4"),
    ("--report", "report.json"),
    ("--capsules", "capsules"),
];

/// Options that the lab gives by itself.
const FIXED: [&str; 6] = [
    "--images",
    "/lab/images",
    "--host",
    "lab",
    "--replay-by",
    "cargo xtask lab --",
];
/// The run that boots the lab's own kernel: the cases of a boot that any kernel can be given to.
const STOCK: [&str; 12] = [
    "--depth",
    "guest",
    "--filter",
    "linux/*/bz-image",
    "--kernel",
    "/lab/stock-bzImage",
    "--patience",
    "4",
    "--report",
    "/out/stock-kernel.json",
    "--capsules",
    "/out/stock-kernel-capsules",
];

/// What `touchstone run` is given inside, and what goes in and out for it.
pub(crate) struct LabArguments {
    inside: Vec<String>,
    subjects: Vec<String>,
    inputs: Vec<(PathBuf, String)>,
    /// Path below the folder of results, and where the caller wants it.
    outputs: Vec<(String, PathBuf)>,
}

impl LabArguments {
    pub(crate) fn new(arguments: &[String]) -> Result<LabArguments> {
        let mut lab = LabArguments {
            inside: Vec::new(),
            subjects: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let mut given = Vec::new();
        for (option, value) in pairs(arguments)? {
            if option == "--images" {
                bail!("--images: the lab brings its own images");
            }
            given.push(option.clone());
            let Some(value) = value else {
                lab.inside.push(option);
                continue;
            };
            let is_file = INPUTS.contains(&option.as_str())
                || (option == "--subject" && (value.ends_with(".toml") || value.contains('/')));
            let inside = if OUTPUTS.contains(&option.as_str()) {
                lab.output(&option, &value)
            } else if is_file {
                lab.input(&value)
            } else {
                value.clone()
            };
            if option == "--subject" {
                lab.subjects.push(value);
            }
            lab.inside.extend([option, inside]);
        }
        for (option, value) in DEFAULTS
            .iter()
            .filter(|(option, _)| !given.iter().any(|given| given == option))
        {
            let value = if OUTPUTS.contains(option) {
                format!("/out/{value}")
            } else {
                (*value).to_owned()
            };
            lab.inside.extend([(*option).to_owned(), value]);
        }
        let fixed = [
            "--images",
            "/lab/images",
            "--host",
            "lab",
            "--replay-by",
            "cargo xtask lab --",
        ];
        lab.inside.extend(fixed.map(str::to_owned));
        Ok(lab)
    }

    /// Arguments of `touchstone run`, one a line; with the stock kernel those of a second run behind an empty line.
    pub(crate) fn inside(&self, with_stock_kernel: bool) -> String {
        let mut text = self.inside.join("\n");
        if with_stock_kernel {
            let words: Vec<&str> = STOCK.into_iter().chain(FIXED).collect();
            text += &format!("\n\n{}", words.join("\n"));
        }
        text
    }

    /// Files to take along: where they are, and where they will be.
    pub(crate) fn inputs(&self) -> &[(PathBuf, String)] {
        &self.inputs
    }

    /// Whether one of the suite's own subjects is asked for.
    pub(crate) fn has_subject(&self, name: &str) -> bool {
        self.subjects.iter().any(|subject| subject == name)
    }

    /// Puts what came back to where the caller wants it.
    pub(crate) fn copy_outputs(&self, folder: &Path) -> Result<()> {
        for (inside, outside) in &self.outputs {
            copy(&folder.join(inside), outside).with_context(|| format!("write {}", outside.display()))?;
        }
        Ok(())
    }

    fn output(&mut self, option: &str, value: &str) -> String {
        let name = DEFAULTS.iter().find(|(own, _)| *own == option).map(|(_, name)| *name);
        let name = name.unwrap_or_else(|| option.trim_start_matches('-'));
        self.outputs.push((name.to_owned(), PathBuf::from(value)));
        format!("/out/{name}")
    }

    fn input(&mut self, value: &str) -> String {
        let file = PathBuf::from(value);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = format!("/lab/files/{}/{name}", self.inputs.len());
        self.inputs.push((file, path.clone()));
        path
    }
}

/// Options with their values, `--option value` and `--option=value` alike. A word without `--` belongs to the option
/// before it.
pub(super) fn pairs(arguments: &[String]) -> Result<Vec<(String, Option<String>)>> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    for word in arguments {
        if word.contains('\n') {
            bail!("an argument has a line end: {word}");
        }
        match (word.split_once('='), pairs.last_mut()) {
            (Some((option, value)), _) if option.starts_with("--") => {
                // `--shuffle=SEED` is the one option that has to be written so; it stays as it is.
                if option == "--shuffle" {
                    pairs.push((word.clone(), None));
                } else {
                    pairs.push((option.to_owned(), Some(value.to_owned())));
                }
            }
            (_, Some((_, value @ None))) if !word.starts_with("--") => *value = Some(word.clone()),
            _ => pairs.push((word.clone(), None)),
        }
    }
    Ok(pairs)
}

/// Copies a file, or a folder with all in it. What did not come back is not there: a run without unexpected results has
/// no capsules.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.is_file() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(words: &str) -> LabArguments {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        LabArguments::new(&words).expect("good arguments")
    }

    #[test]
    fn files_are_taken_along_and_brought_back() {
        let lab =
            lab("--subject x/mine.toml --subject=qemu --html=h.html --depth guest --report r.json --matrix --shuffle");
        let inside = lab.inside.join(" ");
        assert!(
            inside.starts_with(
                "--subject /lab/files/0/mine.toml --subject qemu --html /out/html --depth guest \
                 --report /out/report.json --matrix --shuffle --patience 4 --capsules /out/capsules "
            ),
            "{inside}"
        );
        assert!(lab.has_subject("qemu") && !lab.has_subject("reference"));
        assert_eq!(
            lab.inputs(),
            [(PathBuf::from("x/mine.toml"), "/lab/files/0/mine.toml".to_owned())]
        );
        let outputs: Vec<_> = lab.outputs.iter().map(|(inside, _)| inside.as_str()).collect();
        assert_eq!(outputs, ["html", "report.json"]);
    }

    #[test]
    fn what_the_lab_needs_is_there_without_being_asked_for() {
        let inside = lab("--shuffle=7").inside.join(" ");
        assert!(inside.starts_with("--shuffle=7 --depth cpu,guest --patience 4 --report /out/report.json"));
        let twice = lab("--depth guest").inside(true);
        let runs: Vec<&str> = twice.split("\n\n").collect();
        assert!(runs[0].starts_with("--depth\nguest\n") && !runs[0].contains("--kernel"));
        assert!(runs[1].contains("--kernel\n/lab/stock-bzImage\n") && runs[1].contains("--images\n/lab/images"));
        assert!(LabArguments::new(&["--images".to_owned(), "x".to_owned()]).is_err());
    }
}
