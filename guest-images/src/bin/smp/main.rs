//! Several CPUs: each one that the machine announces is started, and no other; interrupts, memory and time are the same
//! for all. README.md of the package says what each verdict demands.
//!
//! A CPU that was started halts until an interrupt brings it a command, and tells when it has carried it out.
#![no_std]
#![no_main]

mod start;
mod table;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use guest_images::{
    EXIT_NOT_OK, EXIT_OK, boot,
    boot::Boot,
    ktap, mark, runtime,
    runtime::{
        cpu::{self, tsc},
        interrupts,
        lapic::{self, command, reg},
        serial,
    },
};

use table::Table;

guest_images::image!(main: main, fatal: boot::fatal);

type Report = ktap::Report<serial::Console>;

fn main(start_info: u64) -> ! {
    runtime::install();
    interrupts::install(record);
    Boot::read(start_info);
    let serial = serial::Serial::new(boot::channel_port());
    let mut report = Report::begin(serial::Console::new(serial), VERDICTS.len() as u32);
    report.fact("smp", format_args!("version={FACTS_VERSION}"));
    boot::set_mark(mark::CONSOLE);

    lapic::enable();
    let found = Table::find();
    let table = found.as_ref();
    let machine = Machine {
        table,
        ids: table.map_or(&[0], Table::ids),
        own: lapic::id(),
    };
    for &(name, least, judge) in VERDICTS {
        if machine.ids.len() < least {
            report.skip(name, "too few CPUs");
        } else if let Err(reason) = judge(&mut report, &machine) {
            report.skip(name, reason);
        } else {
            report.verdict(name);
        }
    }
    report.end();
    boot::exit(if report.any_wrong() { EXIT_NOT_OK } else { EXIT_OK })
}

/// What the machine announces.
struct Machine<'a> {
    table: Option<&'a Table>,
    ids: &'a [u8],
    /// The boot CPU's ID.
    own: u32,
}

impl Machine<'_> {
    /// IDs of the other CPUs.
    fn others(&self) -> impl Iterator<Item = u32> {
        self.ids.iter().map(|&id| u32::from(id)).filter(|&id| id != self.own)
    }

    /// Some of the others, spread over all, the first and the last among them: for what takes its time with each.
    fn sample(&self) -> impl Iterator<Item = u32> {
        let count = self.others().count();
        let step = count.saturating_sub(1).div_ceil(SAMPLE - 1).max(1);
        let is_in = move |index: usize| index.is_multiple_of(step) || index + 1 == count;
        self.others()
            .enumerate()
            .filter(move |&(index, _)| is_in(index))
            .map(|(_, id)| id)
    }

    /// How many others there are.
    fn others_count(&self) -> u32 {
        self.others().count() as u32
    }
}

/// What a CPU tells about itself.
struct Cpu {
    id: AtomicU32,
    cpuid: AtomicU32,
    is_bootstrap: AtomicBool,
    /// How often it came to its main loop.
    starts: AtomicU32,
    /// Interrupts that it took, by vector from [`IPI`] on.
    taken: [AtomicU32; 4],
    nmis: AtomicU32,
    tsc: AtomicU64,
}

impl Cpu {
    const fn new() -> Self {
        Self {
            id: AtomicU32::new(u32::MAX),
            cpuid: AtomicU32::new(u32::MAX),
            is_bootstrap: AtomicBool::new(false),
            starts: AtomicU32::new(0),
            taken: [const { AtomicU32::new(0) }; 4],
            nmis: AtomicU32::new(0),
            tsc: AtomicU64::new(0),
        }
    }
}

/// The handler of all CPUs.
fn record(vector: u8, stack: u64) {
    let Some(cpu) = CPUS.get(start::number(stack)) else {
        return;
    };
    if vector == interrupts::NMI {
        cpu.nmis.fetch_add(1, SeqCst);
        return;
    }
    if let Some(taken) = vector
        .checked_sub(IPI)
        .and_then(|index| cpu.taken.get(usize::from(index)))
    {
        taken.fetch_add(1, SeqCst);
    }
    lapic::eoi();
}

