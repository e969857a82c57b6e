//! What CPUID tells.
//!
//! Source: Intel SDM volume 2, "CPUID"; Linux, Documentation/virt/kvm/x86/cpuid.rst.

use guest_images::{
    ktap::{Bit, Quoted},
    runtime::cpu,
};

use crate::{Machine, Outcome, Report};

pub(crate) fn cpu(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let basic = cpu::cpuid(0);
    let vendor = text([basic.ebx, basic.edx, basic.ecx]);
    let features = cpu::cpuid(1);
    let hypervisor = features.ecx & CPUID_1_ECX_HYPERVISOR != 0;
    report.fact(
        "cpu",
        format_args!(
            "leaf-max={:#x} vendor={} signature={:#x} apic-id={} logical={} ecx={:#x} edx={:#x} physical-bits={} \
             hypervisor={}",
            basic.eax,
            Quoted(&vendor),
            features.eax,
            features.ebx >> 24,
            features.ebx >> 16 & 0xff,
            features.ecx,
            features.edx,
            cpu::physical_bits(),
            Bit(hypervisor)
        ),
    );
    if hypervisor {
        let leaf = cpu::cpuid(0x4000_0000);
        let signature = text([leaf.ebx, leaf.ecx, leaf.edx]);
        let is_kvm = signature == *b"KVMKVMKVM\0\0\0";
        let kvm_features = if is_kvm { cpu::cpuid(0x4000_0001).eax } else { 0 };
        report.fact(
            "hypervisor",
            format_args!(
                "signature={} leaf-max={:#x} kvm-features={kvm_features:#x}",
                Quoted(&signature),
                leaf.eax
            ),
        );
    }
    report.expect(basic.eax >= 1, format_args!("leaf-max={:#x}", basic.eax));
    Outcome::Judged
}

fn text(registers: [u32; 3]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (space, register) in bytes.chunks_exact_mut(4).zip(registers) {
        space.copy_from_slice(&register.to_le_bytes());
    }
    bytes
}

const CPUID_1_ECX_HYPERVISOR: u32 = 1 << 31;
