//! Random guest programs against `microvm run` on KVM: whatever a guest does, it costs itself alone.
//!
//! A program is made from a seed and its number ([`generate`]) and performed by the image `agent` on a VMM process
//! ([`session`]). [`SESSION_PROGRAMS`] programs share a process, every second one after a reset of the machine, so that
//! state is carried on as well as cleared; whoever dies is started anew. That a *guest* dies is by design: programs let
//! devices write anywhere, the agent included. Findings are about the VMM: it panics, ends in a way it should not,
//! keeps a signal waiting, or takes memory that is not its guest's.

pub mod generate;
pub mod memory;
pub mod session;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use generate::{SETUPS, Setup};
use session::{Death, Session};

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The VMM's binary.
    pub microvm: PathBuf,
    /// The agent's image.
    pub agent: PathBuf,
    /// Programs 0..runs.
    pub runs: u64,
    /// What they are made from.
    pub seed: u64,
    /// VMM processes at a time.
    pub jobs: usize,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Programs performed.
    pub programs: u64,
    /// Steps of them that the guest was asked for.
    pub steps: u64,
    /// Programs after which a device had buffers used.
    pub used: u64,
    /// Programs after which a device asked for a reset.
    pub broken: u64,
    /// VMM processes started.
    pub sessions: u64,
    /// Machines that reset themselves, by a guest's triple fault.
    pub resets: u64,
    /// Guests that KVM could not go on with: the VMM ended with a report.
    pub stopped: u64,
    /// Guests that stopped answering while their VMM still did.
    pub silent: u64,
    /// Most memory a VMM had resident besides its guest's RAM, in KiB.
    pub own_kib_max: u64,
    /// Most memory a VMM had resident beyond the size of its guest's RAM, in KiB; negative as long as it had not
    /// touched all of it.
    pub beyond_ram_kib_max: Option<i64>,
    /// Longest wait for a VMM's end after SIGTERM.
    pub end_max: Duration,
    /// What must not be, by the program's number.
    pub findings: Vec<(u64, String)>,
}