/// Where a started CPU arrives.
#[expect(unsafe_code, reason = "the entry code calls it by this name")]
#[unsafe(no_mangle)]
extern "C" fn ap_main(index: u32) -> ! {
    start::set_up(index);
    let Some(cpu) = CPUS.get(index as usize + 1) else {
        runtime::halt();
    };
    lapic::enable();
    cpu.id.store(lapic::id(), SeqCst);
    cpu.cpuid.store(cpu::cpuid(1).ebx >> 24, SeqCst);
    cpu.is_bootstrap.store(lapic::is_bootstrap(), SeqCst);
    cpu.starts.fetch_add(1, SeqCst);
    let mut carried_out = COMMAND_NUMBER.load(SeqCst);
    ARRIVED.fetch_add(1, SeqCst);
    loop {
        interrupts::halt();
        let number = COMMAND_NUMBER.load(SeqCst);
        if number != carried_out {
            carried_out = number;
            carry_out(cpu, COMMAND.load(SeqCst), index);
            DONE.fetch_add(1, SeqCst);
        }
    }
}

fn carry_out(cpu: &Cpu, command: u32, index: u32) {
    match command {
        COUNT => {
            for _ in 0..COUNTS {
                SUM.fetch_add(1, SeqCst);
            }
        }
        LOOK => cpu.tsc.store(tsc(), SeqCst),
        ANSWER => lapic::send(BOOT_ID.load(SeqCst), u32::from(IPI + 1) | command::ASSERT),
        LOGICAL_ID => set_logical_id(index + 1),
        RUN => {
            let before = cpu.taken[2].load(SeqCst);
            RUNNING.store(true, SeqCst);
            until(|| {
                interrupts::window();
                cpu.taken[2].load(SeqCst) != before
            });
        }
        X2APIC => lapic::enter_x2apic(),
        _ => {}
    }
}

/// One bit for each of the first eight CPUs.
fn set_logical_id(number: u32) {
    lapic::write(reg::DESTINATION_FORMAT, u32::MAX);
    let id = if number < LOGICAL_IDS { 1u32 << number } else { 0 };
    lapic::write(reg::LOGICAL_DESTINATION, id << 24);
}

/// Has every other CPU carry a command out; whether all did.
fn order(machine: &Machine<'_>, command: u32) -> bool {
    DONE.store(0, SeqCst);
    COMMAND.store(command, SeqCst);
    COMMAND_NUMBER.fetch_add(1, SeqCst);
    for id in machine.others() {
        lapic::send(id, u32::from(WAKE) | command::ASSERT);
    }
    until(|| DONE.load(SeqCst) == machine.others_count())
}

/// The CPUs that came beside the boot CPU, by the numbers they drew.
fn others() -> &'static [Cpu] {
    CPUS.get(1..=start::count() as usize).unwrap_or_default()
}

/// The CPU with that ID, as it told it.
fn cpu_of(id: u32) -> Option<&'static Cpu> {
    others().iter().find(|cpu| cpu.id.load(SeqCst) == id)
}

/// Waits until `condition` holds, as long as there is patience left; whether it came to that.
fn until(mut condition: impl FnMut() -> bool) -> bool {
    let budget = PATIENCE.load(SeqCst).max(IMPATIENT_TICKS);
    let begin = tsc();
    for _ in 0..LOOKS_MAX {
        if condition() {
            return true;
        }
        if budget < tsc().wrapping_sub(begin) {
            break;
        }
        cpu::relax();
    }
    PATIENCE.store(PATIENCE.load(SeqCst).saturating_sub(budget), SeqCst);
    condition()
}

/// Gives what must not happen a while to happen.
fn pause() {
    let begin = tsc();
    for _ in 0..LOOKS_MAX {
        if QUIET_TICKS < tsc().wrapping_sub(begin) {
            break;
        }
        cpu::relax();
    }
}

/// The specification's INIT, then the start-up message twice; a CPU that runs already ignores the second. A busy host
/// may take its time with the INIT, and a start-up message before its end is lost: more follow until `count` CPUs came.
/// Whether they did.
fn start_cpus(destination: u32, to: u32, count: u32) -> bool {
    lapic::send(destination, command::INIT | command::ASSERT | to);
    pause();
    start_up(destination, to);
    start_up(destination, to);
    until(|| {
        let came = ARRIVED.load(SeqCst) == count;
        if !came {
            start_up(destination, to);
        }
        came
    })
}

