//! Goldens of the reference, held against `golden/board`, and the invariants of the goldens themselves.
//!
//! `cargo xtask golden check` runs this; `cargo xtask golden bless` writes them anew. That they are right is shown by
//! `cargo xtask golden verify`, against a live QEMU and against the recording of the machine's first release.

use std::path::Path;

use conformance::case::Feature;
use conformance::golden::{Aspect, check_e820};
use conformance::layout::Layout;
use conformance::subject::in_process::InProcessAdapter;

fn folder(layout: &Layout) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../golden/board")
        .join(layout.profile)
}

/// Goldens are read out of fw_cfg.
fn with_goldens() -> impl Iterator<Item = &'static Layout> {
    Layout::ALL.into_iter().filter(|layout| layout.has(Feature::FwCfg))
}

#[test]
fn reference_matches_its_goldens() {
    for layout in with_goldens() {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder(layout));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let source = match layout.profile {
            "microvm-2019" => "the reference; confirmed by the recording of QEMU 4.2.0 where it has the set-up",
            _ => "the reference; confirmed by a live QEMU 7.2",
        };
        settings.set_description(format!("profile {}, source: {source}", layout.profile));
        settings.bind(|| {
            for aspect in Aspect::ALL {
                let text = aspect
                    .render(&InProcessAdapter, layout)
                    .expect("the reference can be read");
                insta::assert_snapshot!(aspect.name(), text);
            }
        });
    }
}

#[test]
fn e820_goldens_hold_their_invariants() {
    for layout in with_goldens() {
        let file = folder(layout).join("e820.snap");
        let text = std::fs::read_to_string(&file).expect("the golden is in the tree");
        check_e820(layout, &text).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    }
}
