//! A network device, from the driver's side.
//!
//! Source: virtio 1.2, 5.1 "Network Device".

/// Device type.
pub const ID_NET: u32 = 1;

/// Bytes of the header in front of each frame; without `num_buffers` on a legacy transport.
pub const HEADER_BYTES: usize = 12;
/// Bytes of the header of a legacy transport without MRG_RXBUF.
pub const LEGACY_HEADER_BYTES: usize = 10;

/// Bytes of a buffer that takes any frame of 1514 bytes with its header (5.1.6.3.1).
pub const BUFFER_BYTES: u32 = 1526;

/// Feature bits, all in word 0.
pub mod feature {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const CSUM: u32 = 1 << 0;
    pub const GUEST_CSUM: u32 = 1 << 1;
    pub const MAC: u32 = 1 << 5;
    pub const GUEST_TSO4: u32 = 1 << 7;
    pub const GUEST_TSO6: u32 = 1 << 8;
    pub const GUEST_ECN: u32 = 1 << 9;
    pub const GUEST_UFO: u32 = 1 << 10;
    pub const HOST_TSO4: u32 = 1 << 11;
    pub const HOST_TSO6: u32 = 1 << 12;
    pub const HOST_ECN: u32 = 1 << 13;
    pub const HOST_UFO: u32 = 1 << 14;
    pub const MRG_RXBUF: u32 = 1 << 15;
    pub const STATUS: u32 = 1 << 16;
    pub const CTRL_VQ: u32 = 1 << 17;
    pub const CTRL_RX: u32 = 1 << 18;
    pub const CTRL_VLAN: u32 = 1 << 19;
    pub const GUEST_ANNOUNCE: u32 = 1 << 21;
    pub const MQ: u32 = 1 << 22;
    pub const CTRL_MAC_ADDR: u32 = 1 << 23;
}

/// A feature, and those of which it needs one (5.1.3.1).
pub const NEEDS: [(&str, u32, u32); 13] = [
    ("GUEST_TSO4", feature::GUEST_TSO4, feature::GUEST_CSUM),
    ("GUEST_TSO6", feature::GUEST_TSO6, feature::GUEST_CSUM),
    (
        "GUEST_ECN",
        feature::GUEST_ECN,
        feature::GUEST_TSO4 | feature::GUEST_TSO6,
    ),
    ("GUEST_UFO", feature::GUEST_UFO, feature::GUEST_CSUM),
    ("HOST_TSO4", feature::HOST_TSO4, feature::CSUM),
    ("HOST_TSO6", feature::HOST_TSO6, feature::CSUM),
    ("HOST_ECN", feature::HOST_ECN, feature::HOST_TSO4 | feature::HOST_TSO6),
    ("HOST_UFO", feature::HOST_UFO, feature::CSUM),
    ("CTRL_RX", feature::CTRL_RX, feature::CTRL_VQ),
    ("CTRL_VLAN", feature::CTRL_VLAN, feature::CTRL_VQ),
    ("GUEST_ANNOUNCE", feature::GUEST_ANNOUNCE, feature::CTRL_VQ),
    ("MQ", feature::MQ, feature::CTRL_VQ),
    ("CTRL_MAC_ADDR", feature::CTRL_MAC_ADDR, feature::CTRL_VQ),
];

/// Offsets in the configuration space.
pub mod config {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const MAC: u64 = 0;
    pub const STATUS: u64 = 6;
}

/// VIRTIO_NET_S_LINK_UP, in the configuration space's `status`.
pub const LINK_UP: u64 = 1;

/// Offsets in the header.
pub mod header {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const FLAGS: usize = 0;
    pub const GSO_TYPE: usize = 1;
    pub const NUM_BUFFERS: usize = 10;
}

/// A frame of `length` bytes, at least 60: to everybody, from nobody in particular, of a type for local experiments
/// (0x88b5), and a payload that tells `seed`.
pub fn frame(seed: u8, length: usize) -> Vec<u8> {
    let addresses = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, seed];
    let mut frame = [&addresses[..], &[0x88, 0xb5]].concat();
    let payload = (frame.len()..length.max(FRAME_BYTES_MIN)).map(|at| (at as u8).wrapping_mul(7) ^ seed);
    frame.extend(payload);
    frame
}

/// A frame behind a header of zeros: nothing is left to the device.
pub fn packet(header_bytes: usize, frame: &[u8]) -> Vec<u8> {
    [&vec![0; header_bytes][..], frame].concat()
}

/// Shortest frame, without its checksum.
pub const FRAME_BYTES_MIN: usize = 60;
