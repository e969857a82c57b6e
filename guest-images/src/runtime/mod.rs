//! What an image needs before its `main` is ordinary Rust: the entry, memory, ports, faults, the serial port.
//!
//! One CPU runs, and interrupts stay off from the first instruction on, unless an image asks [`interrupts`] for them or
//! starts other CPUs itself; those keep away from [`memory`] and [`port`].

mod entry;
mod faults;
mod intrinsics;

pub mod cpu;
pub mod interrupts;
pub mod lapic;
pub mod memory;
pub mod port;
pub mod serial;

use core::cell::UnsafeCell;

pub use entry::{EntryState, entry_state};
pub use faults::{Fault, install};

/// A static of the only CPU.
#[repr(transparent)]
pub(crate) struct Single<T>(UnsafeCell<T>);

#[expect(unsafe_code, reason = "a static needs Sync")]
// SAFETY: the boot CPU alone writes them, with interrupts off, so no two accesses overlap; fault and interrupt handlers
// touch statics of their own module only.
unsafe impl<T> Sync for Single<T> {}

impl<T> Single<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

/// Operand of LGDT and LIDT.
#[repr(C, packed)]
pub struct Pointer {
    /// Offset of the table's last byte.
    pub limit: u16,
    /// Address of the table.
    pub base: u64,
}

/// Memory of this image, with its tables and stacks: first address, and first address behind it.
#[expect(unsafe_code, reason = "symbols of the linker script")]
pub fn image_range() -> (u64, u64) {
    unsafe extern "C" {
        static image_start: u8;
        static image_end: u8;
    }
    (&raw const image_start as u64, &raw const image_end as u64)
}

/// Stops for ever.
#[expect(unsafe_code, reason = "hlt")]
pub fn halt() -> ! {
    loop {
        // SAFETY: stopping touches no memory.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// Names the parts of an image: `main` is called with the address of the PVH start info, `fatal` with the reason when
/// the image itself goes wrong (a panic, or a fault outside of [`memory`] and [`port`]).
#[macro_export]
macro_rules! image {
    (main: $main:path, fatal: $fatal:path) => {
        #[expect(unsafe_code, reason = "the entry code calls it by this name")]
        #[unsafe(no_mangle)]
        extern "C" fn guest_main(start_info: u64) -> ! {
            $main(start_info)
        }

        #[expect(unsafe_code, reason = "the fault handler calls it by this name")]
        #[unsafe(no_mangle)]
        extern "Rust" fn guest_fatal(fault: &$crate::runtime::Fault) -> ! {
            $fatal(format_args!("{fault}"))
        }

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $fatal(format_args!("{info}"))
        }
    };
}
