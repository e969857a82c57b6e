//! Verdicts of a resident image as cases: each line of its report, judged by name in the boot of each set-up.
//!
//! A set-up is an area of its own, so that a failure's id names it: `delivery/pic/edge` is the machine as it is by
//! default, `delivery-irqchip-on/pic/edge` the one whose interrupt controllers are in KVM.

use crate::driver::ktap;
use crate::machine::Stop;
use crate::probe::Probe;

/// Holds the image's verdict of that name to `ok`. A local APIC that is not the machine's but the host's may keep the
/// image from looking; the image tells, and the case then is unavailable.
///
/// # Errors
/// As [`ktap::judged`]; [`Stop::Unavailable`] when the host's local APIC cannot show it.
pub(super) fn line(p: &mut Probe<'_>, name: &str) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    let skip = report.verdict(name).and_then(|verdict| verdict.skip.as_deref());
    let ends_itself = report
        .facts("local-apic")
        .any(|fact| fact.number("ends-itself") == Some(1));
    if let (Some(reason), true) = (
        skip,
        ends_itself && skip.is_some_and(|reason| reason.contains(APIC_WORDS)),
    ) {
        return Err(Stop::Unavailable(format!("on this host {reason}")));
    }
    ktap::judged(p, name).map(drop)
}

/// How the image names a local APIC that ends interrupts as it delivers them.
const APIC_WORDS: &str = "local APIC ends each interrupt";

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
