//! `cargo xtask bench`: builds for release and measures. The measuring itself is `touchstone bench`.

use anyhow::Result;
use clap::Subcommand;

use crate::{guest_images, shell};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Spawn to first guest byte, exits and peak memory of the reference, a bare KVM loop and QEMU, in turn in one run;
    /// all arguments go to `touchstone bench boot`.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Boot {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Does what the user asked for.
pub(crate) fn run(verb: &Verb) -> Result<()> {
    let Verb::Boot { arguments } = verb;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    boot(&arguments)
}

/// `touchstone bench boot` with these arguments.
pub(crate) fn boot(arguments: &[&str]) -> Result<()> {
    let images = guest_images::build()?;
    let build = [
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--bins",
        "--package",
        "vmm",
        "--package",
        "conformance",
    ];
    shell::succeed(&mut shell::cargo(&build))?;
    let touchstone = shell::target().join("release").join("touchstone");
    let mut command = shell::program(touchstone, &["bench", "boot", "--images"]);
    shell::succeed(command.arg(images).args(arguments))
}