fn start_up(destination: u32, to: u32) {
    lapic::send(destination, command::START_UP | command::ASSERT | to | start::PAGE);
    pause();
}

/// Ends a judgement: it was made, or the machine has no such thing.
type Outcome = Result<(), &'static str>;

fn mp_table(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let Some(table) = machine.table else {
        report.wrong(format_args!("no MultiProcessor table, or one that ends early"));
        return Ok(());
    };
    report.fact(
        "mp-table",
        format_args!(
            "address={:#x} entries={} cpus={} bootstraps={} ioapics={} local-apic={:#x}",
            table.address,
            table.entries,
            table.ids().len(),
            table.bootstraps,
            table.ioapics,
            table.local_apic
        ),
    );
    report.expect(table.sums, format_args!("checksum"));
    report.expect(
        table.local_apic == 0xfee0_0000,
        format_args!("local-apic={:#x}", table.local_apic),
    );
    report.expect(table.bootstraps == 1, format_args!("bootstraps={}", table.bootstraps));
    report.expect(table.ioapics == 1, format_args!("ioapics={}", table.ioapics));
    let ids = table.ids();
    for (index, id) in ids.iter().enumerate() {
        report.expect(!ids[..index].contains(id), format_args!("id={id} twice"));
    }
    report.expect(
        machine.others_count() + 1 == ids.len() as u32,
        format_args!("boot CPU id={} not listed", machine.own),
    );
    Ok(())
}

/// One by one, each announced CPU starts once.
fn start_each(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    if let Err(failure) = start::prepare() {
        report.wrong(format_args!("page of the first instructions: {failure}"));
        return Ok(());
    }
    BOOT_ID.store(machine.own, SeqCst);
    let mut expected = 0;
    for id in machine.others() {
        expected += 1;
        let came = start_cpus(id, 0, expected);
        report.expect(
            came,
            format_args!("id={id} started={} wanted={expected}", ARRIVED.load(SeqCst)),
        );
        if !came {
            break;
        }
    }
    pause();
    report.fact("started", format_args!("cpus={}", ARRIVED.load(SeqCst) + 1));
    report.expect(
        start::count() == expected,
        format_args!("starts={} wanted={expected}", start::count()),
    );
    Ok(())
}

/// Each started CPU is the one that was meant: its APIC, CPUID and the table agree.
fn identity(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    for id in machine.others() {
        let Some(cpu) = cpu_of(id) else {
            report.wrong(format_args!("no CPU has id={id}"));
            continue;
        };
        let cpuid = cpu.cpuid.load(SeqCst);
        report.expect(cpuid == id, format_args!("id={id} cpuid={cpuid}"));
        report.expect(
            !cpu.is_bootstrap.load(SeqCst),
            format_args!("id={id} is a bootstrap processor"),
        );
    }
    report.expect(
        lapic::is_bootstrap(),
        format_args!("boot CPU is no bootstrap processor"),
    );
    Ok(())
}

/// INIT and start-up to all others: as many come as are announced, each for the second time.
fn nobody_else(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let count = machine.others_count();
    if start::prepare().is_err() {
        report.wrong(format_args!("page of the first instructions"));
        return Ok(());
    }
    start::forget();
    ARRIVED.store(0, SeqCst);
    let came = start_cpus(0, command::OTHERS, count);
    pause();
    let started = start::count();
    report.fact("started-by-broadcast", format_args!("cpus={}", started + 1));
    report.expect(
        came && started == count,
        format_args!("started={started} wanted={count}"),
    );
    Ok(())
}

/// An interrupt for one CPU reaches that one, once, and no other; it wakes it from its halt.
fn fixed(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    for id in machine.sample() {
        expect_taken(
            report,
            machine,
            0,
            |other| other == id,
            || {
                lapic::send(id, u32::from(IPI) | command::ASSERT);
            },
        );
    }
    Ok(())
}

