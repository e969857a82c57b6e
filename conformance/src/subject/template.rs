//! Text with placeholders: words of a command line, and the files that a VMM wants beside it.
//!
//! A placeholder is a name in braces, `{ram-mib}`; braces around anything else are text, so that JSON is itself.

use std::ops::Range;

use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::Stop;

use super::description::Places;

/// The text with each placeholder replaced by what `value` gives for its name; a name without a value stays.
///
/// # Errors
/// Those of `value`.
pub(super) fn fill<E>(text: &str, mut value: impl FnMut(&str) -> Result<Option<String>, E>) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for at in ranges(text) {
        out.push_str(&text[end..at.start]);
        match value(&text[at.start + 1..at.end - 1])? {
            Some(value) => out.push_str(&value),
            None => out.push_str(&text[at.clone()]),
        }
        end = at.end;
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// The names of a text's placeholders, in order.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    ranges(text).map(|at| &text[at.start + 1..at.end - 1])
}

/// Where the placeholders stand, with their braces.
fn ranges(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let open = from + text[from..].find('{')?;
            from = open + 1;
            let length = text[from..].find(|c: char| !(c.is_ascii_alphanumeric() || "-:._".contains(c)));
            let close = from + length?;
            if open + 1 < close && text[close..].starts_with('}') {
                from = close + 1;
                return Some(open..from);
            }
        }
    })
}

/// What the placeholders stand for that every text may have; `None` for other names.
///
/// # Errors
/// [`Stop::Unavailable`] for an amount of RAM that is no whole number of the unit asked for.
pub(super) fn common(name: &str, setup: &Setup, layout: &Layout, places: &Places) -> Result<Option<String>, Stop> {
    let ram = |shift: u32, unit: &str| {
        if setup.ram_bytes.trailing_zeros() < shift {
            let text = format!("{} bytes of RAM are no whole number of {unit}", setup.ram_bytes);
            return Err(Stop::Unavailable(text));
        }
        Ok((setup.ram_bytes >> shift).to_string())
    };
    Ok(Some(match name {
        "profile" => layout.profile.to_owned(),
        "socket" => places.socket.clone(),
        "qmp" => places.qmp.clone(),
        "halt-bios" => places.halt_bios.clone(),
        "kernel" => places.kernel.clone().unwrap_or_default(),
        "append" => places.append.clone(),
        "initrd" => places.initrd.clone().unwrap_or_default(),
        "boot-marks" => places.boot_marks.clone(),
        "ram-bytes" => setup.ram_bytes.to_string(),
        "ram-kib" => ram(10, "KiB")?,
        "ram-mib" => ram(20, "MiB")?,
        "cpus" => setup.cpus.to_string(),
        "cpus-max" => setup.cpus_max.to_string(),
        "rtc-base" => setup.rtc_base.to_owned(),
        "virtio-version" => if layout.is_modern(setup) { "modern" } else { "legacy" }.to_owned(),
        _ => return Ok(None),
    }))
}

/// The names that [`common`] knows.
pub(super) const COMMON: [&str; 15] = [
    "profile",
    "socket",
    "qmp",
    "halt-bios",
    "kernel",
    "append",
    "initrd",
    "boot-marks",
    "ram-bytes",
    "ram-kib",
    "ram-mib",
    "cpus",
    "cpus-max",
    "rtc-base",
    "virtio-version",
];

/// What stands for one device in its own words, beside [`COMMON`].
pub(super) const OF_DEVICE: [&str; 3] = ["disk", "peer", "device"];

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let value = |name: &str| Ok::<_, ()>((name == "a-1").then(|| "X".to_owned()));
        fill(text, value).expect("no error")
    }

    #[test]
    fn only_names_in_braces_are_placeholders() {
        assert_eq!(filled("{a-1}{a-1}, {a-1"), "XX, {a-1");
        assert_eq!(
            filled("{}{ a-1}{\"a-1\": {\"b\": {a-1}}}"),
            "{}{ a-1}{\"a-1\": {\"b\": X}}"
        );
        assert_eq!(filled("{{a-1}} {b:c.d} é{a-1}"), "{X} {b:c.d} éX");
        let names: Vec<_> = placeholders("{{a-1}} {b:c.d} {\"e\"} {f").collect();
        assert_eq!(names, ["a-1", "b:c.d"]);
    }

    #[test]
    fn every_common_name_has_a_value_and_no_other() {
        let value = |name: &str| common(name, &Setup::DEFAULT, &crate::layout::QEMU_7_2, &Places::default());
        for name in COMMON {
            assert!(value(name).expect("128 MiB").is_some(), "{name}");
        }
        assert_eq!(value("frob"), Ok(None));
    }

    #[test]
    fn ram_that_is_no_whole_number_of_units_is_not_rounded() {
        let setup = Setup::with_ram((128 << 20) + 4096);
        let value = |name: &str| common(name, &setup, &crate::layout::QEMU_7_2, &Places::default());
        assert_eq!(value("ram-kib"), Ok(Some("131076".to_owned())));
        let Err(Stop::Unavailable(text)) = value("ram-mib") else {
            panic!("rounded");
        };
        assert_eq!(text, "134221824 bytes of RAM are no whole number of MiB");
    }
}
