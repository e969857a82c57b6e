//! Subjects: what is tested, and how it is started at each depth.

pub mod date;
pub mod description;
pub mod in_process;
pub mod kernel;
pub mod null;
pub mod process;
mod qmp;
pub mod qtest;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::layout::Layout;
use crate::machine::{Adapter, Caps, Depth};
use description::{Description, DescriptionError, Launch, Linked, Usage};

/// A subject, ready to be asked for adapters.
pub struct Subject {
    /// The description.
    pub description: Arc<Description>,
}

/// One column of a report: a subject at one depth as one profile.
pub struct Lane {
    /// The subject's name.
    pub subject: String,
    /// The depth.
    pub depth: Depth,
    /// The profile.
    pub layout: &'static Layout,
    /// How it is started, the first choice first; a case goes to the first that can take it.
    pub ways: Vec<Way>,
}

/// One way of starting a lane's subject.
pub struct Way {
    /// Its name in the subject file; empty when there is only one.
    pub name: String,
    /// The adapter, or why this host has none.
    pub adapter: Result<Box<dyn Adapter>, String>,
}

/// Which lanes are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Depths; empty means all.
    pub depths: Vec<Depth>,
    /// Profiles; empty means the subject's first, and at depth bus all of them.
    pub profiles: Vec<&'static Layout>,
    /// Only the way of this name.
    pub way: Option<String>,
}

impl Subject {
    /// Finds a subject: one of the suite's own by name, or a file by its path.
    ///
    /// # Errors
    /// [`DescriptionError`] for a name that is none and a file that cannot be used.
    pub fn find(name: &str) -> Result<Subject, DescriptionError> {
        let description = match BUILT_IN.iter().find(|(own, _)| *own == name) {
            Some((own, text)) => Description::parse(&format!("conformance/subjects/{own}.toml"), text)?,
            None if name.ends_with(".toml") || name.contains('/') => Description::read(Path::new(name))?,
            None => {
                let names: Vec<_> = BUILT_IN.iter().map(|(own, _)| *own).collect();
                return Err(DescriptionError {
                    place: format!("--subject {name}"),
                    problem: format!("no such subject; choose from {} or give a FILE.toml", names.join(", ")),
                });
            }
        };
        Ok(Subject {
            description: Arc::new(description),
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
            for layout in self.profiles(depth, &wanted.profiles) {
                lanes.extend(self.lanes_at(depth, layout, wanted.way.as_deref())?);
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

    fn profiles(&self, depth: Depth, wanted: &[&'static Layout]) -> Vec<&'static Layout> {
        let own = self.description.profiles.iter();
        let own: Vec<_> = own.filter_map(|name| Layout::by_name(name)).collect();
        if !wanted.is_empty() {
            return own.into_iter().filter(|layout| wanted.contains(layout)).collect();
        }
        // In process a machine costs microseconds, so all profiles are looked at.
        let count = if depth == Depth::Bus { own.len() } else { 1 };
        own.into_iter().take(count).collect()
    }

    fn lanes_at(&self, depth: Depth, layout: &'static Layout, way: Option<&str>) -> Result<Vec<Lane>, String> {
        let lane = |ways| Lane {
            subject: self.description.name.clone(),
            depth,
            layout,
            ways,
        };
        if depth == Depth::Bus {
            let adapter: Option<Box<dyn Adapter>> = match self.description.bus {
                Some(Linked::InProcess) => Some(Box::new(in_process::InProcessAdapter)),
                Some(Linked::Null) => Some(Box::new(null::NullAdapter)),
                None => None,
            };
            let name = String::new();
            let ways = adapter.map(|adapter| {
                vec![Way {
                    name,
                    adapter: Ok(adapter),
                }]
            });
            return Ok(ways.into_iter().map(lane).collect());
        }
        let launches = self.description.launches(depth);
        let mut lanes = Vec::new();
        for (index, launch) in launches.iter().enumerate() {
            let first = match way {
                Some(name) => launch.name == name,
                None => launch.usage == Usage::Always,
            };
            if !first {
                continue;
            }
            let mut ways = vec![self.way(depth, launch)?];
            if way.is_none() {
                for later in &launches[index + 1..] {
                    if later.usage == Usage::Fallback {
                        ways.push(self.way(depth, later)?);
                    }
                }
            }
            lanes.push(lane(ways));
        }
        Ok(lanes)
    }

    fn way(&self, depth: Depth, launch: &Launch) -> Result<Way, String> {
        let name = launch.name.clone();
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
                Depth::Bus | Depth::Cpu | Depth::Guest => Err(format!("depth {depth} has no adapter yet")),
            },
        };
        Ok(Way { name, adapter })
    }
}

impl Lane {
    /// `subject/depth/profile`, with the way's name when there is one.
    pub fn title(&self) -> String {
        let way = self.ways.first().map(|way| way.name.as_str()).unwrap_or_default();
        let dot = if way.is_empty() { "" } else { "." };
        format!("{}/{}{dot}{way}/{}", self.subject, self.depth, self.layout.profile)
    }

    /// What a case can hope for at best.
    pub fn caps(&self) -> Caps {
        let adapters = self.ways.iter().filter_map(|way| way.adapter.as_ref().ok());
        adapters.fold(Caps::NONE, |caps, adapter| caps.with(adapter.caps()))
    }
}

/// The suite's own subjects.
const BUILT_IN: [(&str, &str); 3] = [
    ("reference", include_str!("../../subjects/reference.toml")),
    ("qemu", include_str!("../../subjects/qemu.toml")),
    ("null", include_str!("../../subjects/null.toml")),
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
            "--subject qmeu: no such subject; choose from reference, qemu, null or give a FILE.toml"
        );
    }
}
