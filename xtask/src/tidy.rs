//! `cargo xtask tidy`: rules of the source tree that the compiler cannot check. It also runs as a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Checks the tree and fails with every finding.
pub(crate) fn run() -> Result<()> {
    let findings = findings(&shell::root())?;
    if !findings.is_empty() {
        bail!("{} findings:\n{}", findings.len(), findings.join("\n"));
    }
    Ok(())
}

/// One source file.
struct Source {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

fn findings(root: &Path) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for folder in ["vmm", "conformance", "guest-images", "fuzz", "xtask"] {
        collect(root, &root.join(folder), &mut sources)?;
    }
    let mut findings = Vec::new();
    for source in &sources {
        check_text(source, &mut findings);
        check_names(source, &mut findings);
        check_unsafe(source, &mut findings);
        check_independence(source, &mut findings);
        check_layers(source, &mut findings);
        check_determinism(source, &mut findings);
        check_device_header(source, &mut findings);
    }
    check_orphans(&sources, &mut findings);
    check_dependencies(root, &mut findings)?;
    findings.sort();
    Ok(findings)
}

fn collect(root: &Path, folder: &Path, into: &mut Vec<Source>) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "corpus", "artifacts", "coverage"].contains(&name.as_str()) {
                collect(root, &path, into)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let path = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            into.push(Source { path, text });
        }
    }
    Ok(())
}

fn check_text(source: &Source, findings: &mut Vec<String>) {
    let Source { path, text } = source;
    if !text.ends_with('\n') {
        findings.push(format!("{path}: no newline at the end"));
    }
    for (index, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", index + 1);
        if line.ends_with(' ') || line.contains('\t') {
            findings.push(format!("{at}: trailing space or tab"));
        }
        if LINE_LENGTH_MAX < line.chars().count() {
            findings.push(format!("{at}: longer than {LINE_LENGTH_MAX} characters"));
        }
        // This file names what it forbids.
        if path != "xtask/src/tidy.rs" && BANNED.iter().any(|banned| line.contains(banned)) {
            findings.push(format!(
                "{at}: unfinished work or a test that does not run: {}",
                line.trim()
            ));
        }
    }
}

fn check_names(source: &Source, findings: &mut Vec<String>) {
    let stem = source
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs");
    if ["common", "util", "utils", "base", "helpers", "misc"].contains(&stem) {
        findings.push(format!(
            "{}: '{stem}' says nothing; name the file after what it holds",
            source.path
        ));
    }
}

fn check_unsafe(source: &Source, findings: &mut Vec<String>) {
    let allowed = ["vmm/src/kvm/", "vmm/src/bin/kvm-floor.rs", "guest-images/"];
    if allowed.iter().any(|folder| source.path.starts_with(folder)) || source.path == "xtask/src/tidy.rs" {
        return;
    }
    for (index, line) in code_lines(&source.text) {
        if line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl") {
            findings.push(format!(
                "{}:{}: unsafe belongs in vmm/src/kvm or guest-images",
                source.path,
                index + 1
            ));
        }
    }
}

/// The suite never takes its numbers from the implementation.
fn check_independence(source: &Source, findings: &mut Vec<String>) {
    let inside = source.path.starts_with("conformance/");
    if !inside || source.path == "conformance/src/subject/in_process.rs" {
        return;
    }
    for (index, line) in code_lines(&source.text) {
        if line.contains("vmm::") || line.contains("use vmm") {
            findings.push(format!(
                "{}:{}: only subject/in_process.rs may name vmm",
                source.path,
                index + 1
            ));
        }
    }
}

/// Layers of `vmm`; a lower one never imports an upper one.
fn check_layers(source: &Source, findings: &mut Vec<String>) {
    let Some(layer) = layer_of(&source.path) else { return };
    for (index, line) in code_lines(&source.text) {
        let Some(rest) = line.trim_start().strip_prefix("use crate::") else {
            continue;
        };
        let module: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let Some(other) = layer_of(&format!("vmm/src/{module}.rs"))
            && layer < other
        {
            let at = format!("{}:{}", source.path, index + 1);
            findings.push(format!("{at}: layer {layer} imports `{module}` of layer {other}"));
        }
    }
}

