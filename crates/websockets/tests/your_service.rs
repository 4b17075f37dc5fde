//! Does what the chapter about a service of your own shows, in a folder outside of this workspace:
//! a reader who copies its code gets the same answers, and the test passes.

#![cfg(unix)]

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use testing::Program;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// One block of code in the chapter.
struct Fence<'a> {
    /// The comment above it names a file, or means that this test runs the commands.
    mark: &'a str,
    language: &'a str,
    code: &'a str,
}

fn fences(chapter: &str) -> VecDeque<Fence<'_>> {
    let parts: Vec<_> = chapter.split("\n```").collect();
    let fences = parts.chunks_exact(2).map(|pair| {
        let mark = pair[0].lines().last().unwrap();
        let (language, code) = pair[1].split_once('\n').unwrap();
        Fence { mark, language, code }
    });
    fences.collect()
}

/// Makes the change that a reader makes by hand: the lines with `-` go, those with `+` come.
fn patch(text: &str, diff: &str) -> String {
    let side = |other: char| {
        let lines = diff.lines().filter(|line| !line.starts_with(other));
        lines.map(|line| format!("{}\n", &line[1..])).collect::<String>()
    };
    let (old, new) = (side('+'), side('-'));
    assert_eq!(text.matches(&old).count(), 1, "{old} in {text}");
    text.replace(&old, &new)
}

/// A folder with this repository and the reader's program in it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("your-service-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let workspace = Path::new(HERE).join("../..").canonicalize().unwrap();
        std::os::unix::fs::symlink(workspace, folder.join("websockets")).unwrap();
        Self(folder)
    }

    fn write(&self, fence: &Fence) {
        let name = fence.mark.strip_prefix("<!-- not a listing: ").unwrap();
        let path = self.0.join(name.strip_suffix(" -->").unwrap());
        let code = format!("{}\n", fence.code);
        match fence.language {
            "toml" => {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                file.write_all(code.as_bytes()).unwrap();
            }
            "diff" => {
                let changed = patch(&fs::read_to_string(&path).unwrap(), &code);
                fs::write(path, changed).unwrap();
            }
            _ => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, code).unwrap();
            }
        }
    }

    fn run(&self, folder: &str, command: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).current_dir(self.0.join(folder));
        shell.envs(testing::outside_build(env!("CARGO_TARGET_TMPDIR")));
        shell.env("CARGO_TARGET_DIR", self.0.join("target"));
        // These settings belong to the package of this test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_")) {
            shell.env_remove(name);
        }
        shell.env_remove("RUSTC_BOOTSTRAP");
        let output = shell.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    /// Starts the program on a free port. It prints the lines that the chapter shows.
    async fn start(&self, shown: &str) -> Program {
        self.run("votes", "cargo build --quiet");
        let program = self.0.join("target/debug/votes");
        let mut server = Program::start(program.to_str().unwrap(), &["localhost:0"]).await;
        let shown = shown.replace(":4000", &format!(":{}", server.address.port()));
        for line in shown.lines().skip(1) {
            assert_eq!(server.line().await.as_deref(), Some(line));
        }
        server
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command with the talk of this workspace. It prints the lines that the chapter shows.
fn talk(server: &Program, command: &str, shown: &str) {
    let command = command.replace("localhost:4000", &server.address.to_string());
    let command = command.replace("cargo run -p talk --", &testing::built("talk"));
    let output = Command::new("sh").args(["-c", &format!("{{ {command}; }} 2>&1")]).output();
    assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout).trim_end(), shown);
}

#[tokio::test]
async fn the_chapters_service_works_as_shown() {
    let chapter = fs::read_to_string(Path::new(HERE).join("your-service.md")).unwrap();
    let mut fences = fences(&chapter);
    let place = Place::new();
    let mut server = None;
    let (mut starts, mut talks, mut tests) = (0, 0, 0);
    while let Some(fence) = fences.pop_front() {
        if fence.mark.contains("a picture") {
            continue;
        }
        if fence.language != "sh" {
            place.write(&fence);
            continue;
        }
        let output = fences.pop_front_if(|next| next.language == "text");
        let shown = output.map_or("", |output| output.code);
        if fence.code == "cargo run" {
            server = Some(place.start(shown).await);
            starts += 1;
        } else if fence.code.contains("talk") {
            talk(server.as_ref().unwrap(), fence.code, shown);
            talks += 1;
        } else if fence.code.starts_with("cargo test") {
            let printed = place.run("votes", fence.code);
            assert!(printed.contains("test result: ok. 1 passed"), "{printed}");
            tests += 1;
        } else {
            place.run(".", fence.code);
        }
    }
    assert_eq!((starts, talks, tests), (5, 5, 1));
}
