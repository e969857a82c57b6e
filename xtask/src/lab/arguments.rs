//! Arguments of `touchstone run` on their way into the lab: files that it reads are taken along, files that it writes
//! are brought back.

use std::fs;
use std::path::{Component, Path, PathBuf};

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

/// Options that the lab gives by itself, besides `--replay-by`.
const FIXED: [&str; 4] = ["--images", "/lab/images", "--host", "lab"];
/// Folders of the lab's own.
const RESERVED: [&str; 9] = ["bin", "dev", "golden", "init", "lab", "out", "proc", "sys", "usr"];
/// Options that say whom a run is about, which that of the stock kernel has, too.
const ABOUT: [&str; 4] = ["--subject", "--profile", "--accel", "--expectations"];
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
    /// What each run is given: whom it is about, and what the lab gives by itself.
    each: Vec<String>,
    subjects: Vec<String>,
    inputs: Vec<(PathBuf, String)>,
    /// Path below the folder of results, and where the caller wants it.
    outputs: Vec<(String, PathBuf)>,
}

impl LabArguments {
    /// `carry` are the programs that the caller takes along, which a replay needs, too.
    pub(crate) fn new(arguments: &[String], carry: &[String]) -> Result<LabArguments> {
        let carried: String = carry.iter().map(|program| format!(" --carry {program}")).collect();
        let mut fixed = FIXED.map(str::to_owned).to_vec();
        fixed.extend(["--replay-by".to_owned(), format!("cargo xtask lab{carried} --")]);
        let mut lab = LabArguments {
            inside: Vec::new(),
            each: Vec::new(),
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
            let is_file = INPUTS.contains(&option.as_str()) || (option == "--subject" && is_subject_file(&value));
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
            if ABOUT.contains(&option.as_str()) {
                lab.each.extend([option, inside]);
            } else {
                lab.inside.extend([option, inside]);
            }
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
        lab.each.extend(fixed);
        Ok(lab)
    }

    /// Arguments of `touchstone run`, one a line; with the stock kernel those of a second run behind an empty line.
    pub(crate) fn inside(&self, with_stock_kernel: bool) -> String {
        let run = |own: &[&str]| {
            let each = self.each.iter().map(String::as_str);
            own.iter().copied().chain(each).collect::<Vec<_>>().join("\n")
        };
        let inside: Vec<&str> = self.inside.iter().map(String::as_str).collect();
        let mut text = run(&inside);
        if with_stock_kernel {
            text += &format!("\n\n{}", run(&STOCK));
        }
        text
    }

    /// Files to take along: where they are, and where they will be.
    pub(crate) fn inputs(&self) -> &[(PathBuf, String)] {
        &self.inputs
    }

    /// The subjects that are asked for, by name or by file.
    pub(crate) fn subjects(&self) -> &[String] {
        &self.subjects
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

    /// Takes a file along, to where its path leads in the lab, too, whose folder is `/`: what a report says of it holds
    /// outside. One whose path leads elsewhere, or is taken, gets a place of its own.
    fn input(&mut self, value: &str) -> String {
        let file = PathBuf::from(value);
        let below = file.strip_prefix("/").unwrap_or(&file);
        let mut parts = below.components().filter(|part| *part != Component::CurDir).peekable();
        let first = parts.peek().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let is_free = first.is_some_and(|first| !RESERVED.contains(&first.as_str()));
        let (path, said) = if is_free && parts.clone().all(|part| matches!(part, Component::Normal(_))) {
            let path: PathBuf = parts.collect();
            (format!("/{}", path.display()), value.to_owned())
        } else {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let path = format!("/lab/files/{}/{name}", self.inputs.len());
            (path.clone(), path)
        };
        self.inputs.push((file, path));
        said
    }
}

/// Whether a subject is asked for by its file.
pub(super) fn is_subject_file(subject: &str) -> bool {
    subject.ends_with(".toml") || subject.contains('/')
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
        LabArguments::new(&words, &[]).expect("good arguments")
    }

    #[test]
    fn files_are_taken_along_and_brought_back() {
        let lab =
            lab("--subject x/mine.toml --subject=qemu --html=h.html --depth guest --report r.json --matrix --shuffle");
        let inside = lab.inside(false).replace('\n', " ");
        assert!(
            inside.starts_with(
                "--html /out/html --depth guest --report /out/report.json --matrix --shuffle --patience 4 \
                 --capsules /out/capsules --subject x/mine.toml --subject qemu --images "
            ),
            "{inside}"
        );
        assert_eq!(lab.subjects(), ["x/mine.toml", "qemu"]);
        assert_eq!(
            lab.inputs(),
            [(PathBuf::from("x/mine.toml"), "/x/mine.toml".to_owned())]
        );
        let outputs: Vec<_> = lab.outputs.iter().map(|(inside, _)| inside.as_str()).collect();
        assert_eq!(outputs, ["html", "report.json"]);
    }

    #[test]
    fn a_file_is_where_its_path_leads_unless_it_leads_elsewhere() {
        for (given, said, path) in [
            ("mine.toml", "mine.toml", "/mine.toml"),
            ("./x/mine.toml", "./x/mine.toml", "/x/mine.toml"),
            ("/tmp/mine.toml", "/tmp/mine.toml", "/tmp/mine.toml"),
            ("../mine.toml", "/lab/files/0/mine.toml", "/lab/files/0/mine.toml"),
            ("x/../mine.toml", "/lab/files/0/mine.toml", "/lab/files/0/mine.toml"),
            ("/lab/mine.toml", "/lab/files/0/mine.toml", "/lab/files/0/mine.toml"),
            ("golden/mine.toml", "/lab/files/0/mine.toml", "/lab/files/0/mine.toml"),
        ] {
            let lab = lab(&format!("--subject {given}"));
            assert_eq!(lab.each[1], said);
            assert_eq!(lab.inputs(), [(PathBuf::from(given), path.to_owned())]);
        }
    }

    #[test]
    fn replay_takes_the_same_programs_along() {
        let carry = ["x/my-vmm".to_owned(), "helper".to_owned()];
        let lab = LabArguments::new(&[], &carry).expect("good arguments");
        let replay = "--replay-by\ncargo xtask lab --carry x/my-vmm --carry helper --";
        assert_eq!(lab.inside(true).matches(replay).count(), 2);
    }

    #[test]
    fn what_the_lab_needs_is_there_without_being_asked_for() {
        let inside = lab("--shuffle=7").inside.join(" ");
        assert!(inside.starts_with("--shuffle=7 --depth cpu,guest --patience 4 --report /out/report.json"));
        let twice = lab("--depth guest").inside(true);
        let runs: Vec<&str> = twice.split("\n\n").collect();
        assert!(runs[0].starts_with("--depth\nguest\n") && !runs[0].contains("--kernel"));
        assert!(runs[1].contains("--kernel\n/lab/stock-bzImage\n") && runs[1].contains("--images\n/lab/images"));
        let stranger = lab("--subject mine.toml --filter smp --accel kvm").inside(true);
        let stock = stranger.split("\n\n").nth(1).expect("a second run");
        assert!(stock.contains("--subject\nmine.toml\n--accel\nkvm\n") && !stock.contains("smp"));
        assert!(LabArguments::new(&["--images".to_owned(), "x".to_owned()], &[]).is_err());
    }
}
