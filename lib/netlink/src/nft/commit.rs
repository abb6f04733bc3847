//! Transactions on their way to the kernel, and its faults on their way back to the operations.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::sockopt;

use super::{Nft, Transaction};
use crate::error::Error;
use crate::netlink::Failure;
use crate::socket::{self, Answer, Received};
use crate::wire::{self, Message};

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_BATCH_GENID: u16 = 1;
/// `AF_UNSPEC`, version, and `NFNL_SUBSYS_NFTABLES` in network order.
const OF_NFTABLES: [u8; 4] = [0, 0, 0, 10];
/// What the kernel takes beside the bytes of a message (`netlink_sendmsg`), with room to spare.
const SEND_OVERHEAD: usize = 4 << 10;

impl Nft {
    /// Makes all these changes, or none and says what the first fault is.
    pub fn commit(&mut self, transaction: Transaction) -> Result<(), Error> {
        match self.try_commit(transaction).into_iter().next() {
            Some(failure) => Err(failure.error),
            None => Ok(()),
        }
    }

    /// Makes all these changes and returns nothing, or makes none and returns every fault that the
    /// kernel has found, with the place of its operation.
    #[must_use]
    pub fn try_commit(&mut self, mut transaction: Transaction) -> Vec<Failure> {
        if transaction.is_empty() {
            return Vec::new();
        }
        match self.send(&mut transaction) {
            Ok(failures) => failures,
            Err(error) => vec![Failure { index: 0, error }],
        }
    }

    fn send(&mut self, transaction: &mut Transaction) -> Result<Vec<Failure>, Error> {
        let messages = std::mem::take(&mut transaction.messages);
        let count = messages.len();
        let mut bytes = Vec::with_capacity(256 * (count + 2));
        // Each message's operation and where it begins; what is about all has the first one's.
        let mut starts = Vec::with_capacity(count + 2);
        let first = self.socket.reserve(count + 2);
        let mut begin = Message::new(NFNL_MSG_BATCH_BEGIN, 0);
        begin.fixed(&OF_NFTABLES);
        if let Some(generation) = transaction.generation {
            begin.be32(NFNL_BATCH_GENID, generation);
        }
        let mut end = Message::new(NFNL_MSG_BATCH_END, 0);
        end.fixed(&OF_NFTABLES);
        let all = std::iter::once((0, begin))
            .chain(messages)
            .chain([(0, end)]);
        for (index, (place, message)) in all.enumerate() {
            // Faults come unasked; that there are none is what the last one says.
            let flags = if index == count { wire::ACK } else { 0 };
            let sequence = first.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX));
            let Some(message) = message.finish(sequence, flags) else {
                let doing = transaction.describe(place, None);
                return Err(Error::TooLarge { doing });
            };
            starts.push((place, bytes.len()));
            bytes.extend(message);
        }
        let failed = |source| Error::Socket {
            doing: "changing nftables".into(),
            source,
        };
        self.grow(bytes.len()).map_err(failed)?;
        self.socket
            .send(&bytes)
            .map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::MSGSIZE) => Error::TooLarge {
                    doing: "changing nftables".into(),
                },
                _ => failed(source),
            })?;
        let sent = Sent {
            bytes,
            starts,
            first,
        };
        self.hear(transaction, &sent)
    }

    /// Gathers faults until the last message has its answer or there are none left.
    fn hear(&mut self, transaction: &Transaction, sent: &Sent) -> Result<Vec<Failure>, Error> {
        let mut failures: Vec<Failure> = Vec::new();
        let last = sent.starts.len().saturating_sub(2);
        let (mut done, mut lost) = (false, false);
        // Where faults are too many for the queue, those that it holds are enough.
        while !done {
            let received = self.socket.receive_now().map_err(|source| {
                let doing = "changing nftables".into();
                Error::Socket { doing, source }
            })?;
            lost |= received == Received::Loss;
            if received == Received::Nothing {
                break;
            }
            for frame in self.socket.received() {
                let index = usize::try_from(frame.sequence.wrapping_sub(sent.first)).ok();
                let Some((index, answer)) = index
                    .filter(|index| *index < sent.starts.len())
                    .zip(socket::acknowledgement(&frame))
                else {
                    continue;
                };
                match answer {
                    Answer::Refused(refusal) => {
                        let pointed = socket::offset(&frame);
                        let (place, pointed) = sent.locate(index, pointed);
                        let doing = transaction.describe(place, pointed);
                        let error = Error::Refused { doing, refusal };
                        failures.push(Failure {
                            index: place,
                            error,
                        });
                    }
                    _ => done |= index == last,
                }
            }
        }
        if failures.is_empty() && (lost || !done) {
            let doing = transaction.describe(0, None);
            return Err(Error::Unanswered { doing });
        }
        Ok(failures)
    }

    /// A transaction is one message to the socket, and may be of megabytes.
    fn grow(&mut self, length: usize) -> std::io::Result<()> {
        let wanted = length + SEND_OVERHEAD;
        if wanted <= self.send_buffer {
            return Ok(());
        }
        let fd = self.socket.as_fd();
        sockopt::set_socket_send_buffer_size_force(fd, wanted)
            .or_else(|_| sockopt::set_socket_send_buffer_size(fd, wanted))?;
        self.send_buffer = wanted;
        Ok(())
    }
}