/// One for a set of logical IDs reaches those in the set.
fn logical(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    set_logical_id(0);
    if !order(machine, LOGICAL_ID) {
        report.wrong(format_args!("done={} of {}", DONE.load(SeqCst), machine.others_count()));
        return Ok(());
    }
    let number_of = |id: u32| {
        let position = others().iter().position(|cpu| cpu.id.load(SeqCst) == id);
        position.map_or(u32::MAX, |index| index as u32 + 1)
    };
    for set in [0x02, 0x54, 0xfe, 0xa8] {
        let is_in = |id| {
            let number = number_of(id);
            number < LOGICAL_IDS && set & 1 << number != 0
        };
        expect_taken(report, machine, 0, is_in, || {
            lapic::send(set, u32::from(IPI) | command::ASSERT | command::LOGICAL);
        });
    }
    Ok(())
}

/// One for all others reaches those, and not the sender.
fn broadcast(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let own = CPUS[0].taken[0].load(SeqCst);
    expect_taken(
        report,
        machine,
        0,
        |_| true,
        || {
            lapic::send(0, u32::from(IPI) | command::ASSERT | command::OTHERS);
        },
    );
    open_windows();
    let taken = CPUS[0].taken[0].load(SeqCst) - own;
    report.expect(taken == 0, format_args!("sender taken={taken}"));
    expect_taken(
        report,
        machine,
        0,
        |_| true,
        || {
            lapic::send(0, u32::from(IPI) | command::ASSERT | command::ALL);
        },
    );
    until(|| {
        interrupts::window();
        CPUS[0].taken[0].load(SeqCst) != own
    });
    let taken = CPUS[0].taken[0].load(SeqCst) - own;
    report.expect(taken == 1, format_args!("sender with all taken={taken}"));
    Ok(())
}

/// Every CPU's interrupt reaches the boot CPU.
fn back(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let before = CPUS[0].taken[1].load(SeqCst);
    for id in machine.sample() {
        // One at a time: two of one vector that wait are one.
        let already = CPUS[0].taken[1].load(SeqCst);
        DONE.store(0, SeqCst);
        COMMAND.store(ANSWER, SeqCst);
        COMMAND_NUMBER.fetch_add(1, SeqCst);
        lapic::send(id, u32::from(WAKE) | command::ASSERT);
        let came = until(|| {
            interrupts::window();
            CPUS[0].taken[1].load(SeqCst) != already && DONE.load(SeqCst) == 1
        });
        report.expect(came, format_args!("id={id} does not answer"));
        if !came {
            break;
        }
    }
    open_windows();
    let taken = CPUS[0].taken[1].load(SeqCst) - before;
    report.expect(taken == machine.sample().count() as u32, format_args!("taken={taken}"));
    Ok(())
}

/// An NMI wakes a halted CPU, once.
fn nmi(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let counts = || others().iter().map(|cpu| cpu.nmis.load(SeqCst)).sum::<u32>();
    for id in machine.sample() {
        let (Some(cpu), before) = (cpu_of(id), counts()) else {
            continue;
        };
        let own = cpu.nmis.load(SeqCst);
        lapic::send(id, command::NMI | command::ASSERT);
        let came = until(|| cpu.nmis.load(SeqCst) != own);
        report.expect(came, format_args!("id={id} takes no NMI"));
        let all = counts() - before;
        report.expect(all == 1, format_args!("id={id} taken by all={all}"));
        if !came {
            break;
        }
    }
    Ok(())
}

/// A CPU that runs takes an interrupt as one that halts does.
fn running(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    for id in machine.sample() {
        RUNNING.store(false, SeqCst);
        DONE.store(0, SeqCst);
        COMMAND.store(RUN, SeqCst);
        COMMAND_NUMBER.fetch_add(1, SeqCst);
        lapic::send(id, u32::from(WAKE) | command::ASSERT);
        let runs = until(|| RUNNING.load(SeqCst));
        lapic::send(id, u32::from(IPI + 2) | command::ASSERT);
        let taken = until(|| DONE.load(SeqCst) == 1) && cpu_of(id).is_some_and(|cpu| cpu.taken[2].load(SeqCst) != 0);
        report.expect(runs && taken, format_args!("id={id} runs={runs} taken={taken}"));
        if !(runs && taken) {
            break;
        }
    }
    Ok(())
}

