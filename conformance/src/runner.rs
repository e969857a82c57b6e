//! Runs cases: a fresh machine for each, limits on time and accesses, and no result ever lost.

mod limited;
mod plan;

use std::any::Any;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

pub use plan::{Plan, Selection, Unit};

use crate::case::{Body, Case};
use crate::layout::Layout;
use crate::machine::{Adapter, BootFailure, Broken, Caps, Facts, Machine, Stop, Width};
use crate::probe::{Probe, Record};
use crate::subject::{Health, Lane, Way};
use crate::verdict::{Outcome, Verdict, judge};
use limited::Limited;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cases at the same time.
    pub jobs: usize,
    /// Runs of each case; all must end alike.
    pub repeat: u32,
    /// Longest run of one case.
    pub case_limit: Duration,
    /// Most accesses of one case.
    pub accesses_max: u64,
    /// Time beyond the limits, for starting and ending a subject, after which a case counts as hung inside one access.
    pub grace: Duration,
}

/// What came of one case in one lane.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case.
    pub case: &'static Case,
    /// Index of the lane in the plan.
    pub lane: usize,
    /// The way of starting that took the case.
    pub way: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, where the record does not say it.
    pub reason: Option<String>,
    /// The subject could not be started here at all, so that nothing can be expected of it.
    pub unavailable: bool,
    /// What the body left behind.
    pub record: Record,
    /// What the subject showed of itself, when the case was not met.
    pub post_mortem: String,
    /// Time from power-on to verdict.
    pub duration: Duration,
}

/// Tells a watcher how far a run is.
pub trait Progress {
    /// One more result.
    fn done(&mut self, result: &CaseResult);
}

impl Default for Options {
    fn default() -> Options {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Options {
            jobs: cores,
            repeat: 1,
            case_limit: Duration::from_secs(30),
            accesses_max: 5_000_000,
            grace: Duration::from_secs(30),
        }
    }
}

