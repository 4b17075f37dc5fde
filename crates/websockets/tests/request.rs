//! The request that a handler receives, and the response that a program may send instead.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use testing::property::{check, mutate, pieces};
use testing::{HANDSHAKE, Raw, http};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};
use websockets::{Flags, Request, Response, Result, Server, Socket, respond, with};

/// Sends the client everything that the handler knows about it.
async fn describe(socket: &mut Socket, request: Request) -> Result<()> {
    let name = request.extensions().get::<Name>().map(|Name(name)| name.as_str());
    let text = format!(
        "{} {:?} {:?} {:?} {} {}",
        request.uri().path(),
        request.query("since"),
        request.headers().get(header::COOKIE),
        request.subprotocol(),
        name.unwrap_or("nobody"),
        request.remote_address().unwrap(),
    );
    assert_eq!(socket.remote_address(), request.remote_address());
    socket.send(text).await?;
    Ok(())
}

/// The result of a login.
#[derive(Clone)]
struct Name(String);

/// Rejects some paths, and sets a cookie for all others.
async fn gatekeeper(request: &mut Request, headers: &mut HeaderMap) -> Option<Response> {
    headers.insert(header::SET_COOKIE, HeaderValue::from_static("seen=yes"));
    let (status, text) = match request.uri().path() {
        "/login" => (StatusCode::UNAUTHORIZED, "Who are you?"),
        "/forbidden" => (StatusCode::FORBIDDEN, "This is not for you."),
        "/missing" => (StatusCode::NOT_FOUND, "There is no such room."),
        "/gone" => (StatusCode::GONE, "This room was closed."),
        _ => return None,
    };
    let mut response = respond(status, text);
    if status == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"chat\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    }
    Some(response)
}

async fn serve(server: impl FnOnce(Server) -> Server) -> SocketAddr {
    serve_with(Flags::default(), server).await
}

async fn serve_with(flags: Flags, server: impl FnOnce(Server) -> Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server(Server::new(flags));
    tokio::spawn(server.serve_on(vec![listener], describe, pending()));
    address
}

/// The handshake for this path with this header.
fn handshake(path: &str, header: &str) -> String {
    HANDSHAKE.replace("GET / ", &format!("GET {path} ")).replace("Host:", &format!("{header}Host:"))
}

/// The head of the 101 and the first message.
async fn open(address: SocketAddr, path: &str, header: &str) -> (String, String) {
    let mut raw = Raw::connect(address).await;
    raw.write(handshake(path, header)).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let (_, message) = raw.next_frame().await.unwrap();
    (head, String::from_utf8(message).unwrap())
}

