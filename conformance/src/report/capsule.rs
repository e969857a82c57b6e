//! Failure capsules: a folder for each unexpected result, with all that somebody elsewhere needs to look into it.
//!
//! `case.json` has the result, its lane, subject and host; `program.txt` is what the case did, as a recording that
//! `touchstone replay` holds against any subject; `post-mortem.txt` is what the subject showed of itself (machine
//! state, registers, standard error); `replay.txt` has the commands that repeat it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Entry, Host, LaneFacts, Report, SubjectFacts, Suite};
use crate::catalog;
use crate::program::Action;
use crate::record;

/// Most capsules of one run.
pub const CAPSULES_MAX: usize = 100;

/// Most bytes of one file of a capsule.
pub const FILE_LENGTH_MAX: usize = 4 << 20;

/// Version of `case.json`; it changes when a field is renamed, removed or given another meaning.
pub const SCHEMA: u32 = 1;

/// Makes sure that capsules can be written there, before the run.
///
/// # Errors
/// One line when the folder cannot be made or holds something already.
pub fn prepare(folder: &Path) -> Result<(), String> {
    let fail = |what: &str, error: io::Error| format!("{}: {what}: {error}; choose another folder", folder.display());
    fs::create_dir_all(folder).map_err(|error| fail("create", error))?;
    let mut entries = fs::read_dir(folder).map_err(|error| fail("list", error))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(format!(
            "{}: is not empty; capsules of another run would look like this one's, so choose another folder",
            folder.display()
        )),
    }
}

/// Writes a capsule for each unexpected result, [`CAPSULES_MAX`] at most. Returns how many were written, and how many
/// would have been more.
///
/// # Errors
/// One line that names the file.
pub fn write(folder: &Path, report: &Report) -> Result<(usize, usize), String> {
    let unexpected: Vec<&Entry> = report.results.iter().filter(|entry| entry.is_unexpected()).collect();
    for entry in unexpected.iter().take(CAPSULES_MAX) {
        let folder = folder.join(name(&report.lanes[entry.lane], entry));
        let create = |error| format!("{}: create: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(create)?;
        write_file(folder.join("case.json"), &facts(report, entry))?;
        write_file(folder.join("program.txt"), &program(report, entry))?;
        write_file(folder.join("post-mortem.txt"), &entry.post_mortem)?;
        write_file(folder.join("replay.txt"), &commands(report, entry))?;
    }
    let written = unexpected.len().min(CAPSULES_MAX);
    Ok((written, unexpected.len() - written))
}

/// What the case did, in the text form of recordings.
pub fn program(report: &Report, entry: &Entry) -> String {
    let lane = &report.lanes[entry.lane];
    let source = format!("{}, {} of {}", subject_title(report, lane), lane.title, report.started);
    let mut text = format!("# source: {}\n# profile: {}\n", source.replace('\n', " "), lane.profile);
    let _infallible = writeln!(text, "\nrecord {}", entry.case);
    if let Some(case) = catalog::by_id(&entry.case) {
        // Accesses alone: what else the case needs of a machine, its accesses show.
        let config = record::config(&case.setup, case.needs);
        let record = crate::recording::Record {
            config,
            ..crate::recording::Record::default()
        };
        let _infallible = writeln!(text, "config {}", record.config_text());
    }
    for line in &entry.transcript {
        program_lines(&mut text, line);
    }
    text
}

#[derive(Serialize)]
struct Facts<'a> {
    schema: u32,
    suite: &'a Suite,
    command: &'a [String],
    started: &'a str,
    host: &'a Host,
    subject: Option<&'a SubjectFacts>,
    lane: &'a LaneFacts,
    result: &'a Entry,
}

