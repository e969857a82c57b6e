//! `touchstone mutants`: lists the planted bugs, or runs them and counts how many are caught.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use comfy_table::{Table, presets};
use conformance::catalog;
use conformance::layout::Layout;
use conformance::machine::Depth;
use conformance::runner::{Options, Plan, Selection, Unit, run_unit};
use conformance::subject::mutant::{MUTANTS, Mutant};
use conformance::subject::{Lane, Subject, Wanted};
use conformance::verdict::Verdict;
use serde::Serialize;

use super::{End, out};

/// Arguments of `mutants`.
#[derive(Args)]
pub(crate) struct MutantsArguments {
    /// Run the case that hunts each bug against the machine with it and the machine without.
    #[arg(long)]
    run: bool,
    /// With --run: all cases of depth bus against each, to count which others notice it.
    #[arg(long, requires = "run")]
    all_cases: bool,
    /// With --run: bugs at the same time; the default is the number of processors.
    #[arg(long, requires = "run", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// With --run: write the results as JSON.
    #[arg(long, value_name = "FILE", requires = "run")]
    report: Option<PathBuf>,
    /// Only bugs whose name begins so; may be repeated.
    #[arg(long, value_name = "PREFIX")]
    filter: Vec<String>,
}

/// What came of one bug.
#[derive(Serialize)]
struct Hunt {
    mutant: &'static str,
    title: &'static str,
    origin: Option<&'static str>,
    case: &'static str,
    caught: bool,
    /// Why not.
    problem: Option<String>,
    /// Other cases that judge the machine with the bug worse than the one without; only with --all-cases.
    others: Option<Vec<&'static str>>,
}

#[derive(Serialize)]
struct Score<'a> {
    caught: usize,
    total: usize,
    hunts: &'a [Hunt],
}

/// Lists or runs.
pub(crate) fn mutants(arguments: &MutantsArguments) -> Result<(), End> {
    let chosen: Vec<&Mutant> = MUTANTS.iter().filter(|mutant| is_chosen(mutant, arguments)).collect();
    if chosen.is_empty() {
        let text = "nothing selected: no mutant's name begins so; see touchstone mutants";
        return Err(End::new(End::NOTHING, text));
    }
    if !arguments.run {
        list(&chosen);
        return Ok(());
    }
    if let Some(file) = &arguments.report {
        super::try_file(file)?;
    }
    let jobs = arguments.jobs.map_or_else(|| Options::default().jobs, usize::from);
    let mut hunts = hunt_all(&chosen, jobs, arguments.all_cases);
    hunts.sort_by_key(|hunt| hunt.mutant);
    let caught = hunts.iter().filter(|hunt| hunt.caught).count();
    let written = arguments
        .report
        .as_deref()
        .map_or(Ok(()), |file| write(file, caught, &hunts));
    out(&table(&hunts));
    out("");
    for hunt in &hunts {
        if let Some(problem) = &hunt.problem {
            out(&format!("not caught: {}: {problem}", hunt.mutant));
        }
    }
    let historic = hunts.iter().filter(|hunt| hunt.origin.is_some()).count();
    out(&format!(
        "{caught} of {} caught, {historic} of them bugs of real machines",
        hunts.len()
    ));
    written?;
    if caught == hunts.len() {
        Ok(())
    } else {
        Err(End {
            code: End::UNEXPECTED,
            message: None,
        })
    }
}

fn is_chosen(mutant: &Mutant, arguments: &MutantsArguments) -> bool {
    let filters = &arguments.filter;
    filters.is_empty() || filters.iter().any(|prefix| mutant.name.starts_with(prefix.as_str()))
}

fn list(mutants: &[&Mutant]) {
    for mutant in mutants {
        let origin = mutant.origin().map(|origin| format!(" Seen in: {origin}."));
        out(&format!(
            "{}\n    {} Caught by {}.{}",
            mutant.name,
            mutant.title,
            mutant.case,
            origin.unwrap_or_default()
        ));
    }
}

