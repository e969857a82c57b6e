//! `cargo xtask fuzz engines`: builds the targets as engines beyond one machine do, and tries what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::engine::{Sanitizer, TRIPLE, nightly};
use super::{campaign, targets};
use crate::shell;

/// Runs `fuzz/engines/build.sh` in a plain environment, as OSS-Fuzz calls it, then each binary for a few runs on its
/// seeds.
pub(super) fn check(sanitizer: Sanitizer) -> Result<()> {
    if let Some(why) = sanitizer.missing() {
        bail!("{why}");
    }
    for tool in ["zip", "unzip"] {
        if shell::first_line(tool, &["-v"]).is_none() {
            bail!("{tool} is not installed; `cargo xtask setup --install` gets it");
        }
    }
    let folder = campaign::folder().join("engines").join(sanitizer.name());
    let (src, out) = (folder.join("src"), folder.join("out"));
    for fresh in [&src, &out] {
        campaign::empty(fresh)?;
        fs::create_dir_all(fresh).with_context(|| format!("create {}", fresh.display()))?;
    }
    let link = src.join("touchstone");
    std::os::unix::fs::symlink(shell::root(), &link).with_context(|| format!("link {}", link.display()))?;
    let mut build = plain("bash", &[])?;
    build
        .arg("-eu")
        .arg(link.join("fuzz/engines/build.sh"))
        .current_dir(&src)
        .env("SRC", &src)
        .env("OUT", &out)
        .env("WORK", &folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("SANITIZER", sanitizer.name())
        .env("FUZZING_ENGINE", "libfuzzer")
        .env("FUZZING_LANGUAGE", "rust")
        .env("ARCHITECTURE", "x86_64")
        .env("RUSTFLAGS", RUSTFLAGS);
    // The engines' images have a nightly as their only toolchain.
    if sanitizer == Sanitizer::Address {
        build.env("RUSTUP_TOOLCHAIN", "nightly");
    }
    shell::succeed(&mut build)?;
    for target in targets()? {
        try_target(&target, &out)?;
    }
    let with = nightly().unwrap_or_default();
    println!(
        "engines: every target builds, and runs its seeds, {TRIPLE}, sanitizer {}; {with}",
        sanitizer.name()
    );
    Ok(())
}

/// Runs a binary on its own zip of seeds and a few inputs more, with its options, where nothing else of the tree is.
fn try_target(target: &str, out: &Path) -> Result<()> {
    let binary = out.join(target);
    let seeds = out.join(format!("{target}_seed_corpus"));
    let zip = out.join(format!("{target}_seed_corpus.zip"));
    shell::succeed(plain("unzip", &["-q", "-o", "-d"])?.arg(&seeds).arg(&zip))?;
    let count = fs::read_dir(&seeds)
        .with_context(|| format!("read {}", seeds.display()))?
        .count();
    if count == 0 {
        bail!("{}: no seeds", zip.display());
    }
    let options = out.join(format!("{target}.options"));
    let options = fs::read_to_string(&options).with_context(|| format!("read {}", options.display()))?;
    let mut run = Command::new(&binary);
    run.env_clear()
        .current_dir(out)
        .env("ASAN_OPTIONS", "detect_odr_violation=0");
    // An options file has a line `name = value` for each of libFuzzer's flags.
    for (name, value) in options.lines().filter_map(|line| line.split_once('=')) {
        run.arg(format!("-{}={}", name.trim(), value.trim()));
    }
    let dictionary = out.join(format!("{target}.dict"));
    if dictionary.exists() {
        run.arg(format!("-dict={}", dictionary.display()));
    }
    let output = run
        .arg(format!("-runs={}", count + MORE_RUNS))
        .arg("-seed=1")
        .arg(&seeds)
        .output()
        .with_context(|| format!("start {}", binary.display()))?;
    if !output.status.success() {
        bail!(
            "{target}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    println!("{target}: {count} seeds and {MORE_RUNS} runs more");
    Ok(())
}

/// A program that sees nothing of this process's environment but where the tools are.
fn plain(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(name);
    command.args(arguments).env_clear();
    for variable in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        if let Some(value) = std::env::var_os(variable) {
            command.env(variable, value);
        }
    }
    // Where toolchains are, cargo adds its own folder first; proxies must be found before it.
    let path = std::env::var_os("PATH").context("PATH")?;
    let folders = std::env::split_paths(&path).filter(|folder| !folder.to_string_lossy().contains("/toolchains/"));
    let folders: Vec<PathBuf> = folders.collect();
    command.env("PATH", std::env::join_paths(folders)?);
    Ok(command)
}

/// As OSS-Fuzz's `compile` sets them for Rust.
const RUSTFLAGS: &str = "--cfg fuzzing -Cdebuginfo=1 -Cforce-frame-pointers";

/// Inputs that the engine makes beside the seeds.
const MORE_RUNS: usize = 200;
