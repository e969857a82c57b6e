//! Boots of several VMMs side by side: a chart of their phases, and tables of times and exits. What a VMM does not tell
//! stays blank.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::Report;
use crate::bench::{Bench, Row, Spread};
use crate::marks::Exits;

/// The section; nothing when no boots were asked for.
pub(super) fn section(report: &Report) -> Markup {
    let Some(bench) = &report.boot else {
        return html! {};
    };
    html! {
        section id="boots" {
            h2 { "Boots side by side" }
            p {
                "Image " code { (bench.image) } ", " (bench.ram_mib) " MiB of RAM, " (bench.runs)
                " boots of each in turn, in this run. Times count from the start of the process and depend on the \
                 host; exits from the guest do not."
            }
            @if !bench.rows.is_empty() {
                (chart(bench))
                (times(bench))
                (exits(bench))
                (memory(bench))
            }
            @for skipped in &bench.skipped { p { "Skipped: " (skipped.subject) ": " (skipped.reason) } }
        }
    }
}

/// One bar for each row: its phases' medians, and a line from the least to nine of ten of its end.
fn chart(bench: &Bench) -> Markup {
    let longest = bench.rows.iter().map(|row| row.end_ms.p90.max(row.end_ms.median));
    let longest = longest.fold(0.001, f64::max);
    let at = |ms: f64| format!("{:.2}", ms * CHART_WIDTH / longest);
    let names = phase_names(bench);
    html! {
        p.phases {
            @for (index, name) in names.iter().enumerate() {
                span.phase { span.{ "swatch p" (index % COLOURS) } {} (label(name)) }
            }
        }
        @for row in &bench.rows {
            div.booted {
                div.name { (row.subject) " " b { (number(row.end_ms.median)) } " ms" }
                svg viewBox={ "0 0 " (CHART_WIDTH) " 20" } preserveAspectRatio="none" role="img"
                    aria-label={ (row.subject) ": " (number(row.end_ms.median)) " ms" } {
                    @for (from, phase) in segments(row) {
                        @let index = names.iter().position(|name| *name == phase.name).unwrap_or_default();
                        @let width = at(phase.ms.median - from);
                        rect.{ "p" (index % COLOURS) } x=(at(from)) y="3" width=(width) height="14" {
                            title { (label(&phase.name)) ": " (spread(phase.ms)) " ms" }
                        }
                    }
                    line x1=(at(row.end_ms.min)) x2=(at(row.end_ms.p90)) y1="10" y2="10" {}
                    @for end in [row.end_ms.min, row.end_ms.p90] {
                        line x1=(at(end)) x2=(at(end)) y1="5" y2="15" {}
                    }
                }
            }
        }
        div.scale { span { "0" } span { (number(longest / 2.0)) } span { (number(longest)) " ms" } }
    }
}

/// Where each phase begins, in milliseconds, and the phase. Medians of different phases may cross by a hair.
fn segments(row: &Row) -> Vec<(f64, &crate::bench::Phase)> {
    let mut from = 0.0;
    let mut segments = Vec::new();
    for phase in &row.phases {
        if from < phase.ms.median {
            segments.push((from, phase));
            from = phase.ms.median;
        }
    }
    segments
}

fn times(bench: &Bench) -> Markup {
    let of = |row: &Row, name: &str| row.phases.iter().find(|phase| phase.name == name).map(|phase| phase.ms);
    let mut lines: Vec<Line> = Vec::new();
    for name in phase_names(bench) {
        let cells = bench
            .rows
            .iter()
            .map(|row| of(row, name).map(spread).unwrap_or_default());
        lines.push((label(name).to_owned(), cells.collect()));
    }
    let ratios = bench.rows.iter().map(|row| format!("{:.2}", row.first_byte_ratio));
    let first = bench.rows.first().map_or("", |row| row.subject.as_str());
    lines.push((format!("first byte, times {first}"), ratios.collect()));
    table("Until, in ms: median (least .. nine of ten)", bench, &lines)
}