/// Runs a plan. Results come in the plan's report order whatever the order of running was; a unit that was not run
/// because `stop` was raised has none.
pub fn run(
    plan: &Arc<Plan>,
    options: &Options,
    stop: &Arc<AtomicBool>,
    progress: &mut dyn Progress,
) -> Vec<CaseResult> {
    silence_panics();
    let total = plan.order.len();
    let next = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = channel();
    let worker = |number: usize| {
        let (plan, next, stop, sender) = (Arc::clone(plan), Arc::clone(&next), Arc::clone(stop), sender.clone());
        let options = options.clone();
        thread::spawn(move || work(number, &plan, &options, &next, &stop, &sender));
    };
    let jobs = options.jobs.clamp(1, total.max(1));
    (0..jobs).for_each(worker);
    let mut running: HashMap<usize, (usize, Instant)> = HashMap::new();
    let (mut live, mut workers) = (jobs, jobs);
    let mut results: Vec<Option<CaseResult>> = vec![None; total];
    let hard_limit = options.case_limit * 2 * options.repeat.max(1) + options.grace;
    while live != 0 {
        match receiver.recv_timeout(WATCH_INTERVAL) {
            Ok(Message::Started { worker, unit }) => {
                running.insert(worker, (unit, Instant::now()));
            }
            // A result of a worker that was given up comes too late to count.
            Ok(Message::Done { worker, result }) => {
                if let Some((unit, _)) = running.remove(&worker) {
                    progress.done(&result);
                    results[unit] = Some(*result);
                }
            }
            Ok(Message::Idle) => live -= 1,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        let overdue = running.iter().filter(|(_, (_, since))| hard_limit < since.elapsed());
        let overdue: Vec<_> = overdue.map(|(&number, &(unit, since))| (number, unit, since)).collect();
        for (number, unit, since) in overdue {
            // The thread hangs inside the subject and cannot be stopped; its place is taken by a new one.
            running.remove(&number);
            let result = hung(&plan.units[unit], since.elapsed());
            progress.done(&result);
            results[unit] = Some(result);
            worker(workers);
            workers += 1;
        }
    }
    results.into_iter().flatten().collect()
}

/// Runs one case in one lane, `repeat` times.
pub fn run_unit(unit: &Unit, lane: &Lane, options: &Options) -> CaseResult {
    let mut first = run_once(unit, lane, options);
    for number in 1..options.repeat {
        let again = run_once(unit, lane, options);
        first.duration += again.duration;
        if again.verdict != first.verdict {
            let reason = format!(
                "run 1 ended with {}, run {} with {}: the result depends on more than the subject",
                first.verdict,
                number + 1,
                again.verdict
            );
            return CaseResult {
                verdict: Verdict::Error,
                reason: Some(reason),
                duration: first.duration,
                ..again
            };
        }
    }
    first
}

enum Message {
    Started { worker: usize, unit: usize },
    Done { worker: usize, result: Box<CaseResult> },
    Idle,
}

fn work(number: usize, plan: &Plan, options: &Options, next: &AtomicUsize, stop: &AtomicBool, to: &Sender<Message>) {
    let worker = number;
    // The run may have ended without this worker, and then nobody listens any more.
    while !stop.load(Ordering::Relaxed)
        && let Some(&unit) = plan.order.get(next.fetch_add(1, Ordering::Relaxed))
    {
        if to.send(Message::Started { worker, unit }).is_err() {
            return;
        }
        let place = &plan.units[unit];
        let result = Box::new(run_unit(place, &plan.lanes[place.lane], options));
        if to.send(Message::Done { worker, result }).is_err() {
            return;
        }
    }
    let _listened = to.send(Message::Idle);
}

fn run_once(unit: &Unit, lane: &Lane, options: &Options) -> CaseResult {
    let begin = Instant::now();
    let mut result = CaseResult {
        case: unit.case,
        lane: unit.lane,
        way: String::new(),
        verdict: Verdict::Error,
        reason: None,
        unavailable: false,
        record: Record::default(),
        post_mortem: String::new(),
        duration: Duration::ZERO,
    };
    let (way, adapter) = match choose(unit.case, lane) {
        Ok(choice) => choice,
        Err(refusal) => {
            result.verdict = judge(unit.case.level, &Outcome::Stopped(refusal.stop.clone()));
            result.reason = Some(reason_of(&refusal.stop));
            result.unavailable = refusal.unavailable;
            return result;
        }
    };
    result.way.clone_from(&way.name);
    let attempt = panic::catch_unwind(AssertUnwindSafe(|| {
        attempt(unit.case, way, adapter, lane.layout, options)
    }));
    let (record, outcome, post_mortem) = attempt.unwrap_or_else(|payload| {
        let crash = Broken::Crash(panic_text(payload.as_ref()));
        (Record::default(), Outcome::Stopped(crash.into()), String::new())
    });
    result.verdict = judge(unit.case.level, &outcome);
    if let Outcome::Stopped(stop) = &outcome {
        result.reason = Some(reason_of(stop));
    }
    result.record = record;
    result.post_mortem = post_mortem;
    result.duration = begin.elapsed();
    result
}

/// Why no way of a lane takes a case.
struct Refusal {
    stop: Stop,
    unavailable: bool,
}

/// The first way that this host has and that can do what the case needs.
fn choose<'a>(case: &Case, lane: &'a Lane) -> Result<(&'a Way, &'a dyn Adapter), Refusal> {
    let mut refusal = None;
    for feature in case.features {
        if !lane.layout.has(*feature) {
            let text = format!("profile {} has no {feature:?}", lane.layout.profile);
            return Err(Refusal {
                stop: Stop::NotApplicable(text),
                unavailable: false,
            });
        }
    }
    for way in &lane.ways {
        let (stop, unavailable) = match &way.adapter {
            Err(reason) => (Stop::Unavailable(reason.clone()), true),
            Ok(adapter) => {
                let missing = adapter.caps().missing(case.needs);
                if missing.is_empty() {
                    return Ok((way, adapter.as_ref()));
                }
                (Stop::Unsupported(missing), false)
            }
        };
        // What a present subject lacks says more than what this host lacks.
        match &refusal {
            Some(Refusal { unavailable: false, .. }) => {}
            Some(_) if unavailable => {}
            _ => refusal = Some(Refusal { stop, unavailable }),
        }
    }
    Err(refusal.unwrap_or_else(|| Refusal {
        stop: Stop::Unavailable("there is no way to start it".to_owned()),
        unavailable: true,
    }))
}

