//! What goes wrong between a kernel and us is noticed, and harms nothing else.

use proptest::prelude::*;
use rustix::io::Errno;

use super::fake::PER_DATAGRAM;
use super::{Answer, Fake, Fate, IN_FLIGHT, LIST_TRIES, Socket};
use crate::error::Error;
use crate::wire::{self, Message};

fn doing() -> Box<str> {
    "asking".into()
}

fn list(socket: &mut Socket) -> Result<Vec<u32>, Error> {
    let request = Message::new(16, 0);
    socket.list(&request, &doing, |frame| wire::read_u32(frame.body))
}

fn socket(fake: Fake) -> Socket {
    Socket::over(Box::new(fake))
}

fn requests(count: usize) -> Vec<Message> {
    vec![Message::new(16, 0); count]
}

/// A list whose first attempts go so, and whose next ones go well.
fn attempts(lists: &[&[Fate]]) -> Result<Vec<u32>, Error> {
    let mut fake = Fake::new(10);
    fake.lists = lists.iter().map(|fates| fates.to_vec()).collect();
    let mut socket = socket(fake);
    let found = list(&mut socket);
    // Whatever it was, the next request is not disturbed.
    assert_eq!(list(&mut socket).unwrap(), (0..10).collect::<Vec<_>>());
    found
}

#[test]
fn a_list_with_a_gap_is_read_again() {
    use Fate::{Comes, Cut, Dropped, Foreign, Interrupted, Late, Signal};
    let all: Vec<_> = (0..10).collect();
    for lists in [
        &[&[Comes, Dropped][..]][..],
        &[&[Cut]],
        &[&[Comes, Comes, Comes, Interrupted]],
        &[&[Late, Foreign, Signal]],
        &[
            &[Dropped, Dropped, Dropped, Dropped],
            &[Interrupted],
            &[Cut, Late],
        ],
    ] {
        assert_eq!(attempts(lists).unwrap(), all, "{lists:?}");
    }
}

#[test]
fn a_list_that_never_holds_still_is_given_up() {
    let mut fake = Fake::new(10);
    fake.lists = vec![vec![Fate::Interrupted]; LIST_TRIES].into();
    let error = list(&mut socket(fake)).unwrap_err();
    assert!(matches!(error, Error::Torn { .. }), "{error}");
}

#[test]
fn a_list_says_how_it_ended() {
    let mut fake = Fake::new(10);
    // Interrupted is said by a number too; a refusal is final.
    fake.endings = [Errno::INTR, Errno::NODEV].into();
    let mut socket = socket(fake);
    assert_eq!(list(&mut socket).unwrap_err().errno(), Some(Errno::NODEV));
    assert_eq!(list(&mut socket).unwrap().len(), 10);
}

#[test]
fn what_cannot_be_read_is_no_shorter_list() {
    let error = attempts(&[&[Fate::Comes, Fate::Broken]]).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let request = Message::new(16, 0);
    let error = socket(Fake::new(10))
        .list(&request, &doing, |frame| {
            wire::read_u32(frame.body).filter(|number| *number != 4)
        })
        .unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn each_answer_of_a_batch_is_its_requests() {
    let mut fake = Fake::new(0);
    // Numbers of requests begin at 1.
    fake.refused.insert(2, Errno::EXIST);
    fake.refused.insert(300, Errno::NOENT);
    fake.unheard = vec![4, 5, 300];
    let answers = socket(fake).batch(requests(600));
    assert_eq!(answers.len(), 600);
    for (index, answer) in answers.into_iter().enumerate() {
        match index {
            1 => {
                assert!(
                    matches!(answer, Answer::Refused(refusal) if refusal.errno == Errno::EXIST)
                );
            }
            3 | 4 | 299 => assert_eq!(answer, Answer::Lost),
            _ => assert_eq!(answer, Answer::Done, "{index}"),
        }
    }
}

#[test]
fn what_was_not_sent_is_told_from_what_was() {
    let mut fake = Fake::new(0);
    fake.unsent = [None, Some(Errno::NOBUFS), None].into();
    let mut long = Message::new(16, 0);
    long.bytes(1, &[0; 70_000]);
    let mut messages = requests(2 * IN_FLIGHT);
    messages.extend([long, Message::new(16, 0)]);
    let answers = socket(fake).batch(messages);
    let of = |wanted: &Answer| answers.iter().filter(|answer| *answer == wanted).count();
    assert!(
        answers[..IN_FLIGHT]
            .iter()
            .all(|answer| *answer == Answer::Done)
    );
    assert_eq!(answers[IN_FLIGHT], Answer::Failed(Errno::NOBUFS));
    assert_eq!(of(&Answer::Failed(Errno::NOBUFS)), IN_FLIGHT);
    assert_eq!(answers[2 * IN_FLIGHT..], [Answer::TooLarge, Answer::Done]);
}

#[test]
fn numbers_of_requests_begin_anew_after_the_last() {
    let mut fake = Fake::new(0);
    fake.refused.insert(0, Errno::EXIST);
    let mut socket = socket(fake);
    socket.sequence = u32::MAX - 2;
    let answers = socket.batch(requests(4));
    let refused: Vec<_> = answers.iter().map(|a| *a != Answer::Done).collect();
    assert_eq!(refused, [false, false, true, false]);
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Comes),
        1 => Just(Fate::Dropped),
        1 => Just(Fate::Cut),
        1 => Just(Fate::Interrupted),
        1 => Just(Fate::Late),
        1 => Just(Fate::Foreign),
        1 => Just(Fate::Signal),
    ]
}

proptest! {
    /// Whole or an error, whatever becomes of the datagrams.
    #[test]
    fn a_list_is_never_short(
        objects in 0_u32..20,
        lists in proptest::collection::vec(
            proptest::collection::vec(fate(), 20 / PER_DATAGRAM + 1), 0..LIST_TRIES + 2),
    ) {
        let mut fake = Fake::new(objects);
        fake.lists = lists.into();
        match list(&mut socket(fake)) {
            Ok(found) => prop_assert_eq!(found, (0..objects).collect::<Vec<_>>()),
            Err(Error::Torn { .. }) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