fn facts(report: &Report, entry: &Entry) -> String {
    let lane = &report.lanes[entry.lane];
    // Transcript and post mortem have files of their own; the rest stays short, so that the file is never cut.
    let mut result = Entry {
        transcript: Vec::new(),
        post_mortem: String::new(),
        ..entry.clone()
    };
    result.notes.truncate(NOTES_MAX);
    let values = result
        .mismatches
        .iter_mut()
        .flat_map(|mismatch| [&mut mismatch.got, &mut mismatch.want]);
    for text in values.chain(&mut result.notes).chain(&mut result.reason) {
        text.truncate(text.floor_char_boundary(TEXT_LENGTH_MAX));
    }
    let facts = Facts {
        schema: SCHEMA,
        suite: &report.suite,
        command: &report.command,
        started: &report.started,
        host: lane.host.as_ref().unwrap_or(&report.host),
        subject: report.subjects.iter().find(|subject| subject.name == lane.subject),
        lane,
        result: &result,
    };
    // Strings, numbers and lists only: there is nothing that JSON cannot hold.
    serde_json::to_string_pretty(&facts).unwrap_or_default() + "\n"
}

fn commands(report: &Report, entry: &Entry) -> String {
    let lane = &report.lanes[entry.lane];
    // As it was asked for: a name, or a file's path.
    let mut words = entry.replay.split(' ').skip_while(|word| *word != "--subject");
    let subject = words.nth(1).unwrap_or(&lane.subject);
    format!(
        "the case:      {}\nits accesses:  touchstone replay program.txt --subject {} --depth {}\non another:    \
         touchstone replay program.txt --subject reference --profile {}\nwhat it wants: touchstone explain {}\n",
        entry.replay, subject, lane.depth, lane.profile, entry.case
    )
}

fn subject_title<'a>(report: &'a Report, lane: &'a LaneFacts) -> &'a str {
    let subject = report.subjects.iter().find(|subject| subject.name == lane.subject);
    subject.map_or(&lane.subject, |subject| {
        subject.version.as_ref().unwrap_or(&subject.title)
    })
}

/// One line of a transcript as lines of a program. What has no line there, or an answer that was cut, is a comment.
fn program_lines(text: &mut String, line: &str) {
    let (left, right) = line.split_once(" -> ").unwrap_or((line, ""));
    let (left, count) = match left.strip_suffix(" times").and_then(|left| left.rsplit_once(", ")) {
        Some((left, count)) => (left, count.parse::<usize>().ok()),
        None => (left, None),
    };
    let answer = right
        .strip_prefix("0x")
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let action = Action::parse(left).ok().filter(|action| action.to_string() == left);
    let _infallible = match (action, answer, count) {
        (Some(_), Some(bytes), Some(count)) if count != 0 && bytes.len() == 2 * count => {
            let bytes: Vec<&str> = (0..count).map(|at| &bytes[2 * at..2 * at + 2]).collect();
            let bytes: Vec<&str> = bytes.into_iter().map(short).collect();
            match bytes[..] {
                [byte] => writeln!(text, "{left} -> {byte}"),
                _ => writeln!(text, "{left} *{count} -> {}", bytes.join(" ")),
            }
        }
        (Some(Action::ReadMemory { .. }), Some(bytes), None) => writeln!(text, "{left} -> {bytes}"),
        (Some(_), Some(digits), None) => writeln!(text, "{left} -> {}", short(digits)),
        (Some(_), None, None) if right.is_empty() => writeln!(text, "{left}"),
        // The access that the subject did not survive is made again.
        (Some(action), None, None) if !right.contains('…') && !matches!(action, Action::ReadMemory { .. }) => {
            writeln!(text, "{left}\n# -> {right}")
        }
        _ => writeln!(text, "# {}", line.trim_start_matches("# ")),
    };
}

/// A number without leading zeros.
fn short(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    }
}

/// A folder's name: lane and case, in letters that every file system takes.
fn name(lane: &LaneFacts, entry: &Entry) -> String {
    let name = format!("{}--{}", lane.title, entry.case);
    let plain = |letter: char| {
        let is_plain = letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
        if is_plain { letter } else { '-' }
    };
    name.chars().map(plain).collect()
}

