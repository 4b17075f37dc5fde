//! How long to wait before the next try: as the pages do, so that a server that restarts is not
//! met by all its clients at once.

use std::time::Duration;

/// No pause is longer than this, in seconds.
const LONGEST: u32 = 15;

/// The pauses between tries: about 1, 2, 4, 8 and then 15 seconds.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause: half of the step and a random part of the other half.
    pub fn pause(&mut self) -> Duration {
        let step = LONGEST.min(2u32.saturating_pow(self.tries));
        self.tries = self.tries.saturating_add(1);
        Duration::from_secs(step.into()).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// After a connection the pauses are short again.
    pub fn connected(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::Backoff;

    #[tokio::test(start_paused = true)]
    async fn the_pauses_grow_to_fifteen_seconds_and_are_short_again_after_a_connection() {
        let mut backoff = Backoff::default();
        let paused = async |backoff: &mut Backoff| {
            let began = Instant::now();
            sleep(backoff.pause()).await;
            began.elapsed().as_secs_f64()
        };
        for step in [1.0, 2.0, 4.0, 8.0, 15.0, 15.0] {
            let pause = paused(&mut backoff).await;
            assert!((step / 2.0..=step + 0.001).contains(&pause), "{pause} for {step}");
        }
        for _ in 0..100 {
            backoff.pause();
        }
        assert!(paused(&mut backoff).await <= 15.001);
        backoff.connected();
        assert!(paused(&mut backoff).await <= 1.001);
    }

    #[test]
    fn two_clients_do_not_come_back_at_the_same_time() {
        let pauses: Vec<_> = (0..10).map(|_| Backoff::default().pause()).collect();
        assert!(pauses.iter().any(|pause| Some(pause) != pauses.first()));
    }
}
