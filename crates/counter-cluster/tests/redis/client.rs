use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use testing::{Peer, soon};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tungstenite::Message;

/// Everything that a client has received since it connected.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub users: u64,
    /// All values, in order.
    pub values: Vec<i64>,
    /// The messages of all `error` events, in order.
    pub errors: Vec<String>,
}

impl Received {
    pub fn value(&self) -> i64 {
        *self.values.last().unwrap()
    }

    /// How many `error` events contain this text.
    pub fn count(&self, part: &str) -> usize {
        self.errors.iter().filter(|error| error.contains(part)).count()
    }
}

/// A client in a task of its own, which fails when the server closes the connection.
pub struct Client {
    received: watch::Receiver<Received>,
    clicks: mpsc::UnboundedSender<&'static str>,
    task: JoinHandle<()>,
}

impl Client {
    /// Connects and receives the first two messages.
    pub async fn join(url: &str) -> Self {
        let mut peer = Peer::connect(url).await;
        let mut at_start = Received::default();
        let first = [peer.text().await, peer.text().await];
        assert!(first[0].contains("users") && first[1].contains("state"), "{first:?}");
        first.iter().for_each(|text| at_start.apply(text));
        let (sender, received) = watch::channel(at_start);
        let (clicks, mut actions) = mpsc::unbounded_channel::<&str>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    action = actions.recv() => {
                        let Some(action) = action else { return };
                        let click = format!(r#"{{"action":"{action}"}}"#);
                        peer.0.send(Message::text(click)).await.unwrap();
                    }
                    message = peer.0.next() => match message {
                        Some(Ok(Message::Text(text))) => {
                            sender.send_modify(|received| received.apply(&text));
                        }
                        Some(Ok(Message::Ping(_))) => {}
                        other => panic!("{other:?} after {:?}", sender.borrow()),
                    },
                }
            }
        });
        Self { received, clicks, task }
    }

    pub fn received(&self) -> Received {
        self.received.borrow().clone()
    }

    /// A sender for clicks of this client.
    pub fn clicker(&self) -> mpsc::UnboundedSender<&'static str> {
        self.clicks.clone()
    }

    pub fn click(&self, action: &'static str) {
        self.clicks.send(action).unwrap();
    }

    /// Waits until `is` returns true for the events that the client has received.
    pub async fn wait_until(&mut self, what: &str, is: impl FnMut(&Received) -> bool) {
        if soon(what, self.received.wait_for(is)).await.is_err() {
            (&mut self.task).await.unwrap();
            panic!("the client was closed before {what}");
        }
    }

    pub async fn wait_for_value(&mut self, value: i64) {
        self.wait_until(&format!("{value}"), |received| received.value() == value).await;
    }

    pub async fn wait_for_users(&mut self, users: u64) {
        self.wait_until(&format!("{users} users"), |received| received.users == users).await;
    }

    pub async fn wait_for_error(&mut self, part: &str) {
        self.wait_until(part, |received| received.count(part) > 0).await;
    }

    /// Waits until its connection has ended.
    pub async fn ended(self) {
        assert!(soon("the end", self.task).await.is_err(), "it ended without a loss");
    }
}

impl Received {
    fn apply(&mut self, text: &str) {
        let event: Value = serde_json::from_str(text).unwrap();
        match event["type"].as_str().unwrap() {
            "users" => self.users = event["count"].as_u64().unwrap(),
            "state" => self.values.push(event["value"].as_i64().unwrap()),
            "error" => self.errors.push(event["message"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
    }
}
