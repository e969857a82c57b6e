//! KVM's own count of a CPU's exits, those it handles itself included.
//!
//! Source: Linux, The Definitive KVM API Documentation, 4.133 KVM_GET_STATS_FD: a header, descriptors with names, and
//! data of 64 bits each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use kvm_bindings::KVMIO;
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

/// The counters of one CPU whose names end in `exits`.
pub(super) struct ExitStats {
    file: File,
    /// Where each counter is in the file.
    counters: Vec<(String, u64)>,
}

impl ExitStats {
    /// Finds a CPU's counters.
    ///
    /// # Errors
    /// Kernels before 5.14 have none.
    pub(super) fn open(cpu: &VcpuFd) -> io::Result<ExitStats> {
        // SAFETY: the request takes no argument and gives a new file descriptor.
        let fd = unsafe { ioctl(cpu, KVM_GET_STATS_FD()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made the descriptor for us, and nobody else knows of it.
        let file = unsafe { File::from_raw_fd(fd) };
        let counters = counters_in(&file)?;
        Ok(ExitStats { file, counters })
    }

    /// Adds the counters to those of other CPUs.
    pub(super) fn add_to(&self, sums: &mut BTreeMap<String, u64>) {
        for (name, at) in &self.counters {
            if let Ok(bytes) = read::<8>(&self.file, *at) {
                *sums.entry(name.clone()).or_default() += u64::from_le_bytes(bytes);
            }
        }
    }
}

fn counters_in(file: &File) -> io::Result<Vec<(String, u64)>> {
    let word = |at| read::<4>(file, at).map(u32::from_le_bytes);
    let (name_length, count) = (u64::from(word(4)?), u64::from(word(8)?));
    let (descriptors, data) = (u64::from(word(16)?), u64::from(word(20)?));
    let mut counters = Vec::new();
    for index in 0..count.min(COUNTERS_MAX) {
        let at = descriptors + index * (DESCRIPTOR_LENGTH + name_length);
        let is_counter = word(at)? & KIND == KIND_CUMULATIVE;
        let offset = u64::from(word(at + 8)?);
        let mut name = vec![0; name_length.min(NAME_LENGTH_MAX) as usize];
        file.read_exact_at(&mut name, at + DESCRIPTOR_LENGTH)?;
        let name: Vec<u8> = name.into_iter().take_while(|&byte| byte != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        // Names are the kernel's own words; what is no plain word could not stand in a JSON object as it is.
        let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_counter && is_plain && name.ends_with("exits") {
            counters.push((name, data + offset));
        }
    }
    Ok(counters)
}

fn read<const LENGTH: usize>(file: &File, at: u64) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The kind of a counter in its flags.
const KIND: u32 = 0xf;
const KIND_CUMULATIVE: u32 = 0;

/// `struct kvm_stats_desc` without its name: flags, exponent, size, offset, bucket size.
const DESCRIPTOR_LENGTH: u64 = 16;

/// More counters than any kernel has, and longer names.
const COUNTERS_MAX: u64 = 1024;
const NAME_LENGTH_MAX: u64 = 256;

ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xce);
