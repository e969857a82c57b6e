//! Differential fuzzing: the same programs on the reference and on another machine that speaks qtest.
//!
//! Programs are those of the fuzz targets: random inputs, seeds, corpora of campaigns. A difference that is settled in
//! writing ([`settled`]) is counted; any other is a finding, which is made shorter and written as a program with both
//! answers side by side.

pub mod area;
pub mod campaign;
pub mod compare;
pub mod generate;
pub mod peculiar;
pub mod settled;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use clap::Args;
use conformance::case::Setup;
use conformance::layout::{Layout, QEMU_7_2};
use conformance::machine::{Adapter, Caps, Depth, Machine, Stop};
use conformance::program::Action;
use conformance::replay::{act, shown};
use conformance::subject::{Subject, Wanted};

use self::area::Area;
use self::campaign::{Budget, Campaign, Result as AreaResult};
use self::compare::{Bench, Pair};
use self::settled::Settled;
use crate::program::Program;
use crate::promote;
use crate::target::Target;

/// Arguments of `fuzzer differential`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Areas, as `list` names their targets; all when none is given.
    areas: Vec<String>,
    /// How long, in seconds, each.
    #[arg(long, default_value_t = 60)]
    time: u64,
    /// How many programs at most, each.
    #[arg(long)]
    runs: Option<u64>,
    /// What the programs are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Areas at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The other machine: qemu, or a FILE.toml that speaks qtest.
    #[arg(long, default_value = "qemu")]
    subject: String,
    /// A folder of inputs to start from, as an engine keeps them; with a folder for each target in it, or of one area.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Differences that are settled in writing.
    #[arg(long, default_value = "golden/differential/qemu.toml")]
    settled: PathBuf,
    /// Where findings go.
    #[arg(long, default_value = "target/fuzz/differential")]
    into: PathBuf,
    /// Runs this one program again, on fresh machines, and prints both answers.
    #[arg(long)]
    replay: Option<PathBuf>,
}

/// Runs a campaign, or one program again. False when something was found.
///
/// # Errors
/// A question that makes no sense, and a subject that does not start.
pub fn run(arguments: &Arguments) -> Result<bool, String> {
    let areas = chosen(&arguments.areas)?;
    let settled = Settled::read(&arguments.settled)?;
    let subject = Subject::find(&arguments.subject).map_err(|error| error.to_string())?;
    let adapters = adapters(&subject)?;
    if let Some(file) = &arguments.replay {
        let [area] = areas[..] else {
            return Err("--replay: name the one area that the program is of".to_owned());
        };
        let bench = bench(area, &adapters, &settled)?;
        return replay(&bench, file, &arguments.subject);
    }
    let next = Mutex::new(areas.iter());
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let area = next.lock().map_err(|_| "a worker panicked")?.next().copied();
            let Some(area) = area else { return Ok(()) };
            let campaign = Campaign {
                bench: bench(area, &adapters, &settled)?,
                subject: &arguments.subject,
                seed: arguments.seed,
                budget: Budget::new(arguments.time, arguments.runs),
                corpus: arguments.corpus.as_deref(),
                into: &arguments.into,
            };
            let result = campaign.run()?;
            results.lock().map_err(|_| "a worker panicked")?.push(result);
        }
    };
    fs::create_dir_all(&arguments.into).map_err(|error| format!("create {}: {error}", arguments.into.display()))?;
    let outcomes: Vec<Result<(), String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs.clamp(1, areas.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<(), String>>| {
            worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned()))
        };
        workers.into_iter().map(join).collect()
    });
    let mut results = results.into_inner().map_err(|_| "a worker panicked")?;
    results.sort_by_key(|result| result.area);
    print!("{}", summary(&results, &settled, arguments));
    outcomes.into_iter().collect::<Result<(), String>>()?;
    Ok(results.iter().all(|result| result.findings == 0))
}

/// Runs a target's program on one subject and gives `print` each line of it with the answer as it comes.
///
/// # Errors
/// A subject that cannot be started as the program wants, and what `print` has against a line.
pub fn replay_on(
    name: &str,
    target: &Target,
    program: &Program,
    print: impl Fn(&str) -> Result<bool, String>,
) -> Result<bool, String> {
    let setup = promote::setup_of(target, program.setup)?;
    let (mut machine, layout) = boot(name, target.name, &setup)?;
    print(&program.heading(target))?;
    for action in &program.actions {
        let answer = act(machine.as_mut(), &layout.place(action));
        let events = machine.line_events().unwrap_or_default();
        let line = match answer {
            Ok(answer) if answer.is_empty() && events.is_empty() => format!("{action}\n"),
            Ok(answer) => format!("{action} -> {}\n", shown(&events, &answer)),
            Err(Stop::Unsupported(caps)) => format!("{action} # left out: {name} lacks capability {caps}\n"),
            Err(stop) => return Err(format!("at '{action}': {name}: {stop:?}")),
        };
        print(&line)?;
    }
    Ok(true)
}

