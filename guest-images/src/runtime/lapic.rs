//! The local APIC of the CPU that asks, by memory or, in x2APIC mode, by MSR.
//!
//! Source: Intel SDM volume 3, chapter 12 "Advanced Programmable Interrupt Controller".

#![expect(unsafe_code, reason = "device registers and MSRs")]

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::cpu;

/// Enables it: no vector is held back, and vector [`SPURIOUS`] is the spurious one. Its local interrupts stay masked.
pub fn enable() {
    write(reg::SPURIOUS_VECTOR, SVR_ENABLE | u32::from(SPURIOUS));
    write(reg::TASK_PRIORITY, 0);
    write(reg::LVT_TIMER, LVT_MASKED);
    write(reg::LVT_LINT0, LVT_MASKED);
}

/// Whether the CPU has x2APIC mode.
pub fn has_x2apic() -> bool {
    cpu::cpuid(1).ecx & CPUID_1_ECX_X2APIC != 0
}

/// Switches this CPU to x2APIC mode, in which the functions here reach it no more until [`use_x2apic`].
pub fn enter_x2apic() {
    let base = cpu::read_msr(IA32_APIC_BASE);
    cpu::write_msr(IA32_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

/// From now on all CPUs are in x2APIC mode.
pub fn use_x2apic() {
    X2APIC.store(true, Relaxed);
}

/// Its ID: 8 bits, or 32 in x2APIC mode.
pub fn id() -> u32 {
    let id = read(reg::ID);
    if X2APIC.load(Relaxed) { id } else { id >> 24 }
}

/// Whether this CPU is the one that firmware starts on.
pub fn is_bootstrap() -> bool {
    cpu::read_msr(IA32_APIC_BASE) & APIC_BASE_BSP != 0
}

/// Ends the interrupt in service.
pub fn eoi() {
    write(reg::EOI, 0);
}

/// Sends an interrupt: `command` is the low half of the interrupt command register. Waits until it is on its way.
pub fn send(destination: u32, command: u32) {
    if X2APIC.load(Relaxed) {
        cpu::write_msr(X2APIC_ICR, u64::from(destination) << 32 | u64::from(command));
        return;
    }
    write(reg::ICR_HIGH, destination << 24);
    write(reg::ICR_LOW, command);
    for _ in 0..POLLS_MAX {
        if read(reg::ICR_LOW) & ICR_PENDING == 0 {
            break;
        }
        cpu::relax();
    }
}

/// Whether `vector` is set in a 256-bit register: [`reg::ISR`] or [`reg::IRR`].
pub fn has_vector(register: u32, vector: u8) -> bool {
    read(register + u32::from(vector / 32) * 0x10) & 1 << (vector % 32) != 0
}

/// Reads a register.
pub fn read(register: u32) -> u32 {
    if X2APIC.load(Relaxed) {
        return cpu::read_msr(X2APIC_FIRST + (register >> 4)) as u32;
    }
    // SAFETY: the registers are mapped, aligned, and no Rust object.
    unsafe { ((BASE + u64::from(register)) as *const u32).read_volatile() }
}

/// Writes a register.
pub fn write(register: u32, value: u32) {
    if X2APIC.load(Relaxed) {
        cpu::write_msr(X2APIC_FIRST + (register >> 4), u64::from(value));
        return;
    }
    // SAFETY: as in `read`; what the APIC does with it is an interrupt, which finds its gate.
    unsafe { ((BASE + u64::from(register)) as *mut u32).write_volatile(value) }
}

/// Vector of spurious interrupts.
pub const SPURIOUS: u8 = 0xff;

/// Mask bit of a local vector.
pub const LVT_MASKED: u32 = 1 << 16;

/// Local vector whose vector comes from the PIC.
pub const LVT_EXT_INT: u32 = 7 << 8;

/// Timer mode: again and again.
pub const LVT_PERIODIC: u32 = 1 << 17;

/// Fields of an interrupt command beside its vector.
pub mod command {
    /// Delivery mode NMI.
    pub const NMI: u32 = 4 << 8;
    /// Delivery mode INIT.
    pub const INIT: u32 = 5 << 8;
    /// Delivery mode start-up.
    pub const START_UP: u32 = 6 << 8;
    /// The destination is a set of logical IDs.
    pub const LOGICAL: u32 = 1 << 11;
    /// Level: 1 for everything but the end of an INIT.
    pub const ASSERT: u32 = 1 << 14;
    /// To the sender, whatever the destination.
    pub const SELF: u32 = 1 << 18;
    /// To every CPU.
    pub const ALL: u32 = 2 << 18;
    /// To every CPU but the sender.
    pub const OTHERS: u32 = 3 << 18;
}

/// Registers, offsets from the base.
pub mod reg {
    /// Local APIC ID.
    pub const ID: u32 = 0x20;
    /// Task priority.
    pub const TASK_PRIORITY: u32 = 0x80;
    /// End of interrupt.
    pub const EOI: u32 = 0xb0;
    /// Logical destination.
    pub const LOGICAL_DESTINATION: u32 = 0xd0;
    /// Destination format.
    pub const DESTINATION_FORMAT: u32 = 0xe0;
    /// Spurious interrupt vector.
    pub const SPURIOUS_VECTOR: u32 = 0xf0;
    /// In service, 256 bits.
    pub const ISR: u32 = 0x100;
    /// Requested, 256 bits.
    pub const IRR: u32 = 0x200;
    /// Interrupt command, low half.
    pub const ICR_LOW: u32 = 0x300;
    /// Interrupt command, high half.
    pub const ICR_HIGH: u32 = 0x310;
    /// Local vector of the timer.
    pub const LVT_TIMER: u32 = 0x320;
    /// Local vector of the pin LINT0.
    pub const LVT_LINT0: u32 = 0x350;
    /// Timer: count to start from.
    pub const INITIAL_COUNT: u32 = 0x380;
    /// Timer: count now.
    pub const CURRENT_COUNT: u32 = 0x390;
    /// Timer: divider of its clock.
    pub const DIVIDE: u32 = 0x3e0;
}

/// After reset; nothing here moves it.
const BASE: u64 = 0xfee0_0000;

const SVR_ENABLE: u32 = 1 << 8;
const ICR_PENDING: u32 = 1 << 12;
const CPUID_1_ECX_X2APIC: u32 = 1 << 21;
const IA32_APIC_BASE: u32 = 0x1b;
const APIC_BASE_BSP: u64 = 1 << 8;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const X2APIC_FIRST: u32 = 0x800;
const X2APIC_ICR: u32 = 0x830;

/// Far more polls than a message needs to leave.
const POLLS_MAX: u32 = 100_000;

/// All CPUs are in x2APIC mode.
static X2APIC: AtomicBool = AtomicBool::new(false);