fn attempt(
    case: &Case,
    way: &Way,
    adapter: &dyn Adapter,
    layout: &Layout,
    options: &Options,
) -> (Record, Outcome, String) {
    if let Some(last) = way.health.given_up() {
        let text = format!("not tried again after {} attempts: {last}", Health::FAILURES_MAX);
        return (
            Record::default(),
            Outcome::Stopped(Broken::Start(text).into()),
            String::new(),
        );
    }
    match case.body {
        Body::Bus(_) | Body::Program(_) => match watch(way, adapter.boot(&case.setup, layout)) {
            Ok(machine) => {
                let mut machine = Limited::new(machine, options.case_limit, options.accesses_max);
                let mut probe = Probe::new(&mut machine, layout, &case.setup);
                let end = panic::catch_unwind(AssertUnwindSafe(|| case.body.run(&mut probe)));
                let record = probe.into_record();
                let end = end.unwrap_or_else(|payload| Err(Broken::Crash(panic_text(payload.as_ref())).into()));
                finish(record, end, &mut machine)
            }
            Err(failure) => (Record::default(), Outcome::Stopped(failure.stop), failure.shown),
        },
        Body::Guest { image, .. } => match watch(way, adapter.resident(image, &case.setup, layout)) {
            Ok(resident) => {
                let mut machine = Ended { facts: resident.facts };
                let mut probe = Probe::new(&mut machine, layout, &case.setup).with_guest_log(&resident.log);
                let end = case.body.run(&mut probe);
                let record = probe.into_record();
                let (record, outcome, _) = finish(record, end, &mut machine);
                let shown = if outcome == Outcome::Met {
                    String::new()
                } else {
                    resident.log.to_string()
                };
                (record, outcome, shown)
            }
            Err(failure) => (Record::default(), Outcome::Stopped(failure.stop), failure.shown),
        },
    }
}

/// Notes how a start went.
fn watch<T>(way: &Way, start: Result<T, BootFailure>) -> Result<T, BootFailure> {
    match start.as_ref().map_err(|failure| &failure.stop) {
        Ok(_) => way.health.note(None),
        Err(Stop::Broken(Broken::Start(text))) => way.health.note(Some(text)),
        Err(_) => {}
    }
    start
}

fn finish(record: Record, end: Result<(), Stop>, machine: &mut dyn Machine) -> (Record, Outcome, String) {
    let outcome = outcome_of(&record, end);
    let shown = match outcome {
        Outcome::Met | Outcome::Stopped(Stop::NotApplicable(_) | Stop::Unsupported(_)) => String::new(),
        _ => {
            let shown = panic::catch_unwind(AssertUnwindSafe(|| machine.post_mortem()));
            shown.unwrap_or_else(|_| "(it cannot show itself any more)".to_owned())
        }
    };
    (record, outcome, shown)
}

fn outcome_of(record: &Record, end: Result<(), Stop>) -> Outcome {
    match end {
        Err(stop @ Stop::Broken(_)) => Outcome::Stopped(stop),
        _ if !record.mismatches.is_empty() => Outcome::NotMet,
        Err(stop) => Outcome::Stopped(stop),
        Ok(()) if record.checks == 0 => {
            let text = "the case's body made no check, so it proves nothing".to_owned();
            Outcome::Stopped(Broken::Transport(text).into())
        }
        Ok(()) => Outcome::Met,
    }
}

fn reason_of(stop: &Stop) -> String {
    match stop {
        Stop::NotMet => "a requirement that the rest stands on is unmet".to_owned(),
        Stop::Unsupported(caps) => format!("subject lacks capability {caps}"),
        Stop::Unavailable(reason) | Stop::NotApplicable(reason) => reason.clone(),
        Stop::Broken(broken) => broken.to_string(),
    }
}

fn hung(unit: &Unit, duration: Duration) -> CaseResult {
    CaseResult {
        case: unit.case,
        lane: unit.lane,
        way: String::new(),
        verdict: Verdict::Timeout,
        reason: Some("it hangs inside one access and was given up".to_owned()),
        unavailable: false,
        record: Record::default(),
        post_mortem: String::new(),
        duration,
    }
}

/// A machine whose run is over: only its log is left.
struct Ended {
    facts: Facts,
}

impl Machine for Ended {
    fn caps(&self) -> Caps {
        Caps::NONE
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, _port: u16, _width: Width) -> Result<u32, Stop> {
        Err(ended())
    }

    fn port_write(&mut self, _port: u16, _width: Width, _value: u32) -> Result<(), Stop> {
        Err(ended())
    }

    fn load(&mut self, _gpa: u64, _width: Width) -> Result<u64, Stop> {
        Err(ended())
    }

    fn store(&mut self, _gpa: u64, _width: Width, _value: u64) -> Result<(), Stop> {
        Err(ended())
    }

    fn read_memory(&mut self, _gpa: u64, _into: &mut [u8]) -> Result<(), Stop> {
        Err(ended())
    }

    fn write_memory(&mut self, _gpa: u64, _from: &[u8]) -> Result<(), Stop> {
        Err(ended())
    }
}

fn ended() -> Stop {
    Stop::Unavailable("a resident image takes no accesses from outside".to_owned())
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}

/// A panic of a subject or a body is a result; it is not also printed in between.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some() {
                usual(info);
            }
        }));
    });
}

/// How often overdue cases are looked for.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
