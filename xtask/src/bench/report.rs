//! The tables: to the terminal while it runs, and into the document when it is done.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::conditions::Conditions;
use super::document::Markers;
use super::measure::{Row, Run};
use super::scale::{Idle, Scale};
use super::scenario::{Goal, Scenario};
use super::stats::Summary;
use super::sut::Who;
use super::table::{kib, mib, spread, table};

const MARKERS: Markers = Markers {
    begin: "<!-- begin: written by cargo xtask bench l7 -->",
    end: "<!-- end: written by cargo xtask bench l7; what is below is kept -->",
};

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    conditions: Conditions,
    compared: Vec<(Scenario, Vec<Row>)>,
    /// A route without filters and one with them.
    pub(super) filters: Option<[Row; 2]>,
    pub(super) idle: Vec<Idle>,
    pub(super) scale: Vec<Scale>,
    /// How many sections `latest` has shown.
    shown: usize,
}

/// What is to be reached, what was measured, and whether that is enough (`None`: nothing to compare).
struct Verdict {
    goal: String,
    measured: String,
    reached: Option<bool>,
}

impl Report {
    pub(super) fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            compared: Vec::new(),
            filters: None,
            idle: Vec::new(),
            scale: Vec::new(),
            shown: 0,
        }
    }

    pub(super) fn compared(&mut self, scenario: Scenario, rows: Vec<Row>) {
        self.compared.push((scenario, rows));
    }

    /// What was added since this was called last.
    pub(super) fn latest(&mut self) -> String {
        let sections = self.sections();
        let new = sections[self.shown..].concat();
        self.shown = sections.len();
        new
    }

    /// Everything that was measured, in the order of the scenarios.
    fn sections(&self) -> Vec<String> {
        let compared = self.compared.iter();
        let mut sections: Vec<String> = compared
            .map(|(scenario, rows)| comparison(*scenario, rows))
            .collect();
        sections.extend(self.filters.as_ref().map(filters_section));
        if !self.idle.is_empty() {
            sections.push(idle_table(&self.idle));
        }
        if !self.scale.is_empty() {
            sections.push(scale_table(&self.scale));
        }
        sections
    }

    /// Every goal with what came of it.
    pub(super) fn verdicts(&self) -> String {
        let mut verdicts: Vec<Verdict> = self
            .compared
            .iter()
            .filter_map(|(scenario, rows)| compared_verdict(*scenario, rows))
            .collect();
        verdicts.extend(self.filters.as_ref().map(filters_verdict));
        verdicts.extend(memory_verdicts(&self.idle));
        verdicts.extend(scale_verdicts(&self.scale));
        let rows = verdicts.into_iter().map(|verdict| {
            let reached = match verdict.reached {
                Some(true) => "reached",
                Some(false) => "not reached",
                None => "no verdict",
            };
            vec![verdict.goal, verdict.measured, reached.to_owned()]
        });
        format!("## Goals\n\n{}", table(&["goal", "measured", ""], rows))
    }

    /// Replaces what is between the markers of `file`, or begins it.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        MARKERS.replace(file, &self.body())
    }

    fn body(&self) -> String {
        let mut text = self.verdicts() + "\n" + READING;
        text += &self.sections().concat();
        text += "## Conditions\n\n";
        let facts = self.conditions.facts.iter();
        text += &table(
            &["", ""],
            facts.map(|(name, value)| vec![(*name).to_owned(), value.clone()]),
        );
        text.push('\n');
        for (name, listing) in &self.conditions.listings {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "<details><summary>{name}</summary>\n\n```\n{listing}```\n\n</details>\n\n"
            );
        }
        text
    }
}

/// A proxy that is on its CPU for less than this had to wait for the client or the backend: what it can do
/// was not seen.
const BUSY_PERCENT: f64 = 80.0;

const READING: &str = "\
Each number is the median of the runs, with the lowest and the highest in brackets. CPU per request is the
user and system time of all the proxy's processes, divided by the requests that were answered; it is what is
compared, because on so few CPUs requests per second say as much about the client. `direct` is the client
on the backend without a proxy; it shares its CPU with the backend, which works harder then than behind a
proxy, so a proxy can be faster than direct: what shows that the client is the ceiling is a proxy that was
not on its CPU all the time. p50 and p99 are those of a closed loop at full load: they show how long the
queue is, not how fast a proxy is.

