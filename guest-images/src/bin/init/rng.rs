//! Entropy through `/dev/hwrng`.

use std::fs::File;
use std::io::Read;

use super::{Ends, Machine, Report, files};

pub(super) fn rng(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let current = files::field("/sys/class/misc/hw_random/rng_current");
    if !current.starts_with("virtio_rng") {
        return Err(Ends::Absent(format!("the kernel's source of entropy is '{current}'")));
    }
    let (first, second) = (read()?, read()?);
    report.fact(
        "rng",
        format_args!("source={current} bytes={}", first.len() + second.len()),
    );
    report.expect(
        first != second,
        format_args!("two reads gave the same {} bytes", first.len()),
    );
    for bytes in [first, second] {
        report.expect(
            bytes.iter().any(|&byte| byte != bytes[0]),
            format_args!("a read gave one byte over and over"),
        );
    }
    Ok(())
}

fn read() -> Result<[u8; 64], Ends> {
    let mut bytes = [0; 64];
    let mut file = File::open("/dev/hwrng").map_err(Ends::wrong("open /dev/hwrng"))?;
    file.read_exact(&mut bytes).map_err(Ends::wrong("read /dev/hwrng"))?;
    Ok(bytes)
}
