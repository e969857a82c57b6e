//! Subjects: what is tested, and how it is started at each depth.

pub mod agent;
pub mod check;
pub(crate) mod console;
pub mod date;
pub mod description;
pub mod disk;
pub mod disturbed;
pub mod guest;
pub mod in_process;
pub mod kernel;
pub mod linux;
pub mod mutant;
pub mod null;
pub mod options;
pub mod peer;
pub mod process;
pub mod profile;
pub(crate) mod qmp;
pub mod qtest;
pub mod remains;
mod start;
pub(crate) mod template;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::case::Case;
use crate::catalog;
use crate::expectation::{Entry, Expectations};
use crate::layout::Layout;
use crate::machine::{Adapter, Caps, Depth};
use crate::verdict::Verdict;
use description::{Description, DescriptionError, Launch, Linked, Usage};
use mutant::{MUTANTS, Mutant, MutantAdapter};

/// A subject, ready to be asked for adapters.
pub struct Subject {
    /// The description.
    pub description: Arc<Description>,
    /// How it was asked for: the name or the path.
    pub asked_as: String,
    mutant: Option<&'static Mutant>,
}

/// One column of a report: a subject at one depth as one profile.
pub struct Lane {
    /// The subject's name.
    pub subject: String,
    /// The depth.
    pub depth: Depth,
    /// The profile.
    pub layout: &'static Layout,
    /// Only cases of these areas belong here; empty means all.
    pub areas: Vec<String>,
    /// How it is started, the first choice first; a case goes to the first that can take it.
    pub ways: Vec<Way>,
}

/// One way of starting a lane's subject.
pub struct Way {
    /// Its name in the subject file; empty when there is only one.
    pub name: String,
    /// The adapter, or why this host has none.
    pub adapter: Result<Box<dyn Adapter>, String>,
    /// How starting it went so far.
    pub health: Health,
}

/// How starting a subject went so far: one that never starts is given up after [`Health::FAILURES_MAX`] attempts.
#[derive(Default)]
pub struct Health {
    started: AtomicBool,
    failures: AtomicU32,
    last: Mutex<String>,
}

/// Which lanes are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Depths; empty means all.
    pub depths: Vec<Depth>,
    /// Profiles; empty means those that a way of starting names, else the subject's first, and at depth bus all of
    /// them.
    pub profiles: Vec<&'static Layout>,
    /// Only the way of this name.
    pub way: Option<String>,
    /// Folder with the guest images.
    pub images: Option<PathBuf>,
    /// A kernel in place of the Linux in that folder.
    pub kernel: Option<PathBuf>,
    /// How many times longer than usual the limits in time are.
    pub patience: u64,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            depths: Vec::new(),
            profiles: Vec::new(),
            way: None,
            images: None,
            kernel: None,
            patience: 1,
        }
    }
}

impl Subject {
    /// Finds a subject: one of the suite's own by name, or a file by its path.
    ///
    /// # Errors
    /// [`DescriptionError`] for a name that is none and a file that cannot be used.
    pub fn find(name: &str) -> Result<Subject, DescriptionError> {
        if let Some(bug) = name.strip_prefix(MUTANT_PREFIX) {
            return Subject::mutant(name, bug);
        }
        let description = match BUILT_IN.iter().find(|(own, _)| *own == name) {
            Some((own, text)) => Description::parse(&format!("conformance/subjects/{own}.toml"), text)?,
            None if name.ends_with(".toml") || name.contains('/') => Description::read(Path::new(name))?,
            None => {
                let names: Vec<_> = BUILT_IN.iter().map(|(own, _)| *own).collect();
                return Err(DescriptionError {
                    place: format!("--subject {name}"),
                    problem: format!(
                        "no such subject; choose from {}, mutant:NAME or give a FILE.toml",
                        names.join(", ")
                    ),
                });
            }
        };
        Ok(Subject {
            description: Arc::new(description),
            asked_as: name.to_owned(),
            mutant: None,
        })
    }

    /// Whether it was described by a file of the user's.
    pub fn is_file(&self) -> bool {
        self.mutant.is_none() && BUILT_IN.iter().all(|(own, _)| *own != self.asked_as)
    }

    /// What is known of it beyond a file: a mutant fails the case that hunts it, and may fail others.
    pub fn own_expectations(&self) -> Option<Expectations> {
        let mutant = self.mutant?;
        let caught = "the case that hunts this bug";
        let entries = vec![
            Entry::new(mutant.case, &[mutant.caught()], caught),
            Entry::new("*", &Verdict::ALL, "the machine has a bug"),
        ];
        Some(Expectations {
            place: format!("subject {}", self.asked_as),
            entries,
        })
    }

