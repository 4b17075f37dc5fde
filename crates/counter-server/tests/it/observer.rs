use std::time::{Duration, Instant};

use futures_util::StreamExt;
use testing::{Peer, Program, limit, soon};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tungstenite::Message;

pub const PLUS: &str = r#"{"action":"plus"}"#;

/// The last values that an observer has received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub users: u64,
    pub value: i64,
    /// How many values were skipped before this one.
    pub missed: i64,
    /// The code of the server's close frame.
    pub closed: Option<u16>,
}

/// A healthy client in a task of its own. It fails if a value arrives twice or after a newer one,
/// because no client clicks `minus` in these tests.
pub struct Observer {
    told: watch::Receiver<Told>,
    clicks: mpsc::UnboundedSender<usize>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Connects, and receives the first two messages.
    pub async fn join(server: &Program) -> Self {
        let mut peer = Peer::connect(&server.url()).await;
        let mut now = Told::default();
        now.hear(&peer.text().await);
        now.hear(&peer.text().await);
        let (teller, told) = watch::channel(now);
        let (clicks, mut orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(count) = orders.recv() => {
                        for _ in 0..count {
                            peer.feed(PLUS).await;
                        }
                        peer.flush().await;
                    }
                    message = peer.0.next() => {
                        let before = now;
                        match message {
                            Some(Ok(Message::Text(text))) => now.hear(&text),
                            Some(Ok(Message::Close(frame))) => {
                                now.closed = frame.map(|frame| frame.code.into());
                            }
                            Some(Ok(_)) => {}
                            Some(Err(error)) => panic!("{error} after {now:?}"),
                            None => return,
                        }
                        if now.value != before.value {
                            assert!(now.value > before.value, "{before:?}, then {now:?}");
                            now.missed += now.value - before.value - 1;
                        }
                        teller.send_replace(now);
                    }
                }
            }
        });
        Self { told, clicks, task }
    }

    /// Returns the last values that it has received.
    pub fn told(&self) -> Told {
        *self.told.borrow()
    }

    /// Clicks `plus` this number of times, and does not wait for the values.
    pub fn click(&self, count: usize) {
        self.clicks.send(count).unwrap();
    }

    /// Waits until `is` returns true for the last values.
    pub async fn hears(&mut self, what: &str, is: impl FnMut(&Told) -> bool) {
        if soon(what, self.told.wait_for(is)).await.is_ok() {
            return;
        }
        // The task has ended, by a panic or because the server closed the connection.
        (&mut self.task).await.unwrap();
        panic!("the observer was closed before {what}: {:?}", self.told());
    }

    /// Waits for this user count, and returns how long that took.
    pub async fn hears_users(&mut self, users: u64) -> Duration {
        let began = Instant::now();
        self.hears(&format!("{users} users"), |told| told.users == users).await;
        began.elapsed()
    }

    /// Waits until a second has passed without an update.
    pub async fn hears_nothing_for_a_second(&mut self) {
        let quiet =
            async { while timeout(Duration::from_secs(1), self.told.changed()).await.is_ok() {} };
        soon("a quiet second", quiet).await;
    }

    /// Clicks, and receives the new value in a time that a user accepts.
    pub async fn is_served(&mut self) {
        let before = self.told().value;
        let began = Instant::now();
        self.click(1);
        self.hears("its click", |told| told.value > before).await;
        let took = began.elapsed();
        assert!(took < limit(Duration::from_secs(1)), "a click took {took:?}");
    }
}

impl Told {
    /// Reads `{"type":"users","count":2}` and `{"type":"state","value":7}`. It is fast, because a
    /// test receives hundreds of thousands.
    pub fn hear(&mut self, text: &str) {
        let number = |start| text.strip_prefix(start)?.strip_suffix('}')?.parse().ok();
        if let Some(value) = number(r#"{"type":"state","value":"#) {
            self.value = value;
        } else if let Some(users) = number(r#"{"type":"users","count":"#) {
            self.users = users as u64;
        } else {
            panic!("an observer received {text}");
        }
    }
}
