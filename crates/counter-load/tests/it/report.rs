use std::collections::HashSet;

use testing::soon;

use crate::server::{self, Behavior};
use crate::{EXE, file, json, load, stderr, stdout};

#[tokio::test]
async fn a_run_writes_text_json_and_a_chart() {
    let mut server = server::start(Behavior::Good).await;
    let (json_file, chart) = (file("good.json"), file("good.svg"));
    let output = load(&server.url, &["--json", &json_file, "--chart", &chart]).await;
    let text = stdout(&output);
    assert_eq!(stderr(&output), "");
    assert!(output.status.success());
    assert!(text.contains("10 clients, 3 of them clicking, 8 in flight\n"), "{text}");
    // 30 clicks down to warm up, 300 up.
    let checked = "every client got every value, in order; all ended at 270\n";
    assert!(text.contains(checked), "{text}");
    for name in ["connects", "updates", "deliveries", "latency", "fairness"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in {text}");
    }
    // On Windows, a program can read its own CPU time only with unsafe code.
    let own = text.lines().any(|line| line.starts_with("this client"));
    assert_eq!(own, cfg!(unix), "{text}");

    let report = json(&json_file);
    assert_eq!(report["clients"], 10);
    assert_eq!(report["run"]["updates"], 300);
    assert_eq!(report["run"]["deliveries"], 3000);
    assert_eq!(report["checks"]["passed"], true);
    assert_eq!(report["checks"]["skipped"], 0);
    assert_eq!(report["checks"]["end_value"], 270);
    for figure in [
        "/connect/per_second",
        "/connect/told_seconds",
        "/run/updates_per_second",
        "/run/deliveries_per_second",
        "/run/latency_us/own_copy/p50",
        "/run/latency_us/any_client/p99_9",
        "/run/latency_us/last_client/max",
        "/run/fairness/ratio",
        "/load/cpu_share",
        "/load/cpu_us_per_delivery",
    ] {
        let figure = report.pointer(figure).unwrap_or_else(|| panic!("no {figure} in {report}"));
        assert!(cfg!(windows) || figure.is_number(), "{figure}");
    }

    well_formed(&std::fs::read_to_string(chart).unwrap());

    for _ in 0..10 {
        assert_eq!(soon("a close frame", server.close_codes.recv()).await, Some(1000));
    }
}

#[tokio::test]
async fn a_missing_server_of_several_is_named() {
    let server = server::start(Behavior::Good).await;
    let other_name = server.url.replace("127.0.0.1", "localhost");
    let output = load(&server.url, &[&other_name]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let both = format!("{} {other_name}: 10 clients", server.url);
    assert!(text.starts_with(&both), "{text}");
    assert!(text.contains("every client got every value, in order"), "{text}");

    let output = load(&server.url, &["ws://127.0.0.1:1"]).await;
    let message = stderr(&output);
    assert!(
        message.starts_with("cannot connect to ws://127.0.0.1:1: connection refused"),
        "{message}"
    );
}

#[tokio::test]
async fn a_rate_is_kept_without_waiting_for_copies() {
    let server = server::start(Behavior::Good).await;
    let json_file = file("rate.json");
    let flags = ["--clients=5", "--rate=500", "--updates=100", "--json", &json_file];
    let output = testing::run(EXE, &[&[server.url.as_str()], &flags[..]].concat(), "").await;
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&json_file);
    assert_eq!(report["run"]["updates"], 100);
    assert_eq!(report["rate"], 500.0);
    // The last of them is due after 0.198 s.
    assert!(report["run"]["seconds"].as_f64().unwrap() >= 0.198);
}

#[tokio::test]
async fn with_a_barrier_the_last_client_limits_the_clicks() {
    let server = server::start(Behavior::Good).await;
    let flags = ["--clients=10", "--barrier", "--in-flight=1", "--updates=50"];
    let output = testing::run(EXE, &[&[server.url.as_str()], &flags[..]].concat(), "").await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output)
            .contains("1 of them clicking, 1 in flight until every client has the value")
    );
}

#[tokio::test]
async fn idle_clients_only_connect() {
    let server = server::start(Behavior::Good).await;
    let json_file = file("idle.json");
    let pid = std::process::id().to_string();
    let mut flags =
        vec![&*server.url, "--idle", "--clients=20", "--seconds=0.1", "--json", &json_file];
    if cfg!(target_os = "linux") {
        flags.extend(["--pid", &pid]);
    }
    let output = testing::run(EXE, &flags, "").await;
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&json_file);
    assert_eq!(report["clients"], 20);
    assert!(report["run"].is_null());
    if cfg!(target_os = "linux") {
        assert!(report["memory"]["kib_per_connection"].is_number());
        assert!(report["server"]["cpu_share"].is_number());
    }
}

#[tokio::test]
async fn a_value_missing_at_one_client_is_detected() {
    let server = server::start(Behavior::Skips).await;
    let json_file = file("skips.json");
    let output = load(&server.url, &["--json", &json_file]).await;
    assert_eq!(stderr(&output), "1 of 10 clients skipped 1 values; try fewer clicks\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("FAILED: 1 skipped values"));
    let checks = &json(&json_file)["checks"];
    assert_eq!(checks["passed"], false);
    assert_eq!((&checks["skipped"], &checks["clients_that_skipped"]), (&1.into(), &1.into()));
    // The others got all of them.
    assert_eq!(json(&json_file)["run"]["deliveries"], 2999);
}

#[tokio::test]
async fn an_older_value_is_detected() {
    let server = server::start(Behavior::Swaps).await;
    let output = load(&server.url, &[]).await;
    assert_eq!(stderr(&output), "an older value came after a newer one 1 times\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("1 older values after newer ones"));
}

/// Every element is closed, every attribute quoted, and no bare `<` or `&` in the text.
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        assert!(!text.contains('>'));
        for entity in text.split('&').skip(1) {
            assert!(
                ["amp;", "lt;", "gt;", "apos;", "quot;"]
                    .iter()
                    .any(|known| entity.starts_with(known)),
                "{text}"
            );
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{xml}");
            continue;
        }
        let (inside, empty) = match tag.strip_suffix('/') {
            Some(inside) => (inside, true),
            None => (tag, false),
        };
        let (name, attributes) = inside.split_once(' ').unwrap_or((inside, ""));
        let quoted: Vec<_> = attributes.split('"').collect();
        assert!(quoted.len() % 2 == 1, "{tag}");
        let mut names = HashSet::new();
        for name in quoted.iter().step_by(2).map(|name| name.trim()).filter(|n| !n.is_empty()) {
            assert!(name.ends_with('=') && names.insert(name), "{tag}");
        }
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && xml.starts_with("<svg ") && xml.ends_with("</svg>\n"), "{xml}");
}
