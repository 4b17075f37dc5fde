//! What holds for the whole workspace, so that nobody has to remember it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, a panic is a failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn crates() -> impl Iterator<Item = PathBuf> {
    fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path())
}

fn cargo(args: &[&str]) -> String {
    let cargo = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    String::from_utf8(cargo.stdout).unwrap()
}

#[test]
fn every_crate_inherits_the_workspaces_lints_and_facts() {
    for path in crates() {
        let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{}", path.display());
        for fact in ["version", "edition", "rust-version", "publish"] {
            assert!(manifest.contains(&format!("\n{fact}.workspace = true\n")), "{path:?}: {fact}");
        }
    }
}

#[test]
fn the_crates_without_tls_compile_no_tls_library() {
    for demo in ["hello-server", "hello-client", "time-server", "counter-server"] {
        let tree = cargo(&["tree", "--locked", "--offline", "-e", "normal,build", "-p", demo]);
        assert!(tree.contains("tokio-tungstenite"), "{tree}");
        for library in ["native-tls", "openssl", "rustls", "schannel", "aws-lc"] {
            assert!(!tree.contains(library), "{demo} compiles {library}");
        }
    }
}

#[test]
fn every_file_says_at_its_top_what_it_is_for() {
    let mut looked_at = 0;
    let mut folders: Vec<_> = crates().collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                // The modules of a test binary are explained in its index.
                if path.parent().is_some_and(|parent| parent.ends_with("tests/it")) {
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("//! "), "{}", path.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 20);
}

#[test]
fn no_key_and_no_certificate_is_committed() {
    let Ok(git) = Command::new("git").args(["ls-files"]).current_dir(root()).output() else {
        return;
    };
    let files = String::from_utf8(git.stdout).unwrap();
    assert!(!files.lines().any(|file| file.ends_with(".pem") || file.ends_with(".key")));
}

#[test]
fn the_readmes_table_of_flags_equals_the_help() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let flags = fs::read_to_string(root().join("crates/common/src/flags.rs")).unwrap();
    let mut rows = 0;
    for row in readme.lines().filter_map(|line| line.strip_prefix("| `--")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [name, _meaning, default] = cells.as_slice() else { panic!("{row}") };
        let name = name.split(' ').next().unwrap().trim_end_matches('`').replace('-', "_");
        if name == "cert" {
            continue;
        }
        // The attribute that stands above the field.
        let (above, _) = flags.split_once(&format!("pub {name}: ")).expect(row);
        let attribute = above.rsplit_once("#[arg(").expect(row).1;
        let default = default.trim_end_matches(" |");
        if default.chars().all(|c| c.is_ascii_digit()) {
            let default: u64 = default.parse().unwrap();
            let said = [
                format!("default_value = \"{default}\""),
                format!("default_value_t = {}", thousands(default)),
            ];
            assert!(said.iter().any(|said| attribute.contains(said)), "{row}: {attribute}");
        }
        rows += 1;
    }
    assert_eq!(rows, flags.matches("#[arg(long").count());
}

fn thousands(number: u64) -> String {
    match number {
        1_048_576 => "1 << 20".to_owned(),
        number => format!("{}_{:03}", number / 1000, number % 1000),
    }
}
