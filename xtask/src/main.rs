//! `cargo xtask`: automation in the main language. It knows nothing of the workspace's crates: it starts cargo, the
//! binaries and QEMU, and looks at sources as text.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod conformance;
mod fuzz;
mod gate;
mod golden;
mod guest_images;
mod lab;
mod setup;
mod shell;
mod test;
mod tidy;

/// Touchstone's automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Xtask {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds what is needed and runs the conformance suite; all arguments go to `touchstone run`, or with --mutants as
    /// the first to `touchstone mutants --run`. With --lab among them, depths cpu and guest run in the lab.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Conformance {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs everything a contributor runs before a commit: tidy, format, clippy, tests.
    Test,
    /// Builds the guest images from source and checks their instructions.
    GuestImages(guest_images::Arguments),
    /// Goldens: check, bless, diff, verify.
    Golden {
        #[command(subcommand)]
        verb: golden::Verb,
    },
    /// Fuzzing: list, run, replay, show.
    Fuzz {
        #[command(subcommand)]
        verb: fuzz::Verb,
    },
    /// Runs the suite on real KVM inside a machine that QEMU emulates; `-- ARGUMENTS` go to `touchstone run` there.
    Lab(lab::Options),
    /// Measures the reference against other VMMs.
    Bench {
        #[command(subcommand)]
        verb: bench::Verb,
    },
    /// The release gate: runs all that a release needs, answers yes or no, and leaves a file of evidence.
    Gate(gate::Gate),
    /// Says which optional tools are here and what each one unlocks.
    Setup {
        /// Installs what is missing, where apt-get and cargo can.
        #[arg(long)]
        install: bool,
    },
    /// Checks the rules of the source tree that the compiler cannot.
    Tidy,
    /// Runs what CI runs, and lists all failures at the end.
    Ci {
        /// Leaves out `cargo xtask test`, for a caller that has just run it.
        #[arg(long)]
        after_test: bool,
    },
}

fn main() -> ExitCode {
    let done = match Xtask::parse().verb {
        Verb::Conformance { arguments } => return conformance::run(&arguments),
        Verb::Test => test::run(),
        Verb::GuestImages(arguments) => guest_images::run(&arguments),
        Verb::Golden { verb } => golden::run(&verb),
        Verb::Fuzz { verb } => fuzz::run(&verb),
        Verb::Lab(options) => return conformance::exit_code(lab::run(&options)),
        Verb::Bench { verb } => bench::run(&verb),
        Verb::Gate(gate) => gate::run(&gate),
        Verb::Setup { install } => setup::run(install),
        Verb::Tidy => tidy::run(),
        Verb::Ci { after_test } => ci::run(after_test),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
