//! Says which system call the sandbox refused, and ends the process.
//!
//! Source: sigaction(2), `si_syscall`; seccomp(2), SECCOMP_RET_TRAP.

use super::SetupError;
use crate::host::sandbox::{Role, TRAP_STATUS};
use vmm_sys_util::signal::register_signal_handler;

/// Installs the handler. Before the first thread enters the sandbox.
pub(super) fn prepare() -> Result<(), SetupError> {
    register_signal_handler(libc::SIGSYS, trapped).map_err(SetupError::call("rt_sigaction"))
}

/// Nothing here allocates, locks or formats: the thread may have been in the middle of any of it.
extern "C" fn trapped(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands over a siginfo_t of 128 bytes; for SIGSYS the third word from its start of fields, at
    // byte 24, is the system call's number (asm-generic/siginfo.h, `_sigsys`). It is aligned for an i32.
    let call = unsafe { info.cast::<i32>().add(SYSCALL_AT).read() };
    let mut line = Line::default();
    line.push(b"microvm: ");
    line.push(Role::of_this_thread().map_or("a thread", Role::name).as_bytes());
    line.push(b" may not make system call ");
    line.number(call.unsigned_abs());
    line.push(b"; ended by its sandbox\n");
    // SAFETY: writes `length` bytes that are there; write and _exit may be called in a signal handler.
    unsafe {
        let _unread = libc::write(2, line.bytes.as_ptr().cast(), line.length);
        libc::_exit(i32::from(TRAP_STATUS))
    }
}

/// A short text on the stack; what does not fit is left out.
struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            bytes: [0; 128],
            length: 0,
        }
    }
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        for &byte in text {
            if let Some(space) = self.bytes.get_mut(self.length) {
                *space = byte;
                self.length += 1;
            }
        }
    }

    fn number(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }
}

/// Index of `si_syscall` in 32-bit words.
const SYSCALL_AT: usize = 6;

#[cfg(test)]
mod tests;
