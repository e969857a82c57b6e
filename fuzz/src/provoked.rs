//! A crash put in by hand, to show what becomes of one: `TOUCHSTONE_PROVOKED='outb 0x71 0x5a'` makes that action panic.

use std::env;
use std::sync::LazyLock;

use conformance::program::Action;

/// Panics when the action is the one asked for.
///
/// # Panics
/// That is what it is for.
pub fn strike(action: &Action) {
    static PROVOKED: LazyLock<Option<Action>> =
        LazyLock::new(|| env::var(VARIABLE).ok().and_then(|line| Action::parse(&line).ok()));
    assert!(PROVOKED.as_ref() != Some(action), "provoked by {VARIABLE}: {action}");
}

/// The environment's variable.
pub const VARIABLE: &str = "TOUCHSTONE_PROVOKED";
