//! What `cpuid` answers: all that KVM supports on this host, and each CPU's own identity.
//!
//! Source: Intel SDM volume 2, "CPUID"; AMD APM volume 3, appendix E; the machine model: CPU n is a package of its own
//! with APIC ID n. kvmclock's leaves at 0x40000000 come from KVM as they are.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

use super::SetupError;

/// The table for the CPU with this APIC ID.
pub(super) fn for_cpu(supported: &CpuId, apic_id: u16) -> Result<CpuId, SetupError> {
    let id = u32::from(apic_id);
    let mut entries = Vec::with_capacity(supported.as_slice().len() + 4);
    for &(mut entry) in supported.as_slice() {
        match entry.function {
            leaf::FEATURES => {
                // The low 8 bits of an ID that has more; leaf 0xb holds all of them.
                entry.ebx = (entry.ebx & 0xffff) | 1 << 16 | id << 24;
                entry.ecx |= features::HYPERVISOR;
                entry.edx &= !features::HTT;
            }
            // Bits 31:26 are cores, 25:14 threads that share the cache, both less one.
            leaf::CACHES => entry.eax &= 0x3fff,
            // KVM shows the host's topology there; the guest's follows below.
            leaf::TOPOLOGY | leaf::TOPOLOGY_V2 => continue,
            leaf::AMD_SIZES => entry.ecx &= !0xf0ff,
            leaf::AMD_TOPOLOGY => (entry.eax, entry.ebx, entry.ecx) = (id, id & 0xff, 0),
            _ => {}
        }
        entries.push(entry);
    }
    let highest = supported
        .as_slice()
        .iter()
        .filter(|entry| entry.function < leaf::HYPERVISOR);
    let highest = highest.map(|entry| entry.function).max().unwrap_or(0);
    for function in [leaf::TOPOLOGY, leaf::TOPOLOGY_V2] {
        if highest < function {
            continue;
        }
        // One thread in a core, one core in a package: neither level takes bits of the APIC ID.
        for (index, kind) in [(0, level::THREAD), (1, level::CORE)] {
            entries.push(kvm_cpuid_entry2 {
                function,
                index,
                flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                eax: 0,
                ebx: 1,
                ecx: kind << 8 | index,
                edx: id,
                ..Default::default()
            });
        }
    }
    CpuId::from_entries(&entries).map_err(|_| SetupError::Missing("room in the table of cpuid leaves"))
}

/// Whether local APICs can be switched to IDs of 32 bits.
pub(super) fn has_x2apic(supported: &CpuId) -> bool {
    let mut entries = supported.as_slice().iter();
    entries.any(|entry| entry.function == leaf::FEATURES && entry.ecx & features::X2APIC != 0)
}

/// Family, model and stepping, as a CPU holds them in EDX after a reset.
pub(super) fn signature(table: &CpuId) -> u32 {
    let features = table.as_slice().iter().find(|entry| entry.function == leaf::FEATURES);
    features.map_or(0, |entry| entry.eax)
}

mod leaf {
    pub(super) const FEATURES: u32 = 1;
    pub(super) const CACHES: u32 = 4;
    pub(super) const TOPOLOGY: u32 = 0xb;
    pub(super) const TOPOLOGY_V2: u32 = 0x1f;
    pub(super) const HYPERVISOR: u32 = 0x4000_0000;
    pub(super) const AMD_SIZES: u32 = 0x8000_0008;
    pub(super) const AMD_TOPOLOGY: u32 = 0x8000_001e;
}

mod features {
    /// Leaf 1 ECX: local APICs have an x2APIC mode.
    pub(super) const X2APIC: u32 = 1 << 21;
    /// Leaf 1 ECX: a hypervisor is present, look at 0x40000000.
    pub(super) const HYPERVISOR: u32 = 1 << 31;
    /// Leaf 1 EDX: the package has more than one logical processor.
    pub(super) const HTT: u32 = 1 << 28;
}

mod level {
    pub(super) const THREAD: u32 = 1;
    pub(super) const CORE: u32 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_is_its_own_package() {
        let host = [
            (leaf::FEATURES, 0x0710_0800, 0x1fff_ffff),
            (leaf::TOPOLOGY, 16, 0),
            (0x4000_0000, 0x4b4d_564b, 0),
        ];
        let host: Vec<_> = host
            .iter()
            .map(|&(function, ebx, edx)| kvm_cpuid_entry2 {
                function,
                ebx,
                edx,
                ..Default::default()
            })
            .collect();
        let supported = CpuId::from_entries(&host).expect("three entries fit");
        let table = for_cpu(&supported, 5).expect("five entries fit");
        let features = table.as_slice().iter().find(|entry| entry.function == leaf::FEATURES);
        let features = features.expect("kept");
        assert_eq!((features.ebx, features.edx & features::HTT), (0x0501_0800, 0));
        let levels: Vec<_> = table
            .as_slice()
            .iter()
            .filter(|entry| entry.function == leaf::TOPOLOGY)
            .map(|entry| (entry.ecx, entry.ebx, entry.edx))
            .collect();
        assert_eq!(levels, [(0x100, 1, 5), (0x201, 1, 5)]);
    }
}
