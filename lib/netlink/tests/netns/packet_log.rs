//! Packets that rules log come out with what they were.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use netlink::nft::{
    Chain, ChainKind, Family, Field, Hook, Nft, Port, Protocol, Rule, Table, Transaction,
};
use netlink::{Logged, Namespace, Netlink, PacketLog};

use crate::{arrives, cable, ip, name, skipped};

const GROUP: u16 = 4;
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn dropped_packets_are_told_of_with_their_ends() {
    if skipped() {
        return;
    }
    let (server, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    cable(&server, &client, ["10.9.0.2/24", "10.9.0.1/24"]);
    arrives(&server, ip("10.9.0.2"));
    let mut log = match PacketLog::open_in(&server, GROUP, 1 << 20) {
        // What netfilter has no part for is refused as an invalid message.
        Err(error) if error.to_string().ends_with("invalid argument") => {
            println!("skipped: this kernel hands out no logged packets: {error}");
            return;
        }
        opened => opened.unwrap(),
    };
    let table = Table::new(Family::Inet, "logging");
    let rule = Rule::new()
        .when(Field::Protocol, Protocol::UDP)
        .when(Field::DestinationPort, Port(53))
        .log(GROUP, "refused by web/deny ")
        .drop();
    let mut transaction = Transaction::new(&table);
    transaction
        .add_table()
        .add_chain(&Chain::base("in", ChainKind::Filter, Hook::Input, 0))
        .add_rule("in", &rule);
    Nft::open_in(&server).unwrap().commit(transaction).unwrap();

    // A group has one listener.
    let second = PacketLog::open_in(&server, GROUP, 1 << 20).unwrap_err();
    let want = "listening to log group 4: ";
    assert!(second.to_string().starts_with(want), "{second}");

    let bind = || UdpSocket::bind(SocketAddr::new(ip("10.9.0.1"), 0));
    let socket = client.enter(bind).unwrap().unwrap();
    socket.send_to(&[7; 500], "10.9.0.2:53").unwrap();
    let Some(Logged::Packet(packet)) = log.next_within(PATIENCE).unwrap() else {
        panic!("nothing was logged");
    };
    assert_eq!(&*packet.prefix, "refused by web/deny ");
    assert_eq!(packet.head.len(), 128);
    let dev = Netlink::open_in(&server).unwrap().link_named(&name("e0"));
    assert_eq!(
        (packet.incoming, packet.outgoing),
        (Some(dev.unwrap().index), None)
    );
    let port = socket.local_addr().unwrap().port();
    let want = format!("udp 10.9.0.1:{port} to 10.9.0.2:53");
    assert_eq!(packet.tuple().unwrap().to_string(), want);
    assert_eq!(log.try_next().unwrap(), None);
}