/// Locked additions of all CPUs to one word add up.
fn atomic(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    SUM.store(0, SeqCst);
    DONE.store(0, SeqCst);
    COMMAND.store(COUNT, SeqCst);
    COMMAND_NUMBER.fetch_add(1, SeqCst);
    lapic::send(0, u32::from(WAKE) | command::ASSERT | command::OTHERS);
    for _ in 0..COUNTS {
        SUM.fetch_add(1, SeqCst);
    }
    let done = until(|| DONE.load(SeqCst) == machine.others_count());
    let (sum, wanted) = (SUM.load(SeqCst), COUNTS * (machine.others_count() + 1));
    report.expect(
        done && sum == wanted,
        format_args!("sum={sum} wanted={wanted} done={done}"),
    );
    Ok(())
}

/// A CPU's counter, read between two readings here, lies between them.
fn time(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    for id in machine.sample() {
        let Some(cpu) = cpu_of(id) else {
            continue;
        };
        DONE.store(0, SeqCst);
        COMMAND.store(LOOK, SeqCst);
        let before = tsc();
        COMMAND_NUMBER.fetch_add(1, SeqCst);
        lapic::send(id, u32::from(WAKE) | command::ASSERT);
        let done = until(|| DONE.load(SeqCst) == 1);
        let (there, after) = (cpu.tsc.load(SeqCst), tsc());
        report.expect(
            done && before <= there && there <= after,
            format_args!("id={id} before={before:#x} there={there:#x} after={after:#x}"),
        );
        if !done {
            break;
        }
    }
    Ok(())
}

/// A CPU that got INIT takes no interrupt, until it is started.
fn init(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let Some((id, cpu)) = machine.others().last().and_then(|id| Some((id, cpu_of(id)?))) else {
        report.wrong(format_args!("no CPU to stop"));
        return Ok(());
    };
    // A CPU that answers has seen every start-up message sent to it so far. One that a busy host has not shown it yet
    // would start it right behind the INIT.
    let answered = order(machine, NOTHING);
    report.expect(answered, format_args!("done={}", DONE.load(SeqCst)));
    let (taken, nmis) = (cpu.taken[0].load(SeqCst), cpu.nmis.load(SeqCst));
    lapic::send(id, command::INIT | command::ASSERT);
    pause();
    lapic::send(id, u32::from(IPI) | command::ASSERT);
    pause();
    report.expect(
        cpu.taken[0].load(SeqCst) == taken,
        format_args!("id={id} takes an interrupt behind INIT"),
    );
    report.expect(
        cpu.nmis.load(SeqCst) == nmis,
        format_args!("id={id} takes an NMI behind INIT"),
    );
    // It comes back under a number of its own, and is told from its former self by that.
    cpu.id.store(u32::MAX, SeqCst);
    ARRIVED.store(0, SeqCst);
    let came = until(|| {
        start_up(id, 0);
        ARRIVED.load(SeqCst) == 1
    });
    report.expect(
        came && cpu_of(id).is_some(),
        format_args!(
            "id={id} does not start again: arrived={} starts={}",
            ARRIVED.load(SeqCst),
            start::count()
        ),
    );
    Ok(())
}

/// All CPUs change to x2APIC mode, where IDs have 32 bits, and reach each other as before.
fn x2apic(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    if !lapic::has_x2apic() {
        return Err("CPUID tells of no x2APIC mode");
    }
    // The waking interrupts are sent and ended in the old mode; the order makes each CPU change.
    let done = order(machine, X2APIC);
    report.expect(
        done,
        format_args!("done={} of {}", DONE.load(SeqCst), machine.others_count()),
    );
    if !done {
        return Ok(());
    }
    lapic::enter_x2apic();
    lapic::use_x2apic();
    report.expect(lapic::id() == machine.own, format_args!("boot CPU id={}", lapic::id()));
    for id in machine.sample() {
        expect_taken(
            report,
            machine,
            3,
            |other| other == id,
            || {
                lapic::send(id, u32::from(IPI + 3) | command::ASSERT);
            },
        );
    }
    Ok(())
}

