use std::process::{Output, Stdio};
use std::time::Duration;

use testing::{Signal, soon};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::server::{self, Behavior, Server};
use crate::{EXE, file, json, stderr, stdout};

/// A run that has finished its warm-up.
struct Running {
    server: Server,
    child: Child,
    json: String,
}

impl Running {
    async fn start(name: &str, behavior: Behavior, flags: &[&str]) -> Self {
        let server = server::start(behavior).await;
        let json = file(name);
        let child = Command::new(EXE)
            .args([&*server.url, "--clients=10", "--json", &json])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        soon("a plus", server.plus_clicked.notified()).await;
        Self { server, child, json }
    }

    fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Stops the load client, and waits for this time.
    async fn stop(&self, duration: Duration) {
        self.signal(Signal::STOP);
        sleep(duration).await;
    }

    async fn end(self) -> (Output, serde_json::Value, Server) {
        let output = soon("the end", self.child.wait_with_output()).await.unwrap();
        (output, json(&self.json), self.server)
    }
}

#[tokio::test]
async fn ctrl_c_stops_and_still_reports() {
    let flags = ["--senders=1", "--seconds=600"];
    let run = Running::start("ctrl_c.json", Behavior::Good, &flags).await;
    sleep(Duration::from_millis(100)).await;
    run.signal(Signal::INT);
    let (output, report, mut server) = run.end().await;
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(text.contains("updates ") && text.contains("stopped      by Ctrl-C"), "{text}");
    assert_eq!(report["interrupted"], true);
    for _ in 0..10 {
        assert_eq!(soon("a close frame", server.close_codes.recv()).await, Some(1000));
    }
}

#[tokio::test]
async fn clicks_due_while_suspended_count_in_percentiles() {
    let flags = ["--rate=500", "--seconds=1"];
    let run = Running::start("across_the_end.json", Behavior::Good, &flags).await;
    run.stop(Duration::from_millis(1500)).await;
    run.signal(Signal::CONT);
    let (output, report, _server) = run.end().await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["run"]["updates"], 500);
    assert_eq!(report["run"]["deliveries"], 5000);
    // Half of them were due a whole second before they were sent.
    for copy in ["own_copy", "any_client", "last_client"] {
        let median = report["run"]["latency_us"][copy]["p50"].as_u64().unwrap();
        assert!(median > 500_000, "{copy}: {median} us");
    }
}

#[tokio::test]
async fn clicks_due_before_ctrl_c_count_in_percentiles() {
    let flags = ["--rate=500", "--seconds=600"];
    let run = Running::start("due_before_ctrl_c.json", Behavior::Good, &flags).await;
    run.stop(Duration::from_millis(500)).await;
    // The client handles the signal when it continues.
    run.signal(Signal::INT);
    run.signal(Signal::CONT);
    let (output, report, _server) = run.end().await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(report["run"]["updates"].as_u64().unwrap() >= 250, "{report}");
}

#[tokio::test]
async fn a_suspended_client_does_not_blame_the_server() {
    let flags = ["--rate=10", "--seconds=1"];
    let run = Running::start("stood_still.json", Behavior::Good, &flags).await;
    // The first click is complete, and the next one is not due yet.
    sleep(Duration::from_millis(50)).await;
    run.stop(Duration::from_millis(10_500)).await;
    run.signal(Signal::CONT);
    let (output, report, _server) = run.end().await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["run"]["updates"], 10);
}
