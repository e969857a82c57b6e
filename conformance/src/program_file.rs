//! Files of programs: what the fuzzer keeps as seeds and findings, and recordings, whose answers are passed over.
//!
//! The fuzzer's text is one line for each action; the machine that it is for stands in front, as the options that
//! `microvm` has for it: `# microvm qtest --machine microvm,rtc=on -m 5M --device virtio-rng`. Addresses of transports
//! are those of its profile, which is `microvm-2019` if nothing is said; see [`Program::moved`].

use std::path::{Path, PathBuf};

use crate::case::Setup;
use crate::files;
use crate::layout::{Layout, MICROVM_2019};
use crate::machine::Caps;
use crate::program::Action;
use crate::recording::{Operation, Record, Recording};
use crate::replay;

/// A set-up and what is done to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Folder and name of its file, or the name of its record.
    pub name: String,
    /// The profile that its addresses are of.
    pub profile: &'static Layout,
    /// Its set-up, as a record has it.
    pub config: Vec<(String, String)>,
    /// What is done.
    pub actions: Vec<Action>,
    /// Why the suite cannot set its machine up, if so.
    pub unfit: Option<String>,
}

/// Text that is no program.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ProgramFileError {
    /// File, with the line.
    pub place: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Reads a file `*.txt`, or all of them in a folder and the folders in it, sorted by name.
///
/// # Errors
/// [`ProgramFileError`] names the file and the line.
pub fn read(path: &Path) -> Result<Vec<Program>, ProgramFileError> {
    let fail = |file: &Path, problem: String| ProgramFileError {
        place: file.display().to_string(),
        problem,
    };
    let mut programs = Vec::new();
    for file in text_files(path).map_err(|error| fail(path, error.to_string()))? {
        let text =
            files::read_text(&file, files::RECORDING_BYTES_MAX).map_err(|error| fail(&file, error.to_string()))?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let folder = file.parent().and_then(Path::file_name);
        let name = folder.map_or_else(
            || stem.to_string(),
            |folder| format!("{}/{stem}", folder.to_string_lossy()),
        );
        programs.extend(parse(&file.display().to_string(), &name, &text)?);
    }
    if programs.is_empty() {
        return Err(fail(
            path,
            "there is no program in it; give FILE.txt or a folder of such files".to_owned(),
        ));
    }
    Ok(programs)
}

