//! The journal's file: appended to and synced, written anew when it has grown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cni_core::ipam::Ledger;
use cni_core::journal::{self, Record, Replayed};

/// Records beyond those of a short journal before it is written anew.
const SLACK: usize = 4096;

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    directory: PathBuf,
    boot: String,
    /// How long it is, in bytes that count.
    length: u64,
    records: usize,
}

impl Journal {
    /// Reads what is there, and starts anew from that: a torn end or a damaged line never comes up again.
    pub(crate) fn open(directory: &Path, boot: &str) -> io::Result<(Self, Replayed)> {
        fs::create_dir_all(directory)?;
        let bytes = match fs::read(directory.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut replayed = journal::replay(&bytes);
        if !replayed.damaged.is_empty() {
            // For whoever wants to know what was lost.
            fs::write(directory.join("journal.damaged"), &bytes)?;
        }
        if replayed
            .boot
            .as_deref()
            .is_some_and(|before| before != boot)
        {
            replayed.forget_leases();
        }
        let (file, length) = write_anew(directory, &replayed.ledger, boot)?;
        let journal = Self {
            file,
            directory: directory.to_owned(),
            boot: boot.to_owned(),
            length,
            records: replayed.ledger.leases().count(),
        };
        Ok((journal, replayed))
    }

    /// Writes records; when this returns they survive any end of the machine. After an error it is as if
    /// they had never been written.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.write(records, |file| file.sync_data())
    }

    /// Writes records that survive the end of this process, and that of the machine a moment later: where
    /// their loss, after which no pod is left either, would change nothing.
    pub(crate) fn note(&mut self, records: &[Record]) -> io::Result<()> {
        self.write(records, |_| Ok(()))
    }

    fn write(
        &mut self,
        records: &[Record],
        keep: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let lines: Vec<u8> = records.iter().flat_map(journal::encode).collect();
        let written = self.file.write_all(&lines).and_then(|()| keep(&self.file));
        if let Err(error) = written {
            // Half a line would make the next one unreadable.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += u64::try_from(lines.len()).unwrap_or(0);
        self.records += records.len();
        Ok(())
    }

    /// Writes the journal anew if most of it is history.
    pub(crate) fn tidy(&mut self, ledger: &Ledger) -> io::Result<()> {
        if self.records <= 2 * ledger.leases().count() + SLACK {
            return Ok(());
        }
        (self.file, self.length) = write_anew(&self.directory, ledger, &self.boot)?;
        self.records = ledger.leases().count();
        Ok(())
    }
}

/// Under another name first: at every moment one of the two is whole.
fn write_anew(directory: &Path, ledger: &Ledger, boot: &str) -> io::Result<(File, u64)> {
    let bytes = journal::compact(ledger, boot);
    let unfinished = directory.join("journal.new");
    let mut file = File::create(&unfinished)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, directory.join(NAME))?;
    File::open(directory)?.sync_all()?;
    let file = OpenOptions::new().append(true).open(directory.join(NAME))?;
    Ok((file, u64::try_from(bytes.len()).unwrap_or(0)))
}

const NAME: &str = "journal";

#[cfg(test)]
mod tests {
    use super::*;
    use cni_core::ipam::{Key, Lease, Phase};
    use cni_core::spec::{Attachment, Bandwidth};

    fn lease(number: u8) -> Lease {
        Lease {
            key: Key {
                network: "n".to_owned(),
                attachment: Attachment {
                    container: format!("c{number}"),
                    ifname: "eth0".to_owned(),
                },
            },
            netns: String::new(),
            addresses: vec![[10, 1, 1, number].into()],
            ports: Vec::new(),
            mac: None,
            mtu: None,
            bandwidth: Bandwidth::default(),
            pod: None,
            phase: Phase::Making,
        }
    }

    fn held(replayed: &Replayed) -> usize {
        replayed.ledger.leases().count()
    }

    #[test]
    fn what_was_appended_is_there_after_any_end() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, empty) = Journal::open(directory.path(), "a").unwrap();
        assert_eq!(held(&empty), 0);
        for number in 2..5 {
            let record = Record::Hold(Box::new(lease(number)));
            journal.append(&[record]).unwrap();
        }
        let file = directory.path().join(NAME);
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend(b"0123456");
        fs::write(&file, bytes).unwrap();
        let (_, replayed) = Journal::open(directory.path(), "a").unwrap();
        assert_eq!((held(&replayed), replayed.torn), (3, 7));
        let (mut journal, replayed) = Journal::open(directory.path(), "a").unwrap();
        assert_eq!((held(&replayed), replayed.torn), (3, 0));
        journal.append(&[Record::Release(lease(3).key)]).unwrap();
        assert_eq!(held(&Journal::open(directory.path(), "a").unwrap().1), 2);
        let (_, rebooted) = Journal::open(directory.path(), "b").unwrap();
        assert_eq!((held(&rebooted), rebooted.ledger.released().len()), (0, 3));
    }

    #[test]
    fn history_is_dropped_when_it_is_long() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path(), "a").unwrap();
        journal.records = SLACK;
        let mut ledger = Ledger::default();
        ledger.hold(lease(2));
        journal.append(&[Record::Hold(Box::new(lease(2)))]).unwrap();
        journal
            .append(&[Record::Free(vec![[10, 1, 1, 9].into()])])
            .unwrap();
        journal.note(&[Record::Complete(lease(2).key)]).unwrap();
        journal.tidy(&ledger).unwrap();
        let bytes = fs::read(directory.path().join(NAME)).unwrap();
        assert_eq!(journal::replay(&bytes).records, 2);
        journal.note(&[Record::Complete(lease(2).key)]).unwrap();
        let (_, replayed) = Journal::open(directory.path(), "a").unwrap();
        assert!(
            replayed
                .ledger
                .leases()
                .all(|lease| lease.phase == Phase::Made)
        );
    }
}
