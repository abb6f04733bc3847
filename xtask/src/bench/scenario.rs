//! What is measured, and what is to be reached.

use super::client::{Load, Site};

/// A row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// HTTP/1.1, keep-alive, bodies of 100 B
    H1,
    /// HTTP/1.1, keep-alive, bodies of 16 KiB
    H1_16k,
    /// HTTPS (HTTP/1.1), keep-alive, bodies of 100 B
    Https,
    /// HTTP/2 over TLS, bodies of 100 B
    H2,
    /// A new connection and a full handshake for each request
    Handshake,
    /// HTTP/1.1, keep-alive, bodies of 1 MiB
    H1_1m,
    /// WebSocket echo, messages of 100 B
    Websocket,
    /// A route with many annotations beside one without any, l7-ingress alone
    Filters,
    /// Memory without traffic, and of idle TLS connections
    Idle,
    /// Many Ingresses, l7-ingress alone
    Scale,
}

/// CPU per request, as a share of a peer's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub(super) at_most: f64,
    /// Compared with nginx alone, instead of with the better peer.
    pub(super) nginx_only: bool,
}

impl Scenario {
    pub(super) fn chosen(only: &[Self]) -> Vec<Self> {
        let all = <Self as clap::ValueEnum>::value_variants();
        let wanted = |scenario: &&Self| only.is_empty() || only.contains(scenario);
        all.iter().filter(wanted).copied().collect()
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::H1 => "HTTP/1.1 keep-alive, 100 B",
            Self::H1_16k => "HTTP/1.1 keep-alive, 16 KiB",
            Self::Https => "HTTPS keep-alive, 100 B",
            Self::H2 => "HTTP/2 over TLS, 100 B",
            Self::Handshake => "One TLS handshake per request",
            Self::H1_1m => "HTTP/1.1 keep-alive, 1 MiB",
            Self::Websocket => "WebSocket echo, 100 B",
            Self::Filters => "Annotations",
            Self::Idle => "Idle memory",
            Self::Scale => "Many Ingresses",
        }
    }

    /// What is put on all proxies; `None` for those that do not compare them by requests.
    pub(super) fn load(self) -> Option<Load> {
        let http = |path, site, connections| Load::Http {
            site,
            path,
            connections,
        };
        Some(match self {
            Self::H1 => http("/100", Site::Plain, 64),
            Self::H1_16k => http("/16k", Site::Plain, 64),
            Self::Https => http("/100", Site::Tls, 64),
            Self::H2 => Load::Http2 {
                path: "/100",
                connections: 16,
                streams: 8,
            },
            Self::Handshake => Load::Handshakes { connections: 32 },
            Self::H1_1m => http("/1m", Site::Plain, 16),
            Self::Websocket => Load::WebSocket { connections: 64 },
            Self::Filters | Self::Idle | Self::Scale => return None,
        })
    }

    pub(super) fn goal(self) -> Option<Goal> {
        let (at_most, nginx_only) = match self {
            Self::H1 => (0.95, false),
            Self::Https | Self::H2 => (0.90, false),
            Self::Handshake => (0.70, true),
            _ => return None,
        };
        Some(Goal {
            at_most,
            nginx_only,
        })
    }
}

/// The load for a route with and without filters: both go to the same file of the backend.
pub(super) fn filters(site: Site) -> Load {
    Load::Http {
        site,
        path: match site {
            Site::Filtered => "/api/100",
            Site::Plain | Site::Tls => "/100",
        },
        connections: 64,
    }
}
