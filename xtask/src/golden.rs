//! `cargo xtask golden`: reviewed snapshots.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::{conformance, shell};

/// insta's word for comparing only.
pub(crate) const NEVER_WRITE: &str = "no";

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Compares every golden with what is generated now, and checks the invariants of the goldens themselves.
    Check,
    /// Writes the goldens anew; review the difference and commit it alone.
    Bless,
    /// Shows how the goldens in the tree differ from the last commit.
    Diff,
    /// Derives the goldens' facts from another machine and compares: a live QEMU or a recording.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Verify {
        /// Arguments of `touchstone golden verify`: `--subject qemu` or `--recording FILE`.
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

pub(crate) fn run(verb: &Verb) -> Result<()> {
    let test = ["test", "--quiet", "--package", "conformance", "--test", "golden"];
    match verb {
        Verb::Check => shell::succeed(shell::cargo(&test).env("INSTA_UPDATE", NEVER_WRITE)),
        Verb::Bless => {
            if std::env::var_os("CI").is_some() {
                bail!("CI never blesses: run `cargo xtask golden bless` at a desk and commit the reviewed difference");
            }
            shell::succeed(shell::cargo(&test).env("INSTA_UPDATE", "always"))?;
            shell::succeed(&mut shell::program(
                "git",
                &["--no-pager", "diff", "--stat", "--", "golden"],
            ))
        }
        Verb::Diff => shell::succeed(&mut shell::program("git", &["--no-pager", "diff", "--", "golden"])),
        Verb::Verify { arguments } => {
            conformance::build()?;
            // In the caller's folder: that is what a path of a recording starts from.
            let mut command = Command::new(shell::target().join("debug/touchstone"));
            command.args(["golden", "verify"]);
            shell::succeed(command.args(arguments))
        }
    }
}
