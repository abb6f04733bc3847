//! What is counted of requests: ingress-nginx's flags.

use clap::{ArgAction, Args};

use super::ArgumentError;
use crate::metrics::{Bounds, Hosts, Layout};

/// What is counted of requests.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Count requests by Ingress; false in ingress-nginx unless asked for
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_metrics: bool,
    /// Tell requests apart by the host that their Ingress names
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub metrics_per_host: bool,
    /// Tell them apart by the host that clients write, where no Ingress names it as it stands
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub metrics_per_undefined_host: bool,
    /// Let 2xx stand for all of 200 to 299, and so on
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub report_status_classes: bool,
    /// Metrics by Ingress to leave out, by name
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub exclude_socket_metrics: Vec<String>,
    /// Upper bounds of the histograms of time, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        value_delimiter = ',',
        default_value = "0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10"
    )]
    pub time_buckets: Vec<f64>,
    /// Upper bounds of request_size and response_size, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        default_value = "10,100,1e3,1e4,1e5,1e6,1e7"
    )]
    pub length_buckets: Vec<f64>,
    /// Upper bounds of bytes_sent, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        default_value = "10,100,1e3,1e4,1e5,1e6,1e7"
    )]
    pub size_buckets: Vec<f64>,
}

/// How many bounds a histogram may have.
const MOST_BOUNDS: usize = 100;

impl MetricsArgs {
    /// What is counted.
    ///
    /// # Errors
    /// When bounds are none, or hosts are wanted and not.
    pub(crate) fn layout(&self) -> Result<Layout, ArgumentError> {
        let bounds = |flag, bounds: &Vec<f64>| {
            let is_rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
            let is_finite = bounds
                .iter()
                .all(|bound| bound.is_finite() && *bound >= 0.0);
            match is_rising && is_finite && bounds.len() <= MOST_BOUNDS {
                true => Ok(bounds.clone()),
                false => Err(ArgumentError {
                    flag,
                    value: format!("{bounds:?}"),
                    expected: "up to 100 rising numbers",
                }),
            }
        };
        let hosts = match (self.metrics_per_host, self.metrics_per_undefined_host) {
            (true, false) => Hosts::Known,
            (true, true) => Hosts::Written,
            (false, false) => Hosts::Off,
            (false, true) => {
                return Err(ArgumentError {
                    flag: "--metrics-per-undefined-host",
                    value: true.to_string(),
                    expected: "--metrics-per-host=true beside it",
                });
            }
        };
        let bounds = Bounds {
            time: bounds("--time-buckets", &self.time_buckets)?,
            length: bounds("--length-buckets", &self.length_buckets)?,
            size: bounds("--size-buckets", &self.size_buckets)?,
        };
        let labels = (hosts, self.report_status_classes);
        Ok(match self.enable_metrics {
            true => Layout::new(&bounds, labels, &self.exclude_socket_metrics),
            false => Layout::nothing(),
        })
    }
}