#[tokio::test]
async fn a_handler_sees_path_query_headers_and_address() {
    let address = serve(|server| server).await;
    let mut raw = Raw::connect(address).await;
    let own = raw.stream.local_addr().unwrap();
    raw.write(handshake("/rooms/tea?since=7", "Cookie: a=b\r\n")).await;
    raw.head().await;
    let (_, told) = raw.next_frame().await.unwrap();
    let expected = format!("/rooms/tea Some(\"7\") Some(\"a=b\") None nobody {own}");
    assert_eq!(String::from_utf8(told).unwrap(), expected);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_is_the_clients() {
    let forwarded = "X-Forwarded-For: 9.9.9.9, 192.0.2.7\r\n";
    let trusting =
        Flags { trusted_proxy: vec![IpAddr::from([127, 0, 0, 1]).into()], ..Flags::default() };
    let (_, told) = open(serve_with(trusting, |server| server).await, "/", forwarded).await;
    assert!(told.ends_with(" 192.0.2.7:0"), "{told}");
    let (_, told) = open(serve(|server| server).await, "/", forwarded).await;
    assert!(told.contains(" 127.0.0.1:"), "{told}");
}

#[tokio::test]
async fn the_clients_first_supported_subprotocol_is_chosen() {
    let address = serve(|server| server.subprotocols(["chat.v1", "chat.v2"])).await;
    for (asked, agreed) in [
        ("Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n", Some("chat.v2")),
        ("Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: chat.v1\r\n", Some("chat.v1")),
        // A client that requests none, or only others, is accepted without one.
        ("", None),
        ("Sec-WebSocket-Protocol: mqtt\r\n", None),
        ("Sec-WebSocket-Protocol: CHAT.V1\r\n", None),
    ] {
        let (head, told) = open(address, "/", asked).await;
        let sent = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(sent, agreed, "{asked}");
        assert!(told.contains(&format!(" {agreed:?} ")), "{asked}: {told}");
    }
}

#[tokio::test]
async fn a_server_that_lists_no_subprotocol_agrees_on_none() {
    let address = serve(|server| server).await;
    let (head, told) = open(address, "/", "Sec-WebSocket-Protocol: chat.v1\r\n").await;
    assert!(!head.contains("sec-websocket-protocol") && told.contains(" None "), "{head}{told}");
}

#[tokio::test]
async fn process_request_may_reject_with_any_response() {
    let address = serve(|server| server.process_request(gatekeeper)).await;
    for (path, status, sentence) in [
        ("/login", "401 Unauthorized", "Who are you?"),
        ("/forbidden", "403 Forbidden", "This is not for you."),
        ("/missing", "404 Not Found", "There is no such room."),
        ("/gone", "410 Gone", "This room was closed."),
    ] {
        // For a WebSocket, and for a page.
        let page = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for request in [handshake(path, ""), page.clone(), page.replace("GET", "HEAD")] {
            let answer = http(address, &request).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}{answer}");
            let is_head = request.starts_with("HEAD");
            assert_eq!(body.trim_end(), if is_head { "" } else { sentence }, "{request}");
            let length = format!("content-length: {}", sentence.len() + 1);
            let head = head.to_ascii_lowercase();
            assert!(head.contains(&length) && head.contains("connection: close"), "{head}");
            let asks = head.contains("www-authenticate: basic realm=\"chat\"");
            assert_eq!(asks, path == "/login", "{head}");
        }
    }
}

#[tokio::test]
async fn process_request_may_add_headers_to_any_response() {
    let page = format!("<p>{}</p>", "a page that the program made");
    let served = page.clone();
    let address = serve(|server| server.page(served).process_request(gatekeeper)).await;
    let (head, _) = open(address, "/", "").await;
    assert!(head.contains("\r\nset-cookie: seen=yes\r\n"), "{head}");
    for (method, body) in [("GET", page.as_str()), ("HEAD", "")] {
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = http(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("\r\nset-cookie: seen=yes\r\n"), "{answer}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", page.len())), "{answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body);
    }
}