fn layer_of(path: &str) -> Option<usize> {
    let module = path.strip_prefix("vmm/src/")?.split(['/', '.']).next()?;
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Below `kvm` and `host` there is no clock, no file, no thread and no printing.
fn check_determinism(source: &Source, findings: &mut Vec<String>) {
    if layer_of(&source.path).is_none_or(|layer| DETERMINISTIC_LAYER_MAX < layer) {
        return;
    }
    let outside = [
        "std::time",
        "std::fs",
        "std::thread",
        "std::process",
        "std::net",
        "println!(",
        "eprintln!(",
    ];
    for (index, line) in code_lines(&source.text) {
        if line.contains("#[cfg(test)]") && line.contains("mod tests") {
            break;
        }
        if let Some(word) = outside.iter().find(|word| line.contains(**word)) {
            findings.push(format!(
                "{}:{}: {word} in the deterministic machine",
                source.path,
                index + 1
            ));
        }
    }
}

fn check_device_header(source: &Source, findings: &mut Vec<String>) {
    let parts: Vec<&str> = source.path.split('/').collect();
    if parts.len() != 4 || parts[..3] != ["vmm", "src", "chip"] || parts[3] == "mod.rs" {
        return;
    }
    for header in ["//! Source:", "//! Deviations:"] {
        if !source.text.contains(header) {
            findings.push(format!(
                "{}: a module that models hardware says `{header}`",
                source.path
            ));
        }
    }
}

/// Every file is reached by a `mod` of its parent.
fn check_orphans(sources: &[Source], findings: &mut Vec<String>) {
    for source in sources {
        let Some((folder, file)) = source.path.rsplit_once('/') else {
            continue;
        };
        let stem = file.trim_end_matches(".rs");
        let in_tree = folder.contains("/src") && !folder.contains("/bin") && !folder.ends_with("fuzz_targets");
        if !in_tree || ["lib", "main"].contains(&stem) {
            continue;
        }
        let (module, parents) = if stem == "mod" {
            let (above, name) = folder.rsplit_once('/').unwrap_or_default();
            (
                name,
                vec![
                    format!("{above}/lib.rs"),
                    format!("{above}/main.rs"),
                    format!("{above}/mod.rs"),
                    format!("{above}.rs"),
                ],
            )
        } else {
            (
                stem,
                vec![
                    format!("{folder}/lib.rs"),
                    format!("{folder}/main.rs"),
                    format!("{folder}/mod.rs"),
                    format!("{folder}.rs"),
                ],
            )
        };
        let declared = parents.iter().any(|parent| {
            let text = sources
                .iter()
                .find(|other| other.path == *parent)
                .map(|other| other.text.as_str());
            text.is_some_and(|text| text.contains(&format!("mod {module};")))
        });
        if !declared {
            findings.push(format!("{}: no `mod {module};` names this file", source.path));
        }
    }
}

/// One vm-memory, and a reason for every dependency.
fn check_dependencies(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("read Cargo.lock")?;
    let versions = lock.matches("name = \"vm-memory\"\n").count();
    if 1 < versions {
        findings.push(format!(
            "Cargo.lock: {versions} versions of vm-memory; the rust-vmm crates must share one"
        ));
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("read Cargo.toml")?;
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let section = dependencies.split("\n[").next().unwrap_or_default();
    for line in section
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
    {
        if !line.contains("# ") && !line.contains("path = ") {
            findings.push(format!(
                "Cargo.toml: no reason given for {}",
                line.split(' ').next().unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// Lines that are not comments, with their index.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

const LINE_LENGTH_MAX: usize = 120;

const BANNED: [&str; 5] = ["todo!(", "unimplemented!(", "#[ignore", "should_panic", "FIXME"];

/// Modules of `vmm` by layer, lowest first.
const LAYERS: [&[&str]; 7] = [
    &["units"],
    &["device", "bus", "irq", "memory", "inspect"],
    &["chip", "virtio"],
    &["board", "boot"],
    &["machine"],
    &["kvm", "host"],
    &["main", "cli", "qtest", "run"],
];

const DETERMINISTIC_LAYER_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_is_tidy() {
        let findings = findings(&shell::root()).expect("the tree can be read");
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn upward_import_and_orphan_and_clock_are_found() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let chip = source(
            "vmm/src/chip/rtc.rs",
            "use crate::machine::Machine;\nlet now = std::time::Instant::now();\n",
        );
        let mut findings = Vec::new();
        check_layers(&chip, &mut findings);
        check_determinism(&chip, &mut findings);
        check_device_header(&chip, &mut findings);
        check_orphans(&[chip], &mut findings);
        assert_eq!(findings.len(), 5, "{findings:#?}");
    }

    #[test]
    fn suite_that_names_the_implementation_is_found() {
        let text = "const BASE: u64 = vmm::board::BASE;\n".to_owned();
        let mut findings = Vec::new();
        check_independence(
            &Source {
                path: "conformance/src/layout.rs".to_owned(),
                text,
            },
            &mut findings,
        );
        assert_eq!(findings.len(), 1);
    }
}
