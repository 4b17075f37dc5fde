//! Does what the section "Outside this workspace" of the chapter says, word for word, in a folder
//! outside of this workspace: a reader who copies it has a service, and its test passes.

#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The fences of the section: their language and their text.
fn fences(chapter: &str) -> Vec<(&str, &str)> {
    let (_, section) = chapter.split_once("\n## Outside this workspace\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let inside = section.split("\n```").skip(1).step_by(2);
    inside.map(|fence| fence.split_once('\n').unwrap()).collect()
}

#[test]
fn a_service_outside_this_workspace_is_made_and_tested_as_the_chapter_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::temp_dir().join(format!("outside-{:016x}", fastrand::u64(..)));
    fs::create_dir(&folder).unwrap();
    let workspace = here.join("../..").canonicalize().unwrap();
    std::os::unix::fs::symlink(workspace, folder.join("websockets")).unwrap();

    let chapter = fs::read_to_string(here.join("README.md")).unwrap();
    let fences = fences(&chapter);
    let languages: Vec<_> = fences.iter().map(|(language, _)| *language).collect();
    assert_eq!(languages, ["sh", "toml", "rust", "html", "rust", "sh"]);
    let [(_, new), (_, toml), (_, program), (_, page), (_, test), (_, run)] = fences[..] else {
        unreachable!()
    };
    let shell = |commands: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", commands]).current_dir(&folder);
        command.envs(testing::outside_build(env!("CARGO_TARGET_TMPDIR")));
        // Not this test's own settings: those are for this package.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_")) {
            command.env_remove(name);
        }
        // Of what the tests themselves are run with.
        command.env_remove("RUSTC_BOOTSTRAP");
        let out = command.env("CARGO_TARGET_DIR", folder.join("target")).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
        said
    };
    shell(new);
    let file = |name: &str| folder.join("votes").join(name);
    let manifest = fs::read_to_string(file("Cargo.toml")).unwrap();
    assert!(manifest.ends_with("[dependencies]\n"), "{manifest}");
    assert_eq!(toml.lines().count(), 4);
    fs::write(file("Cargo.toml"), manifest + toml + "\n").unwrap();
    fs::write(file("src/main.rs"), program).unwrap();
    fs::write(file("src/votes.html"), page).unwrap();
    fs::create_dir(file("tests")).unwrap();
    fs::write(file("tests/votes.rs"), test).unwrap();
    let said = shell(run);
    assert!(said.contains("test result: ok. 1 passed"), "{said}");
    fs::remove_dir_all(folder).unwrap();
}