#[tokio::test]
async fn process_request_runs_only_for_valid_allowed_handshakes() {
    async fn ask(_: &mut Request, _: &mut HeaderMap) -> Option<Response> {
        panic!("it was asked")
    }
    let address = serve(|server| server.process_request(ask)).await;
    let foreign = handshake("/", "Origin: https://example.com\r\n");
    assert!(http(address, &foreign).await.starts_with("HTTP/1.1 403 "));
    let version = HANDSHAKE.replace("Version: 13", "Version: 8");
    assert!(http(address, &version).await.starts_with("HTTP/1.1 426 "));
    for path in ["/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(http(address, &request).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
}

#[tokio::test]
async fn readyz_gives_a_reason_while_healthz_stays_ok() {
    let away = || Err("The database is away; try again later.".to_owned());
    let address = serve(|server| server.ready(away)).await;
    let ready = http(address, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.contains("The database is away"),
        "{ready}"
    );
    let head = http(address, "HEAD /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"), "{head}");
    let health = http(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
}

#[tokio::test]
async fn a_panic_in_process_request_answers_500() {
    async fn fragile(request: &mut Request, _: &mut HeaderMap) -> Option<Response> {
        assert!(request.uri().path() != "/fragile", "at this path");
        None
    }
    let address = serve(|server| server.page("page").process_request(fragile)).await;
    let page = "GET /fragile HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for request in [handshake("/fragile", "").as_str(), page] {
        let answer = http(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nInternal server error.\n"), "{answer}");
    }
    assert!(open(address, "/", "").await.1.starts_with("/ None "));
}

#[tokio::test]
async fn process_request_may_wait_and_pass_its_result_on() {
    async fn log_in(
        request: &mut Request,
        _: &mut HeaderMap,
        database: Arc<[(&'static str, &'static str)]>,
    ) -> Option<Response> {
        // A database takes a while.
        sleep(Duration::from_millis(50)).await;
        let token = request.query("token")?;
        let found = database.iter().find(|(secret, _)| *secret == token).map(|(_, name)| *name);
        let Some(name) = found else {
            return Some(respond(StatusCode::UNAUTHORIZED, "Who are you?"));
        };
        request.extensions_mut().insert(Name(name.to_owned()));
        None
    }
    let database: Arc<[_]> = Arc::new([("a b", "Ada"), ("=&", "Bob")]);
    let address = serve(|server| server.process_request(with(database, log_in))).await;
    for (token, name) in [("a+b", "Ada"), ("a%20b", "Ada"), ("%3D%26", "Bob")] {
        let (_, text) = open(address, &format!("/?x=1&token={token}&token=other"), "").await;
        assert!(text.contains(&format!(" {name} ")), "{text}");
    }
    let rejected = http(address, &handshake("/?token=c", "")).await;
    assert!(rejected.starts_with("HTTP/1.1 401 "), "{rejected}");
}

#[tokio::test]
async fn process_request_has_only_the_open_timeout() {
    async fn hangs(_: &mut Request, _: &mut HeaderMap) -> Option<Response> {
        pending().await
    }
    let flags = Flags { open_timeout: Duration::from_millis(100), ..Flags::default() };
    let address = serve_with(flags, |server| server.process_request(hangs)).await;
    assert_eq!(http(address, &handshake("/", "")).await, "");
}

#[tokio::test]
async fn a_panic_in_ready_is_answered_with_503() {
    let address = serve(|server| server.ready(|| panic!("in ready"))).await;
    for _ in 0..2 {
        let ready = http(address, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    }
}

#[tokio::test]
async fn process_request_cannot_break_the_handshake() {
    async fn meddles(request: &mut Request, headers: &mut HeaderMap) -> Option<Response> {
        for name in [header::SEC_WEBSOCKET_ACCEPT, header::UPGRADE, header::TRANSFER_ENCODING] {
            headers.insert(name, HeaderValue::from_static("nonsense"));
        }
        let is_101 = request.uri().path() == "/101";
        is_101.then(|| respond(StatusCode::SWITCHING_PROTOCOLS, "A WebSocket, is it?"))
    }
    let address = serve(|server| server.page("page").process_request(meddles)).await;
    let (head, _) = open(address, "/", "").await;
    assert!(!head.contains("nonsense") && head.contains("upgrade: websocket"), "{head}");
    let plain = "GET /101 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for request in [plain, &handshake("/101", "")] {
        let answer = http(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
}

#[test]
fn any_request_gets_a_response_and_the_end() {
    let runtime = Runtime::new().unwrap();
    let address = runtime.block_on(serve(|server| server.page("page")));
    check(150, |input| {
        let mut request = match input.arbitrary()? {
            true => handshake("/rooms/tea?since=7", "Cookie: a=b\r\n").into_bytes(),
            false => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        };
        mutate(input, &mut request)?;
        let pieces = pieces(input, &request)?;
        let response = runtime.block_on(async {
            let mut raw = Raw::connect(address).await;
            for piece in pieces {
                // The server may have seen enough.
                if raw.stream.write_all(piece).await.is_err() {
                    break;
                }
            }
            raw.half_close().await;
            raw.rest().await
        });
        let response = String::from_utf8_lossy(&response);
        let request = String::from_utf8_lossy(&request);
        match response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..4)) {
            Some("101 " | "200 " | "400 " | "404 " | "405 " | "426 " | "505 ") => {}
            // The client disconnected in the middle of the head. A first byte of 22 is TLS.
            None => {
                let head = request.trim_start_matches(['\r', '\n']);
                let is_tls = request.starts_with('\u{16}');
                let has_ended = head.contains("\n\r\n") || head.contains("\n\n");
                assert!(response.is_empty() && (is_tls || !has_ended), "{request:?}: {response}");
            }
            Some(_) => panic!("{request:?}: {response}"),
        }
        Ok(())
    });
}
