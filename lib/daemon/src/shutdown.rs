//! The phases of leaving: requested, accepting ends, deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Flags;

/// Tells whoever holds a copy when to leave, and how much time there is.
///
/// ```text
///  SIGTERM            + drain-delay           + drain-deadline
///  ──┬──────────────────────┬───────────────────────┬────────▶
///    requested              accepting_ends          deadline
///    /readyz fails,         no more accepts,        what is left
///    accepting goes on      requests finish         is cut
/// ```
///
/// The futures work on any tokio runtime that has time enabled, so that data-plane threads can
/// await them too.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    token: CancellationToken,
    requested_at: OnceLock<Instant>,
    drain_delay: Duration,
    drain_deadline: Duration,
}

impl Shutdown {
    pub(crate) fn new(flags: &Flags) -> Self {
        Self(Arc::new(Inner {
            token: CancellationToken::new(),
            requested_at: OnceLock::new(),
            drain_delay: flags.drain_delay,
            drain_deadline: flags.drain_deadline,
        }))
    }

    /// Asks the process to leave, as SIGTERM does; asking again changes nothing.
    pub fn request(&self) {
        self.0.requested_at.get_or_init(Instant::now);
        self.0.token.cancel();
    }

    /// Whether the process was asked to leave.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Ends when the process is asked to leave.
    pub async fn requested(&self) {
        self.0.token.cancelled().await;
    }

    /// Ends when new connections are to be refused.
    pub async fn accepting_ends(&self) {
        self.after(self.0.drain_delay).await;
    }

    /// Ends when what is still in flight is to be cut.
    pub async fn deadline(&self) {
        // A deadline before the end of accepting would cut connections that were just accepted.
        let deadline = self.0.drain_deadline.max(self.0.drain_delay);
        self.after(deadline).await;
    }

    async fn after(&self, time: Duration) {
        self.requested().await;
        let since = *self.0.requested_at.get_or_init(Instant::now);
        tokio::time::sleep_until(since + time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_follow_each_other_from_the_moment_of_the_request() {
        let flags = Flags {
            drain_delay: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(60),
            ..Flags::default()
        };
        let shutdown = Shutdown::new(&flags);
        assert!(!shutdown.is_requested());

        let begin = Instant::now();
        shutdown.request();
        shutdown.requested().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        shutdown.accepting_ends().await;
        assert_eq!(begin.elapsed().as_secs(), 5);
        shutdown.request();
        shutdown.deadline().await;
        assert_eq!(begin.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_ends_before_the_request() {
        let shutdown = Shutdown::new(&Flags::default());
        let day = Duration::from_secs(86_400);
        assert!(
            tokio::time::timeout(day, shutdown.deadline())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_never_before_the_end_of_accepting() {
        let flags = Flags {
            drain_delay: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(1),
            ..Flags::default()
        };
        let shutdown = Shutdown::new(&flags);
        let begin = Instant::now();
        shutdown.request();
        shutdown.deadline().await;
        assert_eq!(begin.elapsed().as_secs(), 5);
    }
}
