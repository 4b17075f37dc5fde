use serde_json::Value;
use testing::{Peer, Raw};

use crate::{event, join, start, state, users};

const UPDATES: i64 = 150_000;

#[tokio::test]
async fn who_falls_behind_is_brought_to_the_newest_value_and_never_sees_an_older_one() {
    let server = start(&[]).await;
    let mut slow = Raw::open(server.address).await;
    let mut sender = join(&server, 2, 0).await;

    // The sender reads every value; the slow one reads nothing.
    let mut value = 0;
    while value < UPDATES {
        for _ in 0..500 {
            sender.feed(r#"{"action":"plus"}"#).await;
        }
        sender.flush().await;
        for _ in 0..500 {
            value += 1;
            assert_eq!(event(&mut sender).await, state(value));
        }
    }

    let mut last = -1;
    let mut count = 0;
    while last < UPDATES {
        let (_, payload) = slow.next_frame().await.unwrap();
        let told: Value = serde_json::from_slice(&payload).unwrap();
        if told["type"] == "state" {
            let value = told["value"].as_i64().unwrap();
            assert!(value > last, "{value} came after {last}");
            last = value;
            count += 1;
        }
    }
    assert_eq!(last, UPDATES);
    assert!(count < UPDATES, "the slow one should have skipped some of {count}");
    // From here on it keeps up, and hears every value again.
    sender.send(r#"{"action":"minus"}"#).await;
    let (_, payload) = slow.next_frame().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), state(UPDATES - 1));
    let mut late = Peer::connect(&server.url()).await;
    assert_eq!(event(&mut late).await, users(3));
}
