//! A subject as data: how a VMM is started at each depth and what it can be asked for.
//!
//! No Rust is needed to add one. The file says how a case's [`Setup`] becomes arguments; what it does not say, the
//! subject cannot do, and cases that ask for it come out as unsupported.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};

use kvm_ioctls::Kvm;
use serde::Deserialize;

use super::profile::OwnProfile;
use super::template::{self, COMMON, OF_DEVICE};
use crate::case::{Feature, Setup};
use crate::catalog;
use crate::files;
use crate::layout::Layout;
use crate::machine::{Broken, Caps, Depth, Stop};

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
    /// Profiles of its own, for `profiles` to name.
    #[serde(default)]
    pub profile: Vec<OwnProfile>,
    /// Words, or a piece of a file, for each device of a set-up: `virtio-rng = ["-device", "virtio-rng-device"]`. In
    /// them `{disk}` is the path of the device's disk image, `{peer}` that of a socket which makes what a network or a
    /// console sends come back (see [`super::peer`]), and `{device}` its number, from 0.
    #[serde(default)]
    pub devices: BTreeMap<String, Part>,
    /// The order in which a machine that does not keep that of a set-up has devices of different kinds: the first of
    /// these gets the first transport.
    #[serde(default)]
    pub device_order: Vec<String>,
    /// Files that are written for each start, by their names: `{file:NAME}` is where, `{insert:NAME}` in one stands
    /// for the devices' pieces of that name. In a file whose name ends in `.json` values are escaped for a JSON string.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
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
    /// A kernel, which is an ELF file with a PVH note: `{kernel}`.
    pub kernel: Option<Vec<String>>,
    /// A kernel that is a bzImage: `{kernel}`.
    pub bz_image: Option<Vec<String>>,
    /// A firmware, for ways with capability `firmware` as a profile that has one: `{halt-bios}`.
    pub firmware: Option<Vec<String>>,
    /// A kernel's command line: `{append}`.
    pub append: Option<Vec<String>>,
    /// A kernel's initial RAM disk: `{initrd}`. Linux is booted with one.
    pub initrd: Option<Part>,
    /// Transports of version 2.
    pub modern: Option<Vec<String>>,
    /// Transports of version 1.
    pub legacy: Option<Vec<String>>,
}

/// What a device of a set-up, or an initial RAM disk, becomes.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "words such as [\"--rng\"], or a piece of a file as { insert = \"NAME\", text = \"...\" }"
)]
pub enum Part {
    /// Words of the command line, in place of `{setup}`.
    Words(Vec<String>),
    /// A piece of a file.
    Piece(Piece),
}

/// A piece of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Piece {
    /// In place of `{insert:NAME}`; pieces of one name stand there in the devices' order, with commas between them.
    pub insert: String,
    /// The piece.
    pub text: String,
    /// Most devices of this kind.
    pub most: Option<usize>,
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
    /// Depths cpu and guest: how a guest ends the machine.
    #[serde(default)]
    pub ends_by: EndsBy,
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
    /// Who counts exits from the guest, for `touchstone bench`, and with `marks-port` at depth guest.
    #[serde(default)]
    pub exits: Exits,
    /// The port whose bytes a subject with `exits = "boot-marks"` notes as marks; guests are told it.
    pub marks_port: Option<u16>,
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

/// The peer of the guest's serial port. At depths cpu and guest somebody is always there: without a word, as `stdio`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serial {
    /// Nobody.
    #[default]
    None,
    /// Standard input and output, a socket: a VMM that reads and writes them as they are.
    Stdio,
    /// Standard input and output, a terminal: a VMM that wants one.
    Pty,
    /// The subject connects to the Unix socket `{socket}`.
    Connects,
    /// The subject listens on the Unix socket `{socket}`.
    Listens,
    /// Lines of the qtest channel (`serial_in`, `serial_out`: extensions of ours).
    Qtest,
}