fn text_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_dir() {
            found.extend(text_files(&entry)?);
        } else if entry.extension().is_some_and(|extension| extension == "txt") {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the programs of one text; `place` names it in errors.
///
/// # Errors
/// [`ProgramFileError`] names the line.
pub fn parse(place: &str, name: &str, text: &str) -> Result<Vec<Program>, ProgramFileError> {
    let fail = |place: String, problem: String| ProgramFileError { place, problem };
    if text.lines().any(|line| line.starts_with("record ")) {
        let recording = Recording::from_text(place, text).map_err(|error| fail(error.place, error.problem))?;
        return Ok(recording
            .records
            .iter()
            .map(|record| of_record(&recording, record))
            .collect());
    }
    let mut program = Program {
        name: name.to_owned(),
        profile: &MICROVM_2019,
        config: Vec::new(),
        actions: Vec::new(),
        unfit: Some(format!(
            "it does not say which machine it is for; a line `{HEADING}OPTIONS` does"
        )),
    };
    for (index, line) in text.lines().enumerate() {
        if let Some(options) = line.strip_prefix(HEADING) {
            program.unfit = program.take_options(options).err();
            continue;
        }
        let content = line.split('#').next().unwrap_or_default();
        let content = content.split("->").next().unwrap_or_default().trim();
        if content.is_empty() || content.starts_with("setup ") {
            continue;
        }
        let action = Action::parse(content);
        let action = action.map_err(|error| fail(format!("{place}:{}", index + 1), error.to_string()))?;
        program.actions.push(action);
    }
    Ok(vec![program])
}

/// A record's actions, without answers. What it waited for is looked at once.
fn of_record(recording: &Recording, record: &Record) -> Program {
    let action = |operation: &Operation| match operation {
        Operation::Action(action) | Operation::Poll(action, _) => Some(action.clone()),
        Operation::WatchLines => None,
    };
    let config = record.config.iter().filter(|(key, _)| key != "needs");
    Program {
        name: record.name.clone(),
        profile: Layout::by_name(&recording.profile).unwrap_or(&MICROVM_2019),
        config: config.cloned().collect(),
        actions: record.steps.iter().filter_map(|step| action(&step.operation)).collect(),
        unfit: None,
    }
}

impl Program {
    /// Takes `microvm`'s options as a set-up.
    fn take_options(&mut self, options: &str) -> Result<(), String> {
        let (options, more) = options.split_once('(').unwrap_or((options, ""));
        if more.starts_with("and ") {
            return Err(format!("no set-up of the suite has what its machine has, '({more}'"));
        }
        let mut devices: Vec<&str> = Vec::new();
        let mut set = |key: &str, value: &str| self.config.push((key.to_owned(), value.to_owned()));
        set(
            "modern",
            if options.contains("virtio-mmio=modern") {
                "true"
            } else {
                "false"
            },
        );
        let mut words = options.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_default();
            match word {
                "--machine" => {
                    let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
                    for (key, value) in pairs.filter(|(key, _)| *key != "virtio-mmio") {
                        if key == "profile" {
                            let profile = Layout::by_name(value);
                            self.profile = profile.ok_or_else(|| format!("profile={value} is none of the suite's"))?;
                        } else {
                            set(key, value);
                        }
                    }
                }
                "-m" => set("m", value),
                "--smp" => set("smp", value),
                "--rtc" => set("rtc-base", value.trim_start_matches("base=")),
                "--device" if value.ends_with(",readonly=on") => devices.push("virtio-blk-ro"),
                "--device" => devices.push(value.split(',').next().unwrap_or_default()),
                _ => return Err(format!("no set-up of the suite has the option {word}")),
            }
        }
        if !devices.is_empty() {
            set("devices", &devices.join(","));
        }
        self.config.sort();
        Ok(())
    }

    /// The program as one for another profile: accesses to transports go to where that has them.
    pub fn moved(&self, layout: &'static Layout) -> Program {
        let (from, to) = (self.profile, layout);
        let moved = |gpa: &u64| {
            let Some(offset) = gpa.checked_sub(from.virtio_base) else {
                return *gpa;
            };
            let (index, within) = (offset / from.virtio_stride_bytes, offset % from.virtio_stride_bytes);
            match u8::try_from(index) {
                Ok(index) if index < from.virtio_count => to.transport(index) + within,
                _ => *gpa,
            }
        };
        let actions = self.actions.iter().map(|action| match action {
            Action::Load { gpa, width } => Action::Load {
                gpa: moved(gpa),
                width: *width,
            },
            Action::Store { gpa, width, value } => Action::Store {
                gpa: moved(gpa),
                width: *width,
                value: *value,
            },
            other => other.clone(),
        });
        Program {
            profile: layout,
            actions: actions.collect(),
            ..self.clone()
        }
    }

    /// What a machine must be able to do for the program to have its meaning.
    ///
    /// # Errors
    /// As [`replay::setup`], as text.
    pub fn needs(&self) -> Result<Caps, String> {
        let setup = self.setup().map_err(|error| error.to_string())?;
        let mut needs = Caps::LINES;
        for action in &self.actions {
            needs = match action {
                Action::Advance { .. } => needs.with(Caps::CLOCK),
                Action::SerialInput { .. } => needs.with(Caps::SERIAL_INPUT),
                Action::Reset => needs.with(Caps::RESET),
                // Only devices have queues, and only a store makes one look.
                Action::Store { .. } if !setup.devices.is_empty() => needs.with(Caps::QUEUES),
                _ => needs,
            };
        }
        // Where nothing of a program takes time, none may pass.
        let own_time = Caps::CLOCK.with(Caps::QUEUES);
        Ok(if needs.missing(own_time) == own_time {
            needs.with(Caps::FROZEN)
        } else {
            needs
        })
    }

    /// The set-up.
    ///
    /// # Errors
    /// [`replay::ReplayError::Config`] names the value that makes no sense.
    pub fn setup(&self) -> Result<Setup, replay::ReplayError> {
        replay::setup(&Record {
            name: self.name.clone(),
            config: self.config.clone(),
            steps: Vec::new(),
        })
    }
}

