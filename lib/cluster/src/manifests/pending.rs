//! What changed in the folder, and when it is settled enough to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use tokio::time::Instant;

use super::folder::Changed;
use super::scan::{is_hidden, is_manifest};

/// What changed in the folder and was not read yet.
///
/// A file is read when whoever writes it has closed it; a moment later, so that what belongs
/// together is read together, and an editor that moves the old file away before it writes the new
/// one does not delete anything. One that stays open is read when nothing was written for a while.
#[derive(Debug, Default)]
pub(super) struct Pending {
    files: BTreeMap<PathBuf, Due>,
    /// When to look at all files.
    all: Option<Instant>,
    /// When the oldest change that is complete was seen.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    /// Still open for writing, as far as is known.
    open: bool,
}

impl Pending {
    /// Takes note of what the kernel says about a path below the folder.
    pub(super) fn note(&mut self, now: Instant, kind: &EventKind, path: &Path) {
        let (wait, open) = match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => (CLOSED, false),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                (REMOVED, false)
            }
            EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(_) => (OPEN, true),
            _ => return,
        };
        if is_manifest(path) {
            let at = now + wait;
            self.files.insert(path.to_owned(), Due { at, open });
        } else if !is_hidden(path) && open {
            // A file of another kind, or a folder that was made.
            if matches!(kind, EventKind::Create(notify::event::CreateKind::Folder)) {
                self.note_all(now);
            }
        } else if is_folder_of_files(path) {
            self.note_all(now);
        }
        if !open {
            self.since.get_or_insert(now);
        }
    }

    /// Anything may have changed.
    pub(super) fn note_all(&mut self, now: Instant) {
        self.all = Some(now + CLOSED);
        self.since.get_or_insert(now);
    }

    /// When [`Pending::take`] will give something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let complete = self.files.values().filter(|due| !due.open);
        let settled = complete.map(|due| due.at).chain(self.all).max();
        let bound = self.since.map(|since| since + LONGEST);
        let settled = settled.map(|at| bound.map_or(at, |bound| at.min(bound)));
        let open = self.files.values().filter(|due| due.open);
        let silent = open.map(|due| due.at).min();
        settled.into_iter().chain(silent).min()
    }

    /// What is settled by now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Changed> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        let settled: BTreeSet<PathBuf> = self
            .files
            .extract_if(.., |_, due| !due.open || due.at <= now)
            .map(|(path, _)| path)
            .collect();
        self.since = None;
        Some(Changed {
            files: settled,
            all: self.all.take().is_some(),
        })
    }
}

/// Whether a path that is no manifest may hold some, or stand for a folder that does: the kubelet
/// publishes a ConfigMap by moving the link `..data` to a new folder.
fn is_folder_of_files(path: &Path) -> bool {
    let hidden = is_hidden(path);
    let swapped = path.iter().next().is_some_and(|first| first == "..data");
    swapped || (!hidden && path.extension().is_none())
}

const CLOSED: Duration = Duration::from_millis(10);
const REMOVED: Duration = Duration::from_millis(50);
const OPEN: Duration = Duration::from_millis(100);
/// However much goes on, what is complete is read after this.
const LONGEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;

    const CLOSE: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const WRITE: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const REMOVE: EventKind = EventKind::Remove(RemoveKind::File);

    fn files(paths: &[&str]) -> Option<Changed> {
        Some(Changed {
            files: paths.iter().map(PathBuf::from).collect(),
            all: false,
        })
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Events at their times, then what is settled and when.
    fn check(events: &[(u64, EventKind, &str)], at: u64, want: Option<Changed>) {
        let begin = Instant::now();
        let mut pending = Pending::default();
        for (time, kind, path) in events {
            pending.note(begin + ms(*time), kind, Path::new(path));
        }
        let deadline = pending.deadline().map(|deadline| deadline - begin);
        assert_eq!(deadline, want.is_some().then(|| ms(at)), "{events:?}");
        assert_eq!(pending.take(begin + ms(at)), want, "{events:?}");
    }

    #[test]
    fn a_file_is_read_when_it_is_closed_or_silent() {
        check(
            &[(0, WRITE, "a.yaml"), (3, CLOSE, "a.yaml")],
            13,
            files(&["a.yaml"]),
        );
        check(
            &[(0, WRITE, "a.yaml"), (60, WRITE, "a.yaml")],
            160,
            files(&["a.yaml"]),
        );
        check(
            &[(0, CLOSE, "notes.txt"), (0, CLOSE, ".a.yaml.swp")],
            0,
            None,
        );
    }

    #[test]
    fn an_editor_that_moves_the_old_file_away_removes_nothing() {
        let events = [
            (0, FROM, "a.yaml"),
            (0, TO, "a.yaml~"),
            (2, EventKind::Create(CreateKind::File), "a.yaml"),
            (4, CLOSE, "a.yaml"),
        ];
        check(&events, 14, files(&["a.yaml"]));
    }

    #[test]
    fn a_rename_is_one_change() {
        check(
            &[(0, FROM, "a.yaml"), (0, TO, "b.yaml")],
            50,
            files(&["a.yaml", "b.yaml"]),
        );
    }

    #[test]
    fn a_file_that_is_being_written_holds_nothing_up() {
        let events = [
            (0, WRITE, "slow.yaml"),
            (50, REMOVE, "b.yaml"),
            (90, WRITE, "slow.yaml"),
        ];
        check(&events, 100, files(&["b.yaml"]));
        let busy: Vec<_> = (0..20).map(|at| (at * 8, CLOSE, "a.yaml")).collect();
        check(&busy, 100, files(&["a.yaml"]));
    }

    #[test]
    fn folders_and_swapped_links_are_looked_through() {
        check(
            &[(0, EventKind::Create(CreateKind::Folder), "sub")],
            10,
            Some(Changed::all()),
        );
        check(&[(0, TO, "..data")], 10, Some(Changed::all()));
        check(&[(0, TO, "..data_tmp.yaml")], 0, None);
    }
}
