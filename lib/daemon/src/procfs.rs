//! The process's own figures, under the names that every Prometheus client library uses.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Reads /proc/self at each scrape; a figure that cannot be read is left out.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    descriptions: Vec<Desc>,
}

impl ProcessCollector {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let described = |(name, help): &(&str, &str)| {
            Desc::new(
                (*name).to_owned(),
                (*help).to_owned(),
                Vec::new(),
                Default::default(),
            )
        };
        Ok(Self {
            descriptions: FIGURES.iter().map(described).collect::<Result<_, _>>()?,
        })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = Stat::read();
        let figures = [
            stat.as_ref().map(|stat| stat.cpu_seconds),
            stat.as_ref().map(|stat| stat.resident_bytes),
            stat.as_ref().map(|stat| stat.virtual_bytes),
            stat.as_ref().map(|stat| stat.threads),
            stat.as_ref()
                .and_then(|stat| Some(boot_time()? + stat.started_after_boot)),
            open_fds(),
            max_fds(),
        ];
        FIGURES
            .iter()
            .zip(figures)
            .filter_map(|((name, help), value)| family(name, help, value?).ok())
            .flatten()
            .collect()
    }
}

/// What the process uses, for whoever tells it under other names.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Of all threads, in user space and in the kernel.
    pub cpu_seconds: f64,
    /// In memory now.
    pub resident_bytes: f64,
    /// Mapped now.
    pub virtual_bytes: f64,
    /// When it began, in seconds since 1970.
    pub started: Option<f64>,
    /// Read from storage so far, where the kernel counts that.
    pub read_bytes: Option<f64>,
    /// Written to storage so far, where the kernel counts that.
    pub written_bytes: Option<f64>,
}

impl Usage {
    /// Reads /proc/self.
    #[must_use]
    pub fn now() -> Option<Self> {
        let stat = Stat::read()?;
        // See proc_pid_io(5); not every kernel has it.
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let bytes = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok().map(exact)
        };
        Some(Self {
            cpu_seconds: stat.cpu_seconds,
            resident_bytes: stat.resident_bytes,
            virtual_bytes: stat.virtual_bytes,
            started: boot_time().map(|boot| boot + stat.started_after_boot),
            read_bytes: bytes("read_bytes:"),
            written_bytes: bytes("write_bytes:"),
        })
    }
}

/// In the order of `collect`.
const FIGURES: [(&str, &str); 7] = [
    (
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
    ),
    ("process_threads", "Number of OS threads in the process."),
    (
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
    ),
    ("process_open_fds", "Number of open file descriptors."),
    (
        "process_max_fds",
        "Maximum number of open file descriptors.",
    ),
];

fn family(name: &str, help: &str, value: f64) -> prometheus::Result<Vec<MetricFamily>> {
    if name.ends_with("_total") {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value);
        Ok(counter.collect())
    } else {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        Ok(gauge.collect())
    }
}

/// What Penstock reports of /proc/self/stat, see proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    started_after_boot: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = exact(rustix::param::clock_ticks_per_second());
        let page = exact(u64::try_from(rustix::param::page_size()).ok()?);
        Self::parse(&text, ticks, page)
    }

    /// Fields are counted after the name in parentheses, which may itself hold spaces: the first
    /// one is field 3 of the manual.
    fn parse(text: &str, ticks: f64, page: f64) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok().map(exact);
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started_after_boot: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
        })
    }
}

fn boot_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse::<u64>().ok().map(exact)
}

fn open_fds() -> Option<f64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // The listing itself holds one.
    Some(exact(u64::try_from(open.saturating_sub(1)).ok()?))
}

fn max_fds() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(exact)
}

/// Metrics are doubles: exact up to 2^53, which no figure of a process reaches.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures of a process stay below 2^53"
)]
fn exact(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1234 8192 3 \
                    18446744073709551615 1 1";
        assert_eq!(
            Stat::parse(text, 100.0, 4096.0),
            Some(Stat {
                cpu_seconds: 3.0,
                threads: 9.0,
                started_after_boot: 12.34,
                virtual_bytes: 8192.0,
                resident_bytes: 12288.0,
            })
        );
        assert_eq!(Stat::parse("7 (a) S 1", 100.0, 4096.0), None);
    }

    #[test]
    fn every_figure_of_this_process_is_there() {
        let families = ProcessCollector::new().unwrap().collect();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, FIGURES.map(|(name, _)| name));
    }
}