/// What stands before the options of a program's machine.
pub const HEADING: &str = "# microvm qtest ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::QEMU_7_2;

    #[test]
    fn program_has_the_machine_of_its_heading() {
        let text = "# A disk.\n# microvm qtest --machine microvm,virtio-mmio=modern,pit=off -m 5M \
                    --rtc base=2020-01-01 --device virtio-rng \
                    --device virtio-blk,file=DISK,readonly=on (DISK of 32 KiB)\nsetup blk\n\
                    readl 0xc0000e00 -> 74726976 # magic\nwritel 0xc0000210 0x1\nread 0xc0000000 0x4\n";
        let program = &parse("x", "virtqueue/x", text).expect("a program")[0];
        assert_eq!(
            (program.unfit.as_deref(), program.profile.profile),
            (None, "microvm-2019")
        );
        let setup = program.setup().expect("a set-up");
        assert_eq!(
            (setup.modern, setup.ram_bytes, setup.rtc_base),
            (true, 5 << 20, "2020-01-01")
        );
        assert_eq!(
            (setup.devices, setup.options),
            (&["virtio-rng", "virtio-blk-ro"][..], &[("pit", "off")][..])
        );
        let moved: Vec<String> = program
            .moved(&QEMU_7_2)
            .actions
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            moved,
            ["readl 0xfeb00e00", "writel 0xfeb00210 0x1", "read 0xc0000000 0x4"]
        );
        assert_eq!(program.needs(), Ok(Caps::LINES.with(Caps::QUEUES)));
    }

    #[test]
    fn recording_is_a_file_of_programs() {
        let text = "# source: s\n# profile: qemu-7.2\nrecord a/b\nconfig m=1M needs=clock\nirq_intercept_in ioapic\n\
                    inb 0x71 *2 -> 1 2\npoll readw 0x6002 0x1 -> 1\nclock_step 5\n";
        let program = &parse("x", "x", text).expect("programs")[0];
        assert_eq!((program.name.as_str(), program.profile.profile), ("a/b", "qemu-7.2"));
        let actions: Vec<String> = program.actions.iter().map(ToString::to_string).collect();
        assert_eq!(actions, ["inb 0x71", "inb 0x71", "readw 0x6002", "clock_step 5"]);
        assert_eq!(program.needs(), Ok(Caps::LINES.with(Caps::CLOCK)));
    }

    #[test]
    fn program_without_a_known_machine_says_why() {
        for (text, why) in [
            ("setup plain\ninb 0x71\n", "it does not say which machine it is for"),
            (
                "# microvm qtest --fly -m 5M\n",
                "no set-up of the suite has the option --fly",
            ),
            (
                "# microvm qtest -m 5M (and wings)\n",
                "has what its machine has, '(and wings)'",
            ),
            (
                "# microvm qtest --machine microvm,profile=pc\n",
                "profile=pc is none of the suite's",
            ),
        ] {
            let program = &parse("x", "x", text).expect("a program")[0];
            let unfit = program.unfit.as_deref().unwrap_or_default();
            assert!(unfit.contains(why), "{text}: {unfit}");
        }
        let wrong = parse("x.txt", "x", "inb 0x71\nfly\n").expect_err("no action");
        assert_eq!(
            wrong.to_string(),
            "x.txt:2: 'fly' is not an action: 'fly' is no known verb"
        );
    }
}
