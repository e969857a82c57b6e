//! Why a CPU came back from the guest, with everything the kernel says about it.
//!
//! kvm-ioctls gives the data of a port exit as one slice of `count * size` bytes, which makes `rep outsb` of four and
//! one `outl` look the same. Element width and count are read from the shared page here.

use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::errno;

use crate::units::Width;

/// One exit. Slices lie in the page shared with the kernel.
#[derive(Debug)]
pub(super) enum Exit<'a> {
    /// `in` or `ins`: fill `data`, elements of `width` in ascending order.
    PortIn {
        port: u16,
        width: Width,
        data: &'a mut [u8],
    },
    /// `out` or `outs`.
    PortOut { port: u16, width: Width, data: &'a [u8] },
    /// A load from where no memory is, 1 to 8 bytes.
    Load { gpa: u64, data: &'a mut [u8] },
    /// A store to where no memory is, 1 to 8 bytes.
    Store { gpa: u64, data: &'a [u8] },
    /// A local APIC ended a level-triggered interrupt that came from the IOAPIC.
    Eoi { vector: u8 },
    /// The CPU can take an interrupt from the PIC now.
    IrqWindow,
    /// A signal, or a local APIC's message, ended the run early.
    Interrupted,
    /// Triple fault.
    Shutdown,
    /// The kernel cannot go on; the text says why.
    Broken(Broken),
}

/// An exit that no VMM can continue from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Name of the exit and its numbers.
    pub(super) title: String,
    /// The bytes KVM failed to emulate, when it says so.
    pub(super) instruction: Vec<u8>,
}

/// Lets the CPU run until the next exit.
///
/// # Errors
/// The host's refusal of KVM_RUN, except for interruptions.
pub(super) fn run(cpu: &mut VcpuFd) -> Result<Exit<'_>, errno::Error> {
    /// The exit without the borrow of the shared page, so that the page can be looked at again.
    enum Raw {
        In(u16, *mut [u8]),
        Out(u16, *const [u8]),
        Load(u64, *mut [u8]),
        Store(u64, *const [u8]),
        Internal,
        Done(Exit<'static>),
    }
    let raw = match cpu.run() {
        Ok(VcpuExit::IoIn(port, data)) => Raw::In(port, data),
        Ok(VcpuExit::IoOut(port, data)) => Raw::Out(port, data),
        Ok(VcpuExit::MmioRead(gpa, data)) => Raw::Load(gpa, data),
        Ok(VcpuExit::MmioWrite(gpa, data)) => Raw::Store(gpa, data),
        Ok(VcpuExit::InternalError) => Raw::Internal,
        Ok(VcpuExit::IoapicEoi(vector)) => Raw::Done(Exit::Eoi { vector }),
        Ok(VcpuExit::IrqWindowOpen) => Raw::Done(Exit::IrqWindow),
        Ok(VcpuExit::Intr) => Raw::Done(Exit::Interrupted),
        Ok(VcpuExit::Shutdown) => Raw::Done(Exit::Shutdown),
        Ok(VcpuExit::FailEntry(reason, cpu)) => Raw::Done(Exit::Broken(Broken::from(format!(
            "KVM_EXIT_FAIL_ENTRY, hardware reason {reason:#x} on host CPU {cpu}"
        )))),
        Ok(VcpuExit::SystemEvent(kind, data)) => Raw::Done(Exit::Broken(Broken::from(format!(
            "KVM_EXIT_SYSTEM_EVENT {kind}, data {data:x?}"
        )))),
        Ok(other) => Raw::Done(Exit::Broken(Broken::from(format!("unexpected exit {other:x?}")))),
        Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => Raw::Done(Exit::Interrupted),
        Err(error) => return Err(error),
    };
    let exit = match raw {
        Raw::Done(exit) => exit,
        Raw::Internal => Exit::Broken(internal_error(cpu)),
        Raw::In(port, data) => {
            let Some(width) = element_width(cpu) else {
                return Ok(Exit::Broken(Broken::from(ODD_ELEMENT.to_string())));
            };
            // SAFETY: `data` is the slice kvm-ioctls made for this exit inside the mapping that `cpu` owns. The borrow
            // of `cpu` in the result keeps the mapping alive and everyone else away, and the look at the header of
            // the shared page ended before this.
            let data = unsafe { &mut *data };
            Exit::PortIn { port, width, data }
        }
        Raw::Out(port, data) => {
            let Some(width) = element_width(cpu) else {
                return Ok(Exit::Broken(Broken::from(ODD_ELEMENT.to_string())));
            };
            // SAFETY: as for `Raw::In`, and only read.
            let data = unsafe { &*data };
            Exit::PortOut { port, width, data }
        }
        Raw::Load(gpa, data) => {
            // SAFETY: as for `Raw::In`; nothing looked at the page in between.
            let data = unsafe { &mut *data };
            Exit::Load { gpa, data }
        }
        Raw::Store(gpa, data) => {
            // SAFETY: as for `Raw::Load`, and only read.
            let data = unsafe { &*data };
            Exit::Store { gpa, data }
        }
    };
    Ok(exit)
}

impl From<String> for Broken {
    fn from(title: String) -> Broken {
        Broken {
            title,
            instruction: Vec::new(),
        }
    }
}

/// The width of one element of the port access the CPU just exited with.
fn element_width(cpu: &mut VcpuFd) -> Option<Width> {
    // SAFETY: the exit reason was KVM_EXIT_IO, so `io` is the member of the union that the kernel filled; any bytes are
    // valid for its integer fields.
    let io = unsafe { cpu.get_kvm_run().__bindgen_anon_1.io };
    Width::from_bytes(usize::from(io.size)).filter(|&width| width != Width::Qword)
}

fn internal_error(cpu: &mut VcpuFd) -> Broken {
    let run = cpu.get_kvm_run();
    // SAFETY: the exit reason was KVM_EXIT_INTERNAL_ERROR, so `internal` and, for an emulation failure,
    // `emulation_failure` (which begins with the same fields) are what the kernel filled; both are plain integers and
    // lie within the union, so bytes it did not fill are readable too.
    let (internal, failure) = unsafe { (run.__bindgen_anon_1.internal, run.__bindgen_anon_1.emulation_failure) };
    let data_count = (internal.ndata as usize).min(internal.data.len());
    let name = match internal.suberror {
        kvm_bindings::KVM_INTERNAL_ERROR_EMULATION => "KVM cannot emulate an instruction",
        kvm_bindings::KVM_INTERNAL_ERROR_SIMUL_EX => "exception while delivering an exception",
        kvm_bindings::KVM_INTERNAL_ERROR_DELIVERY_EV => "exit while delivering an event",
        kvm_bindings::KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => "unexpected hardware exit",
        _ => "unknown reason",
    };
    let mut broken = Broken::from(format!(
        "KVM_EXIT_INTERNAL_ERROR, suberror {} ({name}), data {:x?}",
        internal.suberror,
        &internal.data[..data_count]
    ));
    let is_emulation = internal.suberror == kvm_bindings::KVM_INTERNAL_ERROR_EMULATION;
    if is_emulation
        && 1 < internal.ndata
        && failure.flags & u64::from(kvm_bindings::KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0
    {
        // SAFETY: the flag says that the kernel filled this member; it is bytes.
        let bytes = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
        let length = usize::from(bytes.insn_size).min(bytes.insn_bytes.len());
        broken.instruction = bytes.insn_bytes[..length].to_vec();
    }
    broken
}

const ODD_ELEMENT: &str = "KVM_EXIT_IO with an element size that no CPU has";
