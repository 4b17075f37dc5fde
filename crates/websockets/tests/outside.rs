//! `websockets` outside its workspace: a program that depends on it by path, with messages, flags
//! and a page of its own, is built as any user would build it, and greets.

use std::fs;
use std::path::Path;

use testing::{Peer, Program, http, run};
use tokio::process::Command;
use tokio::sync::Mutex;

const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// Kept from one run to the next, so that only the first builds everything.
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/outside");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// Runs cargo on a copy of the program in another folder. Returns whether it succeeded, and what
/// it printed.
async fn cargo(arguments: &[&str]) -> (bool, String) {
    // One at a time, or the second would print that it waits for the first.
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let place =
        std::env::temp_dir().join(format!("outside-{}-{}", arguments[0], std::process::id()));
    copy(&Path::new(HERE).join("tests/outside"), &place);
    let manifest = fs::read_to_string(place.join("Cargo.toml")).unwrap();
    // A string of TOML without escapes, for the backslashes of Windows.
    let manifest = manifest.replace("\"WEBSOCKETS\"", &format!("'{HERE}'"));
    fs::write(place.join("Cargo.toml"), manifest).unwrap();
    // The same versions as here: they are on this machine already.
    fs::copy(Path::new(HERE).join("../../Cargo.lock"), place.join("Cargo.lock")).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--quiet")
        .current_dir(&place)
        .env("CARGO_TARGET_DIR", TARGET)
        .envs(testing::outside_build(env!("CARGO_TARGET_TMPDIR")))
        // Of what the tests themselves are run with.
        .env_remove("RUSTC_BOOTSTRAP")
        .env_remove("RUSTFLAGS")
        .output()
        .await
        .unwrap();
    fs::remove_dir_all(place).unwrap();
    (cargo.status.success(), String::from_utf8(cargo.stderr).unwrap())
}

#[tokio::test]
async fn a_program_outside_the_workspace_builds_and_greets() {
    assert_eq!(cargo(&["build", "--bins"]).await, (true, String::new()));
    let built = |name| format!("{TARGET}/debug/{name}{}", std::env::consts::EXE_SUFFIX);

    let mut server = Program::start(&built("outside"), &["--greeting", "Hei"]).await;
    let mut peer = Peer::connect(&format!("{}/sauna", server.url())).await;
    peer.send(r#"{"name": "Väinö"}"#).await;
    assert_eq!(peer.text().await, r#"{"text":"Hei, Väinö!","room":"/sauna"}"#);
    peer.send("what?").await;
    assert_eq!(peer.closed().await, (1003, "send {\"name\": …}".into()));
    let page = http(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(page.ends_with("\r\n\r\n<p>Hei</p>"), "{page}");
    server.line_with("open http://localhost:").await;

    // The program's own flags and its own words, among those of every server.
    let help = run(&built("outside"), &["--help"], "").await;
    let help = String::from_utf8(help.stdout).unwrap();
    for text in ["Greets in any language", "--greeting <GREETING>", "--max-size", "[ADDRESS]"] {
        assert!(help.contains(text), "{text} is not in {help}");
    }
    assert!(!help.contains("The settings of a server"), "{help}");

    let server = Program::start(&built("plain"), &[]).await;
    assert_eq!(Peer::connect(&server.url()).await.text().await, "hello");
}

#[tokio::test]
async fn a_wrong_handler_is_answered_with_a_right_one() {
    let (is_ok, errors) = cargo(&["check", "--example", "wrong_handlers"]).await;
    assert!(!is_ok);
    for name in ["takes_no_socket", "returns_a_string", "holds_an_rc", "takes_another_state"] {
        let about: Vec<_> = errors.split("error[").filter(|error| error.contains(name)).collect();
        assert!(!about.is_empty(), "{name}: {errors}");
        for error in about {
            assert!(error.contains("is not a handler"), "{error}");
            let right = "async fn hello(socket: &mut Socket) -> websockets::Result<()>";
            assert!(error.contains(right), "{error}");
        }
    }
    let text_as_frames = "the trait bound `Encoded: From<String>` is not satisfied";
    assert!(errors.contains(text_as_frames), "{errors}");
}
