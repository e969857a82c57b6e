//! A subject as data: how a VMM is started at each depth and what it can be asked for.
//!
//! No Rust is needed to add one. The file says how a case's [`Setup`] becomes arguments; what it does not say, the
//! subject cannot do, and cases that ask for it come out as unsupported.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::Path;

use kvm_ioctls::Kvm;
use serde::Deserialize;

use crate::case::{Feature, Setup};
use crate::catalog;
use crate::files;
use crate::layout::Layout;
use crate::machine::{Caps, Depth, Stop};

/// One subject file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Description {
    /// The name on command lines, in reports and of the expectations file: lower-case letters, digits, `-`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Profiles it can be, the default first.
    pub profiles: Vec<String>,
    /// Prints its version; the first line goes into the report.
    #[serde(default)]
    pub version: Vec<String>,
    /// Depth bus: how the machine is linked. Only the suite's own subjects have it.
    pub bus: Option<Linked>,
    /// Words for each part of a set-up.
    #[serde(default)]
    pub arguments: Arguments,
    /// Text that `{machine-options}` gets for each option of a set-up, with `{value}` in it: `pic = ",pic={value}"`.
    #[serde(default)]
    pub machine_options: BTreeMap<String, String>,
    /// Words for each device of a set-up: `virtio-rng = ["-device", "virtio-rng-device"]`. In them `{disk}` is the
    /// path of the device's disk image, `{peer}` that of a socket which makes what a network or a console sends come
    /// back (see [`super::peer`]), and `{device}` its number, from 0.
    #[serde(default)]
    pub devices: BTreeMap<String, Vec<String>>,
    /// Ways to start it as a process that speaks qtest.
    #[serde(default)]
    pub wire: Vec<Launch>,
    /// Ways to start it with the agent image.
    #[serde(default)]
    pub cpu: Vec<Launch>,
    /// Ways to start it with a resident image.
    #[serde(default)]
    pub guest: Vec<Launch>,
    /// Ways to start it for `touchstone bench`, with the image `halt`.
    #[serde(default)]
    pub bench: Vec<Launch>,
}

/// How a subject at depth bus is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Linked {
    /// The reference machine.
    InProcess,
    /// All ones, nothing happens.
    Null,
}

/// Words that a part of a [`Setup`] becomes; `{setup}` in a command stands for all that are wanted. A part without
/// words cannot be had, unless the case wants what [`Setup::DEFAULT`] wants.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Arguments {
    /// RAM: `{ram-bytes}`, `{ram-kib}` or `{ram-mib}`.
    pub ram: Option<Vec<String>>,
    /// CPUs: `{cpus}` and `{cpus-max}`.
    pub cpus: Option<Vec<String>>,
    /// What the RTC shows: `{rtc-base}`.
    pub rtc_base: Option<Vec<String>>,
    /// A kernel: `{kernel}`.
    pub kernel: Option<Vec<String>>,
    /// A firmware, for ways with capability `firmware` as a profile that has one: `{halt-bios}`.
    pub firmware: Option<Vec<String>>,
    /// A kernel's command line: `{append}`.
    pub append: Option<Vec<String>>,
    /// A kernel's initial RAM disk: `{initrd}`. Linux is booted with one.
    pub initrd: Option<Vec<String>>,
    /// Transports of version 2.
    pub modern: Option<Vec<String>>,
    /// Transports of version 1.
    pub legacy: Option<Vec<String>>,
}

/// One way to start a subject at one depth.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Launch {
    /// Short name where there is more than one way: `kvm`, `tcg`.
    #[serde(default)]
    pub name: String,
    /// When it is used.
    #[serde(default, rename = "use")]
    pub usage: Usage,
    /// The profiles it is started as when nobody asks for one; without, the subject's first.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// What the host must have.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Only cases of these areas run in it, the first words of ids; empty means all. For a second way of starting
    /// that differs in some parts of the machine only. Such a lane's claim is `partial` at best.
    #[serde(default)]
    pub areas: Vec<String>,
    /// Machine options it cannot be given, as `OPTION=VALUE`: cases that want one are unsupported.
    #[serde(default)]
    pub cannot: Vec<String>,
    /// Program and arguments; `{setup}`, `{machine-options}`, `{profile}`, `{socket}`, `{qmp}`, `{halt-bios}` and the
    /// words of [`Arguments`] are filled in. The program is looked for beside this one first, then in `PATH`.
    pub command: Vec<String>,
    /// Capabilities, by the names of [`Caps::NAMED`].
    #[serde(default)]
    pub caps: Vec<String>,
    /// Depth wire: how the protocol's lines travel.
    #[serde(default)]
    pub channel: Channel,
    /// Where the guest's serial port goes.
    #[serde(default)]
    pub serial: Serial,
    /// How the system is reset, for capability `reset`.
    #[serde(default)]
    pub reset: Reset,
    /// Most milliseconds until it speaks.
    #[serde(default = "start_ms_default")]
    pub start_ms: u64,
    /// Most milliseconds for one answer; at depth guest, for the whole run.
    #[serde(default = "answer_ms_default")]
    pub answer_ms: u64,
    /// Depth guest: most milliseconds for a boot of Linux, from the start to the end.
    #[serde(default = "linux_ms_default")]
    pub linux_ms: u64,
    /// Exit codes of an end that is no crash, at depth guest.
    #[serde(default)]
    pub exit: Vec<i32>,
    /// Who counts exits from the guest, for `touchstone bench`.
    #[serde(default)]
    pub exits: Exits,
    /// How it is asked for its registers before it is killed, at depths cpu and guest.
    #[serde(default)]
    pub dump: Dump,
}

