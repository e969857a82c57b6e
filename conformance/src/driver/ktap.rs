//! What a resident image printed, as verdicts and facts.
//!
//! Source: KTAP version 1 (Linux, Documentation/dev-tools/ktap.rst); the facts as `guest-images/README.md` has them:
//! lines `# KEY: WORD... FIELD=VALUE...`.
//!
//! The reader is tolerant, since a log is what a console happened to show: firmware's text stands before the report,
//! the machine may have died anywhere in it, and what is neither verdict nor fact is passed over. It never fails; what
//! a case needs and does not find is for the case to tell.

use crate::machine::Stop;
use crate::probe::Probe;

/// One report: from its first line to the end of the log, or to where the machine began another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many reports the log has: 1, or more when the machine started over.
    pub starts: u64,
    /// Number of verdicts announced by the plan line `1..N`.
    pub plan: Option<u64>,
    /// The verdicts, in order.
    pub verdicts: Vec<Verdict>,
    /// The facts, in order.
    pub facts: Vec<Fact>,
    /// The report has its last line, `# end`.
    pub ended: bool,
    /// What the image said of its own sudden end.
    pub fatal: Option<String>,
    /// The log has more than [`FACTS_MAX`], [`VERDICTS_MAX`] or [`FIELDS_MAX`] allow; the rest was left out.
    pub cut: bool,
}

/// One verdict line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its number, if it has one.
    pub number: Option<u64>,
    /// What was judged.
    pub name: String,
    /// `ok` rather than `not ok`.
    pub is_ok: bool,
    /// Why it was skipped, if it was.
    pub skip: Option<String>,
    /// The `# wrong:` lines before it.
    pub complaints: Vec<String>,
}

/// One fact line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub key: String,
    /// Its words without a value.
    pub words: Vec<String>,
    /// Its fields, unquoted.
    pub fields: Vec<(String, String)>,
}

impl Report {
    /// Reads a log. Lines may carry the host's time, as `[   0.012345] `.
    pub fn parse(log: &str) -> Report {
        let mut report = Report::default();
        let mut complaints = Vec::new();
        for line in log.lines() {
            let line = without_time(line).trim_end();
            // Firmware need not end its last line.
            if line.ends_with(FIRST_LINE) {
                report.starts += 1;
                continue;
            }
            if report.starts == 1 {
                report.take(line, &mut complaints);
            }
        }
        report
    }

    /// The verdict of that name.
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.name == name)
    }

    /// The facts of that key, in order.
    pub fn facts(&self, key: &str) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.key == key)
    }

    /// What the report ends with, for a reader who misses something in it.
    pub fn end(&self) -> String {
        match (&self.fatal, self.verdicts.last()) {
            (Some(fatal), _) => format!("the image failed: {fatal}"),
            (None, _) if self.starts == 0 => "there is no report".to_owned(),
            (None, None) => "the report ends before its first verdict".to_owned(),
            (None, Some(_)) if self.ended => "the report has it not".to_owned(),
            (None, Some(last)) => format!("the report ends after verdict {}", last.name),
        }
    }

    fn take(&mut self, line: &str, complaints: &mut Vec<String>) {
        if let Some(comment) = line.strip_prefix("# ") {
            match comment.split_once(": ") {
                Some(("wrong", complaint)) if complaints.len() < COMPLAINTS_MAX => {
                    complaints.push(complaint.to_owned())
                }
                Some(("wrong", _)) => self.cut = true,
                Some(("fatal", text)) => self.fatal = Some(text.to_owned()),
                Some((key, rest)) if is_key(key) => self.take_fact(key, rest),
                _ if comment == "end" => self.ended = true,
                _ => {}
            }
        } else if let Some(mut verdict) = verdict(line) {
            verdict.complaints = std::mem::take(complaints);
            if self.verdicts.len() < VERDICTS_MAX {
                self.verdicts.push(verdict);
            } else {
                self.cut = true;
            }
        } else if let Some(count) = line.strip_prefix("1..") {
            self.plan = self.plan.or_else(|| count.parse().ok());
        }
    }

    fn take_fact(&mut self, key: &str, rest: &str) {
        if FACTS_MAX <= self.facts.len() {
            self.cut = true;
            return;
        }
        let mut fact = Fact {
            key: key.to_owned(),
            words: Vec::new(),
            fields: Vec::new(),
        };
        let mut rest = rest.trim_start();
        for _ in 0..FIELDS_MAX {
            if rest.is_empty() {
                break;
            }
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = match after.strip_prefix('=') {
                Some(after) => {
                    let (value, after) = value(after);
                    fact.fields.push((name.to_owned(), value));
                    after
                }
                None => {
                    fact.words.push(name.to_owned());
                    after
                }
            }
            .trim_start();
        }
        self.cut |= !rest.is_empty();
        self.facts.push(fact);
    }
}

/// Host time, in microseconds since the subject's start, at which a line of the log began; `text` is the line's
/// beginning. `None` where the log carries no times or has no such line.
pub fn host_time_us(log: &str, text: &str) -> Option<u64> {
    let line = log.lines().find(|line| without_time(line).starts_with(text))?;
    let (seconds, micros) = line.strip_prefix('[')?.split_once(']')?.0.trim().split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
}

