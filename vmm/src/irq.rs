//! Interrupt lines: wires between devices and interrupt controllers, named by GSI.

/// Number of global system interrupts: the 24 pins of one IOAPIC.
pub const GSI_COUNT: u8 = 24;

/// One device's connection to a line. Several devices may share a GSI: the line is high while any of them drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line, below [`GSI_COUNT`].
    pub gsi: u8,
    /// Which of the line's drivers this is, 0..=31; the board hands these out.
    pub source: u8,
}

/// A change of a line's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineChange {
    /// The line.
    pub gsi: u8,
    /// Its level from now on.
    pub level: bool,
}

/// All lines of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    drivers: [u32; GSI_COUNT as usize],
    changes: Vec<LineChange>,
}

impl Lines {
    /// Drives `line` to `level`; a change of the resulting (wired-OR) level is queued for the interrupt controllers.
    pub fn set(&mut self, line: Line, level: bool) {
        let drivers = &mut self.drivers[usize::from(line.gsi)];
        let before = *drivers != 0;
        let bit = 1 << line.source;
        *drivers = if level { *drivers | bit } else { *drivers & !bit };
        let after = *drivers != 0;
        if before != after {
            self.changes.push(LineChange {
                gsi: line.gsi,
                level: after,
            });
        }
    }

    /// The level of a line.
    pub fn level(&self, gsi: u8) -> bool {
        self.drivers[usize::from(gsi)] != 0
    }

    /// Takes the oldest change that has not been handed to the controllers; a pulse within one access shows as two.
    pub(crate) fn take_changes(&mut self) -> Vec<LineChange> {
        std::mem::take(&mut self.changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_line_stays_high_until_the_last_driver_lets_go() {
        let (first, second) = (Line { gsi: 8, source: 0 }, Line { gsi: 8, source: 1 });
        let mut lines = Lines::default();
        lines.set(first, true);
        lines.set(second, true);
        lines.set(first, false);
        assert!(lines.level(8));
        lines.set(second, false);
        assert_eq!(
            lines.take_changes(),
            [LineChange { gsi: 8, level: true }, LineChange { gsi: 8, level: false }],
            "one rise and one fall, however many drivers"
        );
    }
}
