//! A profile of a stranger's own: one of the suite's with what is different, as tables of a subject file.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::case::Feature;
use crate::layout::Layout;

/// One `[[profile]]` table. What it does not say is as in its base.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OwnProfile {
    /// Its name: lower-case letters, digits, `-`, `.`, and none of the suite's.
    pub name: String,
    /// One of the suite's profiles.
    pub base: String,
    /// Parts of the base that it lacks, by the names of [`Feature::NAMED`]; what is about such a part goes with it.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Parts that the base lacks.
    #[serde(default)]
    pub present: Vec<String>,
    /// Guest-physical address of transport 0.
    pub virtio_base: Option<u64>,
    /// Distance between transports, in bytes.
    pub virtio_stride_bytes: Option<u64>,
    /// Number of transports.
    pub virtio_count: Option<u8>,
    /// GSI of transport 0.
    pub virtio_gsi: Option<u8>,
    /// [`Layout::timer_input`].
    pub timer_input: Option<u8>,
    /// The size of a transport in the word by which the command line announces it.
    pub virtio_cmdline_size: Option<String>,
    /// RAM of fewer bytes stays whole below 4 GiB.
    pub ram_whole_below_bytes: Option<u64>,
    /// Bytes below 4 GiB once RAM is split.
    pub ram_low_bytes: Option<u64>,
}

impl OwnProfile {
    /// The profile as cases see it.
    ///
    /// # Errors
    /// Names the field that names nothing, or that no machine can have, and says what to write.
    pub fn layout(&self) -> Result<&'static Layout, String> {
        let name = &self.name;
        let place = format!("[[profile]] '{name}'");
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(format!("{place}: name: use lower-case letters, digits, '-' and '.'"));
        }
        let suites = Layout::ALL.map(|layout| layout.profile).join(", ");
        if Layout::by_name(name).is_some() {
            return Err(format!(
                "{place}: name: the suite has a profile of that name; choose another than {suites}"
            ));
        }
        let base = Layout::by_name(&self.base)
            .ok_or_else(|| format!("{place}: base = \"{}\": choose from {suites}", self.base))?;
        let features = self.features(base).map_err(|problem| format!("{place}: {problem}"))?;
        let size = self.virtio_cmdline_size.as_deref();
        let layout = Layout {
            profile: kept(name),
            virtio_base: self.virtio_base.unwrap_or(base.virtio_base),
            virtio_stride_bytes: self.virtio_stride_bytes.unwrap_or(base.virtio_stride_bytes),
            virtio_count: self.virtio_count.unwrap_or(base.virtio_count),
            virtio_gsi: self.virtio_gsi.unwrap_or(base.virtio_gsi),
            timer_input: self.timer_input.unwrap_or(base.timer_input),
            virtio_cmdline_size: size.map_or(base.virtio_cmdline_size, kept),
            ram_whole_below_bytes: self.ram_whole_below_bytes.unwrap_or(base.ram_whole_below_bytes),
            ram_low_bytes: self.ram_low_bytes.unwrap_or(base.ram_low_bytes),
            features: kept_features(features),
        };
        check(&layout).map_err(|problem| format!("{place}: {problem}"))?;
        Ok(kept_layout(layout))
    }

    fn features(&self, base: &Layout) -> Result<Vec<Feature>, String> {
        let absent = features_of("absent", &self.absent)?;
        let present = features_of("present", &self.present)?;
        for (word, feature) in self.absent.iter().zip(&absent) {
            if present.contains(feature) {
                return Err(format!("'{word}' is both absent and present; leave one"));
            }
            if !base.has(*feature) {
                return Err(format!("absent: '{word}' is not in {} anyway; remove it", base.profile));
            }
        }
        if let Some((word, _)) = self.present.iter().zip(&present).find(|(_, part)| base.has(**part)) {
            return Err(format!("present: '{word}' is in {} anyway; remove it", base.profile));
        }
        let is_gone =
            |feature: &Feature| absent.contains(feature) || feature.whole().is_some_and(|w| absent.contains(&w));
        let mut features: Vec<_> = base.features.iter().copied().filter(|part| !is_gone(part)).collect();
        features.extend(&present);
        features.sort();
        features.dedup();
        for (word, feature) in self.present.iter().zip(&present) {
            if let Some(whole) = feature.whole().filter(|whole| !features.contains(whole)) {
                return Err(format!(
                    "present: '{word}' is a part of '{}', which is absent",
                    whole.word()
                ));
            }
        }
        Ok(features)
    }
}

