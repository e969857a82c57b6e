//! `check-image FILE...`: says of each guest image whether a plain interpreter can run it. Exit status 1 when not.

use std::{env, fs, process::ExitCode};

use guest_images::check;

fn main() -> ExitCode {
    let mut files = env::args_os().skip(1).peekable();
    if files.peek().is_none() {
        eprintln!("check-image: no file given; usage: check-image FILE...");
        return ExitCode::from(2);
    }
    let mut status = ExitCode::SUCCESS;
    for file in files {
        let path = file.display();
        let outcome = match fs::read(&file) {
            Ok(bytes) => check::check(&bytes),
            Err(error) => {
                eprintln!("check-image: read {path}: {error}");
                return ExitCode::from(2);
            }
        };
        match outcome {
            Ok(summary) => {
                let (start, end) = summary.range;
                println!(
                    "OK {path}: {} instructions, entry {:#x}, memory {start:#x}..{end:#x}",
                    summary.instructions, summary.entry
                );
            }
            Err(offences) => {
                status = ExitCode::FAILURE;
                for offence in offences {
                    println!("REFUSED {path}: {offence}");
                }
            }
        }
    }
    status
}
