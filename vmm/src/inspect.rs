//! A device's state as names and values, printed in failures and by `microvm inspect`.

use std::collections::BTreeMap;
use std::fmt;

/// A sorted table of `path = value` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspector {
    prefix: String,
    values: BTreeMap<String, String>,
}

impl Inspector {
    /// An empty table.
    pub fn new() -> Inspector {
        Inspector::default()
    }

    /// Notes a value in hexadecimal under `name`.
    pub fn hex(&mut self, name: &str, value: impl Into<u64>) {
        self.text(name, format!("{:#x}", value.into()));
    }

    /// Notes any printable value under `name`.
    pub fn text(&mut self, name: &str, value: impl fmt::Display) {
        self.values.insert(format!("{}{name}", self.prefix), value.to_string());
    }

    /// Runs `fill` with every name it notes put under `prefix.`.
    pub fn within(&mut self, prefix: &str, fill: impl FnOnce(&mut Inspector)) {
        let outer = self.prefix.clone();
        self.prefix = format!("{outer}{prefix}.");
        fill(self);
        self.prefix = outer;
    }

    /// The values, sorted by name.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.values {
            writeln!(f, "{name} = {value}")?;
        }
        Ok(())
    }
}