/// How a subject that does not answer any more is asked for its registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dump {
    /// Not at all.
    #[default]
    None,
    /// By SIGQUIT, upon which it prints them to standard error and ends.
    Sigquit,
}

/// Who counts exits from the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exits {
    /// Nobody.
    #[default]
    None,
    /// The subject: the last line of the file `{boot-marks}` is a JSON object with `exits`, numbers by kind.
    BootMarks,
    /// KVM's statistics over QMP; the subject connects to the Unix socket `{qmp}`.
    Qmp,
}

/// When a way of starting is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Every case runs in it.
    #[default]
    Always,
    /// A case runs in it when no way before it could take the case: absent on this host, or a capability is missing.
    Fallback,
    /// Only when it is asked for by name.
    Request,
}

/// Something a host may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// `/dev/kvm`, readable, writable and KVM.
    Kvm,
    /// The firmware qboot where Debian has it.
    Qboot,
}

/// How qtest lines travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The subject connects to the Unix socket `{socket}`.
    #[default]
    Connects,
    /// The subject listens on the Unix socket `{socket}`.
    Listens,
    /// Standard input and output.
    Stdio,
}

/// The peer of the guest's serial port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serial {
    /// Nobody.
    #[default]
    None,
    /// Standard input and output.
    Stdio,
    /// Lines of the qtest channel (`serial_in`, `serial_out`: extensions of ours).
    Qtest,
}

/// How a system is reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// Not at all.
    #[default]
    None,
    /// `system_reset` over QMP; the subject connects to the Unix socket `{qmp}`.
    Qmp,
    /// The line `system_reset` of the qtest channel (an extension of ours).
    Qtest,
}

/// A subject file that cannot be used: one line that says where, what and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct DescriptionError {
    /// File, and line and column where known.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Files and sockets of one start.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `{socket}`.
    pub socket: String,
    /// `{qmp}`.
    pub qmp: String,
    /// `{halt-bios}`.
    pub halt_bios: String,
    /// `{kernel}`, when there is one.
    pub kernel: Option<String>,
    /// `{append}`.
    pub append: String,
    /// `{initrd}`, when there is one.
    pub initrd: Option<String>,
    /// `{boot-marks}`.
    pub boot_marks: String,
    /// `{disk}` of each device of the set-up that has one.
    pub disks: Vec<Option<String>>,
    /// `{peer}` of each device of the set-up that has one.
    pub peers: Vec<Option<String>>,
}

