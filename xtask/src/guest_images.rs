//! `cargo xtask guest-images`: builds the bare-metal images with the installed Rust alone and checks their code.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The images, as file names.
const IMAGES: [&str; 5] = ["agent", "delivery", "halt", "probe", "smp"];

/// The host's own target: no other needs to be installed.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds all images, checks that an interpreter can run them, and returns the folder they are in.
pub(crate) fn build() -> Result<PathBuf> {
    let target = shell::target().join("guest");
    let mut command = shell::cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--package",
        "guest-images",
        "--profile",
        "guest",
    ]);
    command
        .args(["--features", "image", "--bins", "--target", TARGET, "--target-dir"])
        .arg(&target);
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\u{1f}"));
    shell::succeed(&mut command)?;
    let folder = target.join(TARGET).join("guest");
    check(&folder)?;
    Ok(folder)
}

/// Why each is needed stands in guest-images/README.md.
fn flags() -> Result<Vec<String>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set, so paths cannot be kept out of the images")?;
    let fixed = [
        "-Crelocation-model=static",
        "-Ctarget-cpu=x86-64",
        "-Cforce-unwind-tables=no",
        "-Cllvm-args=-force-attribute=noimplicitfloat",
        "-Cllvm-args=-force-attribute=noredzone",
    ];
    let mut flags: Vec<String> = fixed.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--remap-path-prefix={}=.", shell::root().display()));
    flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    Ok(flags)
}

/// Disassembles the images and refuses instructions that a plain interpreter lacks.
fn check(folder: &std::path::Path) -> Result<()> {
    let run = [
        "run",
        "--quiet",
        "--package",
        "guest-images",
        "--features",
        "check",
        "--bin",
        "check-image",
        "--",
    ];
    let mut command = shell::cargo(&run);
    command.args(IMAGES.map(|image| folder.join(image)));
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        let (said, warned) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("an image has an instruction that a plain interpreter refuses:\n{said}{warned}");
    }
    Ok(())
}
