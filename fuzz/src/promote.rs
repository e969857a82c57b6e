//! Makes a regression case of a program: `golden/regress/NAME.txt`, which the suite takes up at every depth.
//!
//! What is certain of any program is that the machine survives it, so that a few accesses behind it, whose answers the
//! documents know, still give them. Where somebody is known to be right, all of that machine's answers can be kept.

use conformance::case::Setup;
use conformance::layout::MICROVM_2019;
use conformance::machine::{Adapter, Machine};
use conformance::program::Action;
use conformance::recording::{Operation, Record, Recording, Step};
use conformance::regress::Regression;
use conformance::replay::act;
use conformance::subject::in_process::InProcessAdapter;

use crate::differential;
use crate::differential::area::Area;
use crate::program::Program;
use crate::reduce;
use crate::target::Target;

/// Whose answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Nobody's: the machine survives.
    Laws,
    /// The reference's.
    Reference,
    /// Those of a subject that speaks qtest.
    Subject(String),
}

/// What a case is to say.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Lower-case words joined by `-`.
    pub name: String,
    /// One sentence; one is made when it is `None`.
    pub title: Option<String>,
    /// The clause; that of the accesses behind the program when it is `None`.
    pub clause: Option<String>,
    /// Who is right, and why; what the program showed when it is `None`.
    pub reason: Option<String>,
    /// Whose answers are kept.
    pub answers: Answers,
}

/// The text of the regression: the shortest part of the program that still fails, if it does.
///
/// # Errors
/// A set-up that the suite does not have, a subject that cannot be asked, a wish that makes no case.
pub fn text(target: &Target, program: &Program, wish: &Wish) -> Result<String, String> {
    let failure = reduce::failure(target, program);
    let shorter = match &failure {
        Some(_) => reduce::reduce(target, program),
        None => program.clone(),
    };
    let shown = failure.and_then(|_| reduce::failure(target, &shorter));
    let setup = setup_of(target, shorter.setup)?;
    let alive = alive(target.name);
    let mut steps: Vec<Step> = shorter.actions.iter().cloned().map(step).collect();
    match &wish.answers {
        Answers::Laws => {}
        Answers::Reference => {
            let boot = InProcessAdapter.boot(&setup, &MICROVM_2019);
            let mut machine = boot.map_err(|failure| format!("reference: {:?}", failure.stop))?;
            keep(&mut steps, machine.as_mut(), &MICROVM_2019)?;
        }
        Answers::Subject(name) => {
            let (mut machine, layout) = differential::boot(name, target.name, &setup)?;
            keep(&mut steps, machine.as_mut(), layout)?;
        }
    }
    let text = Recording::from_text("behind the program", &format!("record x\n{}", alive.lines));
    let mut text = text.map_err(|error| error.to_string())?;
    steps.extend(text.records.pop().map(|record| record.steps).unwrap_or_default());
    let device = target.name.replace('_', "-");
    let recording = Recording {
        source: "cargo xtask fuzz promote".to_owned(),
        profile: MICROVM_2019.profile.to_owned(),
        records: vec![Record {
            name: format!("regress/{device}/{}", wish.name),
            config: config(&setup),
            steps,
        }],
    };
    let title = format!("The machine survives what fuzzing of {device} found as {}.", wish.name);
    let reason = match (&wish.reason, shown) {
        (Some(reason), _) => reason.clone(),
        (None, Some(shown)) => format!("Fuzzing: {}", shown.lines().next().unwrap_or_default()),
        (None, None) => "Kept by hand; it shows no finding.".to_owned(),
    };
    let text = format!(
        "# title: {}\n# clause: {}\n# level: must\n# reason: {reason}\n{}",
        wish.title.clone().unwrap_or(title),
        wish.clause.clone().unwrap_or_else(|| alive.clause.to_owned()),
        recording.to_text("")
    );
    Regression::parse(&format!("{}.txt", wish.name), &text)?;
    Ok(text)
}