/// How a guest ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum EndsBy {
    /// A byte to a port: `debug-exit` is port 0xf4 and the guest's verdict, `i8042` the keyboard controller's reset,
    /// anything else is written `PORT:BYTE`.
    Port {
        /// The port.
        port: u16,
        /// The byte; without one, the guest's verdict.
        byte: Option<u8>,
    },
    /// `triple-fault`: a fault that cannot be delivered.
    TripleFault,
    /// `halt`: not at all; the process is ended once the guest has said all.
    Halt,
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
    /// Whether that is a bzImage.
    pub is_bz_image: bool,
    /// `{append}`.
    pub append: String,
    /// `{initrd}`, when there is one.
    pub initrd: Option<String>,
    /// `{boot-marks}`.
    pub boot_marks: String,
    /// The folder of `{file:NAME}`.
    pub folder: PathBuf,
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

    /// The program and its arguments for one power-on; the files that they name are written.
    ///
    /// # Errors
    /// [`Stop::Unavailable`] when the set-up asks for something the file has no words for, [`Broken::Start`] when a
    /// file cannot be written or is not what its name says.
    pub fn prepare(
        &self,
        launch: &Launch,
        setup: &Setup,
        layout: &Layout,
        places: &Places,
    ) -> Result<Vec<String>, Stop> {
        let options = self.options_text(launch, setup, layout)?;
        let words = self.setup_words(launch, setup, layout, places)?;
        let fill = |word: &str| {
            template::fill(word, |name| match (name, name.strip_prefix(FILE)) {
                ("machine-options", _) => Ok(Some(options.clone())),
                (_, Some(file)) => {
                    let text = self.file_text(file, setup, layout, places)?;
                    let path = places.folder.join(file);
                    let write = std::fs::write(&path, text);
                    write.map_err(|error| Broken::Start(format!("{}: write: {error}", path.display())))?;
                    Ok(Some(path.display().to_string()))
                }
                _ => template::common(name, setup, layout, places),
            })
        };
        let mut line = Vec::new();
        for word in &launch.command {
            if word == "{setup}" {
                for word in &words {
                    line.push(fill(word)?);
                }
            } else {
                line.push(fill(word)?);
            }
        }
        Ok(line)
    }

    /// What `{machine-options}` stands for.
    fn options_text(&self, launch: &Launch, setup: &Setup, layout: &Layout) -> Result<String, Stop> {
        let limit = setup.max_ram_below_4g.map(|bytes| bytes.to_string());
        let limit = limit.as_deref().map(|value| ("max-ram-below-4g", value));
        let wanted = setup
            .options
            .iter()
            .copied()
            .filter(|(name, _)| layout.takes_option(name));
        let mut options = String::new();
        for (name, value) in wanted.chain(limit) {
            if launch.cannot.iter().any(|option| *option == format!("{name}={value}")) {
                let way = format!("subject '{}' started as '{}'", self.name, launch.name);
                return Err(Stop::Unavailable(format!("{way} cannot be given {name}={value}")));
            }
            match self.machine_options.get(name) {
                Some(template) => options.push_str(&template.replace("{value}", value)),
                // What every case has unless it says otherwise needs no words.
                None if Setup::DEFAULT.options.contains(&(name, value)) => {}
                None => {
                    let text = format!("subject '{}' has no machine option '{name}'", self.name);
                    return Err(Stop::Unavailable(text));
                }
            }
        }
        Ok(options)
    }

    /// One of [`Description::files`], filled.
    fn file_text(&self, file: &str, setup: &Setup, layout: &Layout, places: &Places) -> Result<String, Stop> {
        let is_json = file.ends_with(JSON);
        let escaped = |value: String| {
            if is_json {
                let quoted = serde_json::Value::String(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            } else {
                value
            }
        };
        let template = self.files.get(file).map_or("", String::as_str);
        let text = template::fill(template, |name| match name.strip_prefix(INSERT) {
            Some(insert) => {
                let mut pieces = Vec::new();
                if let Some(Part::Piece(piece)) = &self.arguments.initrd
                    && places.initrd.is_some()
                    && piece.insert == insert
                {
                    let value = |name: &str| Ok::<_, Stop>(template::common(name, setup, layout, places)?.map(escaped));
                    pieces.push(template::fill(&piece.text, value)?);
                }
                for (index, device) in setup.devices.iter().enumerate() {
                    if let Some(Part::Piece(piece)) = self.devices.get(*device)
                        && piece.insert == insert
                    {
                        let value = |name: &str| match of_device(name, index, places) {
                            Some(value) => Ok(Some(value)),
                            None => template::common(name, setup, layout, places),
                        };
                        let value = |name: &str| Ok::<_, Stop>(value(name)?.map(escaped));
                        pieces.push(template::fill(&piece.text, value)?);
                    }
                }
                Ok(Some(pieces.join(",")))
            }
            None => Ok::<_, Stop>(template::common(name, setup, layout, places)?.map(escaped)),
        })?;
        if is_json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            let problem = format!("[files] '{file}': with its values it is no JSON: {error}");
            return Err(Broken::Start(problem).into());
        }
        Ok(text)
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
            words.extend(if places.is_bz_image {
                part(&arguments.bz_image, false, "a bzImage")?
            } else {
                part(&arguments.kernel, false, "a kernel")?
            });
            if !places.append.is_empty() {
                words.extend(part(&arguments.append, false, "a kernel command line")?);
            }
            if places.initrd.is_some() {
                match &arguments.initrd {
                    None => return Err(lacks("an initial RAM disk")),
                    Some(Part::Words(initrd)) => words.extend(initrd.clone()),
                    // It stands in a file.
                    Some(Part::Piece(_)) => {}
                }
            }
        }
        for (index, device) in setup.devices.iter().enumerate() {
            match self.devices.get(*device) {
                None => return Err(lacks(&format!("device '{device}'"))),
                Some(Part::Words(device_words)) => {
                    for word in device_words {
                        words.push(template::fill(word, |name| {
                            Ok::<_, Stop>(of_device(name, index, places))
                        })?);
                    }
                }
                Some(Part::Piece(piece)) => {
                    let same = setup.devices.iter().filter(|other| *other == device).count();
                    if let Some(most) = piece.most.filter(|most| *most < same) {
                        return Err(lacks(&format!("{same} devices '{device}', {most} at most")));
                    }
                }
            }
        }
        Ok(words)
    }

    /// The devices of a set-up that it can be given, in its order.
    pub fn devices_of(&self, setup: &Setup) -> Vec<&'static str> {
        let devices = setup.devices.iter().copied();
        let mut devices: Vec<_> = devices.filter(|device| self.devices.contains_key(*device)).collect();
        let place = |device: &str| self.device_order.iter().position(|own| own == device);
        devices.sort_by_key(|device| place(device).unwrap_or(self.device_order.len()));
        devices
    }

    /// A profile by its name: one of the suite's, or one of the file's own.
    pub fn layout(&self, name: &str) -> Option<&'static Layout> {
        let own = || self.profile.iter().find(|own| own.name == name)?.layout().ok();
        Layout::by_name(name).or_else(own)
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
        for (index, own) in self.profile.iter().enumerate() {
            own.layout()?;
            let name = &own.name;
            if self.profile[..index].iter().any(|other| other.name == *name) {
                return Err(format!("[[profile]] '{name}' stands there twice; rename one"));
            }
            if !self.profiles.contains(name) {
                return Err(format!("[[profile]] '{name}' is not among profiles; add it there"));
            }
        }
        for profile in &self.profiles {
            if self.layout(profile).is_none() {
                return Err(format!(
                    "profiles: '{profile}' is no profile; choose from {}, or add a [[profile]] of that name",
                    profile_names()
                ));
            }
        }
        if let Some(unknown) = self
            .device_order
            .iter()
            .find(|device| !self.devices.contains_key(*device))
        {
            return Err(format!("device-order: '{unknown}' is not among [devices]"));
        }
        self.check_files()?;
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
                if ["cpu", "guest"].contains(&table) {
                    let in_files = self.files.values().any(|text| text.contains(SOCKET));
                    launch
                        .check_serial(in_files)
                        .map_err(|problem| format!("{place}: {problem}"))?;
                } else if ![Serial::None, Serial::Stdio, Serial::Qtest].contains(&launch.serial) {
                    return Err(format!("{place}: serial: only none, stdio or qtest there"));
                }
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
            &arguments.bz_image,
            &arguments.append,
            &arguments.modern,
            &arguments.legacy,
        ];
        let files: Vec<_> = self.files.keys().map(|file| format!("{FILE}{file}")).collect();
        let files = files.iter().map(String::as_str);
        let known: Vec<&str> = ["setup", "machine-options"]
            .into_iter()
            .chain(COMMON)
            .chain(files)
            .collect();
        for word in launch.command.iter().chain(parts.into_iter().flatten().flatten()) {
            check_names(word, &known)?;
        }
        match &arguments.initrd {
            None => {}
            Some(Part::Words(words)) => words.iter().try_for_each(|word| check_names(word, &known))?,
            Some(Part::Piece(piece)) => check_names(&piece.text, &COMMON)?,
        }
        let of_devices = [&known[..], &OF_DEVICE].concat();
        for device in self.devices.values() {
            match device {
                Part::Words(words) => words.iter().try_for_each(|word| check_names(word, &of_devices))?,
                Part::Piece(piece) => check_names(&piece.text, &[&COMMON[..], &OF_DEVICE].concat())?,
            }
        }
        for (option, word) in &self.machine_options {
            if template::placeholders(word).any(|name| name != "value") {
                return Err(format!(
                    "machine-options: {option} = \"{word}\": only {{value}} stands for something there"
                ));
            }
        }
        Ok(())
    }

    /// Files have good names, know their placeholders, and are used; each piece has a place.
    fn check_files(&self) -> Result<(), String> {
        let pieces = || {
            let devices = self.devices.iter();
            let devices = devices.map(|(device, part)| (format!("devices: {device}"), part));
            let initrd = self.arguments.initrd.iter();
            let parts = devices.chain(initrd.map(|part| ("arguments: initrd".to_owned(), part)));
            parts.filter_map(|(name, part)| match part {
                Part::Piece(piece) => Some((name, piece)),
                Part::Words(_) => None,
            })
        };
        let inserts: Vec<_> = pieces().map(|(_, piece)| format!("{INSERT}{}", piece.insert)).collect();
        let inserts = inserts.iter().map(String::as_str);
        let known: Vec<&str> = COMMON.into_iter().chain(inserts).collect();
        for (file, text) in &self.files {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if file.is_empty() || file.starts_with('.') || !file.chars().all(is_plain) {
                return Err(format!("[files] '{file}': a name is letters, digits, '-', '_' and '.'"));
            }
            check_names(text, &known).map_err(|problem| format!("[files] '{file}': {problem}"))?;
            let word = format!("{{{FILE}{file}}}");
            let launches = [&self.wire, &self.cpu, &self.guest, &self.bench];
            let commands = launches.into_iter().flatten().flat_map(|launch| &launch.command);
            if !commands.into_iter().any(|command| command.contains(&word)) {
                return Err(format!(
                    "[files] '{file}': no command has {word}, so no VMM would read it"
                ));
            }
        }
        for (name, piece) in pieces() {
            let word = format!("{{{INSERT}{}}}", piece.insert);
            if !self.files.values().any(|text| text.contains(&word)) {
                return Err(format!(
                    "{name}: no text of [files] has {word}, so its piece would be lost"
                ));
            }
        }
        Ok(())
    }
}