fn features_of(field: &str, words: &[String]) -> Result<Vec<Feature>, String> {
    let feature = |word: &String| {
        let named = Feature::NAMED.iter().find(|(name, _)| name == word);
        named.map(|(_, feature)| *feature).ok_or_else(|| {
            let names: Vec<_> = Feature::NAMED.iter().map(|(name, _)| *name).collect();
            format!(
                "{field}: '{word}' is no part of a machine; choose from {}",
                names.join(", ")
            )
        })
    };
    words.iter().map(feature).collect()
}

/// What no machine can be.
fn check(layout: &Layout) -> Result<(), String> {
    if ![0, 2].contains(&layout.timer_input) {
        return Err(format!("timer-input = {}: it is 0 or 2", layout.timer_input));
    }
    if layout.has(Feature::VirtioMmio) {
        if !layout.has(Feature::VirtioLegacy) && !layout.has(Feature::VirtioModern) {
            return Err("virtio-mmio needs virtio-legacy or virtio-modern; make one present".to_owned());
        }
        if layout.has(Feature::AllTransports) && layout.has(Feature::TransportEach) {
            return Err("all-transports and transport-each exclude each other; make one absent".to_owned());
        }
        if layout.virtio_count == 0 {
            return Err("virtio-count = 0: make virtio-mmio absent instead".to_owned());
        }
        let last_gsi = u16::from(layout.virtio_gsi) + u16::from(layout.virtio_count) - 1;
        if GSI_MAX < last_gsi {
            return Err(format!(
                "virtio-gsi {} and virtio-count {} give the last transport GSI {last_gsi}; the IOAPIC ends at \
                 {GSI_MAX}",
                layout.virtio_gsi, layout.virtio_count
            ));
        }
        if layout.virtio_stride_bytes < STRIDE_BYTES_MIN {
            let stride = layout.virtio_stride_bytes;
            return Err(format!(
                "virtio-stride-bytes = {stride}: a transport has {STRIDE_BYTES_MIN} bytes at least"
            ));
        }
        let end = u64::from(layout.virtio_count)
            .checked_mul(layout.virtio_stride_bytes)
            .and_then(|length| length.checked_add(layout.virtio_base));
        if end.is_none_or(|end| ADDRESS_END < end) {
            return Err("virtio-base: the transports do not lie below 4 GiB".to_owned());
        }
        if layout.virtio_base < layout.ram_low_bytes {
            let (base, low) = (layout.virtio_base, layout.ram_low_bytes);
            return Err(format!(
                "virtio-base = {base:#x} lies in RAM, which may reach ram-low-bytes = {low:#x}"
            ));
        }
    }
    if ADDRESS_END < layout.ram_low_bytes || layout.ram_whole_below_bytes < layout.ram_low_bytes {
        return Err(format!(
            "ram-low-bytes = {:#x}: it is at most 4 GiB and at most ram-whole-below-bytes = {:#x}",
            layout.ram_low_bytes, layout.ram_whole_below_bytes
        ));
    }
    Ok(())
}

// Cases name profiles for as long as the program runs. What is kept is what differs, so a file that is read again and
// again costs nothing more.

static LAYOUTS: Mutex<Vec<&'static Layout>> = Mutex::new(Vec::new());

/// The names of the suite's profiles, and of those in subject files that were read.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = Layout::ALL.iter().map(|layout| layout.profile).collect();
    let own = LAYOUTS.lock().unwrap_or_else(PoisonError::into_inner);
    for layout in own.iter() {
        if !names.contains(&layout.profile) {
            names.push(layout.profile);
        }
    }
    names
}

fn kept_layout(layout: Layout) -> &'static Layout {
    keep(
        &LAYOUTS,
        |other| **other == layout,
        || Box::leak(Box::new(layout.clone())),
    )
}

fn kept_features(features: Vec<Feature>) -> &'static [Feature] {
    static KEPT: Mutex<Vec<&'static [Feature]>> = Mutex::new(Vec::new());
    keep(&KEPT, |other| **other == features, || features.clone().leak())
}

