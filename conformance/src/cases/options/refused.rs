//! Machines that cannot be, where a subject says so before it starts one.

use crate::case::{Body, Case, Feature, Setup};
use crate::clause::microvm;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const REFUSED: Case = Case {
    clause: &microvm::REFUSED,
    features: &[],
    needs: Caps::REFUSALS,
    ..super::AREA
};

pub(super) const CPUS: Case = Case {
    id: "options/refused/cpus",
    title: "No CPU, more CPUs than were announced and more than 288 are refused.",
    features: &[Feature::ManyCpus],
    body: Body::Bus(cpus),
    ..REFUSED
};

pub(super) const DEVICES: Case = Case {
    id: "options/refused/devices",
    title: "More devices than transports, and two on one transport, are refused.",
    features: &[Feature::AllTransports],
    body: Body::Bus(devices),
    ..REFUSED
};

pub(super) const FILE_NAMES: Case = Case {
    id: "options/refused/file-names",
    title: "A fw_cfg file without a name, and one whose name is longer than 55 characters, are refused.",
    features: &[Feature::FwCfg],
    body: Body::Bus(file_names),
    ..REFUSED
};

pub(super) const PARTS: Case = Case {
    id: "options/refused/parts",
    title: "What is for a part that the machine does not have is refused.",
    features: &[Feature::TransportEach],
    body: Body::Bus(parts),
    ..REFUSED
};

/// Checks that a set-up is refused with a reason, or is not.
fn check_refused(p: &mut Probe<'_>, setup: &Setup, want: bool) -> Result<(), Stop> {
    let refusal = p.refusal(setup)?;
    let is_refused = refusal.as_ref().is_some_and(|reason| !reason.is_empty());
    let what = |is_refused| {
        if is_refused {
            "refused with a reason"
        } else {
            "not refused"
        }
    };
    p.check("the machine", is_refused == want, format!("{refusal:?}"), what(want));
    Ok(())
}

fn check_devices(p: &mut Probe<'_>, devices: &'static [&'static str], want: bool) -> Result<(), Stop> {
    p.point(devices.join(" "));
    check_refused(p, &super::with_device(devices), want)
}

fn cpus(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (cpus, cpus_max, want) in [
        (0, 0, true),
        (0, 1, true),
        (2, 1, true),
        (1, 288, false),
        (1, 289, true),
        (289, 289, true),
    ] {
        p.point(format!("{cpus} of {cpus_max}"));
        let setup = Setup {
            cpus,
            cpus_max,
            ..Setup::DEFAULT
        };
        check_refused(p, &setup, want)?;
    }
    Ok(())
}

fn devices(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_devices(p, &["virtio-rng"; 8], false)?;
    check_devices(p, &["virtio-rng"; 9], true)?;
    check_devices(p, &["virtio-rng-at-2"; 2], true)
}

fn file_names(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_devices(p, &["fw-cfg-file"], false)?;
    check_devices(p, &["fw-cfg-file-without-name"], true)?;
    check_devices(p, &["fw-cfg-file-with-long-name"], true)
}

/// There is a transport for each device and no bus to choose, and no fw_cfg.
fn parts(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_devices(p, &["virtio-rng"], false)?;
    check_devices(p, &["virtio-rng-at-2"], true)?;
    if !p.layout().has(Feature::FwCfg) {
        check_devices(p, &["option-rom"], true)?;
        check_devices(p, &["fw-cfg-file"], true)?;
    }
    Ok(())
}
