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
    for path in files(&root().join("crates")) {
        // The modules of a test binary are explained in its index.
        let in_index = path.parent().is_some_and(|folder| folder.ends_with("tests/it"));
        if path.extension().is_some_and(|extension| extension == "rs") && !in_index {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{}", path.display());
            looked_at += 1;
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

#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let code: String = files(&root().join("crates"))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let (_, table) = readme.split_once("## What it withstands").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let tests = row.rsplit(" | ").next().unwrap();
        for name in tests.split('`').filter(|name| name.contains("_")) {
            assert!(code.contains(&format!("fn {name}()")), "there is no test {name}");
            named += 1;
        }
    }
    assert!(named > 10);
}

#[test]
fn every_file_that_a_readme_links_to_exists() {
    let mut links = 0;
    for readme in ["README.md", "certs/README.md"] {
        let path = root().join(readme);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if !link.contains("://") {
                assert!(path.parent().unwrap().join(link).exists(), "{readme} links to {link}");
                links += 1;
            }
        }
    }
    assert!(links > 5);
}

#[test]
fn every_program_that_the_readme_runs_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut commands = 0;
    for command in readme.split("cargo run ").skip(1) {
        let (_, package) = command.split_once("-p ").unwrap();
        let package = package.split(|c: char| c.is_whitespace() || c == '`').next().unwrap();
        assert!(root().join("crates").join(package).join("src/main.rs").exists(), "{package}");
        commands += 1;
    }
    for script in readme.split("scripts/").skip(1) {
        let name: String =
            script.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let path = root().join("scripts").join(&name);
        assert!(path.exists(), "there is no scripts/{name}");
    }
    assert!(commands > 6);
}

/// All files below a folder.
fn files(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    Box::new(entries.into_iter().flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => Box::new(std::iter::once(path)),
    }))
}
