use futures_util::future::join_all;
use serde_json::json;
use testing::run;

use crate::{Chat, EXE, cookie, greeting, now, sign};

/// The status and the last line of a response.
fn result(response: &str) -> (u16, &str) {
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), response.trim_end().lines().last().unwrap_or_default())
}

const ASK: &str = "You need a valid invitation for this room.";
const USED: &str = "This invitation was used already.";
const VALID: &str = "The pass is valid.";

#[tokio::test]
async fn an_invitation_works_once_even_after_a_restart() {
    let mut chat = Chat::start(&[]).await;
    let invitation = chat.invitation("invitation", "Ada").await;
    let response = chat.ask("lobby", &invitation).await;
    assert_eq!(result(&response), (200, VALID));
    assert_eq!(result(&chat.ask("lobby", &invitation).await), (401, USED));
    chat.kill_and_restart().await;
    assert_eq!(result(&chat.ask("lobby", &invitation).await), (401, USED));
    // With the cookie, the same link still leads into the room.
    let cookie = cookie(&response);
    let lines = format!("{invitation}Cookie: {cookie}\r\n");
    assert_eq!(result(&chat.ask("lobby", &lines).await), (200, VALID));
    let mut ada = chat.connect("/rooms/lobby", &[("Cookie", &cookie)]).await.ok().unwrap();
    assert_eq!(greeting(&mut ada).await[0]["name"], "Ada");
}

#[tokio::test]
async fn two_simultaneous_requests_use_an_invitation_once() {
    let chat = Chat::start(&[]).await;
    for _ in 0..20 {
        let invitation = chat.invitation("invitation", "Ada").await;
        let responses = join_all((0..8).map(|_| chat.ask("lobby", &invitation))).await;
        let accepted = responses.iter().filter(|response| result(response).0 == 200).count();
        assert_eq!(accepted, 1, "{responses:?}");
    }
}

#[tokio::test]
async fn an_invitation_is_no_pass_and_expires_within_an_hour() {
    let chat = Chat::start(&[]).await;
    let link = chat.print(&["--invite", "Zoë", "--room", "cellar"]).await;
    let token = link.strip_prefix("http://localhost:7890/rooms/cellar#").unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(chat.connect("/rooms/cellar", &headers).await.err(), Some(401));
    let payload = crate::payload(token);
    let left = payload["expires"].as_i64().unwrap() - now() / 1000;
    assert!((3500..=3600).contains(&left), "{payload}");
    assert_eq!(payload["name"], "Zoë");

    let key = std::fs::read(chat.folder.join("key")).unwrap();
    let old = json!({"room": "lobby", "name": "Ada", "expires": now() / 1000 - 1, "id": "x"});
    let lines = format!("Chat-Login: invitation {}\r\n", sign(&key, &old));
    assert_eq!(result(&chat.ask("lobby", &lines).await), (401, ASK));
    let lines = format!("Chat-Login: invitation {token}\r\n");
    let elsewhere = "This invitation is for another room.";
    assert_eq!(result(&chat.ask("lobby", &lines).await), (403, elsewhere));
}

#[tokio::test]
async fn the_page_receives_the_pass_in_a_safe_cookie() {
    let chat = Chat::start(&[]).await;
    let page = chat.ask("lobby", "").await.to_lowercase();
    assert!(page.starts_with("http/1.1 200 ") && page.contains("<title>"), "{page}");
    assert!(!page.contains("set-cookie"), "{page}");

    let invitation = chat.invitation("invitation", "Ada").await;
    let https = format!("{invitation}X-Forwarded-Proto: https\r\n");
    let response = chat.ask("lobby", &https).await.to_lowercase();
    let attributes = "; path=/rooms/lobby; max-age=604800; httponly; samesite=strict; secure\r\n";
    assert!(response.contains(attributes), "{response}");

    let invitation = chat.invitation("invitation", "Ada").await;
    let response = chat.ask("lobby", &invitation).await.to_lowercase();
    assert!(response.contains("; httponly; samesite=strict\r\n"), "{response}");
}

