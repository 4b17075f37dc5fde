use crate::server::{self, Manners};
use crate::{EXE, file, json, load, stderr, stdout};

/// Whenever it is and whichever way, and however the load client clicks.
#[tokio::test]
async fn when_somebody_else_clicks_the_report_says_so() {
    // At the beginning and the end of the warm-up and of the measured run, and within each.
    for at in [-1, -17, -30, -29, 17, 269, 270] {
        for step in [1, -1] {
            for pace in ["--in-flight=1", "--in-flight=8", "--rate=2000"] {
                let server = server::start(Manners::Shared(at, step)).await;
                let flags = [&*server.url, "--clients=10", "--updates=300", pace];
                let output = testing::run(EXE, &flags, "").await;
                let case = format!("{step} at {at}, {pace}: {output:?}");
                assert_eq!(output.status.code(), Some(1), "{case}");
                let sentence =
                    "somebody else clicked meanwhile; load a counter that nobody else uses\n";
                assert_eq!(stderr(&output), sentence, "{case}");
                let text = stdout(&output);
                assert!(text.contains(&format!("problem      {sentence}")), "{case}");
                assert!(text.contains("NOT as it should be"), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn clicks_that_get_no_answer_are_reported_as_missing() {
    for pace in ["--in-flight=50", "--rate=2000"] {
        let server = server::start(Manners::Leaves).await;
        let json_file = file("missing.json");
        let flags = [&*server.url, "--clients=10", "--updates=300", pace, "--json", &json_file];
        let output = testing::run(EXE, &flags, "").await;
        assert_eq!(output.status.code(), Some(1));
        let checks = &json(&json_file)["checks"];
        let (missing, clicks) = (&checks["missing"], &checks["clicks"]);
        assert!(missing.as_u64().unwrap() > 0, "{checks}");
        assert_eq!(checks["passed"], false);
        let text = stdout(&output);
        let sentence = format!(
            "NOT as it should be: {missing} of {clicks} clicks did not reach every client \
             and are missing in the latencies;"
        );
        assert!(text.contains(&sentence), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_says_no_more_has_passed_no_check() {
    let server = server::start(Manners::Deaf).await;
    let output = load(&server.url, &[]).await;
    assert_eq!(
        stderr(&output),
        "10 of 10 clients did not get the newest value within 10 s; \
         is this server's log silent about it?\n"
    );
    let text = stdout(&output);
    assert!(!text.contains("every client got every value"), "{text}");
    assert!(text.contains("NOT as it should be: 8 of "), "{text}");
}