fn check_names(text: &str, known: &[&str]) -> Result<(), String> {
    match template::placeholders(text).find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let text = text.lines().find(|line| line.contains(name)).unwrap_or_default().trim();
            Err(format!(
                "'{{{name}}}' in \"{text}\" stands for nothing; choose from {}",
                known.join(", ")
            ))
        }
    }
}

/// What stands for a device in its own words.
fn of_device(name: &str, index: usize, places: &Places) -> Option<String> {
    match name {
        "disk" => Some(places.disks.get(index).cloned().flatten().unwrap_or_default()),
        "peer" => Some(places.peers.get(index).cloned().flatten().unwrap_or_default()),
        "device" => Some(index.to_string()),
        _ => None,
    }
}

impl Default for EndsBy {
    /// `debug-exit`.
    fn default() -> EndsBy {
        EndsBy::Port {
            port: DEBUG_EXIT_PORT,
            byte: None,
        }
    }
}

impl TryFrom<String> for EndsBy {
    type Error = String;

    fn try_from(word: String) -> Result<EndsBy, String> {
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let port = |(port, byte): (&str, &str)| {
            Some(EndsBy::Port {
                port: number(port).filter(|port| *port != 0)?,
                byte: Some(u8::try_from(number(byte)?).ok()?),
            })
        };
        match word.as_str() {
            "debug-exit" => Ok(EndsBy::default()),
            "i8042" => Ok(EndsBy::Port {
                port: KEYBOARD_COMMAND_PORT,
                byte: Some(KEYBOARD_RESET),
            }),
            "triple-fault" => Ok(EndsBy::TripleFault),
            "halt" => Ok(EndsBy::Halt),
            other => other.split_once(':').and_then(port).ok_or_else(|| {
                format!(
                    "ends-by: '{other}' ends no machine; choose from debug-exit, i8042, triple-fault, halt, or write \
                     PORT:BYTE as in 0x64:0xfe"
                )
            }),
        }
    }
}

