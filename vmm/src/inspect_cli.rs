//! `microvm inspect`: tables of the machine as it is at power-on. The same options print the same bytes twice.

use serde::Serialize;

use crate::board::e820;
use crate::chip::fw_cfg::key;
use crate::cli::{Format, Table};
use crate::device::Space;
use crate::machine::Machine;
use crate::units::Width;

/// Prints a table of a machine that was just powered on; ends with a line end.
pub fn table(machine: &mut Machine, table: Table, format: Format) -> String {
    match table {
        Table::E820 => render(machine.board().e820.as_slice(), format, e820_text),
        Table::Cmos => render(&cmos(machine), format, cmos_text),
        Table::Cmdline => render(&machine.board().command_line, format, command_line_text),
        Table::FwCfg => render(fw_cfg(machine).as_slice(), format, |rows| {
            match machine.board().fw_cfg {
                Some(_) => fw_cfg_text(rows),
                None => "this machine has no fw_cfg\n".to_owned(),
            }
        }),
        Table::Layout => render(layout(machine).as_slice(), format, layout_text),
    }
}

#[derive(Serialize)]
struct FwCfgRow {
    key: u16,
    /// The key's name in the documents, or the file's.
    name: String,
    is_file: bool,
    length_bytes: usize,
    /// The first [`FW_CFG_START_BYTES`] bytes in hexadecimal.
    start: String,
}

#[derive(Serialize)]
struct LayoutRow {
    space: &'static str,
    first: u64,
    last: u64,
    what: String,
    gsi: Option<u8>,
}

fn render<T: Serialize + ?Sized>(rows: &T, format: Format, text: impl FnOnce(&T) -> String) -> String {
    match format {
        Format::Text => text(rows),
        Format::Json => {
            let json = serde_json::to_string_pretty(rows).expect("rows of numbers and texts have a JSON form");
            format!("{json}\n")
        }
    }
}

fn e820_text(entries: &[e820::Entry]) -> String {
    let line = |entry: &e820::Entry| {
        let kind = match entry.kind {
            e820::RAM => "RAM",
            _ => "reserved",
        };
        let e820::Entry {
            address, length_bytes, ..
        } = entry;
        format!("{address:#018x} {length_bytes:#018x} {} {kind}\n", entry.kind)
    };
    entries.iter().map(line).collect()
}

/// All 128 bytes as the guest reads them; `None` without an RTC.
fn cmos(machine: &mut Machine) -> Option<Vec<u8>> {
    machine.board().rtc.as_ref()?;
    let read = |index: u8| {
        machine.port_write(0x70, Width::Byte, u32::from(index));
        machine.port_read(0x71, Width::Byte) as u8
    };
    Some((0..128).map(read).collect())
}

fn cmos_text(bytes: &Option<Vec<u8>>) -> String {
    let Some(bytes) = bytes else {
        return "this machine has no RTC\n".to_owned();
    };
    let line = |(row, bytes): (usize, &[u8])| {
        let digits: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        format!("{:02x}:{digits}\n", 16 * row)
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

fn command_line_text(line: &Option<String>) -> String {
    match line {
        Some(line) => format!("{line}\n"),
        None => "this machine has no kernel, and no command line without one\n".to_owned(),
    }
}

fn fw_cfg(machine: &Machine) -> Vec<FwCfgRow> {
    let Some(fw_cfg) = &machine.board().fw_cfg else {
        return Vec::new();
    };
    let row = |key: u16, name: Option<&str>, bytes: &[u8]| FwCfgRow {
        key,
        name: name.or_else(|| key::name(key)).unwrap_or("?").to_owned(),
        is_file: name.is_some(),
        length_bytes: bytes.len(),
        start: bytes
            .iter()
            .take(FW_CFG_START_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    };
    let items = fw_cfg.items();
    let mut rows: Vec<FwCfgRow> = items
        .all()
        .iter()
        .map(|item| row(item.key, item.file, item.bytes))
        .collect();
    rows.push(row(key::FILE_DIR, None, &items.directory()));
    rows.sort_by_key(|row| row.key);
    rows
}

fn fw_cfg_text(rows: &[FwCfgRow]) -> String {
    let line = |row: &FwCfgRow| {
        let more = if FW_CFG_START_BYTES < row.length_bytes {
            ".."
        } else {
            ""
        };
        let text = format!(
            "{:#06x} {:<24} {:>8} {}{more}",
            row.key, row.name, row.length_bytes, row.start
        );
        format!("{}\n", text.trim_end())
    };
    rows.iter().map(line).collect()
}

fn layout(machine: &Machine) -> Vec<LayoutRow> {
    let board = machine.board();
    let mut rows = Vec::new();
    for (first, length) in board.ram.ranges() {
        rows.push(LayoutRow {
            space: "memory",
            first,
            last: first + (length - 1),
            what: "ram".to_owned(),
            gsi: None,
        });
    }
    for slot in board.slots() {
        let Some(device) = board.device(slot) else {
            continue;
        };
        for region in device.regions() {
            rows.push(LayoutRow {
                space: match region.space {
                    Space::Port => "port",
                    Space::Mmio => "memory",
                },
                first: region.base,
                last: region.base + (region.length - 1),
                what: slot.to_string(),
                gsi: board.gsi(slot),
            });
        }
    }
    rows.sort_by(|one, other| (one.space, one.first).cmp(&(other.space, other.first)));
    rows
}

fn layout_text(rows: &[LayoutRow]) -> String {
    let line = |row: &LayoutRow| {
        let gsi = row.gsi.map(|gsi| format!(" gsi {gsi}")).unwrap_or_default();
        let LayoutRow {
            space,
            first,
            last,
            what,
            ..
        } = row;
        format!("{space:<6} {first:#012x}-{last:#012x} {what}{gsi}\n")
    };
    rows.iter().map(line).collect()
}

/// Bytes of an item that are shown.
const FW_CFG_START_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::config::Config;

    fn shown(what: Table, format: Format) -> String {
        table(
            &mut Machine::new(&Config::default()).expect("128 MiB fit"),
            what,
            format,
        )
    }

    #[test]
    fn e820_and_layout_read_as_tables() {
        assert_eq!(
            shown(Table::E820, Format::Text),
            "0x0000000000000000 0x0000000008000000 1 RAM\n"
        );
        let layout = shown(Table::Layout, Format::Text);
        assert!(layout.starts_with("memory 0x0000000000-0x0007ffffff ram\n"), "{layout}");
        assert!(
            layout.contains("memory 0x00c0000e00-0x00c0000fff virtio_mmio.7 gsi 12\n"),
            "{layout}"
        );
        assert!(layout.contains("port   0x0000000510-0x0000000511 fw_cfg\n"), "{layout}");
    }

    #[test]
    fn every_table_has_both_forms_and_prints_the_same_twice() {
        for what in [Table::E820, Table::Cmos, Table::Cmdline, Table::FwCfg, Table::Layout] {
            for format in [Format::Text, Format::Json] {
                let once = shown(what, format);
                assert!(once.ends_with('\n'));
                assert_eq!(once, shown(what, format));
                if format == Format::Json {
                    serde_json::from_str::<serde_json::Value>(&once).expect("JSON");
                }
            }
        }
    }
}
