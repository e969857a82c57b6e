//! Which virtio device sits on which transport, and what the kernel's command line says about it.
//!
//! Source: the machine as first specified: devices fill the transports from the last one downwards; the command line
//! lists them in the same order. A profile may have them the other way round, with no transport that has no device.

use super::config::DeviceConfig;
use super::profile::{Profile, Slots};

/// The transport of a virtio device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// Index of the transport.
    pub index: u8,
    /// Guest-physical address of its registers.
    pub base: u64,
    /// Its interrupt.
    pub gsi: u8,
}

/// Places of all transports, ascending.
pub fn places(profile: &Profile) -> Vec<Place> {
    let place = |index| Place {
        index,
        base: profile.virtio_base + u64::from(index) * profile.virtio_stride_bytes,
        gsi: profile.virtio_gsi + index,
    };
    (0..profile.virtio_count).map(place).collect()
}

/// For each transport, ascending, the index of its device in `devices`. The error names what does not fit.
pub fn assign(profile: &Profile, devices: &[DeviceConfig]) -> Result<Vec<Option<usize>>, String> {
    let mut transports = vec![None; usize::from(profile.virtio_count)];
    let last = profile.virtio_count.saturating_sub(1);
    for (device, config) in devices.iter().enumerate() {
        let kind = &config.kind;
        let index = match config.transport {
            Some(bus) if profile.virtio_slots == Slots::OneEachFirstFirst => {
                return Err(format!(
                    "--device {kind}: Bus 'virtio-mmio-bus.{bus}' not found; profile {} has a transport for each \
                     device in their order, drop bus=",
                    profile.name
                ));
            }
            Some(bus) => {
                let index = usize::from(bus);
                match transports.get(index) {
                    Some(None) => index,
                    Some(Some(_)) => {
                        return Err(format!(
                            "--device {kind}: Bus 'virtio-mmio-bus.{bus}' is full; name another or leave bus= out"
                        ));
                    }
                    None => {
                        return Err(format!(
                            "--device {kind}: Bus 'virtio-mmio-bus.{bus}' not found; the last is virtio-mmio-bus.{last}"
                        ));
                    }
                }
            }
            None => next_free(profile, &transports).ok_or_else(|| {
                format!(
                    "--device {kind}: No 'virtio-bus' bus found for device '{kind}'; this machine has {} transports, \
                     drop a device",
                    transports.len()
                )
            })?,
        };
        transports[index] = Some(device);
    }
    Ok(transports)
}

/// The places at which a transport answers.
pub fn present(profile: &Profile, devices: &[Option<usize>]) -> Vec<Place> {
    let has_device = |place: &Place| devices[usize::from(place.index)].is_some();
    let is_there = |place: &Place| profile.virtio_slots == Slots::AllLastFirst || has_device(place);
    places(profile).into_iter().filter(is_there).collect()
}

/// The command line with an entry for each occupied place, in the order of the devices.
///
/// The machine makes each entry in a buffer of 64 characters and leaves out what does not fit; no entry of these fields
/// is that long.
pub fn command_line(append: &str, profile: &Profile, occupied: &[Place]) -> String {
    let mut line = append.to_owned();
    let mut places = occupied.to_vec();
    places.sort_by_key(|place| place.index);
    if profile.virtio_slots == Slots::AllLastFirst {
        places.reverse();
    }
    for place in places {
        let Place { base, gsi, .. } = place;
        let size = profile.virtio_cmdline_size;
        line.push_str(&format!(" virtio_mmio.device={size}@{base:#x}:{gsi}"));
    }
    line
}

fn next_free(profile: &Profile, transports: &[Option<usize>]) -> Option<usize> {
    match profile.virtio_slots {
        Slots::AllLastFirst => transports.iter().rposition(Option::is_none),
        Slots::OneEachFirstFirst => transports.iter().position(Option::is_none),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::DeviceKind;
    use super::super::profile::{MICROVM_2019, QEMU_7_2, RUST_VMM};
    use super::*;

    fn rng(transport: Option<u8>) -> DeviceConfig {
        DeviceConfig {
            kind: DeviceKind::Rng,
            transport,
        }
    }

    fn line(append: &str, profile: &Profile, devices: &[DeviceConfig]) -> String {
        let transports = assign(profile, devices).expect("they fit");
        let places = places(profile).into_iter().zip(transports);
        let occupied: Vec<Place> = places
            .filter(|(_, device)| device.is_some())
            .map(|(place, _)| place)
            .collect();
        command_line(append, profile, &occupied)
    }

    #[test]
    fn devices_fill_transports_from_the_last_downwards() {
        let devices = [rng(None), rng(Some(2)), rng(None)];
        assert_eq!(
            line("x", &MICROVM_2019, &devices),
            "x virtio_mmio.device=512@0xc0000e00:12 virtio_mmio.device=512@0xc0000c00:11 \
             virtio_mmio.device=512@0xc0000400:7"
        );
        assert_eq!(
            line("", &QEMU_7_2, &[rng(None)]),
            " virtio_mmio.device=512@0xfeb00e00:12"
        );
    }

    #[test]
    fn transports_can_be_one_each_from_the_first_upwards() {
        let devices = [rng(None), rng(None)];
        assert_eq!(
            line("x", &RUST_VMM, &devices),
            "x virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6"
        );
        let assigned = assign(&RUST_VMM, &devices).expect("they fit");
        assert_eq!(present(&RUST_VMM, &assigned).len(), 2);
        assert!(assign(&RUST_VMM, &vec![rng(None); 19]).is_ok(), "interrupts 5 to 23");
        let error = |devices: &[DeviceConfig]| assign(&RUST_VMM, devices).expect_err("refused");
        assert!(error(&vec![rng(None); 20]).contains("this machine has 19 transports"));
        assert!(error(&[rng(Some(0))]).contains("drop bus="));
    }

    #[test]
    fn devices_that_do_not_fit_are_refused() {
        let error = |devices: &[DeviceConfig]| assign(&MICROVM_2019, devices).expect_err("too many");
        assert!(error(&vec![rng(None); 9]).contains("No 'virtio-bus' bus found for device 'virtio-rng'"));
        assert!(error(&[rng(Some(8))]).contains("Bus 'virtio-mmio-bus.8' not found"));
        assert!(error(&[rng(Some(0)), rng(Some(0))]).contains("Bus 'virtio-mmio-bus.0' is full"));
    }

    #[test]
    fn longest_entry_there_can_be_fits_the_machines_buffer() {
        let wide = Profile {
            virtio_cmdline_size: "18446744073709551615",
            ..MICROVM_2019.clone()
        };
        let place = Place {
            index: 0,
            base: u64::MAX,
            gsi: u8::MAX,
        };
        assert_eq!(
            command_line("", &wide, &[place]).len(),
            63,
            "the buffer takes 63 characters and a NUL"
        );
    }
}
