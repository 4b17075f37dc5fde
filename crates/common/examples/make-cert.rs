//! Makes a new certificate for localhost. You need one after 397 days, or if others may have seen
//! the key. `scripts/make-cert [FILE]` runs this.
//!
//! ```text
//! cargo run -p common --features make-cert --example make-cert [FILE]
//! ```
//!
//! The default FILE is `certs/localhost.pem`. An existing file is replaced.

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next();
    let is_option = file.as_ref().is_some_and(|file| file.to_string_lossy().starts_with('-'));
    if is_option || arguments.next().is_some() {
        eprintln!("usage: make-cert [FILE]");
        return ExitCode::FAILURE;
    }
    let file = file.map_or_else(common::tls::default_path, PathBuf::from);
    match common::tls::make(&file) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