fn kept(text: &str) -> &'static str {
    static KEPT: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    keep(&KEPT, |other| **other == *text, || text.to_owned().leak())
}

fn keep<T: Copy>(kept: &Mutex<Vec<T>>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> T {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = kept.iter().copied().find(|other| is_it(other)) {
        return own;
    }
    let new = make();
    kept.push(new);
    new
}

/// The last input of an IOAPIC.
const GSI_MAX: u16 = 23;

/// Registers of a transport and 256 bytes of configuration.
const STRIDE_BYTES_MIN: u64 = 0x200;

/// Transports lie below 4 GiB: the 32-bit address of what a command line announces.
const ADDRESS_END: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::layout::RUST_VMM;

    fn layout(text: &str) -> Result<&'static Layout, String> {
        let own: OwnProfile = toml::from_str(text).expect("a table");
        own.layout()
    }

    #[test]
    fn what_a_table_does_not_say_is_as_in_its_base() {
        let same = layout("name = 'x'\nbase = 'rust-vmm'").expect("a profile");
        let mut features = RUST_VMM.features.to_vec();
        features.sort();
        assert_eq!(same.features, features);
        assert_eq!((same.profile, same.virtio_base), ("x", RUST_VMM.virtio_base));
        assert_eq!(same.ram_split(5 << 30, None), RUST_VMM.ram_split(5 << 30, None));
    }

    #[test]
    fn read_again_it_is_the_same_and_takes_no_more_room() {
        let text = "name = 'y'\nbase = 'rust-vmm'\nabsent = ['pit']";
        let (one, two) = (layout(text).expect("a profile"), layout(text).expect("a profile"));
        assert!(std::ptr::eq(one, two));
        assert!(!one.has(Feature::Pit));
    }

    #[test]
    fn what_is_about_an_absent_part_goes_with_it() {
        let text = "name = 'z'\nbase = 'qemu-7.2'\nabsent = ['virtio-mmio', 'fw-cfg', 'serial']";
        let own = layout(text).expect("a profile");
        for gone in [
            Feature::AllTransports,
            Feature::VirtioLegacy,
            Feature::VirtioModern,
            Feature::AutoCmdline,
            Feature::Fdt,
            Feature::SerialLine,
        ] {
            assert!(!own.has(gone), "{gone:?}");
        }
        assert!(own.has(Feature::Rtc));
    }

    #[rstest]
    #[case("name = 'X'\nbase = 'rust-vmm'", "[[profile]] 'X': name: use lower-case letters")]
    #[case("name = 'rust-vmm'\nbase = 'rust-vmm'", "name: the suite has a profile of that name")]
    #[case(
        "name = 'a'\nbase = 'b'",
        "[[profile]] 'a': base = \"b\": choose from microvm-2019, "
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nabsent = ['wings']",
        "absent: 'wings' is no part of a machine; choose from rtc,"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nabsent = ['rtc']",
        "absent: 'rtc' is not in rust-vmm anyway; remove it"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\npresent = ['pit']",
        "present: 'pit' is in rust-vmm anyway; remove it"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nabsent = ['pit']\npresent = ['pit']",
        "'pit' is both absent and present"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\npresent = ['fdt']",
        "'fdt' is a part of 'fw-cfg', which is absent"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nabsent = ['virtio-modern']",
        "virtio-mmio needs virtio-legacy or"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\npresent = ['all-transports']",
        "exclude each other; make one absent"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nvirtio-count = 0",
        "virtio-count = 0: make virtio-mmio absent"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nvirtio-count = 20",
        "give the last transport GSI 24; the IOAPIC ends at 23"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nvirtio-stride-bytes = 256",
        "a transport has 512 bytes at least"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nvirtio-base = 0xfffff000",
        "the transports do not lie below 4 GiB"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nvirtio-base = 0x7fffffffffffffff",
        "do not lie below 4 GiB"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nvirtio-base = 0x1000",
        "virtio-base = 0x1000 lies in RAM"
    )]
    #[case(
        "name = 'a'\nbase = 'rust-vmm'\nram-whole-below-bytes = 1",
        "at most ram-whole-below-bytes = 0x1"
    )]
    fn what_no_machine_can_be_is_named_with_the_field(#[case] text: &str, #[case] part: &str) {
        let problem = layout(text).expect_err("no machine");
        assert!(problem.contains(part), "{problem}");
    }
}
