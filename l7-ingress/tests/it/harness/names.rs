//! A DNS server on loopback that answers as a test says (RFC 1035 §4.1).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The server. Names that nobody has spoken of are asked in vain: there is no answer.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    socket: Arc<UdpSocket>,
    // A mutex: the test writes what the server's task reads.
    zone: Arc<Mutex<BTreeMap<String, Name>>>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Name {
    answer: Option<Answer>,
    /// When its A records were asked for.
    asked: Vec<Instant>,
    unanswered: Vec<(Vec<u8>, SocketAddr)>,
}

#[derive(Clone, Debug)]
enum Answer {
    Addresses(u32, Vec<IpAddr>),
    Failure,
}

impl Names {
    pub(crate) async fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let zone = Arc::<Mutex<BTreeMap<String, Name>>>::default();
        let (served, known) = (Arc::clone(&socket), Arc::clone(&zone));
        let serving = tokio::task::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = served.recv_from(&mut buffer).await {
                let query = &buffer[..length];
                let answer = {
                    let mut zone = known.lock().unwrap();
                    let name = zone.entry(question(query).name).or_default();
                    if question(query).kind == A {
                        name.asked.push(Instant::now());
                    }
                    if name.answer.is_none() {
                        name.unanswered.push((query.to_vec(), from));
                    }
                    name.answer.as_ref().map(|answer| response(query, answer))
                };
                if let Some(answer) = answer {
                    served.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self {
            address: socket.local_addr().unwrap(),
            socket,
            zone,
            serving,
        }
    }

    /// Gives a name these addresses, and answers who has asked for it before.
    pub(crate) async fn says(&self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        let answer = Answer::Addresses(ttl, addresses.to_vec());
        let waiting = {
            let mut zone = self.zone.lock().unwrap();
            let name = zone.entry(name.to_owned()).or_default();
            name.answer = Some(answer.clone());
            std::mem::take(&mut name.unanswered)
        };
        for (query, from) in waiting {
            let response = response(&query, &answer);
            self.socket.send_to(&response, from).await.unwrap();
        }
    }

    /// From now on the name cannot be resolved (SERVFAIL).
    pub(crate) fn fails(&self, name: &str) {
        let mut zone = self.zone.lock().unwrap();
        zone.entry(name.to_owned()).or_default().answer = Some(Answer::Failure);
    }

    /// When the name was asked for.
    pub(crate) fn asked(&self, name: &str) -> Vec<Instant> {
        let zone = self.zone.lock().unwrap();
        zone.get(name)
            .map(|name| name.asked.clone())
            .unwrap_or_default()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const A: u16 = 1;
const AAAA: u16 = 28;

struct Question {
    name: String,
    kind: u16,
    /// Where it ends.
    end: usize,
}

fn question(query: &[u8]) -> Question {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    Question {
        name: labels.join("."),
        kind: u16::from_be_bytes([query[at + 1], query[at + 2]]),
        end: at + 5,
    }
}

fn response(query: &[u8], answer: &Answer) -> Vec<u8> {
    let question = question(query);
    let (code, records) = match answer {
        Answer::Failure => (2, Vec::new()),
        Answer::Addresses(ttl, addresses) => {
            let of_kind = addresses
                .iter()
                .filter(|address| question.kind == if address.is_ipv4() { A } else { AAAA });
            let record = |address: &IpAddr| record(question.kind, *ttl, *address);
            (0, of_kind.map(record).collect())
        }
    };
    let count = u8::try_from(records.len()).unwrap();
    let mut message = query[..2].to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    message.extend(&query[12..question.end]);
    message.extend(records.concat());
    message
}

/// A record for the name of the question.
fn record(kind: u16, ttl: u32, address: IpAddr) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u16::try_from(octets.len()).unwrap();
    let mut record = vec![0xc0, 12];
    record.extend(kind.to_be_bytes());
    record.extend([0, 1]);
    record.extend(ttl.to_be_bytes());
    record.extend(length.to_be_bytes());
    record.extend(octets);
    record
}