fn write_file(file: PathBuf, text: &str) -> Result<(), String> {
    let cut = text.floor_char_boundary(FILE_LENGTH_MAX);
    let mut text = text[..cut].to_owned() + if cut < text.len() { CUT } else { "" };
    if text.is_empty() {
        text.push_str("(nothing)\n");
    }
    fs::write(&file, text).map_err(|error| format!("{}: write: {error}", file.display()))
}

/// Most bytes of one text in `case.json`, and most notes; mismatches are few already.
const TEXT_LENGTH_MAX: usize = 4096;
const NOTES_MAX: usize = 256;

/// The end of a file that was too long.
const CUT: &str = "\n# cut here: the file was too long\n";

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use crate::recording::Recording;

    fn program_of(lines: &[&str]) -> String {
        let mut text = String::new();
        lines.iter().for_each(|line| program_lines(&mut text, line));
        text
    }

    #[test]
    fn transcript_becomes_a_program_that_reads() {
        let text = program_of(&[
            "inb 0x71 -> 0x0a",
            "outb 0x70 0xb",
            "inb 0x511, 3 times -> 0x00010f",
            "read 0x1000 0x2 -> 0xaa0b",
            "read 0x1000 0x400 -> 0xaaaa…",
            "IRQ raise 8",
            "# port 0x71: got 0xa, want 0xb",
            "serial sent 0x41",
            "insb 0x511 2 -> 0x5145",
            "readl 0xc0000000 -> Broken(Crash(\"at 'readl 0xc0000000': it was killed\"))",
        ]);
        assert_eq!(
            text,
            "inb 0x71 -> a\noutb 0x70 0xb\ninb 0x511 *3 -> 0 1 f\nread 0x1000 0x2 -> aa0b\n\
             # read 0x1000 0x400 -> 0xaaaa…\n# IRQ raise 8\n# port 0x71: got 0xa, want 0xb\n# serial sent 0x41\n\
             # insb 0x511 2 -> 0x5145\nreadl 0xc0000000\n\
             # -> Broken(Crash(\"at 'readl 0xc0000000': it was killed\"))\n"
        );
        let recording = Recording::from_text("p", &format!("record x\n{text}")).expect("a recording");
        assert_eq!(recording.records[0].steps.len(), 7);
    }

    #[test]
    fn each_unexpected_result_gets_a_folder_and_no_more_than_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut report = sample();
        report.results[1].post_mortem = "é".repeat(FILE_LENGTH_MAX);
        report.results[1].mismatches[0].got = "é".repeat(FILE_LENGTH_MAX);
        assert_eq!(write(folder.path(), &report), Ok((1, 0)));
        let capsule = folder.path().join("qemu-wire.paused-qemu-7.2--a-fails-so");
        let read = |name: &str| fs::read_to_string(capsule.join(name)).expect(name);
        assert!(read("post-mortem.txt").len() <= FILE_LENGTH_MAX + CUT.len());
        assert!(read("post-mortem.txt").ends_with(CUT));
        assert!(read("program.txt").contains("record a/fails/so\ninb 0x70 -> ff\n"));
        assert!(read("replay.txt").contains("cargo xtask conformance --filter a/fails/so\n"));
        let facts: serde_json::Value = serde_json::from_str(&read("case.json")).expect("JSON");
        assert_eq!(facts["host"]["cpu"], "a processor");
        assert_eq!(facts["result"]["case"], "a/fails/so");
        let entry = report.results[1].clone();
        let many = (0..CAPSULES_MAX + 3).map(|number| Entry {
            case: format!("a/fails/so-{number}"),
            post_mortem: String::new(),
            ..entry.clone()
        });
        report.results = many.collect();
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(write(folder.path(), &report), Ok((CAPSULES_MAX, 3)));
    }

    #[test]
    fn folder_with_something_in_it_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(prepare(folder.path()), Ok(()));
        fs::write(folder.path().join("x"), "").expect("written");
        assert!(prepare(folder.path()).is_err_and(|problem| problem.contains("is not empty")));
        assert!(prepare(&folder.path().join("x")).is_err_and(|problem| problem.contains("create")));
    }
}
