//! RAM as a sign of life.

use crate::machine::Stop;
use crate::probe::Probe;

/// Checks that a machine is there at all: RAM keeps what is stored. Cases on absence begin with this, or they would
/// pass where nothing is.
///
/// # Errors
/// [`Stop::NotMet`] when RAM does not keep it; else as every access of the probe.
pub fn answers(p: &mut Probe<'_>) -> Result<(), Stop> {
    for pattern in [0x5aa5_1234u32, 0xa55a_edcb] {
        p.writel(SIGN_GPA, pattern)?;
        let got = p.readl(SIGN_GPA)?;
        p.require_eq("RAM", got, pattern)?;
    }
    Ok(())
}

/// Low RAM that nothing else here uses.
const SIGN_GPA: u64 = 0x7000;