impl Description {
    /// Reads and checks a subject file's text; `place` names it in messages.
    ///
    /// # Errors
    /// [`DescriptionError`] for text that is not TOML, unknown or missing fields, and values that name nothing.
    pub fn parse(place: &str, text: &str) -> Result<Description, DescriptionError> {
        let description: Description = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = line_column(text, at);
            let problem = error.message().lines().collect::<Vec<_>>().join(" ");
            DescriptionError {
                place: format!("{place}:{line}:{column}"),
                problem: format!("{problem}; see conformance/subjects/qemu.toml for a complete example"),
            }
        })?;
        description.check().map_err(|problem| DescriptionError {
            place: place.to_owned(),
            problem,
        })?;
        Ok(description)
    }

    /// Reads a subject file.
    ///
    /// # Errors
    /// [`DescriptionError`] as [`Description::parse`], and when the file cannot be read or exceeds [`FILE_BYTES_MAX`].
    pub fn read(path: &Path) -> Result<Description, DescriptionError> {
        let place = path.display().to_string();
        let fail = |problem: String| DescriptionError {
            place: place.clone(),
            problem,
        };
        let text = files::read_text(path, FILE_BYTES_MAX);
        let text = text.map_err(|error| fail(format!("read: {error}; a subject file is a page of TOML")))?;
        Description::parse(&place, &text)
    }

    /// The ways to start it at a depth, in the file's order.
    pub fn launches(&self, depth: Depth) -> &[Launch] {
        match depth {
            Depth::Bus => &[],
            Depth::Wire => &self.wire,
            Depth::Cpu => &self.cpu,
            Depth::Guest => &self.guest,
        }
    }

    /// The program and its arguments for one power-on.
    ///
    /// # Errors
    /// [`Stop::Unavailable`] when the set-up asks for something the file has no words for.
    pub fn command_line(
        &self,
        launch: &Launch,
        setup: &Setup,
        layout: &Layout,
        places: &Places,
    ) -> Result<Vec<String>, Stop> {
        let mut options = String::new();
        let limit = setup.max_ram_below_4g.map(|bytes| bytes.to_string());
        let limit = limit.as_deref().map(|value| ("max-ram-below-4g", value));
        let wanted = setup
            .options
            .iter()
            .copied()
            .filter(|(name, _)| layout.takes_option(name));
        for (name, value) in wanted.chain(limit) {
            if launch.cannot.iter().any(|option| *option == format!("{name}={value}")) {
                let way = format!("subject '{}' started as '{}'", self.name, launch.name);
                return Err(Stop::Unavailable(format!("{way} cannot be given {name}={value}")));
            }
            let template = self
                .machine_options
                .get(name)
                .ok_or_else(|| Stop::Unavailable(format!("subject '{}' has no machine option '{name}'", self.name)))?;
            options.push_str(&template.replace("{value}", value));
        }
        let words = self.setup_words(launch, setup, layout, places)?;
        let fill = |word: &str| fill(word, setup, layout, places, &options);
        let mut line = Vec::new();
        for word in &launch.command {
            if word == "{setup}" {
                line.extend(words.iter().map(|word| fill(word)));
            } else {
                line.push(fill(word));
            }
        }
        Ok(line)
    }

    fn setup_words(
        &self,
        launch: &Launch,
        setup: &Setup,
        layout: &Layout,
        places: &Places,
    ) -> Result<Vec<String>, Stop> {
        let lacks = |what: &str| Stop::Unavailable(format!("subject '{}' cannot be given {what}", self.name));
        let part = |words: &Option<Vec<String>>, is_default: bool, what: &str| match words {
            Some(words) => Ok(words.clone()),
            None if is_default => Ok(Vec::new()),
            None => Err(lacks(what)),
        };
        let default = Setup::DEFAULT;
        let arguments = &self.arguments;
        let mut words = part(&arguments.ram, setup.ram_bytes == default.ram_bytes, "a RAM size")?;
        let cpus_default = (setup.cpus, setup.cpus_max) == (default.cpus, default.cpus_max);
        words.extend(part(&arguments.cpus, cpus_default, "a number of CPUs")?);
        if layout.has(Feature::Rtc) {
            let rtc_default = setup.rtc_base == default.rtc_base;
            words.extend(part(&arguments.rtc_base, rtc_default, "a date for the RTC")?);
        }
        if layout.has(Feature::Firmware) && launch.caps.iter().any(|cap| cap == "firmware") {
            words.extend(part(&arguments.firmware, true, "a firmware")?);
        }
        if layout.is_modern(setup) {
            words.extend(part(&arguments.modern, !setup.modern, "transports of version 2")?);
        } else {
            // A machine without devices and transports does not care which version they would be.
            words.extend(part(
                &arguments.legacy,
                setup.devices.is_empty(),
                "transports of version 1",
            )?);
        }
        if places.kernel.is_some() {
            words.extend(part(&arguments.kernel, false, "a kernel")?);
            if !places.append.is_empty() {
                words.extend(part(&arguments.append, false, "a kernel command line")?);
            }
            if places.initrd.is_some() {
                words.extend(part(&arguments.initrd, false, "an initial RAM disk")?);
            }
        }
        for (index, device) in setup.devices.iter().enumerate() {
            let device_words = self.devices.get(*device);
            let device_words = device_words.ok_or_else(|| lacks(&format!("device '{device}'")))?;
            let disk = places.disks.get(index).cloned().flatten().unwrap_or_default();
            let peer = places.peers.get(index).cloned().flatten().unwrap_or_default();
            let filled = device_words.iter().map(|word| word.replace("{disk}", &disk));
            let filled = filled.map(|word| word.replace("{peer}", &peer));
            words.extend(filled.map(|word| word.replace("{device}", &index.to_string())));
        }
        Ok(words)
    }

    fn check(&self) -> Result<(), String> {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(word) {
            return Err(format!(
                "name = \"{}\": use lower-case letters, digits and '-'",
                self.name
            ));
        }
        if self.profiles.is_empty() {
            return Err(format!("profiles = []: name at least one of {}", profile_names()));
        }
        for profile in &self.profiles {
            if Layout::by_name(profile).is_none() {
                return Err(format!(
                    "profiles: '{profile}' is no profile; choose from {}",
                    profile_names()
                ));
            }
        }
        let tables = [
            ("wire", &self.wire),
            ("cpu", &self.cpu),
            ("guest", &self.guest),
            ("bench", &self.bench),
        ];
        for (table, launches) in tables {
            for (index, launch) in launches.iter().enumerate() {
                let place = format!("[[{table}]] number {}", index + 1);
                if launch.command.first().is_none_or(String::is_empty) {
                    return Err(format!("{place}: command is empty; give the program and its arguments"));
                }
                if launches[..index].iter().any(|earlier| earlier.name == launch.name) {
                    return Err(format!("{place}: name = \"{}\" is taken; give it another", launch.name));
                }
                launch.caps().map_err(|problem| format!("{place}: {problem}"))?;
                launch.check_areas().map_err(|problem| format!("{place}: {problem}"))?;
                self.check_cannot(launch)
                    .map_err(|problem| format!("{place}: {problem}"))?;
                if let Some(profile) = launch.profiles.iter().find(|&name| !self.profiles.contains(name)) {
                    return Err(format!(
                        "{place}: profiles: '{profile}' is no profile of the subject; choose from {}",
                        self.profiles.join(", ")
                    ));
                }
                self.check_placeholders(launch)
                    .map_err(|problem| format!("{place}: {problem}"))?;
            }
        }
        if self.bus.is_none() && tables.iter().all(|(_, launches)| launches.is_empty()) {
            return Err("nothing to start: add a [[wire]], [[cpu]] or [[guest]] table with a command".to_owned());
        }
        Ok(())
    }

    fn check_cannot(&self, launch: &Launch) -> Result<(), String> {
        for option in &launch.cannot {
            let Some((name, _)) = option.split_once('=') else {
                return Err(format!("cannot: \"{option}\" is no OPTION=VALUE, such as \"pic=off\""));
            };
            if !self.machine_options.contains_key(name) {
                return Err(format!("cannot: \"{option}\": [machine-options] has no '{name}'"));
            }
        }
        Ok(())
    }

    fn check_placeholders(&self, launch: &Launch) -> Result<(), String> {
        let arguments = &self.arguments;
        let parts = [
            &arguments.ram,
            &arguments.cpus,
            &arguments.rtc_base,
            &arguments.firmware,
            &arguments.kernel,
            &arguments.append,
            &arguments.initrd,
            &arguments.modern,
            &arguments.legacy,
        ];
        let words = launch.command.iter();
        let words = words.chain(parts.into_iter().flatten().flatten());
        let everywhere = words.map(|word| (word, &[][..]));
        let of_devices = self.devices.values().flatten();
        let of_devices = of_devices.map(|word| (word, &DEVICE_PLACEHOLDERS[..]));
        for (word, more) in everywhere.chain(of_devices) {
            let known = [&PLACEHOLDERS[..], more].concat();
            for name in placeholders(word) {
                if !known.contains(&name) {
                    return Err(format!(
                        "'{{{name}}}' in \"{word}\" stands for nothing; choose from {}",
                        known.join(", ")
                    ));
                }
            }
        }
        for (option, word) in &self.machine_options {
            if placeholders(word).iter().any(|name| *name != "value") {
                return Err(format!(
                    "machine-options: {option} = \"{word}\": only {{value}} stands for something there"
                ));
            }
        }
        Ok(())
    }
}

