//! `fuzzer planted`: what a campaign for a planted bug needs around libFuzzer.

use std::fs;
use std::path::PathBuf;

use clap::Subcommand;
use conformance::subject::mutant::{MUTANTS, Mutant};
use fuzz::codec;
use fuzz::planted;
use fuzz::program::Program;
use fuzz::reduce;
use fuzz::seeds;
use fuzz::target::Target;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Lists the planted bugs, one a line, each with the target that is about what it breaks.
    List,
    /// Writes the seeds of a bug's campaign: the programs in the tree that do not show it as they are. Cases of the
    /// suite are left out, as some were written to catch the bug.
    Seeds {
        /// The bug.
        name: String,
        /// The folder, which is made.
        folder: PathBuf,
    },
    /// Says which oracle notices a bug by an input, and prints the shortest part of it that still does.
    Explain {
        /// The bug.
        name: String,
        /// The input: bytes, or a program as text in a file `*.txt`.
        file: PathBuf,
    },
}

/// What to print.
pub(crate) fn run(verb: &Verb) -> Result<String, String> {
    match verb {
        Verb::List => Ok(MUTANTS.iter().map(line).collect()),
        Verb::Seeds { name, folder } => {
            let (mutant, target) = find(name)?;
            fs::create_dir_all(folder).map_err(|error| format!("create {}: {error}", folder.display()))?;
            let (mut kept, mut shown) = (0, 0);
            for seed in seeds::written(target).map_err(|error| error.to_string())? {
                if planted::notice(target, Some(mutant), &seed.program).is_some() {
                    shown += 1;
                    continue;
                }
                let bytes = codec::encode(target, &seed.program).map_err(|error| format!("{}: {error}", seed.name))?;
                let path = folder.join(&seed.name);
                fs::write(&path, bytes).map_err(|error| format!("write {}: {error}", path.display()))?;
                kept += 1;
            }
            Ok(format!("{kept}\t{shown}\n"))
        }
        Verb::Explain { name, file } => {
            let (mutant, target) = find(name)?;
            let program = super::read(target, file)?;
            explain(target, mutant, &program)
        }
    }
}

/// The oracle in the first line, then what it saw, then the program.
fn explain(target: &Target, mutant: &Mutant, program: &Program) -> Result<String, String> {
    let oracle = |program: &Program| planted::notice(target, Some(mutant), program).map(|noticed| noticed.oracle);
    let first = oracle(program).ok_or("no oracle notices anything")?;
    let shortest = reduce::shortest(program, &mut |shorter| oracle(shorter) == Some(first));
    let noticed = planted::notice(target, Some(mutant), &shortest).ok_or("the shortest program shows nothing")?;
    Ok(format!("{first}\n# {}\n{}", noticed.text, shortest.text(target)))
}

fn line(mutant: &Mutant) -> String {
    let target = planted::target_of(mutant).map_or("-", |target| target.name);
    format!("{}\t{target}\n", mutant.name)
}

fn find(name: &str) -> Result<(&'static Mutant, &'static Target), String> {
    let mutant =
        Mutant::by_name(name).ok_or_else(|| format!("no planted bug '{name}'; `touchstone mutants` lists them"))?;
    let target = planted::target_of(mutant).ok_or_else(|| format!("'{name}': no target is about what it breaks"))?;
    Ok((mutant, target))
}