";

fn comparison(scenario: Scenario, rows: &[Row]) -> String {
    let said = compared_verdict(scenario, rows)
        .or_else(|| Some(plain_verdict(rows)))
        .map_or(String::new(), |verdict| verdict.measured);
    let named = rows.iter().map(|row| (row.name(), row));
    section(scenario, named, &said)
}

/// The table of some runs, with what it says.
fn section<'r>(
    scenario: Scenario,
    rows: impl Iterator<Item = (&'r str, &'r Row)>,
    said: &str,
) -> String {
    let cells = rows.map(|(name, row)| {
        let of = |value: fn(&Run) -> f64, digits| spread(row.summary(value), digits);
        let proxied = |text: String| match row.who {
            Some(_) => text,
            None => "–".to_owned(),
        };
        vec![
            name.to_owned(),
            proxied(of(|run| run.cpu_per_request, 2)),
            of(|run| run.sample.per_second, 0),
            of(|run| run.sample.p50, 0),
            of(|run| run.sample.p99, 0),
            proxied(of(|run| run.busy * 100.0, 0)),
            proxied(mib(row.rss)),
            row.errors().to_string(),
        ]
    });
    let header = [
        "",
        "CPU µs/request",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "CPU busy %",
        "RSS MiB",
        "errors",
    ];
    format!(
        "## {}\n\n{}\n{said}\n\n",
        scenario.title(),
        table(&header, cells)
    )
}

const MOST_FOR_FILTERS: f64 = 1.5;

fn filters_section(rows: &[Row; 2]) -> String {
    let names = ["without", "with"];
    let verdict = filters_verdict(rows);
    let said = format!("with / without: {}", verdict.measured);
    section(Scenario::Filters, names.into_iter().zip(rows), &said)
}

fn filters_verdict(rows: &[Row; 2]) -> Verdict {
    let [plain, filtered] = rows;
    let goal = format!(
        "A route with auth-url, CORS, rate limit and rewrite: CPU per request ≤ {MOST_FOR_FILTERS} × a plain one's"
    );
    let errors = plain.errors() + filtered.errors();
    if errors > 0 {
        return Verdict {
            goal,
            measured: format!("no ratio: {errors} errors"),
            reached: None,
        };
    }
    let rounds = filtered.runs.iter().zip(&plain.runs);
    let ratios = Summary::of(rounds.map(|(a, b)| a.cpu_per_request / b.cpu_per_request));
    Verdict {
        goal,
        measured: format!("{} ×", spread(ratios, 2)),
        reached: ratios.map(|ratios| ratios.median <= MOST_FOR_FILTERS),
    }
}

fn compared_verdict(scenario: Scenario, rows: &[Row]) -> Option<Verdict> {
    let Goal {
        at_most,
        nginx_only,
    } = scenario.goal()?;
    let peer = if nginx_only {
        "nginx"
    } else {
        "the better peer"
    };
    let (measured, ratio) = ratio(rows, nginx_only);
    Some(Verdict {
        goal: format!(
            "{}: CPU per request ≤ {at_most:.2} of {peer}",
            scenario.title()
        ),
        measured,
        reached: ratio.map(|ratio| ratio <= at_most),
    })
}

fn plain_verdict(rows: &[Row]) -> Verdict {
    let (measured, _) = ratio(rows, false);
    Verdict {
        goal: String::new(),
        measured,
        reached: None,
    }
}

/// The ratio of CPU per request, or why there is none.
fn ratio(rows: &[Row], nginx_only: bool) -> (String, Option<f64>) {
    let cpu = |row: &Row| {
        row.summary(|run| run.cpu_per_request)
            .map_or(f64::MAX, |s| s.median)
    };
    let of = |who| rows.iter().find(|row| row.who == Some(who));
    let peers = [of(Who::Nginx), of(Who::HaProxy).filter(|_| !nginx_only)];
    let best = peers
        .into_iter()
        .flatten()
        .min_by(|a, b| cpu(a).total_cmp(&cpu(b)));
    let (Some(ours), Some(best)) = (of(Who::Penstock), best) else {
        return ("no ratio: not measured beside a peer".to_owned(), None);
    };
    for row in rows {
        if row.errors() > 0 {
            let text = format!("no ratio: {} had {} errors", row.name(), row.errors());
            return (text, None);
        }
    }
    for row in [ours, best] {
        let busy = row
            .summary(|run| run.busy)
            .map_or(0.0, |busy| busy.median * 100.0);
        if busy < BUSY_PERCENT {
            let text = format!(
                "no ratio: the client is the ceiling, {} was on its CPU for {busy:.0} % of the time",
                row.name()
            );
            return (text, None);
        }
    }
    let rounds = ours.runs.iter().zip(&best.runs);
    let ratios = Summary::of(rounds.map(|(a, b)| a.cpu_per_request / b.cpu_per_request));
    let text = format!("l7-ingress / {}: {}", best.name(), spread(ratios, 2));
    (text, ratios.map(|ratios| ratios.median))
}

