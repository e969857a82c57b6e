//! The flattened device tree that later machines offer as fw_cfg file `etc/fdt`.
//!
//! Source: Devicetree Specification 0.3, chapter 5 (blob format); nodes, properties and their order as QEMU 7.2 has
//! them with `acpi=off`.
//! Deviations: none known. QEMU's blob differs in a byte of padding behind the RTC's `compatible`, which belongs to no
//! property and holds whatever was there before.

use std::sync::{Arc, Mutex, PoisonError};

use super::transports::Place;

/// What the tree tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// Whether there is a serial port.
    pub serial: bool,
    /// Whether there is an RTC.
    pub rtc: bool,
    /// Transports with a device behind them.
    pub occupied: Vec<Place>,
}

/// The blob, padded to [`BLOB_BYTES`]. The last one is kept: whoever powers machines on many times a second asks for
/// the same again, and a mebibyte takes longer to fill than all the rest of a machine.
pub fn blob(devices: &Devices) -> Arc<[u8]> {
    static LAST: Mutex<Option<(Devices, Arc<[u8]>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, blob)) = last.as_ref().filter(|(known, _)| known == devices) {
        return Arc::clone(blob);
    }
    let blob: Arc<[u8]> = build(devices).into();
    *last = Some((devices.clone(), Arc::clone(&blob)));
    blob
}

fn build(devices: &Devices) -> Vec<u8> {
    let mut tree = Tree::default();
    // Children are written last to first; the string table keeps the order in which properties came up.
    let mut root = tree.node("");
    tree.string(&mut root, "compatible", "linux,microvm");
    tree.cells(&mut root, "#address-cells", &[2]);
    tree.cells(&mut root, "#size-cells", &[2]);
    let mut chosen = tree.node("chosen");

    let mut ioapic = tree.node("ioapic1@fec00000");
    tree.string(&mut ioapic, "compatible", "intel,ce4100-ioapic");
    tree.cells(&mut ioapic, "interrupt-controller", &[]);
    tree.cells(&mut ioapic, "#interrupt-cells", &[2]);
    tree.cells(&mut ioapic, "#address-cells", &[2]);
    tree.cells(&mut ioapic, "reg", &[0, 0xfec0_0000, 0, 0x1000]);
    tree.cells(&mut ioapic, "phandle", &[IOAPIC_PHANDLE]);
    tree.cells(&mut ioapic, "linux,phandle", &[IOAPIC_PHANDLE]);
    let mut nodes = vec![ioapic];

    let mut places = devices.occupied.clone();
    places.sort_by_key(|place| std::cmp::Reverse(place.index));
    for place in places {
        let mut node = tree.node(&format!("virtio_mmio@{:x}", place.base));
        tree.string(&mut node, "compatible", "virtio,mmio");
        tree.cells(
            &mut node,
            "reg",
            &[(place.base >> 32) as u32, place.base as u32, 0, 512],
        );
        tree.cells(&mut node, "dma-coherent", &[]);
        tree.interrupt(&mut node, place.gsi);
        nodes.push(node);
    }
    if devices.serial {
        let mut node = tree.node("serial@3f8");
        tree.string(&mut node, "compatible", "ns16550");
        tree.cells(&mut node, "reg", &[0, 0x3f8, 0, 8]);
        tree.interrupt(&mut node, 4);
        tree.string(&mut chosen, "stdout-path", "/serial@3f8");
        nodes.push(node);
    }
    if devices.rtc {
        let mut node = tree.node("rtc@70");
        tree.string(&mut node, "compatible", "motorola,mc146818");
        tree.cells(&mut node, "reg", &[0, 0x70, 0, 8]);
        tree.interrupt(&mut node, 8);
        nodes.push(node);
    }
    nodes.insert(0, chosen);
    tree.finish(&root, &nodes)
}

