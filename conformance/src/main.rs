//! `touchstone`: the suite's command line.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand};
use conformance::layout::Layout;
use conformance::machine::Depth;
use conformance::runner::{self, CaseResult, Options, Plan, Progress, Selection};
use conformance::subject::{Subject, Wanted};

/// Conformance suite for the microvm machine model.
#[derive(Parser)]
#[command(name = "touchstone", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run cases and judge.
    Run(RunArguments),
}

#[derive(Args)]
struct RunArguments {
    /// Subject: reference, qemu, null or FILE.toml.
    #[arg(long, default_value = "reference")]
    subject: Vec<String>,
    /// Depths.
    #[arg(long, value_delimiter = ',', value_parser = parse_depth)]
    depth: Vec<Depth>,
    /// Profiles.
    #[arg(long, value_delimiter = ',', value_parser = parse_profile)]
    profile: Vec<&'static Layout>,
    /// Id, prefix or glob.
    #[arg(long)]
    filter: Vec<String>,
    /// Cases at the same time.
    #[arg(long)]
    jobs: Option<usize>,
}

fn parse_depth(word: &str) -> Result<Depth, String> {
    let depth = Depth::ALL.into_iter().find(|depth| depth.word() == word);
    depth.ok_or_else(|| "choose from bus, wire, cpu, guest".to_owned())
}

fn parse_profile(word: &str) -> Result<&'static Layout, String> {
    Layout::by_name(word).ok_or_else(|| format!("choose from {}", Layout::ALL.map(|layout| layout.profile).join(", ")))
}

struct Print;

impl Progress for Print {
    fn done(&mut self, result: &CaseResult) {
        println!("{:14} {}", result.verdict, result.case.id);
        if let Some(reason) = &result.reason {
            println!("    {reason}");
        }
        for mismatch in &result.record.mismatches {
            let point = mismatch.point.as_deref().unwrap_or_default();
            println!(
                "    {point} {}: got {}, want {}",
                mismatch.what, mismatch.got, mismatch.want
            );
        }
    }
}

fn main() -> ExitCode {
    let Command::Run(arguments) = Cli::parse().command;
    let wanted = Wanted {
        depths: arguments.depth,
        profiles: arguments.profile,
        way: None,
    };
    let mut lanes = Vec::new();
    for name in &arguments.subject {
        let subject_lanes = Subject::find(name).map_err(|error| error.to_string());
        match subject_lanes.and_then(|subject| subject.lanes(&wanted)) {
            Ok(more) => lanes.extend(more),
            Err(problem) => {
                eprintln!("error: {problem}");
                return ExitCode::from(2);
            }
        }
    }
    let selection = Selection {
        filters: arguments.filter,
        ..Selection::default()
    };
    let mut options = Options::default();
    if let Some(jobs) = arguments.jobs {
        options.jobs = jobs;
    }
    let plan = Arc::new(Plan::new(lanes, &selection));
    let results = runner::run(&plan, &options, &Arc::new(AtomicBool::new(false)), &mut Print);
    let failed = results.iter().filter(|result| !result.verdict.is_fine()).count();
    println!("{} run, {failed} not fine", results.len());
    ExitCode::from(u8::from(failed != 0))
}
