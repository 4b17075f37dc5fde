//! Which requests may join a room, and under which name.
//!
//! | the client sends | the server answers |
//! | --- | --- |
//! | a WebSocket with a pass, as a bearer token or in a cookie | 101 |
//! | `Chat-Login: invitation TOKEN` | 200 and a pass in a cookie; 409 if the browser has a pass of another name |
//! | `Chat-Login: replace TOKEN` | 200 and a pass in a cookie |
//! | `Chat-Login: cookie` | 200 and the renewed cookie |
//!
//! Without a valid token, the answer is 401, and with one for another room 403.

use std::sync::Arc;

use tokio::task::block_in_place;
use tracing::error;
use websockets::tungstenite::http::{HeaderName, HeaderValue, StatusCode, header};
use websockets::{Request, Response, html, respond};

use crate::invitation::Invitations;
use crate::metrics::count_rejection;
use crate::name::is_room;
use crate::token::{Key, PASS_LIFETIME, Token};

pub const PAGE: &str = include_str!("../../../web/chat.html");

/// The page sends this header, and a page of another site cannot send it. It is not `Authorization`,
/// because this one may belong to the login of a proxy.
const CHAT_LOGIN: HeaderName = HeaderName::from_static("chat-login");

pub struct Login {
    pub key: Key,
    pub invitations: Invitations,
}

/// A valid request for a WebSocket. It joins the room of the token, and receives the messages after
/// the number `since`.
#[derive(Clone)]
pub struct Joining {
    pub token: Token,
    pub since: Option<i64>,
}

/// Checks each request before the server answers it, and counts the requests that it rejects.
/// Everyone may load the page, but joining a room needs a pass for it. The handler finds [`Joining`]
/// in the request's extensions.
pub async fn process_request(request: &mut Request, login: Arc<Login>) -> Option<Response> {
    let response = answer(request, &login)?;
    if response.status().is_client_error() {
        count_rejection(response.status().as_str());
    }
    Some(response)
}

fn answer(request: &mut Request, login: &Login) -> Option<Response> {
    let is_websocket = request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
    let room = request.uri().path().strip_prefix("/rooms/").filter(|room| is_room(room));
    let Some(room) = room.map(str::to_owned) else {
        return is_websocket.then(|| respond(StatusCode::NOT_FOUND, "Rooms are at /rooms/NAME."));
    };
    if is_websocket {
        let (mut token, is_cookie) = match login.pass(request, &room) {
            Ok(pass) => pass,
            Err((status, text)) => return Some(respond(status, &text)),
        };
        // A page renews its cookie after the end of a connection. So the connection ends while the
        // cookie is still valid.
        if is_cookie {
            let lifetime = token.remaining() / 2;
            token = Token::pass(token.room, token.name, lifetime);
        }
        let Ok(since) = request.query("since").map(|since| since.parse()).transpose() else {
            let text = "since must be the number of a message, for example ?since=7.";
            return Some(respond(StatusCode::BAD_REQUEST, text));
        };
        request.extensions_mut().insert(Joining { token, since });
        return None;
    }
    let Some(value) = request.headers().get(CHAT_LOGIN) else { return Some(html(PAGE)) };
    let pass = match login.exchange(request, &room, value.to_str().unwrap_or_default()) {
        Ok(pass) => pass,
        Err((status, text)) => return Some(respond(status, &text)),
    };
    let mut response = respond(StatusCode::OK, "The pass is valid.");
    response.headers_mut().extend(login.cookie(request, &pass));
    Some(response)
}

/// The status and the text of a response that rejects a request.
type Rejection = (StatusCode, String);

impl Login {
    /// The pass of a request for a room, and whether it comes from a cookie.
    fn pass(&self, request: &Request, room: &str) -> Result<(Token, bool), Rejection> {
        // A browser may send several cookies of this name, for example one of another room. So the
        // first one that is valid here counts.
        let bearers = bearer_tokens(request).map(|token| (token, false));
        let cookies = cookies(request, self.key.cookie_name()).map(|token| (token, true));
        let verify = |(token, is_cookie)| Some((self.key.verify(token)?, is_cookie));
        let valid = bearers.chain(cookies).filter_map(verify);
        let passes: Vec<_> = valid.filter(|(token, _)| token.id.is_none()).collect();
        let rejection = if passes.is_empty() { no_pass() } else { other_room() };
        passes.into_iter().find(|(token, _)| token.room == room).ok_or(rejection)
    }

