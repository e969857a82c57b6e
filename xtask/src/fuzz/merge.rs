//! `cargo xtask fuzz merge`: what campaigns on several machines kept, as one corpus without what adds nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::campaign::{self, Folders};
use super::engine::{self, Sanitizer};
use super::targets;
use crate::shell;

/// Merges folders of inputs into the corpus of a target, from which `fuzz run --resume` goes on. What was there is made
/// as small as it can be, too.
pub(super) fn run(target: &str, folders: &[PathBuf]) -> Result<()> {
    let known = targets()?;
    if !known.iter().any(|name| name == target) {
        bail!("no fuzz target '{target}'; there are: {}", known.join(", "));
    }
    let own = Folders::of(target, Sanitizer::None);
    fs::create_dir_all(&own.corpus).with_context(|| format!("create {}", own.corpus.display()))?;
    let merged = campaign::folder().join(target).join("merged");
    campaign::empty(&merged)?;
    fs::create_dir_all(&merged).with_context(|| format!("create {}", merged.display()))?;
    let binary = engine::build(target, Sanitizer::None, &own.log)?;
    let here = std::env::current_dir().context("find the current folder")?;
    let given: Vec<PathBuf> = folders.iter().map(|folder| here.join(folder)).collect();
    let mut command = shell::program(&binary, &["-merge=1", "-timeout=10"]);
    command
        .arg("-max_len=1048576")
        .arg(&merged)
        .arg(&own.corpus)
        .args(&given);
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    fs::write(&own.log, &output.stderr).with_context(|| format!("write {}", own.log.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}; {} tells why",
            shell::line(&command),
            output.status,
            own.log.display()
        );
    }
    let mut before = count(&own.corpus)?;
    for folder in &given {
        before += count(folder)?;
    }
    campaign::empty(&own.corpus)?;
    fs::rename(&merged, &own.corpus).with_context(|| format!("rename {}", merged.display()))?;
    let after = count(&own.corpus)?;
    println!(
        "{target}: {before} inputs, of which {after} reach all: {}",
        own.corpus.display()
    );
    Ok(())
}

fn count(folder: &Path) -> Result<usize> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    Ok(entries.count())
}