fn exits(bench: &Bench) -> Markup {
    let mut lines: Vec<Line> = Vec::new();
    let total = bench
        .rows
        .iter()
        .map(|row| row.exits.map(|exits| exits.to_string()).unwrap_or_default());
    lines.push(("to the VMM, whole boot".to_owned(), total.collect()));
    for until in names(
        bench
            .rows
            .iter()
            .flat_map(|row| row.counts.iter().map(|count| count.until.as_str())),
    ) {
        let counts = |row: &Row| {
            row.counts
                .iter()
                .find(|count| count.until == until)
                .map(|count| count.exits.clone())
        };
        let counts: Vec<Option<Exits>> = bench.rows.iter().map(counts).collect();
        let totals = counts.iter().map(|exits| {
            exits
                .as_ref()
                .map(|exits| exits.total().to_string())
                .unwrap_or_default()
        });
        lines.push((format!("until {}", label(until)), totals.collect()));
        let causes: BTreeSet<(String, String)> = counts.iter().flatten().flat_map(causes_of).collect();
        for (device, kind) in causes {
            let count = |exits: &Option<Exits>| match exits {
                Some(exits) => count_of(exits, &device, &kind)
                    .map(|count| count.to_string())
                    .unwrap_or_default(),
                None => String::new(),
            };
            lines.push((
                format!("– {device} {}", kind.replace('_', " ")),
                counts.iter().map(count).collect(),
            ));
        }
    }
    for name in names(
        bench
            .rows
            .iter()
            .flat_map(|row| row.kvm_exits.keys().map(String::as_str)),
    ) {
        let title = match name {
            "exits" => "by KVM's count, whole boot".to_owned(),
            name => format!("– {}", name.replace('_', " ")),
        };
        let cells = bench
            .rows
            .iter()
            .map(|row| row.kvm_exits.get(name).map(u64::to_string).unwrap_or_default());
        lines.push((title, cells.collect()));
    }
    table("Exits from the guest, one boot", bench, &lines)
}

/// Devices with kinds of accesses; what is no access has no device.
fn causes_of(exits: &Exits) -> Vec<(String, String)> {
    let of_devices = exits
        .devices
        .iter()
        .flat_map(|(device, kinds)| kinds.keys().map(move |kind| (device, kind)));
    let mut causes: Vec<_> = of_devices
        .map(|(device, kind)| (device.clone(), kind.clone()))
        .collect();
    let others = exits
        .kinds
        .keys()
        .filter(|kind| !causes.iter().any(|(_, known)| known == *kind));
    let others: Vec<_> = others.map(|kind| (String::new(), kind.clone())).collect();
    causes.extend(others);
    causes
}

fn count_of(exits: &Exits, device: &str, kind: &str) -> Option<u64> {
    let kinds = if device.is_empty() {
        Some(&exits.kinds)
    } else {
        exits.devices.get(device)
    };
    kinds?.get(kind).copied()
}

fn memory(bench: &Bench) -> Markup {
    let line = |title: &str, of: fn(&Row) -> u64| -> Line {
        (
            title.to_owned(),
            bench.rows.iter().map(|row| of(row).to_string()).collect(),
        )
    };
    let lines = [
        line("at most", |row| row.peak_kib),
        line("guest RAM in use", |row| row.guest_kib),
        line("beyond guest RAM", |row| row.beyond_kib),
    ];
    table("Resident memory, KiB", bench, &lines)
}

/// A line's title, and a cell for each row of the bench.
type Line = (String, Vec<String>);

fn table(title: &str, bench: &Bench, lines: &[Line]) -> Markup {
    html! {
        div.scroll {
            table.figures {
                thead { tr { th { (title) } @for row in &bench.rows { th { (row.subject) } } } }
                tbody {
                    @for (title, cells) in lines {
                        tr { th { (title) } @for cell in cells { td { (cell) } } }
                    }
                }
            }
        }
    }
}

