//! A campaign of one area: programs until the budget is spent, and what they found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::machine::Stop;
use conformance::program::Action;
use indicatif::{ProgressBar, ProgressStyle};

use super::area::Area;
use super::compare::{Bench, Difference, Judged, Pair, text};
use super::generate::Generator;
use super::settled::Then;
use crate::codec;
use crate::program::Program;
use crate::reduce;
use crate::seeds;

/// One campaign.
pub struct Campaign<'a> {
    /// What is compared with what.
    pub bench: Bench<'a>,
    /// The subject's name.
    pub subject: &'a str,
    /// What programs are made from.
    pub seed: u64,
    /// When it ends.
    pub budget: Budget,
    /// Inputs to start from beside the seeds.
    pub corpus: Option<&'a Path>,
    /// Where findings go.
    pub into: &'a Path,
}

/// When a campaign ends.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    time: Duration,
    runs: u64,
}

/// What a campaign counted.
#[derive(Clone, Debug, Default)]
pub struct Result {
    /// The area.
    pub area: &'static str,
    /// Programs run.
    pub programs: u64,
    /// Operations compared.
    pub operations: u64,
    /// Differences that are settled.
    pub settled: u64,
    /// Differences that are not.
    pub findings: u64,
    /// Differences that the same actions did not show again: the host's time plays a part.
    pub unsteady: u64,
    /// How often the machines were started.
    pub restarts: u64,
    /// How long it took.
    pub seconds: u64,
    /// Decisions and patterns that were needed.
    pub used: BTreeSet<(usize, usize)>,
}

/// Both machines and what they have been through.
struct Session {
    pair: Pair,
    setup: u8,
    done: Vec<Vec<Action>>,
}

impl Budget {
    /// So many seconds, and so many programs if that is said.
    pub fn new(seconds: u64, runs: Option<u64>) -> Budget {
        Budget {
            time: Duration::from_secs(seconds),
            runs: runs.unwrap_or(u64::MAX),
        }
    }
}

impl Campaign<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// Seeds that cannot be read, and a subject that does not start.
    pub fn run(&self) -> std::result::Result<Result, String> {
        let area = self.bench.area;
        let programs = self.programs()?;
        let mut generator = Generator::new(area, &programs, self.seed);
        let begin = Instant::now();
        let bar = progress(area.name());
        let mut result = Result {
            area: area.name(),
            ..Result::default()
        };
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let mut sessions: BTreeMap<u8, Session> = BTreeMap::new();
        while result.programs < self.budget.runs && begin.elapsed() < self.budget.time {
            let program = generator.program();
            let mut session = match sessions.remove(&program.setup) {
                Some(session) if session.done.len() < SESSION_PROGRAMS_MAX => session,
                _ => {
                    result.restarts += 1;
                    self.start(program.setup)?
                }
            };
            let mut actions = vec![Action::Reset];
            actions.extend(program.actions);
            actions.extend(super::actions(area.looks));
            let judged = session
                .pair
                .run(&self.bench, &actions)
                .map_err(|stop| self.broken(&stop))?;
            session.done.push(actions);
            result.programs += 1;
            result.operations += judged.compared as u64;
            result.settled += judged.settled.len() as u64;
            result.used.extend(&judged.settled);
            bar.set_message(format!(
                "{} programs, {} operations, {} new",
                result.programs, result.operations, result.findings
            ));
            bar.tick();
            if let Some(found) = &judged.finding {
                let times = seen.entry(found.signature()).or_default();
                *times += 1;
                let number = result.findings + 1;
                if SHORTENED_MAX < *times || self.report(&session, found, number)? {
                    result.findings += 1;
                } else {
                    result.unsteady += 1;
                    *times -= 1;
                }
            }
            if judged.then == Then::Reset {
                session.pair.reset().map_err(|stop| self.broken(&stop))?;
            }
            if judged.then < Then::Restart {
                sessions.insert(session.setup, session);
            }
        }
        bar.finish_and_clear();
        for (signature, times) in seen {
            println!("{}: {times} times: {signature}", area.name());
        }
        result.seconds = begin.elapsed().as_secs();
        Ok(result)
    }

    /// Seeds and corpora as programs.
    fn programs(&self) -> std::result::Result<Vec<Program>, String> {
        let target = self.bench.area.target;
        let written = seeds::written(target).map_err(|error| error.to_string())?;
        let all = written.into_iter().chain(seeds::imported(target));
        let mut programs: Vec<Program> = all.map(|seed| seed.program).collect();
        if let Some(folder) = self.corpus {
            let own = folder.join(target.name);
            let folder = if own.is_dir() { own } else { folder.to_owned() };
            for path in files(&folder)? {
                programs.push(read(self.bench.area, &path)?);
            }
        }
        Ok(programs)
    }

    fn start(&self, setup: u8) -> std::result::Result<Session, String> {
        let pair = Pair::start(&self.bench, setup).map_err(|stop| self.broken(&stop))?;
        Ok(Session {
            pair,
            setup,
            done: Vec::new(),
        })
    }

    fn broken(&self, stop: &Stop) -> String {
        format!("{}: {}: {stop:?}", self.bench.area.name(), self.subject)
    }

    /// Makes a finding shorter and writes it down. False when it did not come again.
    fn report(&self, session: &Session, found: &Difference, number: u64) -> std::result::Result<bool, String> {
        let area = self.bench.area;
        let signature = found.signature();
        let mut again = Again::new(self, session.setup, &signature);
        let shortest = again.shortest(&session.done)?;
        let Some((program, judged)) = shortest else {
            println!(
                "{}: '{}' gave {} on the reference and {} on {}, and did not do so again",
                area.name(),
                found.operation,
                found.reference,
                found.subject,
                self.subject
            );
            return Ok(false);
        };
        let path = self.into.join(format!("{}-{}-{number}.txt", area.name(), self.seed));
        let text = format!(
            "# {} answers otherwise\n{}{}{}",
            self.subject,
            program.heading(area.target),
            heading(area),
            text(&judged.rows, self.subject)
        );
        fs::write(&path, &text).map_err(|error| format!("write {}: {error}", path.display()))?;
        println!(
            "{}: {}\n{text}  see it again: cargo xtask fuzz differential {} --replay {}",
            area.name(),
            path.display(),
            area.name(),
            path.display()
        );
        Ok(true)
    }
}