fn memory_verdicts(idle: &[Idle]) -> Vec<Verdict> {
    let Some(ours) = idle.iter().find(|idle| idle.who == Who::Penstock) else {
        return Vec::new();
    };
    let mib_limit = 15 * 1024 * 1024;
    vec![
        Verdict {
            goal: "RSS, idle: ≤ 15 MiB".to_owned(),
            measured: format!("{} MiB", mib(ours.rss)),
            reached: Some(ours.rss <= mib_limit),
        },
        Verdict {
            goal: "An idle TLS connection: ≤ 40 KiB".to_owned(),
            measured: format!(
                "{} KiB ({} connections)",
                kib(ours.per_connection),
                ours.connections
            ),
            reached: Some(ours.per_connection <= 40 * 1024),
        },
    ]
}

fn scale_verdicts(scale: &[Scale]) -> Vec<Verdict> {
    let at = |count| scale.iter().find(|scale| scale.ingresses == count);
    let mut verdicts = Vec::new();
    for (count, limit) in [(10_000, 50.0), (100_000, 100.0)] {
        if let Some(scale) = at(count) {
            verdicts.push(Verdict {
                goal: format!("One change served at {count} Ingresses: ≤ {limit:.0} ms"),
                measured: format!("{} ms", spread(Some(scale.served_after), 1)),
                reached: Some(scale.served_after.median <= limit),
            });
        }
    }
    if let Some(scale) = at(10_000) {
        verdicts.push(Verdict {
            goal: "Start to Ready with 10000 Ingresses: ≤ 3 s".to_owned(),
            measured: format!("{:.2} s", scale.ready_after.as_secs_f64()),
            reached: Some(scale.ready_after.as_secs_f64() <= 3.0),
        });
        verdicts.push(Verdict {
            goal: "RSS with 10000 Ingresses: ≤ 60 MiB".to_owned(),
            measured: format!("{} MiB", mib(scale.rss)),
            reached: Some(scale.rss <= 60 * 1024 * 1024),
        });
    }
    if let (Some(small), Some(large)) = (at(1_000), at(100_000)) {
        let ratio = large.cpu_per_change / small.cpu_per_change;
        verdicts.push(Verdict {
            goal: "CPU of a change at 100000 Ingresses: ≤ 2 × that at 1000".to_owned(),
            measured: format!("{ratio:.2} ×"),
            reached: Some(ratio <= 2.0),
        });
    }
    verdicts
}

fn idle_table(idle: &[Idle]) -> String {
    let rows = idle.iter().map(|idle| {
        vec![
            idle.who.name().to_owned(),
            mib(idle.rss),
            kib(idle.per_connection),
            idle.connections.to_string(),
        ]
    });
    let header = ["", "RSS MiB", "KiB per idle TLS connection", "connections"];
    format!(
        "## {}\n\n{}\n",
        Scenario::Idle.title(),
        table(&header, rows)
    )
}

fn scale_table(scale: &[Scale]) -> String {
    let rows = scale.iter().map(|scale| {
        vec![
            scale.ingresses.to_string(),
            format!("{:.2}", scale.ready_after.as_secs_f64()),
            mib(scale.rss),
            spread(Some(scale.served_after), 1),
            format!("{:.2}", scale.cpu_per_change),
            format!("{:.2}", scale.cpu_per_request),
        ]
    });
    let header = [
        "Ingresses",
        "start to Ready s",
        "RSS MiB",
        "change to served ms",
        "CPU ms/change",
        "CPU µs/request, all hosts",
    ];
    format!(
        "## {}\n\n{}\n",
        Scenario::Scale.title(),
        table(&header, rows)
    )
}
