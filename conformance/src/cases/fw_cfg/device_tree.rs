//! The device tree in `etc/fdt`.

use super::{Probe, Stop, fw_cfg};
use crate::driver::fdt::{self, Header, MAGIC, Node};
use crate::driver::virtio_mmio::Transport;

const FILE: &str = "etc/fdt";

/// Most bytes that are read of a tree; this machine's has one or two KiB.
const TREE_BYTES_MAX: u32 = 64 << 10;

fn header_of(p: &mut Probe<'_>) -> Result<Header, Stop> {
    let bytes = fw_cfg::contents(p, FILE, fdt::HEADER_BYTES)?;
    let header = Header::parse(&bytes);
    p.check_eq("header is whole", header.is_some(), true);
    let header = header.ok_or(Stop::NotMet)?;
    p.require_eq("magic", header.magic, MAGIC)?;
    Ok(header)
}

/// The header, and the bytes of the file up to the end of the last part.
fn tree(p: &mut Probe<'_>) -> Result<(Header, Vec<u8>), Stop> {
    let header = header_of(p)?;
    let ends = [
        header.structure_at.saturating_add(header.structure_bytes),
        header.strings_at.saturating_add(header.strings_bytes),
        header.reservations_at.saturating_add(16),
    ];
    let end = ends.into_iter().max().unwrap_or_default();
    let fits = end <= header.total_bytes.min(TREE_BYTES_MAX);
    p.check("end of the parts", fits, format!("{end:#x}"), "within the whole");
    if !fits {
        return Err(Stop::NotMet);
    }
    Ok((header, fw_cfg::contents(p, FILE, end as usize)?))
}

fn nodes(p: &mut Probe<'_>) -> Result<Vec<Node>, Stop> {
    let (header, blob) = tree(p)?;
    let nodes = fdt::nodes(&header, &blob);
    let got = nodes.as_ref().err().cloned().unwrap_or_default();
    p.check("structure", nodes.is_ok(), got, "nodes and properties");
    nodes.map_err(|_| Stop::NotMet)
}

/// Where the registers of a child of the root lie, and how many bytes there are.
fn registers(nodes: &[Node], node: &Node) -> Option<(u64, u64)> {
    let cells_of = |name: &str| nodes.first()?.cells(name).first().copied();
    let (address, size) = (cells_of("#address-cells")? as usize, cells_of("#size-cells")? as usize);
    let reg = node.cells("reg");
    let number = |cells: &[u32]| cells.iter().fold(0, |value, cell| value << 32 | u64::from(*cell));
    Some((number(reg.get(..address)?), number(reg.get(address..address + size)?)))
}

/// The node that is compatible with something and has its registers at an address.
fn node_at(p: &mut Probe<'_>, nodes: &[Node], name: &str, address: u64) -> Result<Node, Stop> {
    p.point(name);
    let those: Vec<&Node> = nodes.iter().filter(|node| node.is(name)).collect();
    let places: Vec<_> = those.iter().map(|node| registers(nodes, node)).collect();
    let found = places
        .iter()
        .position(|place| place.is_some_and(|(at, _)| at == address));
    let (got, want) = (format!("{places:x?}"), format!("one at {address:#x}"));
    p.check("where its registers are", found.is_some(), got, want);
    found.map(|index| those[index].clone()).ok_or(Stop::NotMet)
}

pub(super) fn header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let header = header_of(p)?;
    p.check_eq("version", header.version, 17u32);
    p.check_eq("last compatible version", header.compatible, 16u32);
    let file = fw_cfg::file(p, FILE)?;
    p.check_eq("size of the whole", header.total_bytes, file.size);
    p.check_eq("structure block at a multiple of 4", header.structure_at % 4, 0u32);
    p.check_eq("boot CPU", header.boot_cpu, 0u32);
    Ok(())
}