/// Runs parts of what a session did, to find the shortest that still shows a difference.
struct Again<'a> {
    campaign: &'a Campaign<'a>,
    setup: u8,
    signature: &'a str,
    /// Reset between two trials, and started anew after one that leaves it no other way.
    pair: Option<Pair>,
    trials: u32,
}

impl<'a> Again<'a> {
    fn new(campaign: &'a Campaign<'a>, setup: u8, signature: &'a str) -> Again<'a> {
        Again {
            campaign,
            setup,
            signature,
            pair: None,
            trials: 0,
        }
    }

    /// The shortest program that shows the difference on fresh machines.
    fn shortest(&mut self, done: &[Vec<Action>]) -> std::result::Result<Option<(Program, Judged)>, String> {
        // The last program alone, then after ever more of those before it.
        let mut base = None;
        let mut count = 1;
        while base.is_none() {
            let from = done.len().saturating_sub(count);
            let actions: Vec<Action> = done[from..].iter().flatten().cloned().collect();
            if self.fresh(&actions)?.is_some() {
                base = Some(actions);
            } else if from == 0 {
                return Ok(None);
            }
            count *= 2;
        }
        let whole = Program {
            setup: self.setup,
            actions: base.unwrap_or_default(),
        };
        // A reset between trials is quicker than machines of their own, if the difference comes after one, too.
        for resets in [true, false] {
            if resets && !(self.after_reset(&whole.actions)?.is_some() && self.after_reset(&whole.actions)?.is_some()) {
                continue;
            }
            self.trials = 0;
            let mut fails = |shorter: &Program| {
                let found = match (self.trials < TRIALS_MAX, resets) {
                    (false, _) => return false,
                    (true, true) => self.after_reset(&shorter.actions),
                    (true, false) => self.fresh(&shorter.actions),
                };
                matches!(found, Ok(Some(_)))
            };
            let shorter = reduce::shortest(&whole, &mut fails);
            if let Some(judged) = self.fresh(&shorter.actions)? {
                return Ok(Some((shorter, judged)));
            }
        }
        Ok(self.fresh(&whole.actions)?.map(|judged| (whole, judged)))
    }

    fn fresh(&mut self, actions: &[Action]) -> std::result::Result<Option<Judged>, String> {
        self.pair = None;
        self.trial(actions)
    }

    fn after_reset(&mut self, actions: &[Action]) -> std::result::Result<Option<Judged>, String> {
        let mut whole = vec![Action::Reset];
        whole.extend_from_slice(actions);
        self.trial(&whole)
    }

    fn trial(&mut self, actions: &[Action]) -> std::result::Result<Option<Judged>, String> {
        self.trials += 1;
        let bench = &self.campaign.bench;
        let broken = |stop: Stop| self.campaign.broken(&stop);
        let mut pair = match self.pair.take() {
            Some(pair) => pair,
            None => Pair::start(bench, self.setup).map_err(broken)?,
        };
        let judged = pair.run(bench, actions).map_err(broken)?;
        let ended = judged.then == Then::Restart && judged.finding.is_none();
        let crashed = judged.rows.len() <= actions.len() && judged.compared == judged.rows.len();
        if !ended && !crashed {
            self.pair = Some(pair);
        }
        let same = judged
            .finding
            .as_ref()
            .is_some_and(|found| found.signature() == self.signature);
        Ok(same.then_some(judged))
    }
}

/// A program as text in a file `*.txt`, or an input as an engine keeps it.
pub fn read(area: &Area, file: &Path) -> std::result::Result<Program, String> {
    let bytes = fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
    if file.extension().is_none_or(|extension| extension != "txt") {
        return Ok(codec::decode(area.target, &bytes));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8 text", file.display()))?;
    Program::parse(area.target, &text).map_err(|error| format!("{}: {error}", file.display()))
}

/// What happens beside the program, as a remark.
pub fn heading(area: &Area) -> String {
    match area.begins {
        [] => String::new(),
        lines => format!(
            "# at power-on and after each reset, not compared: {}\n",
            lines.join("; ")
        ),
    }
}

fn files(folder: &Path) -> std::result::Result<Vec<PathBuf>, String> {
    let fail = |error: std::io::Error| format!("read {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

fn progress(area: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{prefix}: {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.with_prefix(area)
}

/// Programs between two starts of the machines.
const SESSION_PROGRAMS_MAX: usize = 256;

/// Findings at one operation that are made shorter; more of them are counted.
const SHORTENED_MAX: u64 = 2;

/// Most trials to make one finding shorter.
const TRIALS_MAX: u32 = 400;
