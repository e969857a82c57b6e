//! Seeds: programs that a campaign starts from.
//!
//! Two sources, both readable: the programs in `seeds/TARGET/*.txt`, and the cases of the conformance suite that are
//! about the target's device, run in process with their accesses taken down. The latter are never stored: they are as
//! new as the cases.

use std::fs;
use std::io;
use std::iter;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use conformance::case::{Body, Case};
use conformance::layout::MICROVM_2019;
use conformance::machine::Adapter;
use conformance::probe::Probe;
use conformance::program::Action;
use conformance::subject::in_process::InProcessAdapter;

use crate::codec::{self, INPUT_LENGTH_MAX, Inexpressible};
use crate::program::{Program, ProgramError};
use crate::target::Target;

/// A program to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The file's stem, or the case's id with `.` for `/`.
    pub name: String,
    /// What it does.
    pub program: Program,
}

/// Seeds that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A file or folder that cannot be read or written.
    #[error("{what} {path}: {error}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file that is no program.
    #[error("{path}: {error}")]
    Program {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        error: ProgramError,
    },
    /// A program that inputs cannot say.
    #[error("{name}: {error}; split it")]
    Encode {
        /// The seed's name.
        name: String,
        /// What cannot be said.
        error: Inexpressible,
    },
    /// A program longer than a campaign's inputs.
    #[error("{name}: {length_bytes} bytes when encoded, more than {INPUT_LENGTH_MAX}; split it")]
    TooLong {
        /// The seed's name.
        name: String,
        /// Its length.
        length_bytes: usize,
    },
}

/// The programs of `seeds/TARGET`, sorted by name.
///
/// # Errors
/// [`SeedError`] names the file.
pub fn written(target: &Target) -> Result<Vec<Seed>, SeedError> {
    let folder = folder(target);
    let fail = |path: &Path| {
        let path = path.to_owned();
        |error| SeedError::File {
            what: "read",
            path,
            error,
        }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(fail(&folder))? {
        let path = entry.map_err(fail(&folder))?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    let seed = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(fail(&path))?;
        let program = Program::parse(target, &text).map_err(|error| SeedError::Program {
            path: path.clone(),
            error,
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Seed { name, program })
    };
    paths.into_iter().map(seed).collect()
}

/// The cases of the suite that are about the target's device, each as far as an input has room, sorted by name.
pub fn imported(target: &Target) -> Vec<Seed> {
    let promoted = format!("regress/{}/", target.name.replace('_', "-"));
    let ours = |case: &&Case| target.areas.contains(&case.area()) || case.id.starts_with(&promoted);
    let mut seeds: Vec<Seed> = conformance::cases::all()
        .filter(ours)
        .filter_map(|case| import(target, case))
        .collect();
    seeds.sort_by(|one, other| one.name.cmp(&other.name));
    seeds
}

/// All seeds, encoded, by name.
///
/// # Errors
/// [`SeedError`]
pub fn all(target: &Target) -> Result<Vec<(String, Vec<u8>)>, SeedError> {
    let mut encoded = Vec::new();
    for Seed { name, program } in written(target)?.into_iter().chain(imported(target)) {
        let bytes = codec::encode(target, &program).map_err(|error| SeedError::Encode {
            name: name.clone(),
            error,
        })?;
        let length_bytes = bytes.len();
        if INPUT_LENGTH_MAX < length_bytes {
            return Err(SeedError::TooLong { name, length_bytes });
        }
        encoded.push((name, bytes));
    }
    Ok(encoded)
}

/// Where the tree has a target's seeds.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name)
}

/// Runs a case and takes down what it did; `None` when it makes no access or cannot run in process.
fn import(target: &Target, case: &Case) -> Option<Seed> {
    if matches!(case.body, Body::Guest { .. }) {
        return None;
    }
    let setup = target.setup((target.setup_of)(&case.setup)?)?;
    let mut machine = InProcessAdapter.boot(&case.setup, &MICROVM_2019).ok()?;
    let mut probe = Probe::new(machine.as_mut(), &MICROVM_2019, &case.setup);
    // How the case ends is the suite's business; where the machine panics under it, a campaign will find that.
    let _verdict = panic::catch_unwind(AssertUnwindSafe(|| case.body.run(&mut probe)));
    let mut program = Program {
        setup,
        actions: Vec::new(),
    };
    for line in probe.into_record().transcript {
        let text = line.split(" -> ").next().unwrap_or_default();
        let (text, count) = repeated(text);
        // Remarks, line changes and string instructions are no actions.
        let Ok(action) = Action::parse(text) else {
            continue;
        };
        let fitting = program.actions.len();
        program.actions.extend(iter::repeat_n(compact(action), count));
        // Long sweeps are cut: the engine makes the rest of them itself.
        if codec::encode(target, &program).is_ok_and(|bytes| bytes.len() <= INPUT_LENGTH_MAX) {
            continue;
        }
        program.actions.truncate(fitting);
        if CUT_AFTER <= program.actions.len() {
            break;
        }
    }
    let name = case.id.replace('/', ".");
    (!program.actions.is_empty()).then_some(Seed { name, program })
}

/// A row of reads, `inb 0x511, 4 times`, as one of them and how many.
fn repeated(text: &str) -> (&str, usize) {
    let row = text.split_once(", ");
    let row = row.and_then(|(read, times)| Some((read, times.strip_suffix(" times")?.parse().ok()?)));
    row.map_or((text, 1), |(read, count): (&str, usize)| (read, count.min(ROW_MAX)))
}

/// Long writes of one byte become fills, which take less room.
fn compact(action: Action) -> Action {
    match action {
        Action::WriteMemory { gpa, bytes } if 16 < bytes.len() && bytes.iter().all(|byte| *byte == bytes[0]) => {
            Action::FillMemory {
                gpa,
                length_bytes: bytes.len() as u32,
                byte: bytes[0],
            }
        }
        action => action,
    }
}

/// Most reads of a row that are kept.
const ROW_MAX: usize = 80;

/// A program with so many actions is long enough to be cut at the first that does not fit; a shorter one leaves it out.
const CUT_AFTER: usize = 64;