impl Launch {
    /// The capabilities, as a set.
    ///
    /// # Errors
    /// Names the word that is no capability.
    pub fn caps(&self) -> Result<Caps, String> {
        let mut caps = Caps::NONE;
        for word in &self.caps {
            let (_, cap) = Caps::NAMED.iter().find(|(name, _)| name == word).ok_or_else(|| {
                let names: Vec<_> = Caps::NAMED.iter().map(|(name, _)| *name).collect();
                format!("caps: '{word}' is no capability; choose from {}", names.join(", "))
            })?;
            caps = caps.with(*cap);
        }
        let stands_still = caps.missing(Caps::FROZEN).is_empty() && !caps.missing(Caps::CLOCK).is_empty();
        Ok(if stands_still { caps } else { caps.with(Caps::TIME) })
    }

    fn check_areas(&self) -> Result<(), String> {
        let known = catalog::areas();
        match self.areas.iter().find(|area| !known.contains(area.as_str())) {
            None => Ok(()),
            Some(area) => {
                let known: Vec<_> = known.into_iter().collect();
                Err(format!(
                    "areas: '{area}' is the area of no case; choose from {}",
                    known.join(", ")
                ))
            }
        }
    }

    /// Whether it is started as a profile when nobody asks for one; `first` is the subject's first.
    pub fn is_started_as(&self, profile: &str, first: bool) -> bool {
        if self.profiles.is_empty() {
            first
        } else {
            self.profiles.iter().any(|name| name == profile)
        }
    }