pub(super) fn reservations(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (header, blob) = tree(p)?;
    p.check_eq("offset modulo 8", header.reservations_at % 8, 0u32);
    let from = header.reservations_at as usize;
    let entries: Vec<&[u8]> = blob[from..].chunks_exact(16).collect();
    let count = entries.iter().position(|entry| *entry == [0; 16]);
    let end = count.map(|count| from + 16 * (count + 1));
    let before_next = end.is_some_and(|end| end <= header.structure_at as usize);
    let got = format!("ends at {end:x?}");
    p.check(
        "list of reserved memory",
        before_next,
        got,
        "an entry of zeros before the structure block",
    );
    Ok(())
}

pub(super) fn structure(p: &mut Probe<'_>) -> Result<(), Stop> {
    let nodes = nodes(p)?;
    p.check_eq("root and others", nodes.len() > 1, true);
    let root = nodes.first().ok_or(Stop::NotMet)?;
    // What 3.2 "Root node" requires and a kernel needs to read any other.
    for name in ["#address-cells", "#size-cells", "compatible"] {
        let got = root.property(name).map_or(0, <[u8]>::len);
        p.check(name, 0 < got, "absent or empty", "a value");
    }
    Ok(())
}

/// Serial port, clock, interrupt controller and the transport of the set-up's device, each where it is.
pub(super) fn addresses(p: &mut Probe<'_>) -> Result<(), Stop> {
    let nodes = nodes(p)?;
    let transport = Transport::first_device(p).base;
    for (name, address, bytes) in [
        ("ns16550", 0x3f8, 8),
        ("motorola,mc146818", 0x70, 8),
        ("intel,ce4100-ioapic", 0xfec0_0000, 0x1000),
        ("virtio,mmio", transport, 512),
    ] {
        let node = node_at(p, &nodes, name, address)?;
        let size = registers(&nodes, &node).map(|(_, size)| size);
        p.check(
            "bytes of its registers",
            size == Some(bytes),
            format!("{size:x?}"),
            format!("{bytes:#x}"),
        );
    }
    Ok(())
}

pub(super) fn interrupts(p: &mut Probe<'_>) -> Result<(), Stop> {
    let nodes = nodes(p)?;
    let transport = Transport::first_device(p);
    let gsi = u32::from(p.layout().transport_gsi(transport.index));
    let controller = node_at(p, &nodes, "intel,ce4100-ioapic", 0xfec0_0000)?;
    let phandle = controller.cells("phandle");
    p.check_eq(
        "it is an interrupt controller",
        controller.property("interrupt-controller").is_some(),
        true,
    );
    p.check_eq("phandle has one cell", phandle.len() as u64, 1u64);
    p.check(
        "#interrupt-cells",
        controller.cells("#interrupt-cells") == [2],
        format!("{:?}", controller.cells("#interrupt-cells")),
        "[2]",
    );
    for (name, address, input) in [
        ("ns16550", 0x3f8, 4),
        ("motorola,mc146818", 0x70, 8),
        ("virtio,mmio", transport.base, gsi),
    ] {
        let node = node_at(p, &nodes, name, address)?;
        let parent = node.cells("interrupt-parent");
        p.check(
            "interrupt-parent",
            parent == phandle,
            format!("{parent:x?}"),
            format!("{phandle:x?}, the IOAPIC's phandle"),
        );
        let first = node.cells("interrupts").first().copied();
        p.check(
            "input of the IOAPIC",
            first == Some(input),
            format!("{first:?}"),
            input.to_string(),
        );
    }
    Ok(())
}

pub(super) fn transports(p: &mut Probe<'_>) -> Result<(), Stop> {
    let nodes = nodes(p)?;
    let those = nodes.iter().filter(|node| node.is("virtio,mmio"));
    let mut got: Vec<u64> = those
        .filter_map(|node| registers(&nodes, node))
        .map(|(at, _)| at)
        .collect();
    got.sort_unstable();
    let numbers = 0..p.setup().devices.len() as u8;
    let transports = numbers.map(|number| p.layout().transport(p.layout().transport_of_device(number)));
    let mut want: Vec<u64> = transports.collect();
    want.sort_unstable();
    p.check("transports", got == want, format!("{got:x?}"), format!("{want:x?}"));
    Ok(())
}