/// Does `send` and complains unless exactly those of the other CPUs that `is_meant` names take one interrupt each.
fn expect_taken(
    report: &mut Report,
    machine: &Machine<'_>,
    index: usize,
    is_meant: impl Fn(u32) -> bool,
    send: impl Fn(),
) {
    let total = || others().iter().map(|cpu| cpu.taken[index].load(SeqCst)).sum::<u32>();
    let wanted = machine.others().filter(|&id| is_meant(id)).count() as u32;
    for cpu in others() {
        cpu.taken[index].store(0, SeqCst);
    }
    send();
    let came = until(|| total() == wanted);
    if wanted == 0 {
        pause();
    }
    for cpu in others() {
        let (id, taken) = (cpu.id.load(SeqCst), cpu.taken[index].load(SeqCst));
        let wanted = u32::from(is_meant(id));
        report.expect(taken == wanted, format_args!("id={id} taken={taken} wanted={wanted}"));
    }
    report.expect(came, format_args!("taken by all={} wanted={wanted}", total()));
}

fn open_windows() {
    for _ in 0..WINDOWS {
        interrupts::window();
    }
}

/// Judges one thing, printing what is wrong; `Err` says what the machine lacks for it.
type Judge = fn(&mut Report, &Machine<'_>) -> Outcome;

/// The verdicts in order, with the least number of CPUs that each needs; names are permanent.
const VERDICTS: &[(&str, usize, Judge)] = &[
    ("cpus/mp-table", 1, mp_table),
    ("cpus/start", 1, start_each),
    ("cpus/identity", 1, identity),
    ("ipi/fixed", 2, fixed),
    ("ipi/logical", 2, logical),
    ("ipi/broadcast", 2, broadcast),
    ("ipi/back", 2, back),
    ("ipi/nmi", 2, nmi),
    ("ipi/running", 2, running),
    ("cpus/atomic", 2, atomic),
    ("cpus/time", 2, time),
    ("cpus/nobody-else", 1, nobody_else),
    ("cpus/init", 2, init),
    ("cpus/x2apic", 2, x2apic),
];

/// Version of the facts and of the names of the verdicts.
const FACTS_VERSION: u32 = 1;

/// The boot CPU, then the others by the numbers they drew.
static CPUS: [Cpu; start::CPUS_MAX + 1] = [const { Cpu::new() }; start::CPUS_MAX + 1];

/// CPUs that came to their main loop.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

/// What is to be done, how many orders there were, and how many CPUs did it.
static COMMAND: AtomicU32 = AtomicU32::new(0);
static COMMAND_NUMBER: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

static SUM: AtomicU32 = AtomicU32::new(0);
static RUNNING: AtomicBool = AtomicBool::new(false);
static BOOT_ID: AtomicU32 = AtomicU32::new(0);

const NOTHING: u32 = 0;
const COUNT: u32 = 1;
const LOOK: u32 = 2;
const ANSWER: u32 = 3;
const LOGICAL_ID: u32 = 4;
const RUN: u32 = 5;
const X2APIC: u32 = 6;

/// Additions of each CPU.
const COUNTS: u32 = 500;

/// CPUs of a sample, about.
const SAMPLE: usize = 8;

/// CPUs with a logical ID of their own.
const LOGICAL_IDS: u32 = 8;

/// First of the vectors whose interrupts are counted: for others, for the boot CPU, for a running CPU, in x2APIC mode.
const IPI: u8 = 0x50;

/// Vector that brings a command.
const WAKE: u8 = 0x80;

/// How much waiting in vain one run may cost: some seconds on a CPU of our days, because a CPU may have to wait for a
/// busy host that long.
static PATIENCE: AtomicU64 = AtomicU64::new(1 << 34);

/// How long each wait takes when that is used up.
const IMPATIENT_TICKS: u64 = 1 << 28;

/// Some hundred microseconds.
const QUIET_TICKS: u64 = 1 << 20;

/// Looks after which the longest wait ends, should the counter stand still.
const LOOKS_MAX: u32 = 1 << 28;

/// Windows in which what waits arrives.
const WINDOWS: u32 = 100;
