//! The real-time clock, read by its driver.

use super::{Ends, Machine, Report, files};

pub(super) fn rtc(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let folder = "/sys/class/rtc/rtc0";
    let Ok(name) = files::text(format!("{folder}/name")) else {
        return Err(Ends::Absent("the kernel found no clock".to_owned()));
    };
    let date = files::needed(format!("{folder}/date"))?;
    let time = files::needed(format!("{folder}/time"))?;
    let since_epoch = files::needed(format!("{folder}/since_epoch"))?;
    let driver = name.split(' ').next().unwrap_or_default();
    report.fact(
        "rtc",
        format_args!("driver={driver} date={date} time={time} since-epoch-s={since_epoch}"),
    );
    Ok(())
}