#[tokio::test]
async fn a_link_of_another_name_asks_first() {
    let chat = Chat::start(&[]).await;
    let ada = cookie(&chat.ask("lobby", &chat.invitation("invitation", "Ada").await).await);
    let ada = format!("Cookie: {ada}\r\n");
    let mallory = chat.invitation("invitation", "Mallory").await;
    let response = chat.ask("lobby", &(mallory.clone() + &ada)).await;
    let (status, question) = result(&response);
    assert_eq!(status, 409, "{response}");
    assert!(question.contains("Ada") && question.contains("Mallory"), "{question}");
    assert!(!response.to_lowercase().contains("set-cookie"), "{response}");

    let replace = mallory.replace("invitation", "replace");
    let response = chat.ask("lobby", &(replace + &ada)).await;
    let cookie = cookie(&response);
    let mut peer = chat.connect("/rooms/lobby", &[("Cookie", &cookie)]).await.ok().unwrap();
    assert_eq!(greeting(&mut peer).await[0]["name"], "Mallory");

    // Ada's own invitation is not used in the browser that has Ada's cookie.
    let again = chat.invitation("invitation", "Ada").await;
    assert_eq!(result(&chat.ask("lobby", &(again.clone() + &ada)).await), (200, VALID));
    assert_eq!(result(&chat.ask("lobby", &again).await), (200, VALID));
}

#[tokio::test]
async fn a_pass_in_use_is_renewed() {
    let chat = Chat::start(&[]).await;
    let name = chat.cookie_name().await;
    let old = format!("{name}={}", chat.token_for("lobby", "Ada", 60));
    let response = chat.ask("lobby", &format!("Chat-Login: cookie\r\nCookie: {old}\r\n")).await;
    assert!(response.contains("; Max-Age=604800;"), "{response}");
    let renewed = cookie(&response);
    let (_, token) = renewed.split_once('=').unwrap();
    let left = crate::payload(token)["expires"].as_i64().unwrap() - now() / 1000;
    assert!((604_700..=604_800).contains(&left), "{left}");
    assert_eq!(chat.connect("/rooms/lobby", &[("Cookie", &renewed)]).await.err(), None);
}

#[tokio::test]
async fn a_connection_ends_before_its_cookie_expires() {
    let chat = Chat::start(&[]).await;
    let cookie = format!("{}={}", chat.cookie_name().await, chat.token_for("lobby", "Ada", 20));
    let mut ada = chat.connect("/rooms/lobby", &[("Cookie", &cookie)]).await.ok().unwrap();
    greeting(&mut ada).await;
    // The presence may be sent again before the close frame.
    let frame = loop {
        if let tungstenite::Message::Close(frame) = ada.message().await {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(frame.code), 1008);
    assert_eq!(chat.connect("/rooms/lobby", &[("Cookie", &cookie)]).await.err(), None);
}

#[tokio::test]
async fn the_valid_cookie_for_the_room_counts() {
    let chat = Chat::start(&[]).await;
    let name = chat.cookie_name().await;
    let cookie = |token: &str| format!("{name}={token}");
    let good = cookie(&chat.token("lobby", "Ada"));
    for bad in ["", "forged", &chat.token_for("lobby", "Ada", -1), &chat.token("cellar", "Ada")] {
        let bad = cookie(bad);
        let both = format!("{bad}; {good}");
        assert_eq!(chat.connect("/rooms/lobby", &[("Cookie", &both)]).await.err(), None, "{bad}");
        let headers = [("Cookie", bad.as_str()), ("Cookie", &good)];
        assert_eq!(chat.connect("/rooms/lobby", &headers).await.err(), None, "{bad}");
    }
    let elsewhere = cookie(&chat.token("cellar", "Ada"));
    assert_eq!(chat.connect("/rooms/lobby", &[("Cookie", &elsewhere)]).await.err(), Some(403));
}

#[tokio::test]
async fn two_chats_on_one_host_have_two_cookies() {
    let (one, other) = tokio::join!(Chat::start(&[]), Chat::start(&[]));
    assert_ne!(one.cookie_name().await, other.cookie_name().await);
}

#[tokio::test]
async fn the_login_of_a_proxy_hides_no_cookie() {
    let chat = Chat::start(&[]).await;
    let ada = format!("{}={}", chat.cookie_name().await, chat.token("lobby", "Ada"));
    for login in ["Basic QWRhOng=", "Bearer a.b.c", "cookie"] {
        let headers = [("Authorization", login), ("Cookie", &ada)];
        assert_eq!(chat.connect("/rooms/lobby", &headers).await.err(), None, "{login}");
        let invitation = chat.invitation("invitation", "Bob").await;
        let lines = format!("Authorization: {login}\r\n{invitation}");
        assert_eq!(result(&chat.ask("lobby", &lines).await), (200, VALID));
        let page = chat.ask("lobby", &format!("Authorization: {login}\r\n")).await;
        assert!(page.contains("<title>"), "{login}: {page}");
    }
}

#[tokio::test]
async fn a_printed_token_lets_a_script_in() {
    let chat = Chat::start(&[]).await;
    let token = chat.print(&["--token", "Ada", "--room", "cellar"]).await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let bearer = format!("{scheme} {token}");
        let headers = [("Authorization", bearer.as_str())];
        assert_eq!(chat.connect("/rooms/cellar", &headers).await.err(), None, "{scheme}");
        assert_eq!(chat.connect("/rooms/lobby", &headers).await.err(), Some(403), "{scheme}");
    }
}