/// Runs a campaign.
///
/// # Errors
/// The VMM or its files cannot be started at all.
pub fn run(campaign: &Campaign) -> Result<Summary, String> {
    let batches = campaign.runs.div_ceil(SESSION_PROGRAMS);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Ok(Summary::default()));
    let bar = progress(campaign.runs);
    thread::scope(|scope| {
        for _ in 0..campaign.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let batch = next.fetch_add(1, Ordering::Relaxed);
                    if batches <= batch {
                        break;
                    }
                    let first = batch * SESSION_PROGRAMS;
                    let end = (first + SESSION_PROGRAMS).min(campaign.runs);
                    let done = run_batch(campaign, first, end, &bar);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&mut *total, done) {
                        (Ok(total), Ok(done)) => {
                            let before = total.programs / SHOWN_EVERY;
                            total.add(done);
                            if before != total.programs / SHOWN_EVERY && bar.is_hidden() {
                                eprintln!("guest: {} of {} programs", total.programs, campaign.runs);
                            }
                        }
                        (Ok(_), Err(error)) => *total = Err(error),
                        (Err(_), _) => break,
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the programs `first..end` of one batch in one process, or several when guests die.
///
/// # Errors
/// As [`run`].
pub fn run_batch(campaign: &Campaign, first: u64, end: u64, bar: &ProgressBar) -> Result<Summary, String> {
    let setup = setup_of(first);
    let mut summary = Summary::default();
    let mut session: Option<Session> = None;
    for index in first..end {
        let mut current = match session.take() {
            Some(session) => session,
            None => {
                summary.sessions += 1;
                Session::start(campaign, setup)?
            }
        };
        let program = generate::program(setup, campaign.seed, index);
        summary.programs += 1;
        summary.steps += program.len() as u64;
        let performed = current.perform(&program);
        let performed = performed.and_then(|()| {
            let reached = current.reached()?;
            summary.used += u64::from(reached.used);
            summary.broken += u64::from(reached.broken);
            Ok(())
        });
        let performed = performed.and_then(|()| if index % 2 == 1 { current.reset() } else { Ok(()) });
        summary.note_memory(&mut current, index);
        match performed {
            Ok(()) if index + 1 < end => session = Some(current),
            Ok(()) => summary.note_end(current.end_by_signal(), current, index),
            Err(Death) => summary.note_end(current.judge(), current, index),
        }
        bar.inc(1);
    }
    Ok(summary)
}

impl Summary {
    /// The summary as text for people.
    pub fn text(&self, seconds: f64) -> String {
        let beyond = self.beyond_ram_kib_max.unwrap_or_default();
        format!(
            "guest: {} programs, {} steps in {seconds:.0} s ({:.0} programs a second)\n\
             guest: {} programs got buffers used, {} broke a ring\n\
             guest: {} VMMs started; guests that died: {} reset, {} stopped by KVM, {} silent\n\
             guest: a VMM's memory: at most {} KiB besides its guest's, {beyond} KiB beyond the size of RAM\n\
             guest: SIGTERM ended a VMM within {} ms\n\
             guest: {}\n",
            self.programs,
            self.steps,
            self.programs as f64 / seconds.max(0.001),
            self.used,
            self.broken,
            self.sessions,
            self.resets,
            self.stopped,
            self.silent,
            self.own_kib_max,
            self.end_max.as_millis(),
            match self.findings.len() {
                0 => "no finding".to_owned(),
                count => format!("{count} findings"),
            }
        )
    }

    fn add(&mut self, other: Summary) {
        self.programs += other.programs;
        self.steps += other.steps;
        self.used += other.used;
        self.broken += other.broken;
        self.sessions += other.sessions;
        self.resets += other.resets;
        self.stopped += other.stopped;
        self.silent += other.silent;
        self.own_kib_max = self.own_kib_max.max(other.own_kib_max);
        self.beyond_ram_kib_max = self.beyond_ram_kib_max.max(other.beyond_ram_kib_max);
        self.end_max = self.end_max.max(other.end_max);
        self.findings.extend(other.findings);
        self.findings.sort();
    }

    fn note_memory(&mut self, session: &mut Session, index: u64) {
        let Some(usage) = session.usage() else {
            return;
        };
        let beyond = usage.peak_kib as i64 - (session.setup().ram_bytes() >> 10) as i64;
        self.beyond_ram_kib_max = self.beyond_ram_kib_max.max(Some(beyond));
        self.own_kib_max = self.own_kib_max.max(usage.own_kib);
        if BEYOND_RAM_KIB_MAX < beyond.max(usage.own_kib as i64) {
            let text = format!(
                "the VMM has {} KiB besides its guest's memory and had {beyond} KiB beyond the size of RAM; {} are \
                 the most",
                usage.own_kib, BEYOND_RAM_KIB_MAX
            );
            self.findings.push((index, text));
        }
    }

    fn note_end(&mut self, end: session::End, session: Session, index: u64) {
        self.resets += session.resets();
        self.end_max = self.end_max.max(end.took);
        match end.how {
            session::How::InOrder => {}
            session::How::Stopped => self.stopped += 1,
            session::How::Silent => self.silent += 1,
            session::How::Finding(text) => self.findings.push((index, text)),
        }
    }
}

/// A bar on a terminal, nothing elsewhere.
pub fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} programs, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The machine that a program runs on.
pub fn setup_of(index: u64) -> &'static Setup {
    &SETUPS[(index / SESSION_PROGRAMS) as usize % SETUPS.len()]
}

/// The first program of the batch that a program belongs to.
pub fn first_of_batch(index: u64) -> u64 {
    index - index % SESSION_PROGRAMS
}

/// Measures how long something takes, in seconds.
pub fn timed<T>(body: impl FnOnce() -> T) -> (T, f64) {
    let begin = Instant::now();
    let value = body();
    (value, begin.elapsed().as_secs_f64())
}

/// How often progress is told where there is no terminal for a bar.
const SHOWN_EVERY: u64 = 1000;

/// Programs that share a VMM process, if nobody dies.
pub const SESSION_PROGRAMS: u64 = 16;

/// Most memory a VMM may have resident beyond its guest's RAM.
pub const BEYOND_RAM_KIB_MAX: i64 = 16 << 10;
