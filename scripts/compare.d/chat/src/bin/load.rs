//! Loads a chat: many clients are in one room, and one of them sends, with a number of messages in
//! flight.
//!
//!     load URL HEADERS KIND PID CLIENTS IN_FLIGHT SECONDS SLOW
//!
//! HEADERS has lines that the clients use in turn, because a chat may limit the connections of one
//! name. KIND is the format of a message: chat, plain or socketio. SLOW more
//! clients connect and never read. Prints one line of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Shared {
    began: Instant,
    /// The time at which each message was sent, in microseconds, by its number.
    sent: Vec<AtomicU64>,
    /// The number of deliveries for each latency, in steps of 0.1 ms up to 10 s.
    took: Vec<AtomicU64>,
    deliveries: AtomicU64,
    measures: AtomicBool,
    in_flight: Semaphore,
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, headers, kind, pid, clients, in_flight, seconds, slow] = &args[..] else {
        panic!("see the top of load.rs")
    };
    let headers: Vec<_> = headers.lines().collect();
    let header = |n: usize| headers[n % headers.len()];
    let number = |text: &String| text.parse::<usize>().unwrap();
    let shared = Arc::new(Shared {
        began: Instant::now(),
        sent: (0..1 << 22).map(|_| AtomicU64::new(0)).collect(),
        took: (0..100_000).map(|_| AtomicU64::new(0)).collect(),
        deliveries: AtomicU64::new(0),
        measures: AtomicBool::new(false),
        in_flight: Semaphore::new(number(in_flight)),
    });
    let mut talker = None;
    for n in 0..number(clients) {
        let (mut to, from) = open(url, header(n)).await.split();
        if kind == "socketio" {
            to.send("40".into()).await.unwrap();
        }
        let (answer, answers) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(listen(from, answer, Arc::clone(&shared), n == 0));
        if n == 0 {
            talker = Some((to, answers));
        } else {
            tokio::spawn(answer_pings(to, answers));
        }
    }
    let mut sleepers = Vec::new();
    for n in 0..number(slow) {
        let mut sleeper = open(url, header(number(clients) + n)).await;
        if kind == "socketio" {
            sleeper.send("40".into()).await.unwrap();
        }
        sleepers.push(sleeper);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = memory(pid);
    let (to, answers) = talker.unwrap();
    tokio::spawn(talk(to, answers, kind.clone(), Arc::clone(&shared)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (cpu_before, began) = (cpu(pid), Instant::now());
    shared.measures.store(true, Relaxed);
    tokio::time::sleep(Duration::from_secs(number(seconds) as u64)).await;
    shared.measures.store(false, Relaxed);
    let (deliveries, spent) = (shared.deliveries.load(Relaxed), cpu(pid) - cpu_before);
    let quantile = |part: f64| {
        let wanted = (deliveries as f64 * part) as u64;
        let mut seen = 0;
        let at = shared.took.iter().position(|count| {
            seen += count.load(Relaxed);
            seen > wanted
        });
        at.unwrap_or(0) as f64 / 10.
    };
    println!(
        "{{\"deliveries_per_second\": {:.0}, \"cpu_us\": {:.3}, \"p50_ms\": {}, \"p99_ms\": {}, \"idle_mib\": {}, \"mib\": {}}}",
        deliveries as f64 / began.elapsed().as_secs_f64(),
        spent.as_secs_f64() * 1e6 / deliveries as f64,
        quantile(0.5),
        quantile(0.99),
        idle >> 10,
        memory(pid) >> 10,
    );
    std::process::exit(0);
}

async fn open(url: &str, header: &str) -> Socket {
    let mut request = url.into_client_request().unwrap();
    if let Some((name, value)) = header.split_once(": ") {
        let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    connect_async(request).await.unwrap().0
}

async fn talk(
    mut to: SplitSink<Socket, Message>,
    mut answers: tokio::sync::mpsc::UnboundedReceiver<Message>,
    kind: String,
    shared: Arc<Shared>,
) {
    for n in 0..shared.sent.len() {
        shared.in_flight.acquire().await.unwrap().forget();
        while let Ok(answer) = answers.try_recv() {
            to.send(answer).await.unwrap();
        }
        let text = format!("#{n:07}# {}", "x".repeat(54));
        let message = match &*kind {
            "chat" => format!(r#"{{"id":"{n}","text":"{text}"}}"#),
            "socketio" => format!(r#"42["say","{text}"]"#),
            _ => text,
        };
        shared.sent[n].store(shared.began.elapsed().as_micros() as u64, Relaxed);
        to.send(message.into()).await.unwrap();
    }
}

async fn answer_pings(
    mut to: SplitSink<Socket, Message>,
    mut answers: tokio::sync::mpsc::UnboundedReceiver<Message>,
) {
    while let Some(answer) = answers.recv().await {
        if to.send(answer).await.is_err() {
            return;
        }
    }
}

async fn listen(
    mut from: SplitStream<Socket>,
    answer: tokio::sync::mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
    talks: bool,
) {
    while let Some(Ok(message)) = from.next().await {
        let Message::Text(text) = &message else { continue };
        let text = text.as_str();
        if text == "2" {
            _ = answer.send("3".into());
            continue;
        }
        let number = text.find('#').and_then(|at| text.get(at + 1..at + 8)?.parse::<usize>().ok());
        let Some(number) = number else { continue };
        if talks {
            shared.in_flight.add_permits(1);
        }
        if shared.measures.load(Relaxed) {
            let now = shared.began.elapsed().as_micros() as u64;
            let took = now - shared.sent[number].load(Relaxed);
            let step = (took as usize / 100).min(shared.took.len() - 1);
            shared.took[step].fetch_add(1, Relaxed);
            shared.deliveries.fetch_add(1, Relaxed);
        }
    }
}

fn cpu(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let numbers: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = numbers[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Its resident memory in KiB.
fn memory(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