    /// Whether it runs on KVM.
    pub fn needs_kvm(&self) -> bool {
        self.needs.contains(&Need::Kvm)
    }

    /// Why this host cannot start it, if so.
    pub fn missing_need(&self) -> Option<String> {
        self.needs.iter().find_map(|need| match need {
            Need::Kvm => kvm_problem(),
            Need::Qboot => {
                (!Path::new(QBOOT).is_file()).then(|| format!("{QBOOT} is not there: install qemu-system-data"))
            }
        })
    }
}

/// Why /dev/kvm cannot be used, if so: it cannot be opened, or what opens is not KVM.
pub fn kvm_problem() -> Option<String> {
    kvm_problem_at(c"/dev/kvm")
}

fn kvm_problem_at(path: &CStr) -> Option<String> {
    let problem = match Kvm::new_with_path(path) {
        Err(error) => std::io::Error::from(error).to_string(),
        Ok(kvm) => match kvm.get_api_version() {
            KVM_API_VERSION => return None,
            version => format!("it is not KVM: KVM_GET_API_VERSION gives {version} instead of {KVM_API_VERSION}"),
        },
    };
    Some(format!("/dev/kvm cannot be used here: {problem}"))
}

fn profile_names() -> String {
    Layout::ALL.map(|layout| layout.profile).join(", ")
}

fn fill(word: &str, setup: &Setup, layout: &Layout, places: &Places, options: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        out.push_str(&rest[..open]);
        let name = &rest[open + 1..open + close];
        out.push_str(&match name {
            "machine-options" => options.to_owned(),
            "profile" => layout.profile.to_owned(),
            "socket" => places.socket.clone(),
            "qmp" => places.qmp.clone(),
            "halt-bios" => places.halt_bios.clone(),
            "kernel" => places.kernel.clone().unwrap_or_default(),
            "append" => places.append.clone(),
            "initrd" => places.initrd.clone().unwrap_or_default(),
            "boot-marks" => places.boot_marks.clone(),
            "ram-bytes" => setup.ram_bytes.to_string(),
            "ram-kib" => (setup.ram_bytes >> 10).to_string(),
            "ram-mib" => (setup.ram_bytes >> 20).to_string(),
            "cpus" => setup.cpus.to_string(),
            "cpus-max" => setup.cpus_max.to_string(),
            "rtc-base" => setup.rtc_base.to_owned(),
            "virtio-version" => if layout.is_modern(setup) { "modern" } else { "legacy" }.to_owned(),
            other => format!("{{{other}}}"),
        });
        rest = &rest[open + close + 1..];
    }
    out.push_str(rest);
    out
}

fn placeholders(word: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        names.push(&rest[open + 1..open + close]);
        rest = &rest[open + close + 1..];
    }
    names
}

/// Line and column, both from 1, of a byte offset.
pub(crate) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    (line, column)
}

fn start_ms_default() -> u64 {
    10_000
}

fn answer_ms_default() -> u64 {
    5_000
}

fn linux_ms_default() -> u64 {
    60_000
}

/// A firmware that starts PVH kernels and bzImages.
const QBOOT: &str = "/usr/share/qemu/qboot.rom";

/// What every KVM since Linux 2.6.22 answers to KVM_GET_API_VERSION.
const KVM_API_VERSION: i32 = 12;

/// Largest subject file, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 10;

/// All placeholders.
const PLACEHOLDERS: [&str; 17] = [
    "setup",
    "machine-options",
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

/// What a device's own words may say beside those.
const DEVICE_PLACEHOLDERS: [&str; 3] = ["disk", "peer", "device"];

#[cfg(test)]
mod tests;
