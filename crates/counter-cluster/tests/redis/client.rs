use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use testing::{Peer, soon};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tungstenite::Message;

/// What a client was told since it connected.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub users: u64,
    /// All values, in order.
    pub values: Vec<i64>,
    /// The sentences of all error events, in order.
    pub errors: Vec<String>,
}

impl Told {
    pub fn value(&self) -> i64 {
        *self.values.last().unwrap()
    }

    /// How many error events say this.
    pub fn count(&self, part: &str) -> usize {
        self.errors.iter().filter(|error| error.contains(part)).count()
    }
}

/// A client in a task of its own, which fails when the server closes the connection.
pub struct Client {
    told: watch::Receiver<Told>,
    clicks: mpsc::UnboundedSender<&'static str>,
    task: JoinHandle<()>,
}

impl Client {
    /// Connects and hears the first two messages.
    pub async fn join(url: &str) -> Self {
        let mut peer = Peer::connect(url).await;
        let mut now = Told::default();
        let first = [peer.text().await, peer.text().await];
        assert!(first[0].contains("users") && first[1].contains("state"), "{first:?}");
        first.iter().for_each(|text| now.hear(text));
        let (teller, told) = watch::channel(now);
        let (clicks, mut orders) = mpsc::unbounded_channel::<&str>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    action = orders.recv() => {
                        let Some(action) = action else { return };
                        let click = format!(r#"{{"action":"{action}"}}"#);
                        peer.0.send(Message::text(click)).await.unwrap();
                    }
                    message = peer.0.next() => match message {
                        Some(Ok(Message::Text(text))) => teller.send_modify(|told| told.hear(&text)),
                        Some(Ok(Message::Ping(_))) => {}
                        other => panic!("{other:?} after {:?}", teller.borrow()),
                    },
                }
            }
        });
        Self { told, clicks, task }
    }

    pub fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Where its clicks go.
    pub fn clicker(&self) -> mpsc::UnboundedSender<&'static str> {
        self.clicks.clone()
    }

    pub fn click(&self, action: &'static str) {
        self.clicks.send(action).unwrap();
    }

    /// Waits until it was told what `is` looks for.
    pub async fn hears(&mut self, what: &str, is: impl FnMut(&Told) -> bool) {
        if soon(what, self.told.wait_for(is)).await.is_err() {
            (&mut self.task).await.unwrap();
            panic!("the client was closed before {what}");
        }
    }

    pub async fn hears_value(&mut self, value: i64) {
        self.hears(&format!("{value}"), |told| told.value() == value).await;
    }

    pub async fn hears_users(&mut self, users: u64) {
        self.hears(&format!("{users} users"), |told| told.users == users).await;
    }

    pub async fn hears_error(&mut self, part: &str) {
        self.hears(part, |told| told.count(part) > 0).await;
    }

    /// Waits until its connection has ended.
    pub async fn ended(self) {
        assert!(soon("the end", self.task).await.is_err(), "it ended without a loss");
    }
}

impl Told {
    fn hear(&mut self, text: &str) {
        let event: Value = serde_json::from_str(text).unwrap();
        match event["type"].as_str().unwrap() {
            "users" => self.users = event["count"].as_u64().unwrap(),
            "state" => self.values.push(event["value"].as_i64().unwrap()),
            "error" => self.errors.push(event["message"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
    }
}
