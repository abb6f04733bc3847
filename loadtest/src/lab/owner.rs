//! Whose a namespace is, told by its name: the process's number and when it started, so that a number
//! that was given out again does not keep what another process left.

use std::fmt;
use std::fs;
use std::io;

use netlink::Namespace;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::LabError;

const PREFIX: &str = "lab-";

/// A process that makes labs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    process: u32,
    /// In the kernel's ticks since boot.
    started: u64,
}

impl Owner {
    pub(super) fn this_process() -> io::Result<Self> {
        let process = std::process::id();
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat");
        Ok(Self {
            process,
            started: started(process).ok_or_else(unreadable)?,
        })
    }

    /// That of a namespace's name; none for those that are no lab's.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        Some(Self {
            process: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        })
    }

    fn lives(self) -> bool {
        started(self.process) == Some(self.started)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.process, self.started)
    }
}

/// Removes what dead owners left, and ends the programs that live there.
pub(super) fn sweep() -> Result<(), LabError> {
    for name in Namespace::names()? {
        if Owner::of(&name).is_some_and(|owner| !owner.lives()) {
            // A name without a namespace is one whose making was cut off.
            if let Ok(namespace) = Namespace::named(&name) {
                end_inhabitants(&namespace)?;
            }
            match Namespace::delete(&name) {
                // Another lab was faster.
                Err(error) if !error.is_not_there() => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

fn end_inhabitants(namespace: &Namespace) -> Result<(), LabError> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        let Some(process) = number.and_then(Pid::from_raw) else {
            continue;
        };
        // The handle first: what is found out afterwards is about the process that it stands for.
        let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else {
            continue;
        };
        let number = process.as_raw_nonzero().get().unsigned_abs();
        if Namespace::of_process(number).is_ok_and(|its| its == *namespace) {
            // It may have ended meanwhile.
            let _ = pidfd_send_signal(&handle, Signal::KILL);
        }
    }
    Ok(())
}

/// When a process started; none for one that has ended, waited for or not.
fn started(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let ended = matches!(state, "Z" | "X");
    // The 22nd of all.
    fields.nth(18)?.parse().ok().filter(|_| !ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_owners() {
        let this = Owner::this_process().unwrap();
        assert!(this.lives());
        assert_eq!(Owner::of(&format!("{this}-0-node")), Some(this));
        let earlier = Owner {
            started: this.started - 1,
            ..this
        };
        assert!(!earlier.lives(), "the number was given out again");
        for other in ["cni-1234", "lab-", "lab-x-1-0-n", "penstock-1-2-3", "lab-7"] {
            assert_eq!(Owner::of(other), None, "{other}");
        }
    }
}
