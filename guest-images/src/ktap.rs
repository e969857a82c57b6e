//! Reports in KTAP version 1, with facts as diagnostic lines. README.md has the grammar.
//!
//! Source: Linux, Documentation/dev-tools/ktap.rst.

use core::fmt::{self, Write};

/// A report on its way out. Write errors are passed over: there is nowhere else to tell them.
pub struct Report<W> {
    out: W,
    number: u32,
    wrong: bool,
    any_wrong: bool,
}

impl<W: Write> Report<W> {
    /// Begins a report of `plan` verdicts; an empty line first, because a firmware may have left one half done.
    pub fn begin(mut out: W, plan: u32) -> Self {
        let _ = write!(out, "\nKTAP version 1\n1..{plan}\n");
        Self {
            out,
            number: 0,
            wrong: false,
            any_wrong: false,
        }
    }

    /// Prints a fact, `# key: value`.
    pub fn fact(&mut self, key: &str, value: fmt::Arguments<'_>) {
        let _ = writeln!(self.out, "# {key}: {value}");
    }

    /// Prints what is wrong, `# wrong: value`, and makes the next verdict `not ok`.
    pub fn wrong(&mut self, value: fmt::Arguments<'_>) {
        self.wrong = true;
        self.fact("wrong", value);
    }

    /// [`Report::wrong`] unless `right`.
    pub fn expect(&mut self, right: bool, value: fmt::Arguments<'_>) {
        if !right {
            self.wrong(value);
        }
    }

    /// Ends the group of facts since the last verdict: `ok` unless something was wrong.
    pub fn verdict(&mut self, name: &str) {
        self.number += 1;
        let wrong = core::mem::take(&mut self.wrong);
        self.any_wrong |= wrong;
        let _ = writeln!(
            self.out,
            "{}ok {} - {name}",
            if wrong { "not " } else { "" },
            self.number
        );
    }

    /// Ends the group as skipped, because the machine has no such thing. What was wrong already stays wrong.
    pub fn skip(&mut self, name: &str, reason: &str) {
        if self.wrong {
            return self.verdict(name);
        }
        self.number += 1;
        let _ = writeln!(self.out, "ok {} - {name} # SKIP {reason}", self.number);
    }

    /// Whether any verdict was `not ok`.
    pub fn any_wrong(&self) -> bool {
        self.any_wrong
    }

    /// What the report is written to.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Prints the last line.
    pub fn end(&mut self) {
        let _ = writeln!(self.out, "# end");
    }
}

/// Foreign text as a quoted field: `"` and `\` escaped, all but printable ASCII as `\xNN`.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => {
                    f.write_str("\\")?;
                    f.write_char(char::from(byte))?;
                }
                0x20..=0x7e => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A truth as 1 or 0.
pub struct Bit(pub bool);

impl fmt::Display for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "1" } else { "0" })
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    #[test]
    fn report_reads_as_ktap() {
        let mut text = String::new();
        let mut report = Report::begin(&mut text, 3);
        report.fact("rtc", format_args!("present={}", Bit(true)));
        report.verdict("rtc");
        report.wrong(format_args!("magic={:#x}", 0));
        report.verdict("virtio-slots");
        report.skip("pit", "no counter answers");
        assert!(report.any_wrong());
        report.end();
        assert_eq!(
            text,
            "\nKTAP version 1\n1..3\n# rtc: present=1\nok 1 - rtc\n# wrong: magic=0x0\nnot ok 2 - virtio-slots\n\
             ok 3 - pit # SKIP no counter answers\n# end\n"
        );
    }

    #[test]
    fn skip_does_not_hide_what_was_wrong() {
        let mut text = String::new();
        let mut report = Report::begin(&mut text, 1);
        report.expect(false, format_args!("x"));
        report.skip("pit", "absent");
        assert!(text.ends_with("not ok 1 - pit\n"));
    }

    #[test]
    fn foreign_text_cannot_leave_its_quotes() {
        assert_eq!(Quoted(b"a \"b\" \\ \n\xff").to_string(), r#""a \"b\" \\ \x0a\xff""#);
    }
}
