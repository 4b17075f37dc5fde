//! Rules for the whole workspace, so that no author has to remember them. (`scripts/docs` keeps the
//! texts true.)

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
        for fact in ["version", "edition", "rust-version", "license", "publish"] {
            // The library has releases of its own, which its changelog describes.
            let own = fact == "version" && path.ends_with("websockets");
            let inherited = manifest.contains(&format!("\n{fact}.workspace = true\n"));
            assert!(inherited || own, "{path:?}: {fact}");
        }
    }
}

#[test]
fn every_program_and_library_denies_panics() {
    let line = "#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]";
    for path in crates().filter(|path| !path.ends_with("testing")) {
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| fs::read_to_string(path.join(root)));
        for root in roots.into_iter().flatten() {
            assert!(root.contains(line), "{}", path.display());
        }
    }
}

#[test]
fn the_crates_without_tls_compile_no_tls_library() {
    let demos =
        ["hello-server", "hello-client", "time-server", "counter-server", "chat-server", "talk"];
    for demo in demos {
        let tree = cargo(&["tree", "--locked", "--offline", "-e", "normal,build", "-p", demo]);
        assert!(tree.contains("tokio-tungstenite"), "{tree}");
        for library in ["native-tls", "openssl", "rustls", "schannel", "aws-lc"] {
            assert!(!tree.contains(library), "{demo} compiles {library}");
        }
    }
}

#[test]
fn the_servers_compile_nothing_of_the_clients() {
    for demo in ["hello-server", "time-server", "counter-server"] {
        let tree = cargo(&["tree", "--locked", "--offline", "-e", "normal,build", "-p", demo]);
        assert!(tree.contains("tokio-tungstenite"), "{tree}");
        assert!(!tree.contains("tokio-socks"), "{demo} compiles a proxy's protocol");
    }
}

#[test]
fn every_file_begins_with_its_purpose() {
    let mut looked_at = 0;
    for path in files(&root().join("crates")) {
        // The modules of a test binary are explained in its index.
        let in_index = path.parent().and_then(Path::parent).is_some_and(|p| p.ends_with("tests"))
            && !path.ends_with("main.rs");
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

/// All files below a folder.
fn files(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    Box::new(entries.into_iter().flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => Box::new(std::iter::once(path)),
    }))
}