    fn mutant(name: &str, bug: &str) -> Result<Subject, DescriptionError> {
        let mutant = Mutant::by_name(bug).ok_or_else(|| {
            let names: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
            DescriptionError {
                place: format!("--subject {name}"),
                problem: format!("no such mutant; choose from {}", names.join(", ")),
            }
        })?;
        let text = BUILT_IN[0].1;
        let reference = Description::parse("conformance/subjects/reference.toml", text)?;
        // A bug of a part is planted into the first profile that has the part.
        let features = catalog::by_id(mutant.case).map_or(&[][..], |case| case.features);
        let has_part =
            |name: &&String| Layout::by_name(name).is_some_and(|layout| features.iter().all(|part| layout.has(*part)));
        let profile = reference.profiles.iter().find(has_part).cloned();
        let description = Description {
            name: name.to_owned(),
            title: mutant.title.to_owned(),
            profiles: profile.into_iter().collect(),
            wire: Vec::new(),
            cpu: Vec::new(),
            guest: Vec::new(),
            ..reference
        };
        Ok(Subject {
            description: Arc::new(description),
            asked_as: name.to_owned(),
            mutant: Some(mutant),
        })
    }

    /// The lanes that are wanted and that the subject has.
    ///
    /// # Errors
    /// Says what of the wish the subject cannot fulfil.
    pub fn lanes(&self, wanted: &Wanted) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for depth in Depth::ALL {
            if !wanted.depths.is_empty() && !wanted.depths.contains(&depth) {
                continue;
            }
            for layout in self.profiles(&wanted.profiles) {
                lanes.extend(self.lanes_at(depth, layout, wanted)?);
            }
        }
        Ok(lanes)
    }

    /// The first line of what its version command prints.
    pub fn version(&self) -> Option<String> {
        let (program, arguments) = self.description.version.split_first()?;
        let output = Command::new(process::find_program(program))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().next().map(|line| line.trim().to_owned())
    }

    fn profiles(&self, wanted: &[&'static Layout]) -> Vec<&'static Layout> {
        let own = self.description.profiles.iter();
        let own = own.filter_map(|name| self.description.layout(name));
        own.filter(|layout| wanted.is_empty() || wanted.contains(layout))
            .collect()
    }

    fn lanes_at(&self, depth: Depth, layout: &'static Layout, wanted: &Wanted) -> Result<Vec<Lane>, String> {
        let lane = |areas, ways| Lane {
            subject: self.description.name.clone(),
            depth,
            layout,
            areas,
            ways,
        };
        if depth == Depth::Bus {
            // In process a machine costs microseconds, so all profiles are looked at.
            let adapter: Option<Box<dyn Adapter>> = match self.description.bus {
                Some(Linked::InProcess) if let Some(mutant) = self.mutant => Some(Box::new(MutantAdapter::new(mutant))),
                Some(Linked::InProcess) => Some(Box::new(in_process::InProcessAdapter)),
                Some(Linked::Null) => Some(Box::new(null::NullAdapter)),
                None => None,
            };
            let ways = adapter.map(|adapter| vec![Way::new("", Ok(adapter))]);
            return Ok(ways.into_iter().map(|ways| lane(Vec::new(), ways)).collect());
        }
        let is_first_profile = self
            .description
            .profiles
            .first()
            .is_some_and(|name| name == layout.profile);
        let launches = self.description.launches(depth);
        let mut lanes = Vec::new();
        for (index, launch) in launches.iter().enumerate() {
            let first = match &wanted.way {
                Some(name) => launch.name == *name,
                None => launch.usage == Usage::Always,
            };
            let is_asked_for = !wanted.profiles.is_empty();
            if !first || !is_asked_for && !launch.is_started_as(layout.profile, is_first_profile) {
                continue;
            }
            let mut ways = vec![self.way(depth, launch, wanted)?];
            if wanted.way.is_none() {
                for later in &launches[index + 1..] {
                    if later.usage == Usage::Fallback {
                        ways.push(self.way(depth, later, wanted)?);
                    }
                }
            }
            lanes.push(lane(launch.areas.clone(), ways));
        }
        Ok(lanes)
    }

    fn way(&self, depth: Depth, launch: &Launch, wanted: &Wanted) -> Result<Way, String> {
        let launch = &launch.with_patience(wanted.patience);
        let adapter: Result<Box<dyn Adapter>, String> = match launch.missing_need() {
            Some(problem) => Err(problem),
            None if !process::is_there(&launch.command[0]) => Err(format!(
                "'{}' is neither beside this program nor in PATH",
                launch.command[0]
            )),
            None => match depth {
                Depth::Wire => {
                    let description = Arc::clone(&self.description);
                    let adapter = qtest::QtestAdapter::new(description, launch.clone())?;
                    Ok(Box::new(adapter))
                }
                Depth::Cpu => match image(wanted, "agent") {
                    Ok(image) => {
                        let description = Arc::clone(&self.description);
                        let adapter = agent::AgentAdapter::new(description, launch.clone(), image)?;
                        Ok(Box::new(adapter))
                    }
                    Err(problem) => Err(problem),
                },
                Depth::Guest => match image(wanted, "probe") {
                    Ok(image) => {
                        let folder = image.parent().unwrap_or_else(|| Path::new(".")).to_owned();
                        let description = Arc::clone(&self.description);
                        let adapter =
                            guest::GuestAdapter::new(description, launch.clone(), folder, wanted.kernel.clone())?;
                        Ok(Box::new(adapter))
                    }
                    Err(problem) => Err(problem),
                },
                Depth::Bus => Err("depth bus starts no process".to_owned()),
            },
        };
        Ok(Way::new(&launch.name, adapter))
    }
}

impl Way {
    /// A way that was not tried yet.
    pub fn new(name: &str, adapter: Result<Box<dyn Adapter>, String>) -> Way {
        Way {
            name: name.to_owned(),
            adapter,
            health: Health::default(),
        }
    }
}

impl Health {
    /// Failed starts after which no more are tried, unless one succeeded.
    pub const FAILURES_MAX: u32 = 4;

    /// Notes a start.
    pub fn note(&self, failure: Option<&str>) {
        match failure {
            None => self.started.store(true, Ordering::Relaxed),
            Some(text) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                text.clone_into(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Why it is not tried any more, if so.
    pub fn given_up(&self) -> Option<String> {
        let hopeless =
            !self.started.load(Ordering::Relaxed) && Health::FAILURES_MAX <= self.failures.load(Ordering::Relaxed);
        hopeless.then(|| self.last.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Whether it ever started.
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether it was tried and never started; the text is that of the last attempt.
    pub fn never_started(&self) -> Option<String> {
        let tried = self.failures.load(Ordering::Relaxed) != 0;
        (tried && !self.started.load(Ordering::Relaxed))
            .then(|| self.last.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Lane {
    /// Why nothing of it can be started on this host, if so.
    pub fn unavailable(&self) -> Option<String> {
        let reasons: Result<Vec<_>, ()> = self
            .ways
            .iter()
            .map(|way| way.adapter.as_ref().err().ok_or(()))
            .collect();
        let reasons = reasons.ok()?;
        Some(
            reasons
                .first()
                .map_or("there is no way to start it", |reason| reason.as_str())
                .to_owned(),
        )
    }

    /// `subject/depth/profile`, with the way's name when it is the only one.
    pub fn title(&self) -> String {
        let way = match &self.ways[..] {
            [way] if !way.name.is_empty() => format!(".{}", way.name),
            _ => String::new(),
        };
        format!("{}/{}{way}/{}", self.subject, self.depth, self.layout.profile)
    }

    /// Whether a case belongs here: its depth and its area.
    pub fn takes(&self, case: &Case) -> bool {
        let area = catalog::area(case);
        catalog::depths(case).contains(&self.depth)
            && (self.areas.is_empty() || self.areas.iter().any(|wanted| wanted == area))
    }

    /// What a case can hope for at best.
    pub fn caps(&self) -> Caps {
        let adapters = self.ways.iter().filter_map(|way| way.adapter.as_ref().ok());
        adapters.fold(Caps::NONE, |caps, adapter| caps.with(adapter.caps()))
    }
}

/// An image's file.
fn image(wanted: &Wanted, name: &str) -> Result<PathBuf, String> {
    let folder = wanted.images.as_ref().ok_or_else(|| {
        format!("there is no folder of guest images with '{name}'; run cargo xtask guest-images or give --images DIR")
    })?;
    let file = folder.join(name);
    if file.is_file() {
        Ok(file)
    } else {
        Err(format!(
            "image {} is not built; run cargo xtask guest-images",
            file.display()
        ))
    }
}

/// Mutants are asked for as `mutant:NAME`.
const MUTANT_PREFIX: &str = "mutant:";

/// The suite's own subjects, the reference first.
const BUILT_IN: [(&str, &str); 8] = [
    ("reference", include_str!("../../subjects/reference.toml")),
    ("qemu", include_str!("../../subjects/qemu.toml")),
    ("null", include_str!("../../subjects/null.toml")),
    ("kvm-floor", include_str!("../../subjects/kvm-floor.toml")),
    ("alioth", include_str!("../../subjects/alioth.toml")),
    ("cloud-hypervisor", include_str!("../../subjects/cloud-hypervisor.toml")),
    ("crosvm", include_str!("../../subjects/crosvm.toml")),
    ("firecracker", include_str!("../../subjects/firecracker.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_subjects_parse_and_carry_their_name() {
        for (name, _) in BUILT_IN {
            let subject = Subject::find(name).expect(name);
            assert_eq!(subject.description.name, name);
            subject.lanes(&Wanted::default()).expect(name);
        }
    }

    #[test]
    fn unknown_subject_names_the_choice() {
        let error = Subject::find("qmeu").err().expect("no such subject").to_string();
        assert_eq!(
            error,
            "--subject qmeu: no such subject; choose from reference, qemu, null, kvm-floor, alioth, cloud-hypervisor, \
             crosvm, firecracker, mutant:NAME or give a FILE.toml"
        );
    }
}