    /// The pass for the answer to a `Chat-Login` header.
    fn exchange(&self, request: &Request, room: &str, login: &str) -> Result<Token, Rejection> {
        let pass = self.pass(request, room).map(|(pass, _)| pass);
        let (verb, token) = login.split_once(' ').unwrap_or((login, ""));
        let Some((invitation, id)) = self.key.verify_invitation(token) else { return pass };
        if invitation.room != room {
            return Err(other_room());
        }
        match pass {
            // The invitation stays unused, so it still works in another browser.
            Ok(pass) if pass.name == invitation.name => return Ok(pass),
            Ok(pass) if verb != "replace" && !self.invitations.is_used(&id) => {
                // The invisible marks around the names keep Arabic or Hebrew from changing the order
                // of the other words.
                let (old, new) = (pass.name, invitation.name);
                let question = format!(
                    "You are \u{2068}{old}\u{2069} here, and this link is for \u{2068}{new}\u{2069}."
                );
                return Err((StatusCode::CONFLICT, question));
            }
            _ => {}
        }
        match block_in_place(|| self.invitations.take(&id)) {
            Ok(true) => Ok(invitation),
            Ok(false) => pass.map_err(|_| {
                (StatusCode::UNAUTHORIZED, "This invitation was used already.".to_owned())
            }),
            Err(error) => {
                error!("cannot store that an invitation was used: {error}");
                let text = "The invitation cannot be used now; try again later.";
                Err((StatusCode::SERVICE_UNAVAILABLE, text.to_owned()))
            }
        }
    }

    /// The header that stores a renewed pass in the browser. No script can read the cookie, no other
    /// site's page can make the browser send it, and it is valid for this room only.
    fn cookie(&self, request: &Request, pass: &Token) -> Option<(HeaderName, HeaderValue)> {
        let pass = Token::pass(pass.room.clone(), pass.name.clone(), PASS_LIFETIME);
        let (name, token) = (self.key.cookie_name(), self.key.sign(&pass).ok()?);
        let (path, max_age) = (request.uri().path(), PASS_LIFETIME.as_secs());
        // This server never uses TLS itself, so only a proxy knows whether the browser used https.
        let https = request.headers().get("X-Forwarded-Proto").is_some_and(|by| by == "https");
        let secure = if https { "; Secure" } else { "" };
        let cookie = format!(
            "{name}={token}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}"
        );
        Some((header::SET_COOKIE, cookie.try_into().ok()?))
    }
}

fn no_pass() -> Rejection {
    (StatusCode::UNAUTHORIZED, "You need a valid invitation for this room.".to_owned())
}

fn other_room() -> Rejection {
    (StatusCode::FORBIDDEN, "This invitation is for another room.".to_owned())
}

/// The tokens of each `Authorization: Bearer TOKEN`. The case of `Bearer` does not matter.
fn bearer_tokens(request: &Request) -> impl Iterator<Item = &str> {
    let values = request.headers().get_all(header::AUTHORIZATION).iter();
    values.filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
    })
}

/// The values of all cookies of this name.
fn cookies(request: &Request, name: String) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(header::COOKIE).iter();
    // These are bytes, because the cookie of another program may not be valid text.
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let (key, value) = str::from_utf8(pair).ok()?.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use testing::property::{check, mutate, text};
    use websockets::tungstenite::http;

    use super::*;

    fn request(name: HeaderName, value: &[u8]) -> Option<Request> {
        let value = HeaderValue::from_bytes(value).ok()?;
        let head = http::Request::get("/rooms/lobby").header(name, value).body(()).ok()?;
        Some(Request::new(head, None))
    }

    #[test]
    fn a_token_is_found_between_other_values() {
        for value in ["Bearer a.b", "bearer a.b", "BEARER  a.b "] {
            let request = request(header::AUTHORIZATION, value.as_bytes()).unwrap();
            assert_eq!(bearer_tokens(&request).collect::<Vec<_>>(), ["a.b"], "{value}");
        }
        for value in ["Basic a.b", "Bearera.b", "Bearer"] {
            let request = request(header::AUTHORIZATION, value.as_bytes()).unwrap();
            assert_eq!(bearer_tokens(&request).next(), None, "{value}");
        }
        let value = b"chat=1;\xff; chat-x=a; xchat-x=2 ;chat-x=b=; chat-x";
        let request = request(header::COOKIE, value).unwrap();
        assert_eq!(cookies(&request, "chat-x".into()).collect::<Vec<_>>(), ["a", "b="]);
    }

    #[test]
    fn any_header_without_a_signature_is_invalid() {
        let folder = tempfile::tempdir().unwrap();
        Key::create(folder.path()).unwrap();
        let key = Key::load(folder.path()).unwrap();
        let name = key.cookie_name();
        let login = Login { key, invitations: Invitations::new(folder.path()) };
        let cookie = format!("{name}=");
        check(1000, |input| {
            let parts = [&cookie, "Bearer ", ";", " ", ".", "e30", "=", "\u{e9}"];
            let mut value = text(input, &parts, 20)?.into_bytes();
            mutate(input, &mut value)?;
            for header in [header::COOKIE, header::AUTHORIZATION, CHAT_LOGIN] {
                if let Some(request) = request(header, &value) {
                    assert!(login.pass(&request, "lobby").is_err());
                    let value = String::from_utf8_lossy(&value);
                    assert!(login.exchange(&request, "lobby", &value).is_err());
                }
            }
            Ok(())
        });
    }
}
