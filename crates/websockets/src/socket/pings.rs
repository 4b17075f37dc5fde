//! The clock of a connection: when to send a ping, and when the pong is overdue.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tungstenite::Error;

/// The longest time that anything waits: a year. Far longer times overflow the clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The clock of one connection.
#[derive(Debug)]
pub(super) struct PingClock {
    /// The pause before each ping. Zero turns pings off.
    interval: Duration,
    /// How long the pong may take. Zero waits forever.
    timeout: Duration,
    /// Boxed because a `Sleep` must not move, and a handler may move its socket.
    timer: Pin<Box<Sleep>>,
    state: State,
    /// The timer has started again after the ping, so it does not measure the latency.
    is_prolonged: bool,
    /// How long the answer to the last ping took. `None` before the first answer. The answer to a
    /// ping that waited behind a slow write does not count.
    pub(super) latency: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// The timer runs until the next ping is due.
    Idle,
    /// The ping is due, but an earlier write is still blocked. The timer runs until the pong is
    /// overdue, because a peer that reads nothing receives no ping either.
    PingDue,
    /// The ping was sent. The timer runs until the pong is overdue.
    PingSent,
    /// The ping was sent, and another message came before the pong, so the peer is alive. When the
    /// timer has run, the next ping is due.
    PeerAlive,
}

impl PingClock {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        let timer = Box::pin(sleep(interval));
        Self { interval, timeout, timer, state: State::Idle, is_prolonged: false, latency: None }
    }

    pub(super) fn stop(&mut self) {
        self.interval = Duration::ZERO;
    }

    /// Ready when the pong is overdue, until it arrives. A peer that reads slowly may receive the
    /// ping late. So `has_progressed`, which means that a blocked write went on, starts the time
    /// again.
    pub(super) fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        has_progressed: &mut bool,
    ) -> Poll<Error> {
        while !self.interval.is_zero() {
            ready!(self.timer.as_mut().poll(cx));
            if std::mem::take(has_progressed) && self.state != State::Idle {
                self.is_prolonged = true;
                self.restart(self.time_for_pong());
                continue;
            }
            if matches!(self.state, State::PingDue | State::PingSent) && !self.timeout.is_zero() {
                let missed = io::Error::new(ErrorKind::TimedOut, "no pong within ping_timeout");
                return Poll::Ready(missed.into());
            }
            self.state = State::PingDue;
            self.restart(self.time_for_pong());
        }
        Poll::Pending
    }

    /// A pong arrived. The time that the timer has run is the latency. An unsolicited pong changes
    /// nothing (RFC 6455, section 5.5.3).
    pub(super) fn pong_received(&mut self) {
        if matches!(self.state, State::PingSent | State::PeerAlive) {
            if !self.is_prolonged {
                let left = self.timer.deadline().saturating_duration_since(Instant::now());
                self.latency = Some(self.time_for_pong().saturating_sub(left));
            }
            self.state = State::Idle;
            self.restart(self.interval);
        }
    }

    /// A message arrived, which shows that the peer is alive.
    pub(super) fn message_received(&mut self) {
        if self.state == State::PingSent {
            self.state = State::PeerAlive;
        }
    }

    pub(super) fn is_ping_due(&self) -> bool {
        self.state == State::PingDue
    }

    pub(super) fn ping_sent(&mut self) {
        self.is_prolonged = false;
        self.state = State::PingSent;
    }

    /// How long the timer runs after a ping.
    fn time_for_pong(&self) -> Duration {
        match self.timeout {
            Duration::ZERO => self.interval,
            timeout => timeout,
        }
    }

    fn restart(&mut self, pause: Duration) {
        // A program may pass the longest duration there is, which would overflow the clock.
        self.timer.as_mut().reset(Instant::now() + pause.min(LONGEST));
    }
}

/// Whether `error` is a missed pong. An error of the system, such as a TCP timeout, has a number.
pub(crate) fn is_missed_pong(error: &Error) -> bool {
    matches!(error, Error::Io(error)
        if error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none())
}
