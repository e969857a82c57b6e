//! Programs that go into the lab with their libraries: those that the caller names, and those that subjects start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::arguments::is_subject_file;
use crate::shell;

/// Where a program is that has no folder in its name, and where a distribution has it: QEMU looks for its firmware from
/// there.
const FOLDER: &str = "/usr/bin";
/// What a program loads once it runs, where a distribution has it: Debian's QEMU has its emulation in a module.
const MODULES: [(&str, &str); 1] = [(
    "qemu-system-x86_64",
    "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so",
)];
/// What every lab has, built for it.
const OWN: [&str; 2] = ["touchstone", "microvm"];

/// Where each file is to be in the lab, and where it is here. A program that the caller names has to be here; of one
/// that a subject starts, the suite says so itself if it is not.
pub(super) fn all(named: &[String], subjects: &[String]) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = BTreeMap::new();
    for name in named {
        let file = find(name).with_context(|| format!("--carry {name}: no such program"))?;
        add(name, &file, &mut files)?;
    }
    for subject in subjects {
        let file = if is_subject_file(subject) {
            PathBuf::from(subject)
        } else {
            // A planted bug and the like have no file.
            shell::root().join(format!("conformance/subjects/{subject}.toml"))
        };
        if !file.is_file() {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for name in started(&text) {
            if let Some(program) = find(&name) {
                add(&name, &program, &mut files)?;
            }
        }
    }
    Ok(files)
}

/// The programs that a subject file starts: the first word of each command, and of what asks for the version. A file
/// that cannot be read is the suite's to complain of.
fn started(text: &str) -> BTreeSet<String> {
    let mut programs = BTreeSet::new();
    let Ok(table) = text.parse::<toml::Table>() else {
        return programs;
    };
    let mut note = |words: Option<&toml::Value>| {
        let first = words.and_then(|words| words.as_array()?.first()?.as_str());
        // `{...}` is the suite's to fill in.
        programs.extend(first.filter(|word| !word.contains('{')).map(str::to_owned));
    };
    note(table.get("version"));
    for ways in table.values().filter_map(toml::Value::as_array) {
        for way in ways {
            note(way.get("command"));
        }
    }
    programs.retain(|program| !OWN.contains(&program.as_str()));
    programs
}

/// Adds a program, under the name that starts it there, and its libraries.
fn add(name: &str, file: &Path, files: &mut BTreeMap<PathBuf, PathBuf>) -> Result<()> {
    files.insert(Path::new(FOLDER).join(shell::name_of(file)), file.to_owned());
    if name.contains('/') {
        // The lab's folder is `/`.
        files.insert(Path::new("/").join(name), file.to_owned());
    }
    let modules = MODULES.iter().filter(|(program, _)| *program == shell::name_of(file));
    let modules = modules.map(|(_, module)| PathBuf::from(module));
    for library in libraries(file)?
        .into_iter()
        .chain(modules.filter(|module| module.is_file()))
    {
        files.insert(library.clone(), library);
    }
    Ok(())
}

fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|program| program.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

/// The shared libraries of a program, its loader among them; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_the_first_words_of_commands() {
        let text = r#"
            version = ["my-vmm-info", "--version"]
            [[cpu]]
            command = ["./out/my-vmm", "{setup}"]
            [[guest]]
            command = ["./out/my-vmm"]
            [[guest]]
            command = ["{self}/other"]
            [[wire]]
            command = ["microvm", "qtest"]
            [arguments]
            ram = ["not-a-program"]
        "#;
        let programs: Vec<String> = started(text).into_iter().collect();
        assert_eq!(programs, ["./out/my-vmm", "my-vmm-info"]);
        assert!(started("no = toml = file").is_empty());
    }

    #[test]
    fn built_in_subjects_start_their_programs() {
        let programs = |name: &str| {
            let file = shell::root().join(format!("conformance/subjects/{name}.toml"));
            started(&fs::read_to_string(file).expect("a subject file"))
        };
        assert!(programs("qemu").contains("qemu-system-x86_64"));
        assert!(programs("firecracker").contains("firecracker"));
        assert!(programs("reference").is_empty());
    }

    #[test]
    fn a_program_comes_with_its_libraries_and_one_that_is_not_here_is_told() {
        let files = all(&["sh".to_owned()], &[]).expect("a shell");
        assert!(files.contains_key(Path::new("/usr/bin/sh")), "{files:?}");
        assert!(
            files.keys().any(|file| shell::name_of(file).starts_with("libc.")),
            "{files:?}"
        );
        let problem = all(&["no-such-vmm".to_owned()], &[]).expect_err("not here").to_string();
        assert_eq!(problem, "--carry no-such-vmm: no such program");
        assert!(all(&[], &["null".to_owned(), "no/such.toml".to_owned()]).is_ok());
    }
}