#[tokio::test]
async fn names_that_look_the_same_are_one_name() {
    let chat = Chat::start(&[]).await;
    for (typed, name) in [("Zoe\u{308}", "Zo\u{eb}"), (" Ada  L ", "Ada L"), ("\u{ff21}da", "Ada")]
    {
        let link = chat.print(&["--invite", typed]).await;
        assert_eq!(crate::payload(link.split_once('#').unwrap().1)["name"], name);
    }
    let long = "x".repeat(33);
    for name in ["", " ", "A\nB", "Ada\u{200b}", "\u{202e}Ada", "\u{3164}", &long] {
        failed(&chat, &["--invite", name], "invalid name").await;
        failed(&chat, &["--token", name], "invalid name").await;
    }
    failed(&chat, &["--invite", "Ada", "--room", "No"], "invalid --room").await;
}

/// Expects a run with these flags to print nothing but an error of one line that contains a hint.
async fn failed(chat: &Chat, flags: &[&str], hint: &str) {
    let args = [&["--data", chat.folder.to_str().unwrap()], flags].concat();
    let out = run(EXE, &args, "").await;
    let error = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{flags:?} {error}");
    assert!(out.stdout.is_empty() && error.lines().count() == 1, "{flags:?} {error}");
    assert!(error.contains(hint), "{flags:?} {error}");
}

#[tokio::test]
async fn an_invitation_needs_the_key_of_a_server() {
    let folder = crate::folder();
    for flag in ["--invite", "--token"] {
        let out = run(EXE, &["--data", folder.to_str().unwrap(), flag, "Ada"], "").await;
        let error = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), out.stdout.is_empty()), (Some(1), true), "{error}");
        assert!(error.contains("pass its --data") && error.lines().count() == 1, "{error}");
        assert!(!folder.exists(), "a new key");
    }
}

#[tokio::test]
async fn a_link_that_no_browser_can_open_is_an_error() {
    let chat = Chat::start(&[]).await;
    for address in ["0.0.0.0:7890", "[::]:7890", "localhost:0", "unix:/run/chat.sock", "localhost"]
    {
        failed(&chat, &[address, "--invite", "Ada"], "add --allow-origin https").await;
    }
    failed(&chat, &["--allow-origin", "null", "--invite", "Ada"], "add --allow-origin https").await;
    let flags = ["0.0.0.0:80", "--allow-origin", "null", "--allow-origin", "https://chat.example"];
    let link = chat.print(&[&flags[..], &["--invite", "Ada"]].concat()).await;
    assert!(link.starts_with("https://chat.example/rooms/lobby#"), "{link}");
}