/// A transaction as it went out.
struct Sent {
    bytes: Vec<u8>,
    /// Each message's operation and where it begins.
    starts: Vec<(usize, usize)>,
    first: u32,
}

impl Sent {
    /// The operation of a message, and the attribute at this offset in the message.
    fn locate(&self, index: usize, offset: Option<u32>) -> (usize, Option<&[u8]>) {
        let Some((place, start)) = self.starts.get(index) else {
            return (0, None);
        };
        let pointed = offset.and_then(|offset| {
            let at = start + usize::try_from(offset).ok()?;
            self.bytes.get(at..)
        });
        (*place, pointed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{Chain, Family, Table};
    use crate::socket::{Fake, Socket};

    /// Four operations: the batch begins with number 1, they are 2 to 5.
    fn commit(refused: &[(u32, Errno)], unheard: &[u32]) -> Vec<Failure> {
        let mut fake = Fake::new(0);
        fake.refused.extend(refused.iter().copied());
        fake.unheard.extend(unheard);
        let mut nft = Nft {
            socket: Socket::over(Box::new(fake)),
            send_buffer: 0,
        };
        let mut transaction = Transaction::new(&Table::new(Family::Inet, "t"));
        transaction.add_table().add_chain(&Chain::new("a"));
        transaction.delete_chain("b").add_counter("c");
        nft.try_commit(transaction)
    }

    fn indices(failures: &[Failure]) -> Vec<usize> {
        failures.iter().map(|failure| failure.index).collect()
    }

    #[test]
    fn each_fault_is_its_operations() {
        assert_eq!(indices(&commit(&[], &[])), []);
        let failures = commit(&[(3, Errno::EXIST), (4, Errno::NOENT)], &[]);
        assert_eq!(indices(&failures), [1, 2]);
        assert!(failures[0].error.is_already_there());
        let text = failures[1].error.to_string();
        assert_eq!(text, "deleting chain inet t b: no such file or directory");
        // Of the whole: not the table's fault, and yet nothing was done.
        assert_eq!(indices(&commit(&[(1, Errno::PERM)], &[])), [0]);
    }

    #[test]
    fn faults_that_are_not_heard_are_no_success() {
        let failures = commit(&[(3, Errno::EXIST), (4, Errno::NOENT)], &[4]);
        assert_eq!(indices(&failures), [1]);
        // That the last one was no fault is heard of a batch too that another one has undone.
        for unheard in [&[3][..], &[3, 5]] {
            let failures = commit(&[(3, Errno::EXIST)], unheard);
            assert!(matches!(failures[0].error, Error::Unanswered { .. }));
        }
    }
}
