//! Interrupt delivery on a CPU: devices raise their lines, and what arrives at which vector, when and how often, is
//! judged here. README.md of the package says what each verdict demands.
#![no_std]
#![no_main]

mod bench;
mod ioapic;
mod lines;
mod local_apic;
mod pic;
mod virtio;

use guest_images::{
    EXIT_NOT_OK, EXIT_OK, boot,
    boot::Boot,
    ktap::{Bit, Report},
    mark, runtime,
    runtime::{interrupts, lapic, serial},
};

use bench::Bench;

guest_images::image!(main: main, fatal: boot::fatal);

fn main(start_info: u64) -> ! {
    runtime::install();
    interrupts::install(bench::record);
    let boot = Boot::read(start_info);
    let serial = serial::Serial::new(boot::channel_port());
    let mut report = Report::begin(serial::Console::new(serial), VERDICTS.len() as u32);
    report.fact("delivery", format_args!("version={FACTS_VERSION}"));
    boot::set_mark(mark::CONSOLE);

    lapic::enable();
    let has = Parts::look(&boot);
    report.fact(
        "parts",
        format_args!(
            "pic={} pit={} rtc={} ioapic={} virtio={}",
            Bit(has.pic),
            Bit(has.pit),
            Bit(has.rtc),
            Bit(has.ioapic),
            Bit(has.virtio.is_some())
        ),
    );
    let mut bench = Bench::new(boot::channel_port());
    bench.calm(&has);
    bench.has_timer = local_apic::has_timer(&mut bench);
    bench.ends_itself = local_apic::ends_itself(&mut bench);
    report.fact("local-apic", format_args!("ends-itself={}", Bit(bench.ends_itself)));
    for &(name, needs, line) in VERDICTS {
        if let Some(reason) = needs.iter().find_map(|part| has.lacks(*part, &bench)) {
            report.skip(name, reason);
            continue;
        }
        bench.calm(&has);
        line(&mut bench, &has);
        lines::serial_down(bench.serial);
        bench.complaints(|text| report.wrong(format_args!("{text}")));
        report.verdict(name);
    }
    report.end();
    boot::exit(if report.any_wrong() { EXIT_NOT_OK } else { EXIT_OK })
}

/// What the machine has.
struct Parts {
    pic: bool,
    pit: bool,
    rtc: bool,
    ioapic: bool,
    /// The first announced device that is a source of entropy.
    virtio: Option<virtio::Place>,
}

#[derive(Clone, Copy)]
enum Part {
    /// A local APIC that keeps an interrupt in service until its EOI.
    Service,
    Pic,
    Pit,
    Rtc,
    Ioapic,
    Virtio,
}

impl Parts {
    fn look(boot: &Boot) -> Self {
        Self {
            pic: pic::is_there(),
            pit: lines::pit_is_there(),
            rtc: lines::rtc_is_there(),
            ioapic: ioapic::is_there(),
            virtio: virtio::find(boot.command_line_text()),
        }
    }

    /// Why a line that needs `part` cannot be looked at, if so.
    fn lacks(&self, part: Part, bench: &Bench) -> Option<&'static str> {
        match part {
            Part::Service => bench
                .ends_itself
                .then_some("the local APIC ends each interrupt by itself as it delivers it"),
            Part::Pic => (!self.pic).then_some("no 8259 holds a mask"),
            Part::Pit => (!self.pit).then_some("no 8254 tells its status"),
            Part::Rtc => (!self.rtc).then_some("nothing answers at port 0x71"),
            Part::Ioapic => (!self.ioapic).then_some("no version register at 0xfec00000"),
            Part::Virtio => self
                .virtio
                .is_none()
                .then_some("the command line announces no entropy device"),
        }
    }
}

/// One behaviour: makes it happen and complains to the bench.
type Line = fn(&mut Bench, &Parts);

/// The verdicts in order, with the parts that each needs; names are permanent.
const VERDICTS: &[(&str, &[Part], Line)] = {
    use Part::{Ioapic, Pic, Pit, Rtc, Service, Virtio};
    &[
        ("local-apic/one-shot", &[], local_apic::one_shot),
        ("local-apic/periodic", &[], local_apic::periodic),
        ("local-apic/self", &[], local_apic::to_self),
        ("local-apic/nmi", &[], local_apic::nmi),
        ("local-apic/eoi", &[Service], local_apic::eoi),
        ("local-apic/priority", &[], local_apic::priority),
        ("local-apic/nesting", &[Service], local_apic::nesting),
        ("local-apic/task-priority", &[], local_apic::task_priority),
        ("pic/tick", &[Pic, Pit], pic::tick),
        ("pic/eoi", &[Pic, Pit], pic::eoi_needed),
        ("pic/mask", &[Pic, Pit], pic::mask),
        ("pic/lint0", &[Pic], pic::lint0),
        ("pic/edge", &[Pic], pic::edge),
        ("pic/level", &[Pic], pic::level),
        ("pic/withdrawn", &[Pic], pic::withdrawn),
        ("pic/priority", &[Pic, Pit], pic::priority),
        ("pic/nesting", &[Pic, Pit], pic::nesting),
        ("pic/cascade", &[Pic, Rtc], pic::cascade),
        ("pic/virtio", &[Pic, Virtio], pic::virtio),
        ("ioapic/edge", &[Ioapic], ioapic::edge),
        ("ioapic/mask-edge", &[Ioapic], ioapic::mask_edge),
        ("ioapic/mask-level", &[Ioapic], ioapic::mask_level),
        ("ioapic/level", &[Ioapic], ioapic::level),
        ("ioapic/remote-irr", &[Ioapic, Service], ioapic::remote_irr),
        ("ioapic/physical", &[Ioapic], ioapic::physical),
        ("ioapic/logical", &[Ioapic], ioapic::logical),
        ("ioapic/nmi", &[Ioapic], ioapic::nmi),
        ("ioapic/tick", &[Ioapic, Pit], ioapic::tick),
        ("ioapic/rtc", &[Ioapic, Rtc], ioapic::rtc),
        ("ioapic/rtc-held", &[Ioapic, Rtc], ioapic::rtc_held),
        ("ioapic/virtio", &[Ioapic, Virtio], ioapic::virtio),
        ("halt/local-apic", &[], local_apic::halt),
        ("halt/pic", &[Pic, Pit], pic::halt),
        ("halt/ioapic", &[Ioapic, Pit], ioapic::halt),
        // Last: a KVM that does not know this delivery mode is not itself afterwards.
        ("ioapic/extint", &[Ioapic, Pic], ioapic::extint),
    ]
};

/// Version of the facts and of the names of the verdicts.
const FACTS_VERSION: u32 = 1;
