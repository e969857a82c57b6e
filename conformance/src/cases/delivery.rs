//! Interrupts as a CPU takes them, from the device's line to the handler: the image `delivery` makes them happen and
//! judges each behaviour, here as one case for each set-up.
//!
//! Whether PIC, PIT and IOAPIC are in the VMM or in KVM (`kernel-irqchip`) is a way of starting the subject, not a
//! set-up: every case runs in both.

use super::resident::lines;
use crate::case::{Case, Setup};
use crate::clause::{i8259a, i82093aa, mc146818, microvm, sdm, virtio};

/// Every device that interrupts.
const SETUP: Setup = Setup {
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};

/// The same without the 8259 pair: everything goes through the IOAPIC.
const PIC_OFF: Setup = Setup {
    options: &[("rtc", "on"), ("pic", "off")],
    modern: true,
    ..SETUP
};

pub(crate) const CASES: &[Case] = lines! { "delivery", "", SETUP, "delivery";
    "halt/ioapic", "A halted CPU is woken by a timer through the IOAPIC",
        sdm::HALT, [Ioapic, Pit];
    "halt/local-apic", "A halted CPU is woken by its local APIC's timer",
        sdm::HALT, [];
    "halt/pic", "A halted CPU is woken by a timer through the 8259 pair",
        sdm::HALT, [Pic, Pit];
    "ioapic/edge", "An edge at the IOAPIC interrupts once, however long the line stays up",
        i82093aa::TRIGGER_MODE, [Ioapic, Serial];
    "ioapic/extint", "A pin with delivery mode ExtINT comes with the 8259's vector",
        i82093aa::EXTINT, [Ioapic, Pic, Serial];
    "ioapic/level", "A line that is still up at the EOI interrupts again, and one that is down does not",
        i82093aa::TRIGGER_MODE, [Ioapic, SerialLine];
    "ioapic/logical", "A logical destination reaches this CPU when it shares a bit with its logical ID",
        i82093aa::DESTINATION, [Ioapic, Serial];
    "ioapic/mask-edge", "An edge at a masked pin is lost and the next one behind the mask comes",
        i82093aa::MASKED_EDGE, [Ioapic, Serial];
    "ioapic/mask-level", "A level at a masked pin stays quiet and comes when the mask goes",
        i82093aa::INTERRUPT_MASK, [Ioapic, SerialLine];
    "ioapic/nmi", "A pin with delivery mode NMI interrupts a CPU whose interrupts are off",
        i82093aa::DELIVERY_MODE, [Ioapic, Serial];
    "ioapic/physical", "A physical destination reaches the CPU of that ID and no other",
        i82093aa::DESTINATION, [Ioapic, Serial];
    "ioapic/remote-irr", "Remote IRR of a level stands until the EOI and holds the next interrupt back",
        i82093aa::REMOTE_IRR, [Ioapic, SerialLine];
    "ioapic/rtc", "The clock's periodic interrupt comes through pin 8 each time register C was read",
        microvm::GSI_WIRING, [Ioapic, Rtc];
    "ioapic/rtc-held", "The clock's line stays up until register C is read, so that no further edge comes",
        mc146818::INTERRUPT, [Ioapic, Rtc];
    "ioapic/tick", "The timer ticks through pin 2 of the IOAPIC and not through pin 0",
        microvm::GSI_WIRING, [Ioapic, Pit];
    "ioapic/virtio", "A completed request interrupts through the IOAPIC until InterruptACK is written",
        virtio::INTERRUPT_ACK, [Ioapic, VirtioMmio, AutoCmdline];
    "local-apic/eoi", "An interrupt is in service until its EOI, and a second one waits for that",
        sdm::EOI, [];
    "local-apic/nesting", "An interrupt in service holds back its own class and those below until its EOI",
        sdm::EOI, [];
    "local-apic/nmi", "A CPU's NMI to itself interrupts it although its interrupts are off",
        sdm::IPI, [];
    "local-apic/one-shot", "The local APIC's timer fires once in its one-shot mode",
        sdm::TIMER, [];
    "local-apic/periodic", "The local APIC's timer fires again and again in its periodic mode until it is masked",
        sdm::TIMER, [];
    "local-apic/priority", "Of two interrupts that wait the one of the higher class comes first",
        sdm::PRIORITY, [];
    "local-apic/self", "A CPU interrupts itself by shorthand and by its ID",
        sdm::IPI, [];
    "local-apic/task-priority", "The task priority holds back its own class and those below",
        sdm::PRIORITY, [];
    "pic/cascade", "A clock's interrupt through the slave is in service in both chips and needs both EOIs",
        i8259a::CASCADE, [Pic, Rtc];
    "pic/edge", "An edge at the 8259 interrupts once, however long the line stays up",
        i8259a::TRIGGER, [Pic, Serial];
    "pic/eoi", "An input in service is not delivered again before its EOI and is after it",
        i8259a::NESTING, [Pic, Pit];
    "pic/level", "A level at the 8259 interrupts again after each EOI while the line is up",
        i8259a::TRIGGER, [Pic, SerialLine];
    "pic/lint0", "The 8259 pair reaches the CPU through LINT0, whose mask holds it back",
        sdm::LINT0, [Pic, Serial];
    "pic/mask", "A masked request waits and is delivered when its mask goes",
        i8259a::OCW1, [Pic, Pit];
    "pic/nesting", "A lower input interrupts the service of a higher one, and its EOI ends its own",
        i8259a::NESTING, [Pic, Pit, Serial];
    "pic/priority", "Of two requests the lower input comes first and the other waits for its EOI",
        i8259a::NESTING, [Pic, Pit, Serial];
    "pic/tick", "The timer ticks through the 8259 with its vector, again after each EOI",
        microvm::GSI_WIRING, [Pic, Pit];
    "pic/virtio", "A completed request interrupts through the 8259 pair",
        microvm::GSI_WIRING, [Pic, VirtioMmio, AutoCmdline];
    "pic/withdrawn", "A level that goes before the CPU took it leaves at most the default IR7",
        i8259a::DEFAULT_IR7, [Pic, SerialLine];
};

