//! A flattened device tree, as a kernel reads it.
//!
//! Source: Devicetree Specification 0.3, chapter 5 "Flattened Devicetree (DTB) Format".

use std::ops::Range;

/// First word of the header.
pub const MAGIC: u32 = 0xd00d_feed;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 40;

/// The header of version 17, word by word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// Bytes of the whole.
    pub total_bytes: u32,
    /// Offset of the structure block.
    pub structure_at: u32,
    /// Offset of the strings block.
    pub strings_at: u32,
    /// Offset of the list of reserved memory.
    pub reservations_at: u32,
    /// Version of the format.
    pub version: u32,
    /// The lowest version that it is compatible with.
    pub compatible: u32,
    /// Physical ID of the boot CPU.
    pub boot_cpu: u32,
    /// Bytes of the strings block.
    pub strings_bytes: u32,
    /// Bytes of the structure block.
    pub structure_bytes: u32,
}

/// A node with its properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Names from the root on, each behind a `/`; `/` is the root.
    pub path: String,
    /// Names and values, in the order of the tree.
    pub properties: Vec<(String, Vec<u8>)>,
}

impl Header {
    /// The header at the beginning of a tree; `None` when there are too few bytes.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let word = |index: usize| word_at(bytes, 4 * index);
        Some(Header {
            magic: word(0)?,
            total_bytes: word(1)?,
            structure_at: word(2)?,
            strings_at: word(3)?,
            reservations_at: word(4)?,
            version: word(5)?,
            compatible: word(6)?,
            boot_cpu: word(7)?,
            strings_bytes: word(8)?,
            structure_bytes: word(9)?,
        })
    }

    /// Where a part lies that begins at an offset and has so many bytes.
    pub fn part(from: u32, bytes: u32) -> Range<usize> {
        from as usize..from as usize + bytes as usize
    }
}

impl Node {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        let found = self.properties.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// The value of a property as 32-bit cells; empty without the property.
    pub fn cells(&self, name: &str) -> Vec<u32> {
        let value = self.property(name).unwrap_or_default();
        (0..value.len() / 4)
            .filter_map(|index| word_at(value, 4 * index))
            .collect()
    }

    /// Whether the node is compatible with something by that name.
    pub fn is(&self, name: &str) -> bool {
        let value = self.property("compatible").unwrap_or_default();
        value.split(|&byte| byte == 0).any(|other| other == name.as_bytes())
    }
}

/// The nodes of a tree, parents first.
///
/// # Errors
/// One line about the first thing that is not as the format wants it.
pub fn nodes(header: &Header, blob: &[u8]) -> Result<Vec<Node>, String> {
    let structure = Header::part(header.structure_at, header.structure_bytes);
    let strings = Header::part(header.strings_at, header.strings_bytes);
    let structure = blob.get(structure).ok_or("the structure block ends past the blob")?;
    let strings = blob.get(strings).ok_or("the strings block ends past the blob")?;
    let (mut nodes, mut open, mut at) = (Vec::<Node>::new(), Vec::<usize>::new(), 0);
    loop {
        let token = word_at(structure, at).ok_or("the structure block ends without FDT_END")?;
        at += 4;
        match token {
            token::BEGIN_NODE => {
                let name = text_at(structure, at).ok_or("a node's name has no end")?;
                at = (at + name.len() + 1).next_multiple_of(4);
                let path = match open.last() {
                    Some(&parent) => format!("{}/{name}", nodes[parent].path.trim_end_matches('/')),
                    None if nodes.is_empty() && name.is_empty() => "/".to_owned(),
                    None => return Err(format!("node '{name}' stands beside the root, or is one with a name")),
                };
                open.push(nodes.len());
                nodes.push(Node {
                    path,
                    properties: Vec::new(),
                });
            }
            token::END_NODE => {
                open.pop().ok_or("FDT_END_NODE without a node")?;
            }
            token::PROP => {
                let node = *open.last().ok_or("a property outside any node")?;
                let (length, name_at) = (word_at(structure, at), word_at(structure, at + 4));
                let (length, name_at) = length.zip(name_at).ok_or("a property ends past the block")?;
                let name = text_at(strings, name_at as usize).ok_or("a property's name is not in the strings block")?;
                let value = structure.get(Header::part(at as u32 + 8, length));
                let value = value.ok_or_else(|| format!("{name} ends past the block"))?;
                nodes[node].properties.push((name, value.to_vec()));
                at = (at + 8 + value.len()).next_multiple_of(4);
            }
            token::NOP => {}
            token::END if !open.is_empty() => return Err("FDT_END within a node".to_owned()),
            token::END if at != structure.len() => return Err(format!("FDT_END at {at} is not the last word")),
            token::END => return Ok(nodes),
            _ => return Err(format!("token {token:#x} at {}", at - 4)),
        }
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

/// The text up to the next NUL.
fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

mod token {
    pub(super) const BEGIN_NODE: u32 = 1;
    pub(super) const END_NODE: u32 = 2;
    pub(super) const PROP: u32 = 3;
    pub(super) const NOP: u32 = 4;
    pub(super) const END: u32 = 9;
}