impl EndsBy {
    /// The option by which an image is told, with a space before it; empty for one that only halts.
    pub fn option(self) -> String {
        match self {
            EndsBy::Port { port, byte: None } => format!(" exit={port:#x}"),
            EndsBy::Port { port, byte: Some(byte) } => format!(" exit={port:#x}:{byte:#x}"),
            EndsBy::TripleFault => " exit=triple-fault".to_owned(),
            EndsBy::Halt => String::new(),
        }
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
        if self.noted_marks_port().is_some() {
            caps = caps.with(Caps::EXITS);
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

    /// A serial port on a socket needs the socket in the command, and no other does.
    fn check_serial(&self, in_files: bool) -> Result<(), String> {
        let has_socket = in_files || self.command.iter().any(|word| word.contains(SOCKET));
        match self.serial {
            Serial::Qtest => {
                Err("serial: \"qtest\" is for [[wire]]; choose stdio, pty, connects or listens".to_owned())
            }
            Serial::Connects | Serial::Listens if !has_socket => Err(
                "serial: on a socket, but the command does not say {socket}; tell the VMM the socket's path".to_owned(),
            ),
            Serial::None | Serial::Stdio | Serial::Pty if has_socket => Err(
                "command: {socket} is nobody's; say serial = \"connects\" or \"listens\", as the VMM does".to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// The port of marks that the subject notes itself in the file `{boot-marks}`.
    pub fn noted_marks_port(&self) -> Option<u16> {
        self.marks_port.filter(|_| self.exits == Exits::BootMarks)
    }

    /// The same with limits in time so many times longer, for a slow host.
    pub fn with_patience(&self, times: u64) -> Launch {
        let mut launch = self.clone();
        for limit_ms in [&mut launch.start_ms, &mut launch.answer_ms, &mut launch.linux_ms] {
            *limit_ms = limit_ms.saturating_mul(times);
        }
        launch
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

/// How the reason begins that is given where there is no KVM.
pub const NO_KVM: &str = "/dev/kvm cannot be used here";

/// Why /dev/kvm cannot be used, if so: it cannot be opened, or what opens is not KVM.
pub fn kvm_problem() -> Option<String> {
    kvm_problem_at(c"/dev/kvm")
}

pub(crate) fn kvm_problem_at(path: &CStr) -> Option<String> {
    let problem = match Kvm::new_with_path(path) {
        Err(error) => std::io::Error::from(error).to_string(),
        Ok(kvm) => match kvm.get_api_version() {
            KVM_API_VERSION => return None,
            version => format!("it is not KVM: KVM_GET_API_VERSION gives {version} instead of {KVM_API_VERSION}"),
        },
    };
    Some(format!("{NO_KVM}: {problem}"))
}

fn profile_names() -> String {
    Layout::ALL.map(|layout| layout.profile).join(", ")
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
    80_000
}

/// A firmware that starts PVH kernels and bzImages.
const QBOOT: &str = "/usr/share/qemu/qboot.rom";

/// What every KVM since Linux 2.6.22 answers to KVM_GET_API_VERSION.
const KVM_API_VERSION: i32 = 12;

/// Largest subject file, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 10;

/// Before a file's name in a placeholder.
const FILE: &str = "file:";

/// Before an insert's name in a placeholder.
const INSERT: &str = "insert:";

/// A socket's place in a command or a file.
const SOCKET: &str = "{socket}";

/// How the name of a JSON file ends.
const JSON: &str = ".json";

/// The port at which subject files put a debug-exit device for images.
const DEBUG_EXIT_PORT: u16 = 0xf4;

/// The keyboard controller's command port, and its command that pulses the reset line.
const KEYBOARD_COMMAND_PORT: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

#[cfg(test)]
mod tests;
