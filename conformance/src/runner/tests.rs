use super::*;
use crate::case::{Feature, Level, Setup};
use crate::clause::{Clause, Document, Origin};
use crate::layout::MICROVM_2019;
use crate::machine::{BootFailure, Depth};
use crate::subject::Way;
use crate::subject::null::NullAdapter;

static DOCUMENT: Document = Document {
    name: "test",
    title: "A document for tests",
    url: "",
    origin: Origin::DataSheet,
};

static CLAUSE: Clause = Clause {
    id: "test/clause",
    document: &DOCUMENT,
    section: "1",
    requirement: "It holds.",
};

const fn case(id: &'static str, body: fn(&mut Probe<'_>) -> Result<(), Stop>) -> Case {
    Case {
        id,
        title: "It holds.",
        clause: &CLAUSE,
        level: Level::Must,
        features: &[Feature::Rtc],
        needs: Caps::NONE,
        setup: Setup::DEFAULT,
        body: Body::Bus(body),
    }
}

static HOLDS: Case = case("test/all-ones/read", |p| {
    let got = p.inb(0x70)?;
    p.check_eq("port 0x70", got, 0xffu8);
    Ok(())
});

static DIFFERS: Case = case("test/all-ones/differ", |p| {
    let got = p.inb(0x70)?;
    p.check_eq("port 0x70", got, 0u8);
    Ok(())
});

static IDLE: Case = case("test/all-ones/idle", |_| Ok(()));
static PANICS: Case = case("test/all-ones/panic", |_| panic!("out of luck"));
static ENDLESS: Case = case("test/all-ones/endless", |p| {
    loop {
        p.inb(0x70)?;
    }
});

fn lane(adapter: Result<Box<dyn Adapter>, String>) -> Lane {
    Lane {
        subject: "null".to_owned(),
        depth: Depth::Bus,
        layout: &MICROVM_2019,
        areas: Vec::new(),
        ways: vec![Way::new("", adapter)],
    }
}

fn verdict_of(case: &'static Case) -> CaseResult {
    let options = Options {
        accesses_max: 1000,
        ..Options::default()
    };
    run_unit(&Unit { case, lane: 0 }, &lane(Ok(Box::new(NullAdapter))), &options)
}

#[test]
fn body_is_judged_by_its_checks() {
    assert_eq!(verdict_of(&HOLDS).verdict, Verdict::Pass);
    let differs = verdict_of(&DIFFERS);
    assert_eq!(differs.verdict, Verdict::Fail);
    assert_eq!(differs.record.mismatches[0].got, "0xff");
    assert_eq!(differs.record.transcript[0], "inb 0x70 -> 0xff");
}

#[test]
fn body_without_a_check_is_an_error() {
    assert_eq!(verdict_of(&IDLE).verdict, Verdict::Error);
}

#[test]
fn panic_costs_one_case() {
    let result = verdict_of(&PANICS);
    assert_eq!(result.verdict, Verdict::Crash);
    assert_eq!(result.reason.as_deref(), Some("subject ended: panicked: out of luck"));
}

#[test]
fn endless_body_is_stopped_by_its_accesses() {
    let result = verdict_of(&ENDLESS);
    assert_eq!(result.verdict, Verdict::Timeout);
    assert_eq!(result.record.accesses, 1001);
}

#[test]
fn absent_way_is_unsupported_with_its_reason() {
    let lane = lane(Err("/dev/kvm cannot be used here".to_owned()));
    let result = run_unit(&Unit { case: &HOLDS, lane: 0 }, &lane, &Options::default());
    assert_eq!(result.verdict, Verdict::Unsupported);
    assert!(result.unavailable);
    assert_eq!(result.reason.as_deref(), Some("/dev/kvm cannot be used here"));
}

#[test]
fn case_goes_to_the_first_way_that_can_take_it() {
    let mut lane = lane(Err("not here".to_owned()));
    lane.ways.push(Way::new("second", Ok(Box::new(NullAdapter))));
    let result = run_unit(&Unit { case: &HOLDS, lane: 0 }, &lane, &Options::default());
    assert_eq!((result.verdict, result.way.as_str()), (Verdict::Pass, "second"));
}

#[test]
fn every_unit_has_a_result_in_report_order_whatever_the_order_of_running() {
    let cases = [&HOLDS, &DIFFERS, &IDLE, &PANICS, &ENDLESS];
    let selection = Selection {
        shuffle_seed: Some(3),
        ..Selection::default()
    };
    let plan = Plan::of(cases.into_iter(), vec![lane(Ok(Box::new(NullAdapter)))], &selection);
    let options = Options {
        jobs: 3,
        accesses_max: 1000,
        ..Options::default()
    };
    struct Count(usize);
    impl Progress for Count {
        fn done(&mut self, _result: &CaseResult) {
            self.0 += 1;
        }
    }
    let mut count = Count(0);
    let results = run(&Arc::new(plan), &options, &Arc::new(AtomicBool::new(false)), &mut count);
    let ids: Vec<_> = results.iter().map(|result| result.case.id).collect();
    assert_eq!(ids, cases.map(|case| case.id));
    assert_eq!(count.0, cases.len());
}

static HANGS: Case = case("test/all-ones/hang", |p| {
    // An access that never comes back, as far as this run is concerned.
    thread::sleep(Duration::from_secs(3600));
    p.inb(0x70)?;
    Ok(())
});

struct Quiet;

impl Progress for Quiet {
    fn done(&mut self, _result: &CaseResult) {}
}

#[test]
fn case_that_hangs_costs_its_own_result_only() {
    let cases = [&HANGS, &HOLDS, &DIFFERS];
    let lanes = vec![lane(Ok(Box::new(NullAdapter)))];
    let plan = Plan::of(cases.into_iter(), lanes, &Selection::default());
    let options = Options {
        jobs: 1,
        case_limit: Duration::from_millis(50),
        grace: Duration::from_millis(100),
        ..Options::default()
    };
    let results = run(&Arc::new(plan), &options, &Arc::default(), &mut Quiet);
    let verdicts: Vec<_> = results.iter().map(|result| result.verdict).collect();
    assert_eq!(verdicts, [Verdict::Timeout, Verdict::Pass, Verdict::Fail]);
}

#[test]
fn stopped_run_has_no_result_for_what_it_left_out() {
    let lanes = vec![lane(Ok(Box::new(NullAdapter)))];
    let plan = Plan::of([&HOLDS].into_iter(), lanes, &Selection::default());
    let stop = Arc::new(AtomicBool::new(true));
    assert!(run(&Arc::new(plan), &Options::default(), &stop, &mut Quiet).is_empty());
}

struct NeverStarts(AtomicUsize);

impl Adapter for NeverStarts {
    fn depth(&self) -> Depth {
        Depth::Wire
    }

    fn caps(&self) -> Caps {
        Caps::NONE
    }

    fn boot(&self, _setup: &Setup, _layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        let attempt = self.0.fetch_add(1, Ordering::Relaxed);
        Err(Broken::Start(format!("attempt {attempt}")).into())
    }
}

#[test]
fn subject_that_never_starts_is_given_up() {
    let lane = lane(Ok(Box::new(NeverStarts(AtomicUsize::new(0)))));
    let unit = Unit { case: &HOLDS, lane: 0 };
    let reasons: Vec<_> = (0..6)
        .map(|_| run_unit(&unit, &lane, &Options::default()).reason)
        .collect();
    assert_eq!(reasons[3].as_deref(), Some("subject did not start: attempt 3"));
    assert_eq!(
        reasons[5].as_deref(),
        Some("subject did not start: not tried again after 4 attempts: attempt 3")
    );
}
