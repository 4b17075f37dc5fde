use crate::server::{self, Behavior};
use crate::{EXE, file, json, load, stderr, stdout};

/// This holds for clicks at any time and in both directions, and for every way to load the server.
#[tokio::test]
async fn when_somebody_else_clicks_the_report_says_so() {
    // At the beginning and the end of the warm-up and of the measured run, and within each.
    for at in [-1, -17, -30, -29, 17, 269, 270] {
        for step in [1, -1] {
            for pace in ["--in-flight=1", "--in-flight=8", "--rate=2000"] {
                let server = server::start(Behavior::OtherClientClicks(at, step)).await;
                let flags = [&*server.url, "--clients=10", "--updates=300", pace];
                let output = testing::run(EXE, &flags, "").await;
                let case = format!("{step} at {at}, {pace}: {output:?}");
                assert_eq!(output.status.code(), Some(1), "{case}");
                let message = "another client changed the counter during the test; \
                               use a server without other clients\n";
                assert_eq!(stderr(&output), message, "{case}");
                let text = stdout(&output);
                assert!(text.contains(&format!("problem      {message}")), "{case}");
                assert!(text.contains("FAILED"), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn clicks_that_get_no_answer_are_reported_as_missing() {
    for pace in ["--in-flight=50", "--rate=2000"] {
        let server = server::start(Behavior::Disconnects).await;
        let json_file = file("missing.json");
        let flags = [&*server.url, "--clients=10", "--updates=300", pace, "--json", &json_file];
        let output = testing::run(EXE, &flags, "").await;
        assert_eq!(output.status.code(), Some(1));
        let checks = &json(&json_file)["checks"];
        let (missing, clicks) = (&checks["missing"], &checks["clicks"]);
        assert!(missing.as_u64().unwrap() > 0, "{checks}");
        assert_eq!(checks["passed"], false);
        let text = stdout(&output);
        let message = format!(
            "FAILED: {missing} of {clicks} clicks did not reach every client \
             and are missing in the latencies;"
        );
        assert!(text.contains(&message), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_goes_silent_fails_the_checks() {
    let server = server::start(Behavior::IgnoresClicks).await;
    let output = load(&server.url, &[]).await;
    assert_eq!(
        stderr(&output),
        "10 of 10 clients did not get the newest value within 10 s; \
         check the server's log\n"
    );
    let text = stdout(&output);
    assert!(!text.contains("every client got every value"), "{text}");
    assert!(text.contains("FAILED: 8 of "), "{text}");
}
