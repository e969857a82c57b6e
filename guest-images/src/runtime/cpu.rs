//! What the CPU tells about itself.

#![expect(
    unsafe_code,
    reason = "cpuid, rdtsc, lidt and port-free instructions without a safe form"
)]

use core::arch::{
    asm,
    x86_64::{__cpuid_count, _rdtsc, CpuidResult},
};

use super::Single;

/// CPUID of a leaf and subleaf 0.
pub fn cpuid(leaf: u32) -> CpuidResult {
    __cpuid_count(leaf, 0)
}

/// The time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: reading the counter changes nothing.
    unsafe { _rdtsc() }
}

/// Width of guest-physical addresses in bits; 36 when CPUID does not say, as the SDM has it.
pub fn physical_bits() -> u8 {
    // SAFETY: a static of this function, see `Single`.
    let known = unsafe { &mut *PHYSICAL_BITS.0.get() };
    if *known == 0 {
        *known = if cpuid(0x8000_0000).eax >= 0x8000_0008 {
            cpuid(0x8000_0008).eax as u8
        } else {
            36
        };
        // A page table entry has 52 address bits, whatever a strange CPUID says.
        *known = (*known).clamp(32, 52);
    }
    *known
}

/// Lets a waiting loop of this CPU leave room for others.
pub fn relax() {
    core::hint::spin_loop();
}

/// Reads a model-specific register that the CPU is known to have.
pub(super) fn read_msr(index: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MSR changes nothing.
    unsafe { asm!("rdmsr", in("ecx") index, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register that the CPU is known to have.
pub(super) fn write_msr(index: u32, value: u64) {
    // SAFETY: the callers in this runtime write the local APIC's only, whose interrupts find their gates.
    unsafe {
        asm!("wrmsr", in("ecx") index, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Faults with an empty interrupt table, so that the CPU shuts down.
pub fn triple_fault() -> ! {
    let empty = [0u16; 5];
    // SAFETY: nothing runs after this.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) empty.as_ptr(), options(noreturn)) }
}

static PHYSICAL_BITS: Single<u8> = Single::new(0);