/// Every phase of any row, in the order of a boot: the row that tells most has them in order.
fn phase_names(bench: &Bench) -> Vec<&str> {
    let fullest = bench.rows.iter().max_by_key(|row| row.phases.len());
    let rows = fullest.into_iter().chain(&bench.rows);
    let mut all = names(rows.flat_map(|row| row.phases.iter().map(|phase| phase.name.as_str())));
    // Whatever came first, a boot ends with its end.
    all.sort_by_key(|name| *name == "end");
    all
}

/// Each name once, where it first comes.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn label(phase: &str) -> &str {
    match phase {
        "process" => "process runs",
        "memory" => "memory ready",
        "image" => "image loaded",
        "vm" => "VM created",
        "cpus" => "CPUs created",
        "run" => "guest entered",
        "kernel" => "kernel runs",
        "init" => "/init runs",
        "console" => "console used",
        "done" => "guest done",
        "end" => "process ended",
        other => other,
    }
}

fn spread(spread: Spread) -> String {
    let [median, least, most] = [spread.median, spread.min, spread.p90].map(number);
    format!("{median} ({least} .. {most})")
}

fn number(ms: f64) -> String {
    format!("{ms:.1}")
}

/// Width of the chart in its own units; it is drawn as wide as the page.
const CHART_WIDTH: f64 = 1000.0;

/// Colours of phases in [`STYLE`].
const COLOURS: usize = 10;

/// Rules for this section alone.
pub(super) const STYLE: &str = include_str!("html/boot.css");

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use crate::bench::{Phase, PhaseExits};

    fn spread_of(median: f64) -> Spread {
        Spread {
            min: median - 0.5,
            median,
            p90: median + 1.0,
        }
    }

    fn row(subject: &str, phases: &[(&str, f64)]) -> Row {
        let phases = phases.iter().map(|(name, ms)| Phase {
            name: (*name).to_owned(),
            ms: spread_of(*ms),
        });
        Row {
            subject: subject.to_owned(),
            version: None,
            phases: phases.collect(),
            first_byte_ms: spread_of(5.0),
            end_ms: spread_of(9.0),
            first_byte_ratio: 1.25,
            exits: None,
            counts: Vec::new(),
            kvm_exits: [("exits".to_owned(), 88)].into(),
            peak_kib: 1,
            guest_kib: 2,
            beyond_kib: 3,
        }
    }

    #[test]
    fn what_a_vmm_does_not_tell_stays_blank() {
        let mut told = row("<a>", &[("process", 1.0), ("vm", 3.0), ("kernel", 5.0), ("end", 9.0)]);
        let mut exits = Exits::default();
        exits.kinds.insert("port_out".to_owned(), 65);
        exits
            .devices
            .insert("serial".to_owned(), [("port_out".to_owned(), 64)].into());
        told.exits = Some(65);
        told.counts.push(PhaseExits {
            until: "console".to_owned(),
            exits,
        });
        let mut report = sample();
        report.boot = Some(Bench {
            schema: 2,
            bench: "boot".to_owned(),
            image: "toll".to_owned(),
            ram_mib: 128,
            runs: 20,
            rows: vec![row("other", &[("kernel", 40.0), ("end", 46.0)]), told],
            skipped: Vec::new(),
        });
        let page = section(&report).into_string();
        assert!(
            page.contains("<th>VM created</th><td></td><td>3.0 (2.5 .. 4.0)</td>"),
            "{page}"
        );
        assert!(
            page.contains("<th>– serial port out</th><td></td><td>64</td>"),
            "{page}"
        );
        assert!(
            page.contains("<th>by KVM's count, whole boot</th><td>88</td><td>88</td>"),
            "{page}"
        );
        assert!(page.contains("&lt;a&gt;") && !page.contains("<a>"), "{page}");
        assert_eq!(page.matches("<rect").count(), 6, "{page}");
        // Every boot ends with its end, whoever tells most.
        assert!(page.find("kernel runs") < page.find("process ended"), "{page}");
    }

    #[test]
    fn no_boots_are_no_section() {
        assert_eq!(section(&sample()).into_string(), "");
    }
}
