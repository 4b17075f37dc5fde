//! The JSON events of the counter, in both directions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What the server says. `type` comes first: `{"type":"users","count":2}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// How many clients are connected.
    Users {
        /// Their number, the reader included.
        count: usize,
    },
    /// The counter.
    State {
        /// Its value.
        value: i64,
    },
    /// What a client asked for was refused. Only that client is told.
    Error {
        /// One sentence that says why.
        message: String,
    },
}

impl Event {
    /// The event as JSON.
    pub fn to_json(&self) -> String {
        // Strings and integers under fixed names: there is nothing here that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Add one.
    Plus,
    /// Take one away.
    Minus,
}

impl Action {
    /// Reads `{"action":"plus"}` or `{"action":"minus"}`; other members are ignored.
    ///
    /// # Errors
    ///
    /// A sentence for the client. It repeats nothing that the client sent.
    ///
    /// ```
    /// use common::events::Action;
    ///
    /// assert_eq!(Action::from_json(br#"{"action":"plus","id":7}"#), Ok(Action::Plus));
    /// assert!(Action::from_json(b"[\"plus\"]").is_err());
    /// ```
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Request<'a> {
            #[serde(borrow)]
            action: Cow<'a, str>,
        }
        // serde would read a struct from an array too.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err("an event is a JSON object, for example {\"action\":\"plus\"}".into());
        }
        let request: Request<'_> = serde_json::from_slice(json).map_err(|error| {
            // serde_json tells where JSON ends to be JSON, but quotes a value of a wrong type.
            if error.is_data() {
                "an event has one action, and it must be a string".to_owned()
            } else {
                format!("not JSON: {error}")
            }
        })?;
        match &*request.action {
            "plus" => Ok(Self::Plus),
            "minus" => Ok(Self::Minus),
            _ => Err("unknown action; there are plus and minus".into()),
        }
    }
}
