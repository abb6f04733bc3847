//! What a group of processes has used, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;

/// User and system time of every process of a group, in the kernel's ticks of 10 ms.
pub(super) fn cpu(group: Pid) -> Result<Duration> {
    let ticks: u64 = members(group)?.iter().map(|stat| stat.ticks).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The same of its living threads, in nanoseconds: for what takes less than a few ticks.
pub(super) fn cpu_fine(group: Pid) -> Result<Duration> {
    let mut nanos = 0;
    for stat in members(group)? {
        for thread in fs::read_dir(format!("/proc/{}/task", stat.pid)).context("threads")? {
            let path = thread.context("threads")?.path().join("schedstat");
            // A thread may end between the listing and the reading.
            let line = fs::read_to_string(path).unwrap_or_default();
            let ran = line.split(' ').next().and_then(|n| n.parse::<u64>().ok());
            nanos += ran.unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory of every process of a group, in bytes.
pub(super) fn rss(group: Pid) -> Result<u64> {
    members(group)?.iter().map(|stat| rss_of(stat.pid)).sum()
}

/// The most that each of them ever had.
pub(super) fn peak(group: Pid) -> Result<u64> {
    let members = members(group)?;
    members.iter().map(|stat| memory(stat.pid, "VmHWM:")).sum()
}

fn rss_of(pid: i32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: i32, field: &'static str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context(field)? * 1024)
}

struct Stat {
    pid: i32,
    group: i32,
    ticks: u64,
}

fn members(group: Pid) -> Result<Vec<Stat>> {
    let group = group.as_raw_nonzero().get();
    let members: Vec<_> = fs::read_dir("/proc")
        .context("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .filter(|stat| stat.group == group)
        .collect();
    ensure!(!members.is_empty(), "no process is left in group {group}");
    Ok(members)
}

/// proc_pid_stat(5). The name, second, is in brackets and may hold anything.
fn parse(stat: &str) -> Option<Stat> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        group: fields.get(2)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 1 40 40 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        let stat = parse(line).unwrap();
        assert_eq!((stat.pid, stat.group, stat.ticks), (42, 40, 300));
    }
}
