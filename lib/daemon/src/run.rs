//! From `main` to exit code.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tasks::error_chain;
use crate::{BoxError, Flags, Process, Shutdown, StartError, logging};

/// Runs a daemon until `main` ends, which it should after [`Shutdown::requested`].
///
/// SIGTERM and SIGINT request the shutdown, a second one leaves at once. The exit code is 0 when
/// `main` ended well and no task failed, else 1; what went wrong is logged.
pub fn run<M, F, E>(name: &str, flags: &Flags, main: M) -> ExitCode
where
    M: FnOnce(Process) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let ended = logging::install(flags)
        .map_err(|error| StartError::LogLevel(error).into())
        .and_then(|()| run_logged(name, flags, main));
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Without a subscriber, which a wrong --log-level means, a log line would be lost.
            if tracing::dispatcher::has_been_set() {
                tracing::error!("{}", error_chain(error.as_ref()));
            } else {
                use std::io::Write as _;
                let _nobody_listens =
                    writeln!(std::io::stderr(), "{name}: {}", error_chain(error.as_ref()));
            }
            ExitCode::FAILURE
        }
    }
}

fn run_logged<M, F, E>(name: &str, flags: &Flags, main: M) -> Result<ExitCode, BoxError>
where
    M: FnOnce(Process) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let runtime = runtime().map_err(StartError::Runtime)?;
    let code = runtime.block_on(async {
        let signals = Signals::new().map_err(StartError::Signals)?;
        let process = Process::start(name, flags).await?;
        tracing::info!("admin port on {}", process.admin_addr());
        let leave = signals.wait_twice(process.shutdown().clone());
        tokio::select! {
            ended = AssertUnwindSafe(main(process.clone())).catch_unwind() => {
                process.shutdown().request();
                process.tasks().finish().await;
                match ended {
                    Ok(ended) => ended.map_err(Into::into)?,
                    Err(_) => return Err("it panicked".into()),
                }
                Ok(if process.tasks().failed() {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                })
            }
            () = leave => {
                tracing::warn!("second signal: leaving at once");
                Ok(ExitCode::FAILURE)
            }
            () = overdue(process.shutdown()) => {
                tracing::error!("not done at the drain deadline: leaving at once");
                Ok(ExitCode::FAILURE)
            }
        }
    });
    // A blocking call that is still under way must not hold the process up.
    runtime.shutdown_background();
    code
}

/// Ends when even what is done at the deadline should be done.
async fn overdue(shutdown: &Shutdown) {
    shutdown.deadline().await;
    tokio::time::sleep(DEADLINE_GRACE).await;
}

/// The control plane's: traffic has its own threads.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
}

/// SIGTERM, from an orchestrator, and SIGINT, from a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Requests the shutdown at the first signal, ends at the second.
    async fn wait_twice(mut self, shutdown: Shutdown) {
        let first = self.next().await;
        tracing::info!("{first}: shutting down");
        shutdown.request();
        self.next().await;
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Two, so that a long translation does not keep a probe waiting.
const CONTROL_THREADS: usize = 2;
const BLOCKING_THREADS: usize = 8;
/// For cutting and counting what was left.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);
