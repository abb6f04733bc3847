//! Under which conditions the numbers came about.

use std::fs;
use std::process::Command;

use super::client::Ports;
use super::config;
use super::measure::Plan;
use super::sut::Bench;
use crate::workspace;

/// Lines and listings for the report.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) listings: Vec<(&'static str, String)>,
}

pub(super) fn gather(bench: &Bench, plan: Plan) -> Conditions {
    let mut facts = machine();
    facts.extend([
        (
            "placement",
            format!(
                "proxy on CPU {}, client and backend on CPU {}",
                bench.cpus.proxy, bench.cpus.others
            ),
        ),
        (
            "runs",
            format!(
                "{} of {} s each, in rotated order, each after {} s that are not counted",
                plan.repeats,
                plan.duration.as_secs(),
                plan.warm_up.as_secs()
            ),
        ),
        (
            "open files",
            format!("{} connections for each proxy", bench.connections),
        ),
        ("nginx", first_line("nginx", &["-v"])),
        ("HAProxy", first_line("haproxy", &["-v"])),
        (
            "l7-ingress",
            first_line(&bench.program.to_string_lossy(), &["--version"]),
        ),
        ("wrk", first_line("wrk", &["-v"])),
        ("h2load", first_line("h2load", &["--version"])),
    ]);
    let ports = Ports {
        http: 80,
        https: 443,
        websocket: 80,
    };
    let backend = Ports {
        http: 8080,
        https: 8443,
        websocket: 8081,
    };
    let listings = vec![
        ("nginx, as proxy", config::nginx_proxy(ports, backend)),
        (
            "HAProxy",
            config::haproxy("/etc/haproxy".as_ref(), bench.connections, ports, backend),
        ),
        (
            "l7-ingress",
            "l7-ingress run --manifests DIR --workers 1 --access-log off --log-level warn \\\n  \
             --keep-alive 600s --keep-alive-requests 1000000000 \\\n  \
             --upstream-keepalive-timeout 600s --upstream-keepalive-requests 1000000000\n"
                .to_owned(),
        ),
        (
            "nginx, as backend",
            config::nginx_backend("/srv".as_ref(), backend),
        ),
    ];
    Conditions { facts, listings }
}

/// What was measured where and when.
pub(super) fn machine() -> Vec<(&'static str, String)> {
    let commit = first_line("git", &["describe", "--always", "--dirty", "--abbrev=10"]);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    vec![
        ("date", first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit),
        ("kernel", first_line("uname", &["-sr"])),
        ("CPU", cpu_model()),
        ("memory", memory()),
        ("load average before", load.trim().to_owned()),
        ("rustc", first_line("rustc", &["--version"])),
    ]
}

/// What a program says first, on either stream.
fn first_line(program: &str, args: &[&str]) -> String {
    let found = workspace::find_program(program).unwrap_or_else(|| program.into());
    let output = Command::new(found)
        .args(args)
        .current_dir(workspace::root())
        .output();
    let Ok(output) = output else {
        return "unknown".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models = info
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = models.clone().count();
    let model = models.next().map_or("unknown", |(_, model)| model);
    format!("{count} × {model}")
}

fn memory() -> String {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info.lines().find_map(|line| {
        let line = line.strip_prefix("MemTotal:")?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    format!("{} MiB", kib.unwrap_or(0) / 1024)
}