impl Fact {
    /// A field's text, unquoted; bytes that are no text are replaced.
    pub fn text(&self, field: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| name == field);
        found.map(|(_, value)| value.as_str())
    }

    /// A field's number: decimal, or hexadecimal behind `0x`.
    pub fn number(&self, field: &str) -> Option<u64> {
        number(self.text(field)?)
    }

    /// Whether it has a word.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }
}

/// Reads the log of the image that ran.
///
/// # Errors
/// As [`Probe::guest_log`]; [`Stop::NotMet`] when the log has no report.
pub fn report(p: &mut Probe<'_>) -> Result<Report, Stop> {
    let report = Report::parse(p.guest_log()?);
    require(p, "report on the console", report.starts != 0, "none", "KTAP version 1")?;
    Ok(report)
}

/// Reads the log and holds the image's own verdict of that name to `ok`.
///
/// # Errors
/// As [`report`]; [`Stop::NotMet`] when there is no such verdict or the image skipped it, and so printed no facts that
/// could be judged.
pub fn judged(p: &mut Probe<'_>, name: &str) -> Result<Report, Stop> {
    let report = report(p)?;
    let what = format!("verdict {name}");
    let Some(verdict) = report.verdict(name) else {
        require(p, &what, false, report.end(), "a verdict")?;
        return Err(Stop::NotMet);
    };
    if let Some(reason) = &verdict.skip {
        require(p, &what, false, format!("skipped: {reason}"), "ok")?;
    }
    p.check(
        &what,
        verdict.is_ok,
        format!("not ok: {}", verdict.complaints.join("; ")),
        "ok",
    );
    Ok(report)
}

/// The first fact of a key.
///
/// # Errors
/// [`Stop::NotMet`] when there is none.
pub fn fact<'a>(p: &mut Probe<'_>, report: &'a Report, key: &str) -> Result<&'a Fact, Stop> {
    let found = report.facts(key).next();
    let what = format!("fact {key}");
    require(p, &what, found.is_some(), report.end(), "a fact")?;
    found.ok_or(Stop::NotMet)
}

/// A field's number.
///
/// # Errors
/// [`Stop::NotMet`] when there is no such field, or it has no number.
pub fn number_of(p: &mut Probe<'_>, fact: &Fact, field: &str) -> Result<u64, Stop> {
    let found = fact.number(field);
    let got = fact.text(field).unwrap_or("nothing");
    let what = format!("{} of fact {}", field, fact.key);
    require(p, &what, found.is_some(), got, "a number")?;
    found.ok_or(Stop::NotMet)
}

/// Checks what the rest of a judgement stands on.
fn require(p: &mut Probe<'_>, what: &str, holds: bool, got: impl Into<String>, want: &str) -> Result<(), Stop> {
    p.check(what, holds, got, want);
    if holds { Ok(()) } else { Err(Stop::NotMet) }
}

/// A line without the host's time in front.
fn without_time(line: &str) -> &str {
    let timed = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let is_time = |text: &str| {
        text.trim_start()
            .split_once('.')
            .is_some_and(|(whole, part)| [whole, part].iter().all(|digits| is_decimal(digits)))
    };
    match timed {
        Some((time, rest)) if is_time(time) => rest,
        _ => line,
    }
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_key(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits)
}

/// `ok 1 - name # SKIP reason`; number, dash and directive may be missing.
fn verdict(line: &str) -> Option<Verdict> {
    let (is_ok, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let (description, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    let description = description.trim_start();
    let (first, after) = description.split_once(' ').unwrap_or((description, ""));
    let (number, name) = match first.parse() {
        Ok(number) => (Some(number), after),
        Err(_) => (None, description),
    };
    let name = name.strip_prefix("- ").unwrap_or(name).trim();
    let skip = directive.strip_prefix("SKIP");
    Some(Verdict {
        number,
        name: name.to_owned(),
        is_ok,
        skip: skip.map(|reason| reason.trim().to_owned()),
        complaints: Vec::new(),
    })
}

/// The value at the start of `text`, unquoted, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (value.to_owned(), after);
    };
    let mut bytes = Vec::new();
    let mut rest = quoted.as_bytes();
    let mut at = 0;
    loop {
        rest = match rest {
            // A value without its closing quote ends with the line.
            [] => break,
            [b'"', ..] => {
                at += 1;
                break;
            }
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_digit(*high) << 4 | hex_digit(*low));
                after
            }
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
        };
        at = quoted.len() - rest.len();
    }
    let value = String::from_utf8_lossy(&bytes).into_owned();
    (value, quoted.get(at..).unwrap_or_default())
}

fn hex_digit(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or_default() as u8
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        // A sign is no digit, whatever the standard library says.
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if is_decimal(text) => text.parse().ok(),
        None => None,
    }
}

const FIRST_LINE: &str = "KTAP version 1";

/// Most verdicts of a report that are kept.
pub const VERDICTS_MAX: usize = 256;

/// Most facts of a report that are kept.
pub const FACTS_MAX: usize = 4096;

/// Most words and fields of a fact that are kept.
pub const FIELDS_MAX: usize = 64;

/// Most complaints before one verdict that are kept.
pub const COMPLAINTS_MAX: usize = 64;

#[cfg(test)]
mod tests;
