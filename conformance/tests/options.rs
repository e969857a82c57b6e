//! The table of options in the README says nothing untrue: each case in it exists, and runs at the depth claimed.

use std::path::Path;

use conformance::case::Body;
use conformance::catalog;
use conformance::machine::{Adapter, Caps, Depth};
use conformance::subject::description::Description;
use conformance::subject::in_process::InProcessAdapter;

#[test]
fn cases_of_the_table_run_where_it_says() {
    let rows = rows();
    assert!(
        ROWS_MIN <= rows.len(),
        "the README's table of options has {} rows",
        rows.len()
    );
    let mut problems = Vec::new();
    for row in &rows {
        for (column, depth) in [(1, Depth::Bus), (2, Depth::Wire), (3, Depth::Cpu)] {
            let cell = if row[column] == "the same" {
                &row[1]
            } else {
                &row[column]
            };
            if !cell.starts_with('—') && ids(cell).is_empty() {
                problems.push(format!("{}: depth {depth} names no case and gives no reason", row[0]));
            }
            let caps = caps(depth);
            problems.extend(ids(cell).iter().filter_map(|id| problem(id, depth, caps)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Every option that the reference's own subject file can pass on has a row.
#[test]
fn every_machine_option_has_a_row() {
    let rows = rows();
    for option in reference().machine_options.keys() {
        let found = rows.iter().any(|row| row[0].contains(&format!("`{option}")));
        assert!(found, "README.md: the table of options has no row for {option}");
    }
}

/// Why a case is no proof at a depth of the reference, if so.
fn problem(id: &str, depth: Depth, caps: Caps) -> Option<String> {
    let Some(case) = catalog::by_id(id) else {
        return Some(format!("there is no case {id}"));
    };
    if matches!(case.body, Body::Guest { .. }) {
        return Some(format!("{id} runs at depth guest only, not {depth}"));
    }
    let missing = caps.missing(case.needs);
    (!missing.is_empty()).then(|| format!("{id} needs {missing}, which depth {depth} lacks"))
}

/// What the reference can be asked for at a depth.
fn caps(depth: Depth) -> Caps {
    if depth == Depth::Bus {
        return InProcessAdapter.caps();
    }
    let reference = reference();
    let launch = &reference.launches(depth)[0];
    launch.caps().expect("the suite's own file names capabilities")
}

fn reference() -> Description {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("subjects/reference.toml");
    Description::read(&file).expect("the suite's own subject file")
}

/// The table's rows: option, bus, wire, cpu.
fn rows() -> Vec<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(file).expect("the README");
    let table = text.lines().skip_while(|line| *line != HEADER).skip(2);
    table
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<String> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect();
            assert_eq!(cells.len(), 4, "{line}");
            cells
        })
        .collect()
}

/// What a cell names in backquotes that looks like a case's id and not like a file.
fn ids(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| word.contains('/') && !word.contains('.'))
        .collect()
}

const HEADER: &str = "| option | bus | wire | cpu |";
/// An emptied table is no pass.
const ROWS_MIN: usize = 20;
