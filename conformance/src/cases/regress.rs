//! Regression cases: programs that fuzzing found, with the answers that are right. `golden/regress/*.txt` holds one
//! each; `cargo xtask fuzz promote` writes them.

use std::sync::LazyLock;

use crate::case::{Body, Case};
use crate::regress::Regression;

include!(concat!(env!("OUT_DIR"), "/regress.rs"));

/// All regression cases, by file name. They live as long as the program.
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| FILES.iter().filter_map(case).collect());
    &CASES
}

/// Files that are no regression case, with what is wrong; a test wants none.
pub fn problems() -> Vec<String> {
    let read = FILES.iter().map(|(name, text)| Regression::parse(name, text));
    read.filter_map(Result::err).collect()
}

fn case((name, text): &(&'static str, &'static str)) -> Option<Case> {
    let regression: &'static Regression = Box::leak(Box::new(Regression::parse(name, text).ok()?));
    Some(of(regression))
}

/// The case that a regression is.
pub(crate) fn of(regression: &'static Regression) -> Case {
    Case {
        id: &regression.id,
        title: &regression.title,
        clause: regression.clause,
        level: regression.level,
        features: &regression.features,
        needs: regression.needs,
        setup: regression.setup.clone(),
        body: Body::Program(regression),
    }
}