#[derive(Debug)]
struct Node {
    name: String,
    /// Offset of the name in the string table, and the value.
    properties: Vec<(u32, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Tree {
    strings: Vec<u8>,
    names: Vec<(&'static str, u32)>,
}

impl Tree {
    fn node(&self, name: &str) -> Node {
        Node {
            name: name.to_owned(),
            properties: Vec::new(),
        }
    }

    fn property(&mut self, node: &mut Node, name: &'static str, value: Vec<u8>) {
        let known = self.names.iter().find(|(other, _)| *other == name);
        let offset = match known {
            Some(&(_, offset)) => offset,
            None => {
                let offset = self.strings.len() as u32;
                self.strings.extend(name.as_bytes());
                self.strings.push(0);
                self.names.push((name, offset));
                offset
            }
        };
        node.properties.push((offset, value));
    }

    fn string(&mut self, node: &mut Node, name: &'static str, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.property(node, name, bytes);
    }

    fn cells(&mut self, node: &mut Node, name: &'static str, cells: &[u32]) {
        self.property(node, name, cells.iter().flat_map(|cell| cell.to_be_bytes()).collect());
    }

    fn interrupt(&mut self, node: &mut Node, gsi: u8) {
        self.cells(node, "interrupt-parent", &[IOAPIC_PHANDLE]);
        self.cells(node, "interrupts", &[u32::from(gsi), 0]);
    }

    fn finish(&self, root: &Node, children: &[Node]) -> Vec<u8> {
        let mut structure = Vec::new();
        begin(&mut structure, root);
        for child in children.iter().rev() {
            begin(&mut structure, child);
            structure.extend(token::END_NODE.to_be_bytes());
        }
        structure.extend(token::END_NODE.to_be_bytes());
        structure.extend(token::END.to_be_bytes());

        let strings_at = STRUCTURE_AT + structure.len() as u32;
        let header = [
            MAGIC,
            BLOB_BYTES as u32,
            STRUCTURE_AT,
            strings_at,
            RESERVATIONS_AT,
            VERSION,
            VERSION_COMPATIBLE,
            0,
            self.strings.len() as u32,
            structure.len() as u32,
        ];
        let mut blob: Vec<u8> = header.iter().flat_map(|field| field.to_be_bytes()).collect();
        // The list of reservations is its terminator alone.
        blob.resize(STRUCTURE_AT as usize, 0);
        blob.extend(structure);
        blob.extend(&self.strings);
        blob.resize(BLOB_BYTES, 0);
        blob
    }
}

fn begin(structure: &mut Vec<u8>, node: &Node) {
    structure.extend(token::BEGIN_NODE.to_be_bytes());
    structure.extend(node.name.as_bytes());
    structure.push(0);
    structure.resize(structure.len().next_multiple_of(4), 0);
    for (name, value) in node.properties.iter().rev() {
        structure.extend(token::PROP.to_be_bytes());
        structure.extend((value.len() as u32).to_be_bytes());
        structure.extend(name.to_be_bytes());
        structure.extend(value);
        structure.resize(structure.len().next_multiple_of(4), 0);
    }
}

mod token {
    pub(super) const BEGIN_NODE: u32 = 1;
    pub(super) const END_NODE: u32 = 2;
    pub(super) const PROP: u32 = 3;
    pub(super) const END: u32 = 9;
}

/// Size of the blob; the tree fills less than one part in a thousand.
pub const BLOB_BYTES: usize = 1 << 20;

const MAGIC: u32 = 0xd00d_feed;
const VERSION: u32 = 17;
const VERSION_COMPATIBLE: u32 = 16;
const RESERVATIONS_AT: u32 = 0x30;
const STRUCTURE_AT: u32 = 0x40;
const IOAPIC_PHANDLE: u32 = 0x8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_matches_the_measured_blob() {
        let place = Place {
            index: 7,
            base: 0xfeb0_0e00,
            gsi: 12,
        };
        let blob = blob(&Devices {
            serial: true,
            rtc: true,
            occupied: vec![place],
        });
        let words: Vec<u32> = blob[..40]
            .chunks(4)
            .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        assert_eq!(words, [MAGIC, 0x10_0000, 0x40, 0x2b4, 0x30, 17, 16, 0, 0x9b, 0x274]);
        assert_eq!(blob.len(), 1 << 20);
    }
}
