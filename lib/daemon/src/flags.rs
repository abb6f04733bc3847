//! The flags that every daemon has.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::parse_duration;

/// The flags that every daemon has, to be flattened into its own.
// Without a group of its own: clap names groups by the type, and every crate's type is `Flags`.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Process")]
pub struct Flags {
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR", default_value_t = ADMIN)]
    pub admin: SocketAddr,

    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Which log lines are written: a level, or levels per module as in `info,cluster=debug`
    #[arg(long, value_name = "FILTER", default_value = LOG_LEVEL)]
    pub log_level: String,

    /// How long new connections are still accepted after SIGTERM, so that load balancers notice
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub drain_delay: Duration,

    /// When after SIGTERM what is still in flight is cut
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "240s")]
    pub drain_deadline: Duration,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            admin: ADMIN,
            log_format: LogFormat::default(),
            log_level: LOG_LEVEL.to_owned(),
            drain_delay: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(240),
        }
    }
}

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10254);
// h2 warns of what clients do: once per frame of a flood.
const LOG_LEVEL: &str = "info,h2=error";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn defaults_in_code_are_those_of_the_command_line() {
        let parsed = Command::try_parse_from(["x"]).unwrap().flags;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Flags::default()));
    }

    #[test]
    fn flags_are_read() {
        let arguments = ["x", "--admin=127.0.0.1:0", "--drain-delay=250ms"];
        let flags = Command::try_parse_from(arguments).unwrap().flags;
        assert_eq!(flags.admin, SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(flags.drain_delay, Duration::from_millis(250));
        assert!(Command::try_parse_from(["x", "--drain-deadline=soon"]).is_err());
    }
}
