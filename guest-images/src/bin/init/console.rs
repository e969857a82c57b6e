//! A virtio console: what is written comes back.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use rustix::time::Timespec;

use super::{Ends, Machine, Report, files};

pub(super) fn console(report: &mut Report, machine: &Machine<'_>) -> Result<(), Ends> {
    let devices = files::entries("/sys/bus/virtio/devices");
    let drivers = devices.iter().filter_map(|device| files::target(device.join("driver")));
    if !drivers.into_iter().any(|driver| driver == "virtio_console") {
        return Err(Ends::Absent("the kernel found no virtio console".to_owned()));
    }
    let path = "/dev/hvc0";
    let mut console = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(Ends::wrong("open /dev/hvc0"))?;
    let mut modes = tcgetattr(&console).map_err(Ends::wrong("ask for the modes of /dev/hvc0"))?;
    // Bytes as they are, and no echo of the kernel's own.
    modes.make_raw();
    tcsetattr(&console, OptionalActions::Flush, &modes).map_err(Ends::wrong("set the modes of /dev/hvc0"))?;

    // More than one buffer of the driver.
    let sent: Vec<u8> = (0..BYTES).map(|at| b'a' + (at % 23) as u8).collect();
    let mut back = Vec::new();
    for part in sent.chunks(PART_BYTES) {
        console.write_all(part).map_err(Ends::wrong("write to /dev/hvc0"))?;
        // One that does not answer is not waited for again.
        if machine.echoes("console") && !receive(&mut console, part.len(), &mut back)? {
            break;
        }
    }
    report.fact(
        "console",
        format_args!(
            "name=hvc0 sent={} received={} echo={}",
            sent.len(),
            back.len(),
            u8::from(machine.echoes("console"))
        ),
    );
    if !machine.echoes("console") {
        return Err(Ends::Absent(
            "nobody told that bytes come back (touchstone.echo=console)".to_owned(),
        ));
    }
    report.expect(
        back == sent,
        format_args!("{} of {} bytes came back, or others", back.len(), sent.len()),
    );
    Ok(())
}

/// Receives `count` bytes, or what comes of them in time; whether all came.
fn receive(console: &mut File, count: usize, into: &mut Vec<u8>) -> Result<bool, Ends> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    let end = into.len() + count;
    while into.len() < end {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap_or_default();
        let mut ready = [PollFd::new(&*console, PollFlags::IN)];
        if poll(&mut ready, Some(&limit)).map_err(Ends::wrong("wait for /dev/hvc0"))? == 0 {
            return Ok(false);
        }
        let mut buffer = [0; PART_BYTES];
        let count = console.read(&mut buffer).map_err(Ends::wrong("read /dev/hvc0"))?;
        into.extend(&buffer[..count]);
    }
    Ok(true)
}

const BYTES: usize = 1000;

const PART_BYTES: usize = 100;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
