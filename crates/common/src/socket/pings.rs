//! When to ping, and when to give up: the clock of a [`Keepalive`](crate::socket::Keepalive).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// When to ping, and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct Pings {
    /// The pause before each ping. Zero turns pings off. Default: 20 s, as in Python `websockets`;
    /// proxies cut a socket that is idle for 60 s (nginx, AWS) or even 30 s.
    pub interval: Duration,
    /// How long the pong may take. Zero waits for ever. Default: 20 s, as in Python `websockets`.
    pub timeout: Duration,
}

impl Default for Pings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), timeout: Duration::from_secs(20) }
    }
}

/// One connection's clock.
#[derive(Debug)]
pub(crate) struct PingClock {
    pings: Pings,
    /// Boxed because a `Sleep` must not move, and a handler's socket should be free to.
    timer: Pin<Box<Sleep>>,
    ping: Ping,
    /// How long the last pong took.
    latency: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ping {
    /// The timer runs until the next ping is due.
    Idle,
    /// The ping is due, but a write before it is still blocked. The timer runs until the
    /// pong is overdue all the same: a peer that takes nothing gets no ping either.
    Due,
    /// The ping is on its way. The timer runs until the pong is overdue.
    Sent,
    /// Something else came first. The peer is alive, and when the timer has run the next ping is
    /// due.
    Heard,
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Alarm {
    PingDue,
    PongOverdue,
}

impl PingClock {
    pub(crate) fn new(pings: Pings) -> Self {
        Self { pings, timer: Box::pin(sleep(pings.interval)), ping: Ping::Idle, latency: None }
    }

    pub(crate) fn stop(&mut self) {
        self.pings.interval = Duration::ZERO;
    }

    /// Waits for the next alarm. A pong stays overdue until it comes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Alarm> {
        if self.pings.interval.is_zero() {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(cx));
        if matches!(self.ping, Ping::Due | Ping::Sent) && !self.pings.timeout.is_zero() {
            return Poll::Ready(Alarm::PongOverdue);
        }
        self.ping = Ping::Due;
        self.restart(self.patience());
        Poll::Ready(Alarm::PingDue)
    }

    /// How long the timer runs from a ping on.
    fn patience(&self) -> Duration {
        match self.pings.timeout {
            Duration::ZERO => self.pings.interval,
            timeout => timeout,
        }
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// A pong came: what the timer has run is what it took. One that nobody asked for changes
    /// nothing (RFC 6455, section 5.5.3).
    pub(crate) fn pong(&mut self) {
        if matches!(self.ping, Ping::Sent | Ping::Heard) {
            let left = self.timer.deadline().saturating_duration_since(Instant::now());
            self.latency = Some(self.patience().saturating_sub(left));
            self.ping = Ping::Idle;
            self.restart(self.pings.interval);
        }
    }

    /// Another message came, and whoever sends is alive.
    pub(crate) fn heard(&mut self) {
        if self.ping == Ping::Sent {
            self.ping = Ping::Heard;
        }
    }

    pub(crate) fn ping_is_due(&self) -> bool {
        self.ping == Ping::Due
    }

    /// The ping is on its way.
    pub(crate) fn pinged(&mut self) {
        self.ping = Ping::Sent;
    }

    fn restart(&mut self, pause: Duration) {
        self.timer.as_mut().reset(Instant::now() + pause);
    }
}
