//! The HTML report in a real browser: nothing overflows, nothing complains, and the filter filters. Skipped, and said
//! so, where there is no Chromium.

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn page_fits_wide_and_narrow_windows_and_its_filter_works() {
    let Some(browser) = BROWSERS.into_iter().find(|name| runs(name)) else {
        eprintln!("skipped: no Chromium here; `cargo xtask setup --install` gets it");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("report.html");
    // A subject that fails everything: the longest page there is.
    let status = Command::new(env!("CARGO_BIN_EXE_touchstone"))
        .args([
            "run",
            "--subject",
            "reference",
            "--subject",
            "null",
            "--depth",
            "bus",
            "--no-expectations",
        ])
        .args(["--filter", "rtc", "--filter", "virtio-mmio", "--transcripts", "--html"])
        .arg(&page)
        .stdout(Stdio::null())
        .status()
        .expect("touchstone");
    assert_eq!(status.code(), Some(1), "null fails");
    let page = std::fs::read_to_string(page).expect("the page");
    for width in [1280, 400] {
        let seen = look(browser, folder.path(), &page, width);
        let number = |key: &str| -> i64 {
            let value = seen.iter().find_map(|word| word.strip_prefix(key));
            value
                .and_then(|value| value.parse().ok())
                .unwrap_or_else(|| panic!("{key} at {width}: {seen:?}"))
        };
        assert!(number("content=") <= number("window="), "{width} pixels: {seen:?}");
        assert!(50 < number("rows="), "{seen:?}");
        assert_eq!(number("shown="), number("wanted="), "{seen:?}");
        assert!(number("wanted=") < number("rows="), "{seen:?}");
        assert_eq!(number("opened="), 1, "{seen:?}");
    }
}

/// Shows the page in a frame of that width, uses it, and returns what a script saw. A message on the console is a
/// failure.
fn look(browser: &str, folder: &Path, page: &str, width: u32) -> Vec<String> {
    let text = page.replace('&', "&amp;").replace('"', "&quot;");
    let wrapper = folder.join(format!("wrapper-{width}.html"));
    let script = include_str!("page/look.js");
    let html = format!(
        "<!doctype html><body style='margin:0'><iframe style='width:{width}px;height:900px;border:0' \
         srcdoc=\"{text}\"></iframe><pre id=seen></pre><script>{script}</script>"
    );
    std::fs::write(&wrapper, html).expect("the wrapper");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", wrapper.display()))
        .output()
        .expect("the browser");
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{width} pixels: {complaints:?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    let seen = dom
        .split_once("<pre id=\"seen\">")
        .map(|(_, rest)| rest.split('<').next().unwrap_or_default());
    let seen = seen.unwrap_or_else(|| panic!("no answer at {width} pixels: {said}"));
    seen.split_whitespace().map(str::to_owned).collect()
}

fn runs(name: &str) -> bool {
    let version = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
