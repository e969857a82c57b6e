//! The user's terminal while the guest has the keyboard: keys arrive one by one and unechoed.
//!
//! Ctrl-C and Ctrl-\ still end the VMM, as with QEMU's `-serial stdio`: a guest that hangs must not take the terminal
//! with it.

use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Switches standard input to single keys if it is a terminal; [`restore`] undoes it, and so does a panic.
pub fn take() {
    let stdin = rustix::stdio::stdin();
    let Ok(before) = tcgetattr(stdin) else {
        return;
    };
    let mut modes = before.clone();
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    if tcsetattr(stdin, OptionalActions::Now, &modes).is_ok() {
        *saved() = Some(before);
        RESTORE_ON_PANIC.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                print(info);
            }));
        });
    }
}

/// Puts the terminal back to what it was; without [`take`] before it, does nothing.
pub fn restore() {
    if let Some(before) = saved().take() {
        let _terminal_is_gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
}

fn saved() -> std::sync::MutexGuard<'static, Option<Termios>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

static SAVED: Mutex<Option<Termios>> = Mutex::new(None);
static RESTORE_ON_PANIC: Once = Once::new();
