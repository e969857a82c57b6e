//! `touchstone bench`: the command line around [`conformance::bench`].

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use conformance::bench::{self, Bench, Guest, Spread};
use conformance::subject::Subject;

use crate::recordings::progress_bar;

#[derive(Subcommand)]
pub(crate) enum BenchCommand {
    /// Spawn to the guest's first byte, exits and peak memory of several VMMs, in turn in one run.
    Boot(BootArguments),
}

#[derive(Args)]
pub(crate) struct BootArguments {
    /// Subject: a name or FILE.toml with a [[bench]] table; may be repeated, and the first is what others are compared
    /// with.
    #[arg(long, default_values = ["kvm-floor", "reference", "qemu"])]
    subject: Vec<String>,
    /// The guest.
    #[arg(long, value_enum, default_value = "halt")]
    image: Guest,
    /// Starts of each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Folder with the guest images.
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when one of the subjects cannot be measured here.
    #[arg(long)]
    require: bool,
    /// Fail when the reference takes more than this many times as long to the first byte as the first subject.
    #[arg(long, value_name = "TIMES")]
    ratio_max: Option<f64>,
    /// Fail when the reference keeps more than this many KiB resident beyond guest RAM.
    #[arg(long, value_name = "KIB")]
    beyond_max_kib: Option<u64>,
}

/// Measures, prints, and judges where a limit was given. `Err` is the problem and whether the command line is at fault.
pub(crate) fn boot(arguments: &BootArguments, images: &Path) -> Result<String, (String, bool)> {
    let subjects: Result<Vec<_>, _> = arguments.subject.iter().map(|name| Subject::find(name)).collect();
    let subjects = subjects.map_err(|error| (error.to_string(), true))?;
    let subjects: Vec<&Subject> = subjects.iter().collect();
    let bench = measure(&subjects, images, arguments.image, arguments.runs).map_err(|error| (error, false))?;
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&bench).map_err(|error| (error.to_string(), false))?;
        let written = std::fs::write(path, text + "\n");
        written.map_err(|error| (format!("--json {}: {error}", path.display()), false))?;
    }
    let text = table(&bench);
    let problems = problems(arguments, &bench);
    if problems.is_empty() {
        return Ok(text);
    }
    Err((format!("{}\n{text}", problems.join("\n")), false))
}

/// Measures with a progress bar.
pub(crate) fn measure(subjects: &[&Subject], images: &Path, guest: Guest, runs: u32) -> Result<Bench, String> {
    let bar = progress_bar((bench::starts(runs) * subjects.len() as u64) as usize);
    let bench = bench::boot(subjects, images, guest, runs, || bar.inc(1));
    bar.finish_and_clear();
    bench
}

/// The figures for people at a terminal.
pub(crate) fn table(bench: &Bench) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADER);
    for row in &bench.rows {
        table.add_row([
            row.subject.clone(),
            spread(row.first_byte_ms),
            format!("{:.2}", row.first_byte_ratio),
            spread(row.end_ms),
            row.exits.map_or_else(String::new, |exits| exits.to_string()),
            row.kvm_exits.get("exits").map_or_else(String::new, u64::to_string),
            row.peak_kib.to_string(),
            row.guest_kib.to_string(),
            row.beyond_kib.to_string(),
        ]);
    }
    for index in 1..HEADER.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "image {}, {} MiB of RAM, {} starts each in turn; times in ms as median (least .. nine of ten), exits to the \
         VMM and by KVM's own count, memory in KiB\n{table}",
        bench.image, bench.ram_mib, bench.runs
    );
    for skipped in &bench.skipped {
        text.push_str(&format!("\nskipped: {}: {}", skipped.subject, skipped.reason));
    }
    text
}

fn spread(spread: Spread) -> String {
    format!("{:.1} ({:.1} .. {:.1})", spread.median, spread.min, spread.p90)
}

fn problems(arguments: &BootArguments, bench: &Bench) -> Vec<String> {
    let mut problems = Vec::new();
    if arguments.require {
        let missing = bench.skipped.iter();
        problems.extend(missing.map(|skipped| format!("{} is required: {}", skipped.subject, skipped.reason)));
    }
    let Some(row) = bench.rows.iter().find(|row| row.subject == JUDGED) else {
        // The table says why.
        return problems;
    };
    let first = bench.rows.first().map(|row| row.subject.as_str()).unwrap_or_default();
    if let Some(most) = arguments.ratio_max
        && most < row.first_byte_ratio
    {
        let got = row.first_byte_ratio;
        problems.push(format!(
            "{JUDGED}: {got:.2} times as long to the first byte as {first}, at most {most} is allowed"
        ));
    }
    if let Some(most) = arguments.beyond_max_kib
        && most < row.beyond_kib
    {
        let got = row.beyond_kib;
        problems.push(format!(
            "{JUDGED}: {got} KiB resident beyond guest RAM, at most {most} is allowed"
        ));
    }
    problems
}

/// The subject that limits are for.
const JUDGED: &str = "reference";

const HEADER: [&str; 9] = [
    "subject",
    "first byte",
    "times",
    "end",
    "exits",
    "by KVM",
    "peak",
    "guest RAM",
    "beyond it",
];
