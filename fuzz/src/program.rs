//! Programs: a set-up and actions, as text that people read.
//!
//! The text is one line for each action in qtest's own form, after a line `setup NAME`. Empty lines and what follows
//! `#` count for nothing; so does an answer after `->`, so that the output of a replay is a program again.

use conformance::program::{Action, ParseError};

use crate::target::Target;

/// One input of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Index into [`Target::setups`].
    pub setup: u8,
    /// What happens, in order.
    pub actions: Vec<Action>,
}

/// Text that is no program of a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// A line that is no action.
    #[error("line {line}: {error}")]
    Action {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: ParseError,
    },
    /// A set-up that the target does not have.
    #[error("line {line}: no setup '{name}'; there are: {known}")]
    Setup {
        /// Counted from 1.
        line: usize,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// `setup` after an action.
    #[error("line {line}: 'setup' comes before the first action")]
    SetupLate {
        /// Counted from 1.
        line: usize,
    },
}

impl Program {
    /// Reads text.
    ///
    /// # Errors
    /// [`ProgramError`] names the line.
    pub fn parse(target: &Target, text: &str) -> Result<Program, ProgramError> {
        let mut program = Program {
            setup: 0,
            actions: Vec::new(),
        };
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let content = raw.split('#').next().unwrap_or_default();
            let content = content.split("->").next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            if let Some(name) = content.strip_prefix("setup ").map(str::trim) {
                if !program.actions.is_empty() {
                    return Err(ProgramError::SetupLate { line });
                }
                program.setup = target.setup(name).ok_or_else(|| ProgramError::Setup {
                    line,
                    name: name.to_owned(),
                    known: target
                        .setups
                        .iter()
                        .map(|setup| setup.name)
                        .collect::<Vec<_>>()
                        .join(", "),
                })?;
                continue;
            }
            let action = Action::parse(content).map_err(|error| ProgramError::Action { line, error })?;
            program.actions.push(action);
        }
        Ok(program)
    }

    /// The program as text, with the command whose standard input it fits.
    pub fn text(&self, target: &Target) -> String {
        let mut text = self.heading(target);
        for action in &self.actions {
            text.push_str(&format!("{action}\n"));
        }
        text
    }

    /// The lines before the first action.
    pub fn heading(&self, target: &Target) -> String {
        let setup = &target.setups[usize::from(self.setup)];
        format!("# microvm qtest {}\nsetup {}\n", setup.options, setup.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::FW_CFG;

    #[test]
    fn text_of_a_program_parses_to_itself_with_and_without_answers() {
        let text = "setup files\noutw 0x510 0x19\ninb 0x511\n";
        let program = Program::parse(&FW_CFG, text).expect("a program");
        assert_eq!(Program::parse(&FW_CFG, &program.text(&FW_CFG)), Ok(program.clone()));
        let answered = "# note\n\nsetup files\noutw 0x510 0x19 # the directory\ninb 0x511 -> 0x0\n";
        assert_eq!(Program::parse(&FW_CFG, answered), Ok(program));
    }

    #[test]
    fn wrong_line_is_named() {
        for (text, message) in [
            ("inb\n", "line 1: 'inb' is not an action: argument 1 is missing"),
            ("setup none\n", "line 1: no setup 'none'; there are: plain, files, qemu"),
            (
                "\ninb 1\nsetup plain\n",
                "line 3: 'setup' comes before the first action",
            ),
        ] {
            let error = Program::parse(&FW_CFG, text).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }
}
