use fastrand::Rng;
use serde_json::{Value, json};
use testing::{Peer, Program, Raw, frame};

use crate::{event, join, start, state};

/// The seed of the random numbers: `RANDOM_SEED` in the environment, or a new one.
fn rng() -> Rng {
    let seed = std::env::var("RANDOM_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    // cargo shows it when the test fails.
    eprintln!("RANDOM_SEED={seed}");
    Rng::with_seed(seed)
}

fn bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// Any text, often with pieces of JSON.
fn text(rng: &mut Rng, most: usize) -> String {
    let length = rng.usize(..=most);
    let letter = || match rng.u8(..4) {
        0 => rng.char(..),
        1 => rng.alphanumeric(),
        _ => rng.choice(*b"{}[]:,\"\\ \n0e-+.plusminusaction\0").unwrap().into(),
    };
    std::iter::repeat_with(letter).take(length).collect()
}

fn json(rng: &mut Rng, depth: u32) -> Value {
    match rng.u8(..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => rng.bool().into(),
        2 => rng.i64(..).into(),
        3 => json!(f64::from_bits(rng.u64(..))),
        4 => text(rng, 10).into(),
        5 => (0..rng.u8(..4)).map(|_| json(rng, depth - 1)).collect(),
        _ => (0..rng.u8(..4)).map(|_| (text(rng, 5), json(rng, depth - 1))).collect(),
    }
}

/// An event and its change of the value. `None` if the event is invalid and must be rejected.
fn message(rng: &mut Rng) -> (Vec<u8>, Option<i64>) {
    let (action, step) = if rng.bool() { ("plus", 1) } else { ("minus", -1) };
    let mut event = json!({ "action": action });
    for _ in 0..rng.u8(..4) {
        let name = format!("_{}", text(rng, 5));
        event[name.as_str()] = json(rng, 3);
    }
    let good = if rng.bool() { event.to_string() } else { format!("{event:#}") };
    match rng.u8(..6) {
        0 | 1 => (good.into(), Some(step)),
        2 => (bytes(rng, 40), None),
        3 => (text(rng, 40).into(), None),
        // A truncated object is invalid.
        4 => (good.as_bytes()[..rng.usize(..good.len())].into(), None),
        _ => {
            event["action"] = json(rng, 3);
            if let Value::String(action) = &mut event["action"] {
                action.push('?');
            }
            (event.to_string().into(), None)
        }
    }
}

#[tokio::test]
async fn after_100_000_random_messages_the_value_is_right() {
    let mut rng = rng();
    let server = start(&[]).await;
    let mut peer = join(&server, 1, 0).await;
    let mut value = 0;
    for _ in 0..200 {
        let mut expected = Vec::new();
        for _ in 0..500 {
            let (sent, step) = message(&mut rng);
            // Text must be UTF-8, but binary data need not be.
            match String::from_utf8(sent.clone()) {
                Ok(text) if rng.bool() => peer.feed(text).await,
                _ => peer.feed(sent.clone()).await,
            }
            expected.push((sent, step));
        }
        peer.flush().await;
        // Errors may overtake values, but neither kind overtakes its own.
        let (mut values, mut errors) = (Vec::new(), 0);
        for _ in 0..expected.len() {
            let told = event(&mut peer).await;
            match told["type"].as_str().unwrap() {
                "state" => values.push(told["value"].as_i64().unwrap()),
                "error" => errors += 1,
                _ => panic!("{told}"),
            }
        }
        let steps: Vec<_> = expected.iter().filter_map(|(_, step)| *step).collect();
        let right: Vec<_> = steps
            .iter()
            .map(|step| {
                value += step;
                value
            })
            .collect();
        let shown = || -> Vec<_> {
            let texts = expected.iter().map(|(sent, step)| (String::from_utf8_lossy(sent), step));
            texts.collect()
        };
        assert_eq!(errors, expected.len() - steps.len(), "{:?}", shown());
        assert_eq!(values, right, "{:?}", shown());
    }
    join(&server, 2, value).await;
}

/// Sends random frames over one connection. Only the last one is invalid. Returns the number of
/// clicks and of frames.
async fn visit(server: &Program, rng: &mut Rng) -> (i64, usize) {
    const PLUS: &str = r#"{"action":"plus"}"#;
    let mut sent = Vec::new();
    let mut clicks = 0;
    let count = rng.usize(1..60);
    for _ in 0..count {
        match rng.u8(..6) {
            0 => sent.extend(frame(0x89, bytes(rng, 125))),
            1 => sent.extend(frame(0x8a, bytes(rng, 125))),
            2 => sent.extend(frame(0x82, bytes(rng, 300))),
            3 => sent.extend(frame(0x81, text(rng, 100))),
            4 => {
                sent.extend(frame(0x81, PLUS));
                clicks += 1;
            }
            _ => {
                let cut = rng.usize(..=PLUS.len());
                sent.extend(frame(0x01, &PLUS[..cut]));
                sent.extend(frame(0x89, bytes(rng, 10)));
                sent.extend(frame(0x80, &PLUS[cut..]));
                clicks += 1;
            }
        }
    }
    match rng.u8(..4) {
        // Anything at all.
        0 => sent.extend(bytes(rng, 2000)),
        1 => sent.extend(frame(rng.u8(..), bytes(rng, 200))),
        // In the middle of a frame.
        2 => sent.extend(&frame(0x81, PLUS)[..rng.usize(..PLUS.len())]),
        _ => sent.extend(frame(0x88, bytes(rng, 125))),
    }
    let mut raw = Raw::open(server.address).await;
    let mut rest = sent.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rng.usize(1..=rest.len()));
        raw.write(now).await;
        rest = later;
    }
    raw.half_close().await;
    raw.rest().await;
    (clicks, count + 1)
}

#[tokio::test]
async fn after_100_000_random_frames_the_value_is_right() {
    let mut rng = rng();
    let server = start(&[]).await;
    let mut observer = join(&server, 1, 0).await;
    let (mut value, mut frames, mut seen) = (0, 0, 0);
    let visits = async {
        while frames < 100_000 {
            let (clicks, count) = visit(&server, &mut rng).await;
            value += clicks;
            frames += count;
        }
    };
    // The observer keeps up, so it receives every value.
    let watch = async {
        loop {
            hears_next(&mut observer, &mut seen).await;
        }
    };
    tokio::select! {
        () = visits => {}
        () = watch => {}
    }
    while seen < value {
        hears_next(&mut observer, &mut seen).await;
    }
    join(&server, 2, value).await;
}

/// Reads one event, which may be the value after `seen`.
async fn hears_next(observer: &mut Peer, seen: &mut i64) {
    let told = event(observer).await;
    if told["type"] == "state" {
        *seen += 1;
        assert_eq!(told, state(*seen));
    }
}