fn hunt_all(mutants: &[&'static Mutant], jobs: usize, all_cases: bool) -> Vec<Hunt> {
    let next = AtomicUsize::new(0);
    let hunts = Mutex::new(Vec::new());
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let hunt = hunt(mutant, all_cases);
            // A poisoned lock is a panic of another worker, which ends the scope with it.
            hunts.lock().expect("no worker panics").push(hunt);
        }
    };
    thread::scope(|scope| (0..jobs.clamp(1, mutants.len())).for_each(|_| drop(scope.spawn(work))));
    hunts.into_inner().expect("no worker panics")
}

fn hunt(mutant: &'static Mutant, all_cases: bool) -> Hunt {
    let found = judge(mutant, all_cases);
    let (problem, others) = match found {
        Ok(others) => (None, others),
        Err(problem) => (Some(problem), None),
    };
    Hunt {
        mutant: mutant.name,
        title: mutant.title,
        origin: mutant.origin(),
        case: mutant.case,
        caught: problem.is_none(),
        problem,
        others: all_cases.then(|| others.unwrap_or_default()),
    }
}

/// Whether the bug's own case sees it, and which others do.
fn judge(mutant: &'static Mutant, all_cases: bool) -> Result<Option<Vec<&'static str>>, String> {
    let case = catalog::by_id(mutant.case).ok_or_else(|| format!("there is no case {}", mutant.case))?;
    let ill = bus_lane(&format!("mutant:{}", mutant.name), &[])?;
    let healthy = bus_lane("reference", &[ill.layout])?;
    let (unit, options) = (Unit { case, lane: 0 }, Options::default());
    let without = run_unit(&unit, &healthy, &options).verdict;
    if without != Verdict::Pass {
        return Err(format!("without the bug {} gave {without}", mutant.case));
    }
    let (caught, want) = (run_unit(&unit, &ill, &options).verdict, mutant.caught());
    if caught != want {
        return Err(format!("{} gave {caught}, not {want}", mutant.case));
    }
    if !all_cases {
        return Ok(None);
    }
    let plan = Plan::new(vec![ill], &Selection::default());
    let mut others = Vec::new();
    for unit in plan.units.iter().filter(|unit| unit.case.id != mutant.case) {
        let with = run_unit(unit, &plan.lanes[0], &options).verdict;
        // Most cases see nothing of a bug, so that the machine without it is asked last.
        if !is_quiet(with) && is_quiet(run_unit(unit, &healthy, &options).verdict) {
            others.push(unit.case.id);
        }
    }
    Ok(Some(others))
}

fn is_quiet(verdict: Verdict) -> bool {
    !matches!(
        verdict,
        Verdict::Fail | Verdict::Warn | Verdict::Error | Verdict::Timeout | Verdict::Crash
    )
}

fn bus_lane(name: &str, profiles: &[&'static Layout]) -> Result<Lane, String> {
    let subject = Subject::find(name).map_err(|error| error.to_string())?;
    let wanted = Wanted {
        depths: vec![Depth::Bus],
        profiles: profiles.to_vec(),
        ..Wanted::default()
    };
    let lanes = subject.lanes(&wanted)?;
    lanes
        .into_iter()
        .next()
        .ok_or_else(|| format!("{name} has no depth bus"))
}

fn table(hunts: &[Hunt]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let counts = hunts.iter().any(|hunt| hunt.others.is_some());
    let mut header = vec!["mutant", "case", "caught", "seen in"];
    if counts {
        header.push("others");
    }
    table.set_header(header);
    for hunt in hunts {
        let caught = if hunt.caught { "yes" } else { "NO" };
        let cells = [hunt.mutant, hunt.case, caught, hunt.origin.unwrap_or_default()];
        let mut cells = cells.map(str::to_owned).to_vec();
        if let Some(others) = &hunt.others {
            cells.push(others.len().to_string());
        }
        table.add_row(cells);
    }
    table.to_string()
}

fn write(file: &Path, caught: usize, hunts: &[Hunt]) -> Result<(), End> {
    let score = Score {
        caught,
        total: hunts.len(),
        hunts,
    };
    let problem = |error: String| End::new(End::USAGE, format!("{}: {error}", file.display()));
    let text = serde_json::to_string_pretty(&score).map_err(|error| problem(error.to_string()))?;
    fs::write(file, text + "\n").map_err(|error| problem(format!("write: {error}")))
}