/// A name for a program that was given none: what it is about, and a number made of its text.
pub fn name_of(target: &Target, program: &Program) -> String {
    let text = program.text(target);
    let hash = text.bytes().fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME)
    });
    format!("{}-{hash:08x}", target.name.replace('_', "-"))
}

fn step(action: Action) -> Step {
    Step {
        operation: Operation::Action(action),
        events: Vec::new(),
        answer: String::new(),
    }
}

fn keep(steps: &mut [Step], machine: &mut dyn Machine, layout: &conformance::layout::Layout) -> Result<(), String> {
    for step in steps {
        if let Operation::Action(action) = &step.operation {
            let answer = act(machine, &layout.place(action));
            step.answer = answer.map_err(|stop| format!("at '{action}': {stop:?}"))?;
        }
    }
    Ok(())
}

/// Accesses that any machine answers in one way, whatever came before them.
struct Alive {
    clause: &'static str,
    lines: &'static str,
}

fn alive(target: &str) -> Alive {
    let (clause, lines) = match target {
        "fw_cfg" => ("fw_cfg/signature", "outw 0x510 0x0\ninb 0x511 *4 -> 51 45 4d 55\n"),
        "ioapic" => ("i82093aa/index", "writel 0xfec00000 0x12\nreadl 0xfec00000 -> 12\n"),
        "pic" => (
            "i8259a/ocw1",
            "outb 0x20 0x11\noutb 0x21 0x8\noutb 0x21 0x4\noutb 0x21 0x1\noutb 0x21 0x5a\ninb 0x21 -> 5a\n",
        ),
        // What is latched goes first.
        "pit" => (
            "i8254/status",
            "inb 0x41\ninb 0x41\ninb 0x41\ninb 0x41\noutb 0x43 0x70\noutb 0x41 0x0\noutb 0x41 0x0\noutb 0x43 0xe4\n\
             inb 0x41 -> 30\n",
        ),
        "rtc" | "machine" => ("mc146818/register-d", "outb 0x70 0xd\ninb 0x71 -> 80\n"),
        "serial" => ("ns16550/scratch", "outb 0x3ff 0x5a\ninb 0x3ff -> 5a\n"),
        _ => ("virtio/survives", "readl 0xc0000e00 -> 74726976\n"),
    };
    Alive { clause, lines }
}

/// The suite's machine that comes nearest to a target's.
///
/// # Errors
/// A set-up that no machine of the suite is like.
pub fn setup_of(target: &Target, index: u8) -> Result<Setup, String> {
    if let Some(setup) = Area::by_name(target.name).and_then(|area| area.machine(index)) {
        return Ok(setup.clone());
    }
    let name = target.setups[usize::from(index)].name;
    let (devices, modern): (&'static [&'static str], bool) = match (target.name, name) {
        ("virtqueue", "rng") => (&["virtio-rng"], true),
        ("virtqueue", "blk") => (&["virtio-blk"], true),
        ("virtqueue", "blk-read-only") => (&["virtio-blk-ro"], true),
        ("virtqueue", "net") => (&["virtio-net"], true),
        ("virtqueue", "console") => (&["virtio-console"], true),
        ("virtqueue", "blk-legacy") => (&["virtio-blk"], false),
        ("virtqueue", "net-legacy") => (&["virtio-net"], false),
        ("machine", name @ ("legacy" | "modern")) => (
            &["virtio-rng", "virtio-blk", "virtio-net", "virtio-console"],
            name == "modern",
        ),
        (target, name) => {
            return Err(format!(
                "{target}: the suite has no machine like set-up '{name}'; edit the program"
            ));
        }
    };
    Ok(Setup {
        devices,
        modern,
        ..Setup::DEFAULT
    })
}

fn config(setup: &Setup) -> Vec<(String, String)> {
    let mut config = vec![("m".to_owned(), format!("{}M", setup.ram_bytes >> 20))];
    if !setup.devices.is_empty() {
        config.push(("devices".to_owned(), setup.devices.join(",")));
    }
    if setup.modern {
        config.push(("modern".to_owned(), "true".to_owned()));
    }
    config.extend(
        setup
            .options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    config
}

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;
