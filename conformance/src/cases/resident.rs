//! Verdicts of a resident image as cases: each line of its report, judged by name in the boot of each set-up.
//!
//! A set-up is an area of its own, so that a failure's id names it: `delivery/pic/edge` is the machine as it is by
//! default, `delivery-irqchip-on/pic/edge` the one whose interrupt controllers are in KVM.

use crate::driver::ktap;
use crate::machine::Stop;
use crate::probe::Probe;

/// Holds the image's verdict of that name to `ok`. What the CPU or its local APIC lacks is the host's, not the
/// machine's: the image skips it with one of the reasons here, and the case follows.
///
/// # Errors
/// As [`ktap::judged`]; [`Stop::Unavailable`] and [`Stop::NotApplicable`] for those reasons.
pub(super) fn line(p: &mut Probe<'_>, name: &str) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    let skip = report.verdict(name).and_then(|verdict| verdict.skip.as_deref());
    match skip {
        Some(ENDS_ITSELF) => Err(Stop::Unavailable(format!("on this host {ENDS_ITSELF}"))),
        Some(NO_X2APIC) => Err(Stop::NotApplicable(NO_X2APIC.to_owned())),
        _ => ktap::judged(p, name).map(drop),
    }
}

/// A local APIC as one software KVM has it. No VMM can help that.
pub(crate) const ENDS_ITSELF: &str = "the local APIC ends each interrupt by itself as it delivers it";

/// A CPU without that mode.
const NO_X2APIC: &str = "CPUID tells of no x2APIC mode";

/// Declares the cases of one set-up: `area, words for titles, set-up; lines`. Each line gives the verdict's name, a
/// title without its full stop, the clause and the features.
macro_rules! lines {
    ($area:literal, $words:literal, $setup:expr, $image:literal;
     $($name:literal, $title:literal, $clause:expr, [$($feature:ident),*];)*) => {
        &[$(
            crate::case::Case {
                id: concat!($area, "/", $name),
                title: concat!($title, $words, "."),
                clause: &$clause,
                level: crate::case::Level::Must,
                features: &[$(crate::case::Feature::$feature),*],
                needs: crate::machine::Caps::NONE,
                setup: $setup,
                body: crate::case::Body::Guest {
                    image: $image,
                    judge: |p| crate::cases::resident::line(p, $name),
                },
            },
        )*]
    };
}

pub(super) use lines;
