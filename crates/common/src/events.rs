//! The JSON events of the counter, in both directions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// An event that the server sends. `type` comes first in the JSON: `{"type":"users","count":2}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// How many clients are connected.
    Users {
        /// The number of clients, including the one that receives this event.
        count: usize,
    },
    /// The value of the counter.
    State {
        /// The current value.
        value: i64,
    },
    /// The server rejected a message of this client, or cannot update the counter now.
    Error {
        /// One sentence with the reason.
        message: String,
    },
}

impl Event {
    /// The event as JSON.
    pub fn to_json(&self) -> String {
        // This cannot fail, because JSON has strings and integers.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A change that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Add one.
    Plus,
    /// Subtract one.
    Minus,
}

impl Action {
    /// Reads `{"action":"plus"}` or `{"action":"minus"}`. Other fields are ignored.
    ///
    /// # Errors
    ///
    /// One sentence to send to the client. It quotes nothing from the client's message.
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
        // serde also reads a struct from an array.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err("an event is a JSON object, for example {\"action\":\"plus\"}".into());
        }
        // serde_json does not check the bytes of a field that it ignores.
        let json = str::from_utf8(json).map_err(|error| format!("not JSON: {error}"))?;
        let request: Request<'_> = serde_json::from_str(json).map_err(|error| {
            // A syntax error has only a position, but a type error quotes the client's value.
            if error.is_data() {
                "an event has one action, and it must be a string".to_owned()
            } else {
                format!("not JSON: {error}")
            }
        })?;
        match &*request.action {
            "plus" => Ok(Self::Plus),
            "minus" => Ok(Self::Minus),
            _ => Err("unknown action; use \"plus\" or \"minus\"".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use testing::property::{check, mutate, text};

    use super::*;

    /// Pieces of JSON, valid or not.
    const JSON: [&str; 15] = [
        "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u00e9", "null", "-1", "1e9", "action", "plus",
        " ",
    ];

    #[test]
    fn every_event_is_read_as_it_was_written() {
        check(1000, |input| {
            let event = match input.int_in_range(0..=2)? {
                0 => Event::Users { count: input.arbitrary()? },
                1 => Event::State { value: input.arbitrary()? },
                _ => Event::Error { message: text(input, &JSON, 20)? },
            };
            let json = event.to_json();
            assert!(json.starts_with("{\"type\":\""), "{json}");
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
            Ok(())
        });
    }

    #[test]
    fn any_json_is_an_action_or_an_error() {
        check(4000, |input| {
            let action = *input.choose(&[
                r#""plus""#,
                r#""minus""#,
                r#""\u0070lus""#,
                r#""Plus""#,
                r#""s3cr3t""#,
                r#"["s3cr3t"]"#,
                "8243921",
            ])?;
            let other = Value::String(text(input, &JSON, 3)?);
            let mut json = match input.ratio(1, 8)? {
                true => format!("[{action}]"),
                false => format!("{{\"action\":{action},\"x\":{other}}}"),
            }
            .into_bytes();
            if input.arbitrary()? {
                mutate(input, &mut json)?;
            } else if input.arbitrary()? {
                json = text(input, &JSON, 20)?.into();
            }
            let read = Action::from_json(&json);

            // Only an object with one action is valid.
            let object = serde_json::from_slice::<Value>(&json).ok();
            let object = object.as_ref().and_then(Value::as_object);
            let right = object.and_then(|object| object.get("action")).and_then(Value::as_str);
            let shown = String::from_utf8_lossy(&json);
            match read {
                Ok(Action::Plus) => assert_eq!(right, Some("plus"), "{shown}"),
                Ok(Action::Minus) => assert_eq!(right, Some("minus"), "{shown}"),
                Err(message) => {
                    let is_twice = message == "an event has one action, and it must be a string";
                    let is_action = matches!(right, Some("plus" | "minus"));
                    assert!(!is_action || is_twice, "{shown}: {message}");
                    // One line that repeats nothing of the input.
                    assert!(message.is_ascii() && !message.contains(|c: char| c.is_control()));
                    assert!(
                        !message.contains("s3cr3t") && !message.contains("8243921"),
                        "{message}"
                    );
                }
            }
            Ok(())
        });
    }
}
