//! A deadline that is moved often and reached seldom.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when a deadline has passed, where nearly every deadline is moved before it does.
///
/// The timer is armed once and left alone while the deadline only moves away from it; when it
/// fires early it is armed anew. A request therefore pays no timer operation at all in the common case.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Ready once `deadline` has passed; otherwise the task is woken no later than then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_away_is_honoured_at_its_last_place() {
        let start = Instant::now();
        let mut watchdog = Watchdog::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(
            poll_fn(|cx| Poll::Ready(watchdog.poll(cx, at(5))))
                .await
                .is_pending()
        );
        tokio::time::advance(Duration::from_secs(4)).await;
        poll_fn(|cx| watchdog.poll(cx, at(60))).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_nearer_is_honoured_at_once() {
        let start = Instant::now();
        let mut watchdog = Watchdog::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(
            poll_fn(|cx| Poll::Ready(watchdog.poll(cx, at(75))))
                .await
                .is_pending()
        );
        poll_fn(|cx| watchdog.poll(cx, at(10))).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}