pub(crate) const CASES_PIC_OFF: &[Case] = lines! { "delivery-pic-off", ", without the 8259 pair", PIC_OFF, "delivery";
    "halt/ioapic", "A halted CPU is woken by a timer through the IOAPIC",
        sdm::HALT, [Ioapic, Pit];
    "halt/local-apic", "A halted CPU is woken by its local APIC's timer",
        sdm::HALT, [];
    "ioapic/edge", "An edge at the IOAPIC interrupts once, however long the line stays up",
        i82093aa::TRIGGER_MODE, [Ioapic, Serial];
    "ioapic/level", "A line that is still up at the EOI interrupts again, and one that is down does not",
        i82093aa::TRIGGER_MODE, [Ioapic, SerialLine];
    "ioapic/mask-edge", "An edge at a masked pin is lost and the next one behind the mask comes",
        i82093aa::MASKED_EDGE, [Ioapic, Serial];
    "ioapic/mask-level", "A level at a masked pin stays quiet and comes when the mask goes",
        i82093aa::INTERRUPT_MASK, [Ioapic, SerialLine];
    "ioapic/remote-irr", "Remote IRR of a level stands until the EOI and holds the next interrupt back",
        i82093aa::REMOTE_IRR, [Ioapic, SerialLine];
    "ioapic/rtc", "The clock's periodic interrupt comes through pin 8 each time register C was read",
        microvm::GSI_WIRING, [Ioapic, Rtc];
    "ioapic/tick", "The timer ticks through pin 2 of the IOAPIC and not through pin 0",
        microvm::GSI_WIRING, [Ioapic, Pit];
    "ioapic/virtio", "A completed request interrupts through the IOAPIC until InterruptACK is written",
        virtio::INTERRUPT_ACK, [Ioapic, VirtioModern, AutoCmdline];
};
