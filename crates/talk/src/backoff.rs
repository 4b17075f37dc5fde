//! The pause before the next connection attempt. It grows and is random, as in the pages. So not
//! all clients connect at the same moment when a server restarts.

use std::time::Duration;

/// The limit of a pause, in seconds.
const MAX_PAUSE: u32 = 15;

/// A connection that lasts this long makes the pauses short again, as in the pages. A server that
/// accepts a connection only to close it must not be asked again at once.
const STABLE: Duration = Duration::from_secs(5);

/// Pauses between connection attempts: about 1, 2, 4, 8 and then 15 seconds.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause. It is half of the step, plus a random part of the other half.
    pub fn next_pause(&mut self) -> Duration {
        let step = MAX_PAUSE.min(2u32.saturating_pow(self.tries));
        self.tries = self.tries.saturating_add(1);
        Duration::from_secs(step.into()).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts again with short pauses if the connection was stable. Call this with the time that it
    /// has lasted.
    pub fn connection_ended(&mut self, lasted: Duration) {
        if lasted >= STABLE {
            self.tries = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::{Backoff, Duration};

    #[tokio::test(start_paused = true)]
    async fn the_pauses_are_short_again_after_a_stable_connection() {
        let mut backoff = Backoff::default();
        let sleep_pause = async |backoff: &mut Backoff| {
            let began = Instant::now();
            sleep(backoff.next_pause()).await;
            began.elapsed().as_secs_f64()
        };
        for step in [1.0, 2.0, 4.0, 8.0, 15.0, 15.0] {
            let pause = sleep_pause(&mut backoff).await;
            assert!((step / 2.0..=step + 0.001).contains(&pause), "{pause} for {step}");
        }
        for _ in 0..100 {
            backoff.next_pause();
        }
        assert!(sleep_pause(&mut backoff).await <= 15.001);
        backoff.connection_ended(Duration::from_secs(4));
        assert!(sleep_pause(&mut backoff).await > 7.0);
        backoff.connection_ended(Duration::from_secs(5));
        assert!(sleep_pause(&mut backoff).await <= 1.001);
    }

    #[test]
    fn two_clients_reconnect_at_different_times() {
        let pauses: Vec<_> = (0..10).map(|_| Backoff::default().next_pause()).collect();
        assert!(pauses.iter().any(|pause| Some(pause) != pauses.first()));
    }
}