/// A machine of a subject for a target's programs, and the profile that it is.
///
/// # Errors
/// A subject that cannot be started so.
pub fn boot(name: &str, target: &str, setup: &Setup) -> Result<(Box<dyn Machine>, &'static Layout), String> {
    let subject = Subject::find(name).map_err(|error| error.to_string())?;
    let needs = Area::by_name(target).map_or(Caps::QUEUES, |area| area.needs);
    let adapters = adapters(&subject)?;
    let mut able = adapters
        .iter()
        .filter(|adapter| adapter.caps().missing(needs).is_empty());
    let adapter = able
        .next()
        .ok_or_else(|| format!("{name}: the subject lacks capability {needs}"))?;
    let machine = adapter.boot(setup, &QEMU_7_2);
    Ok((
        machine.map_err(|failure| format!("{name}: {:?}", failure.stop))?,
        &QEMU_7_2,
    ))
}

fn chosen(names_wanted: &[String]) -> Result<Vec<&'static Area>, String> {
    let find = |name: &String| Area::by_name(name).ok_or_else(|| format!("no area '{name}'; there are: {}", names()));
    if names_wanted.is_empty() {
        return Ok(area::ALL.to_vec());
    }
    names_wanted.iter().map(find).collect()
}

fn names() -> String {
    area::ALL.map(Area::name).join(", ")
}

/// All ways to start the subject so that it speaks qtest.
fn adapters(subject: &Subject) -> Result<Vec<Box<dyn Adapter>>, String> {
    let wanted = Wanted {
        depths: vec![Depth::Wire],
        profiles: vec![&QEMU_7_2],
        ..Wanted::default()
    };
    let mut adapters = Vec::new();
    for lane in subject.lanes(&wanted)? {
        for way in lane.ways {
            adapters.push(
                way.adapter
                    .map_err(|reason| format!("{}: {reason}", subject.asked_as))?,
            );
        }
    }
    Ok(adapters)
}

fn bench<'a>(area: &'static Area, adapters: &'a [Box<dyn Adapter>], settled: &'a Settled) -> Result<Bench<'a>, String> {
    let layout: &'static Layout = &QEMU_7_2;
    let lacks = || {
        let caps = adapters
            .iter()
            .fold(Caps::NONE, |caps, adapter| caps.with(adapter.caps()));
        format!(
            "{}: the subject lacks capability {}",
            area.name(),
            caps.missing(area.needs)
        )
    };
    let can = |adapter: &&dyn Adapter| adapter.caps().missing(area.needs).is_empty();
    let subject = adapters.iter().map(AsRef::as_ref).find(can).ok_or_else(lacks)?;
    Ok(Bench {
        area,
        subject,
        layout,
        settled,
    })
}

fn replay(bench: &Bench<'_>, file: &Path, name: &str) -> Result<bool, String> {
    let program = campaign::read(bench.area, file)?;
    let broken = |stop: Stop| format!("{name}: {stop:?}");
    let mut pair = Pair::start(bench, program.setup).map_err(broken)?;
    let judged = pair.run(bench, &program.actions).map_err(broken)?;
    print!(
        "{}{}",
        program.heading(bench.area.target),
        compare::text(&judged.rows, name)
    );
    println!(
        "# {} of {} answers compared, {} differ for a settled reason",
        judged.compared,
        judged.rows.len(),
        judged.settled.len()
    );
    for (decision, _) in &judged.settled {
        println!(
            "# settled: {}",
            bench.settled.decisions[*decision].reason.trim().replace('\n', " ")
        );
    }
    match &judged.finding {
        None => println!("# no finding"),
        Some(found) => println!("# finding: row {}, '{}'", found.index + 1, found.operation),
    }
    Ok(judged.finding.is_none())
}

/// A table of the areas, and the patterns of theirs that no difference needed.
fn summary(results: &[AreaResult], settled: &Settled, arguments: &Arguments) -> String {
    let mut text = format!(
        "reference against {}, seed {}\n  {:<12} {:>9} {:>11} {:>9} {:>8} {:>9} {:>9} {:>8}\n",
        arguments.subject,
        arguments.seed,
        "area",
        "programs",
        "operations",
        "settled",
        "new",
        "unsteady",
        "restarts",
        "seconds"
    );
    for result in results {
        text.push_str(&format!(
            "  {:<12} {:>9} {:>11} {:>9} {:>8} {:>9} {:>9} {:>8}\n",
            result.area,
            result.programs,
            result.operations,
            result.settled,
            result.findings,
            result.unsteady,
            result.restarts,
            result.seconds
        ));
    }
    for (index, decision) in settled.decisions.iter().enumerate() {
        for (number, pattern) in decision.at.iter().enumerate() {
            let about = |result: &&AreaResult| pattern.starts_with(&format!("{} | ", result.area));
            let mut about = results.iter().filter(about).peekable();
            if about.peek().is_some() && about.all(|result| !result.used.contains(&(index, number))) {
                text.push_str(&format!("not needed this time: {}: '{pattern}'\n", settled.place));
            }
        }
    }
    text
}

/// Lines of an area as actions.
fn actions(lines: &[&str]) -> Vec<Action> {
    lines.iter().filter_map(|line| Action::parse(line).ok()).collect()
}

#[cfg(test)]
mod tests;
