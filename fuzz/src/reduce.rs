//! Makes a program that shows a finding shorter.

use std::panic::{self, AssertUnwindSafe};

use crate::execution;
use crate::program::Program;
use crate::target::Target;

/// What a program shows: the finding's or the panic's text; `None` when all is well.
pub fn failure(target: &Target, program: &Program) -> Option<String> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| execution::check_program(target, program, true)));
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(finding)) => Some(format!("finding: {finding}")),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            Some(format!("panic: {}", text.unwrap_or("no text")))
        }
    }
}

/// Leaves out actions as long as the program still fails in some way.
pub fn reduce(target: &Target, program: &Program) -> Program {
    shortest(program, &mut |shorter| failure(target, shorter).is_some())
}

/// Leaves out actions, in ever smaller runs, as long as the program still `fails`.
pub fn shortest(program: &Program, fails: &mut dyn FnMut(&Program) -> bool) -> Program {
    let mut shortest = program.clone();
    let mut run = shortest.actions.len().div_ceil(2);
    while 0 < run {
        let length = shortest.actions.len();
        let mut from = 0;
        while from < shortest.actions.len() {
            let mut shorter = shortest.clone();
            let end = (from + run).min(shorter.actions.len());
            shorter.actions.drain(from..end);
            if fails(&shorter) {
                shortest = shorter;
            } else {
                from += run;
            }
        }
        // One action may have been needed only by another that is gone by now.
        if 1 < run || shortest.actions.len() == length {
            run /= 2;
        }
    }
    shortest
}
