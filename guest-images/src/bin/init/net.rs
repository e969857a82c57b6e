//! A network: one frame to ourselves by way of the other end.

use std::fs;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::time::Timespec;

use super::{Ends, Machine, Report, files};

pub(super) fn net(report: &mut Report, machine: &Machine<'_>) -> Result<(), Ends> {
    let mut interfaces = files::entries("/sys/class/net").into_iter();
    let is_virtio =
        |path: &std::path::PathBuf| files::target(path.join("device/driver")).as_deref() == Some("virtio_net");
    let Some(interface) = interfaces.find(is_virtio) else {
        return Err(Ends::Absent("the kernel found no virtio network".to_owned()));
    };
    let address = files::needed(interface.join("address"))?;
    let mtu = files::field(interface.join("mtu"));
    report.fact(
        "net",
        format_args!("name={} address={address} mtu={mtu}", files::name(&interface)),
    );
    let own = hardware_address(&address).ok_or_else(|| Ends::Wrong(format!("'{address}' is no address")))?;
    fs::write(interface.join("flags"), IFF_UP).map_err(Ends::wrong("bring the interface up"))?;
    let index = files::needed(interface.join("ifindex"))?;
    let index: i32 = index.parse().map_err(Ends::wrong("ifindex"))?;
    let socket = packet_socket(index).map_err(Ends::wrong("open a packet socket"))?;

    for number in 0..FRAMES {
        let frame = frame(own, number);
        let sent = send(&socket, &frame, SendFlags::empty()).map_err(Ends::wrong("send a frame"))?;
        report.expect(
            sent == frame.len(),
            format_args!("{sent} of {} bytes of a frame were sent", frame.len()),
        );
        if !machine.echoes("net") {
            continue;
        }
        match receive(&socket, frame.len()).map_err(Ends::wrong("receive a frame"))? {
            None => {
                let seconds = ANSWER_LIMIT.as_secs();
                return Err(Ends::Wrong(format!(
                    "frame {number} did not come back within {seconds} s"
                )));
            }
            // Short frames may come back with padding behind them.
            Some(back) => report.expect(
                back.get(..frame.len()) == Some(&frame[..]),
                format_args!("frame {number} came back as another, {} bytes long", back.len()),
            ),
        }
    }
    report.fact(
        "net-frames",
        format_args!("sent={FRAMES} echo={}", u8::from(machine.echoes("net"))),
    );
    if machine.echoes("net") {
        Ok(())
    } else {
        Err(Ends::Absent(
            "nobody told that frames come back (touchstone.echo=net)".to_owned(),
        ))
    }
}

fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map_while(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    bytes.try_into().ok()
}

/// To our own address, so that the interface takes it when it comes back, and from another.
fn frame(own: [u8; 6], number: usize) -> Vec<u8> {
    let mut frame = own.to_vec();
    frame.extend([0x02, 0, 0, 0, 0, number as u8]);
    frame.extend(ETHER_TYPE.to_be_bytes());
    frame.extend((0..LENGTHS[number]).map(|at| (at * 13 + number + at / 251) as u8));
    frame
}

/// A raw socket for our frames on one interface, in both directions.
fn packet_socket(index: i32) -> std::io::Result<OwnedFd> {
    let protocol = std::num::NonZeroU32::new(ETHER_TYPE.to_be().into()).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    let place = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ETHER_TYPE.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "a call that no library offers for this kind of address")]
    // SAFETY: the pointer is to a whole `sockaddr_ll`, whose length is given, and the call only reads it.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const place).cast(), length) };
    if bound == 0 {
        Ok(socket)
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// The next frame that comes in; `None` when none does in time.
fn receive(socket: &OwnedFd, length: usize) -> rustix::io::Result<Option<Vec<u8>>> {
    let limit = Timespec::try_from(ANSWER_LIMIT).unwrap_or_default();
    let mut ready = [PollFd::new(socket, PollFlags::IN)];
    if poll(&mut ready, Some(&limit))? == 0 {
        return Ok(None);
    }
    let mut buffer = vec![0; length + 64];
    let (_, count) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
    buffer.truncate(count);
    Ok(Some(buffer))
}

/// For local experiments (IEEE 802).
const ETHER_TYPE: u16 = 0x88b5;

/// IFF_UP, as `/sys` takes it.
const IFF_UP: &str = "0x1";

const FRAMES: usize = LENGTHS.len();

/// Bytes behind the header of each frame: the shortest, some, the longest.
const LENGTHS: [usize; 3] = [46, 600, 1500];

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
