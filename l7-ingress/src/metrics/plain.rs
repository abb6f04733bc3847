//! What is counted for the whole process.

use super::WorkerMetrics;

pub(super) type Value = (
    &'static [(&'static str, &'static str)],
    fn(&WorkerMetrics) -> u64,
);

/// A family of process-wide numbers.
pub(super) struct Plain {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) gauge: bool,
    pub(super) values: &'static [Value],
}

pub(super) const PLAIN: &[Plain] = &[
    Plain {
        name: "nginx_ingress_controller_nginx_process_connections",
        help: "Client connections now, by state",
        gauge: true,
        values: &[
            (&[("state", "active")], |worker| worker.active.get()),
            // Of those that a request comes in on, nginx tells the ones apart whose head is not complete.
            (&[("state", "waiting")], |worker| {
                worker.active.get().saturating_sub(worker.busy.get())
            }),
            (&[("state", "writing")], |worker| worker.busy.get()),
        ],
    },
    Plain {
        name: "nginx_ingress_controller_nginx_process_connections_total",
        help: "Client connections so far, by what became of them",
        gauge: false,
        values: &[
            (&[("state", "accepted")], |worker| worker.accepted.get()),
            (&[("state", "handled")], |worker| worker.accepted.get()),
        ],
    },
    Plain {
        name: "nginx_ingress_controller_nginx_process_requests_total",
        help: "Requests so far",
        gauge: false,
        values: &[(&[], |worker| worker.requests.get())],
    },
    Plain {
        name: "penstock_l7_unmatched_requests_total",
        help: "Requests for which no route was found",
        gauge: false,
        values: &[(&[], |worker| worker.unmatched.get())],
    },
    Plain {
        name: "penstock_l7_client_errors_total",
        help: "What clients were refused for",
        gauge: false,
        values: &[
            (&[("reason", "handshake")], |worker| {
                worker.handshake_errors.get()
            }),
            (&[("reason", "request")], |worker| worker.bad_requests.get()),
        ],
    },
    Plain {
        name: "penstock_l7_stream_sessions_total",
        help: "TCP connections, those of passed through TLS apart, and UDP sessions that were passed straight to a Service",
        gauge: false,
        values: &[
            (&[("protocol", "TCP")], |worker| worker.tcp_sessions.get()),
            (&[("protocol", "TLS")], |worker| worker.tls_sessions.get()),
            (&[("protocol", "UDP")], |worker| worker.udp_sessions.get()),
        ],
    },
    Plain {
        name: "penstock_l7_udp_sessions",
        help: "UDP sessions now",
        gauge: true,
        values: &[(&[], |worker| worker.udp_active.get())],
    },
    Plain {
        name: "penstock_l7_stream_failures_total",
        help: "TCP connections and UDP sessions that failed or timed out",
        gauge: false,
        values: &[(&[], |worker| worker.stream_failures.get())],
    },
    Plain {
        name: "penstock_l7_udp_dropped_total",
        help: "Datagrams that could not be passed on",
        gauge: false,
        values: &[(&[], |worker| worker.datagrams_dropped.get())],
    },
    Plain {
        name: "penstock_l7_accept_errors_total",
        help: "Accepts that failed, as for want of file descriptors",
        gauge: false,
        values: &[(&[], |worker| worker.accept_errors.get())],
    },
    Plain {
        name: "penstock_l7_accept_waits_total",
        help: "Times that accepting waited because the connection limit was reached",
        gauge: false,
        values: &[(&[], |worker| worker.waits_for_room.get())],
    },
    Plain {
        name: "penstock_l7_upstream_connect_errors_total",
        help: "Endpoints that could not be connected to",
        gauge: false,
        values: &[(&[], |worker| worker.connect_errors.get())],
    },
    Plain {
        name: "penstock_l7_auth_requests_total",
        help: "Requests of which another server was asked, or has said before, whether they may come in (auth-url)",
        gauge: false,
        values: &[
            (&[("outcome", "granted")], |worker| {
                worker.auth_granted.get()
            }),
            (&[("outcome", "refused")], |worker| {
                worker.auth_refused.get()
            }),
            (&[("outcome", "failed")], |worker| worker.auth_failed.get()),
            (&[("outcome", "remembered")], |worker| {
                worker.auth_remembered.get()
            }),
        ],
    },
    Plain {
        name: "penstock_l7_upstream_idle_connections",
        help: "Connections to endpoints that wait for a request",
        gauge: true,
        values: &[(&[], |worker| worker.idle_upstream.get())],
    },
    Plain {
        name: "penstock_l7_retries_total",
        help: "Requests that were tried again on another endpoint",
        gauge: false,
        values: &[(&[], |worker| worker.retries.get())],
    },
    Plain {
        name: "penstock_l7_aborted_responses_total",
        help: "Responses that an endpoint broke off after their head was passed on",
        gauge: false,
        values: &[(&[], |worker| worker.aborted.get())],
    },
    Plain {
        name: "penstock_l7_tunnels",
        help: "Connections that have left HTTP by an Upgrade",
        gauge: true,
        values: &[(&[], |worker| worker.tunnels.get())],
    },
    Plain {
        name: "penstock_l7_access_log_dropped_total",
        help: "Access log lines that were dropped because the output was slower than the traffic",
        gauge: false,
        values: &[(&[], |worker| worker.log_dropped.get())],
    },
    Plain {
        name: "penstock_l7_spans_dropped_total",
        help: "Spans that were dropped because the collector was slower than the traffic",
        gauge: false,
        values: &[(&[], |worker| worker.spans_dropped.get())],
    },
    Plain {
        name: "penstock_l7_drain_forced_total",
        help: "Connections that were cut at the drain deadline",
        gauge: false,
        values: &[(&[], |worker| worker.drain_forced.get())],
    },
];
