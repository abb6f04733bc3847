use proptest::prelude::*;

use super::*;

const PLAIN: Connection<'_> = Connection {
    peer: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)),
    peer_text: "198.51.100.7",
    port: "80",
    tls: false,
    proxied: false,
};

const CLAIMS: Client<'_> = Client {
    host: "shop.example:8080",
    address: "192.0.2.1",
    forwarded_for: "192.0.2.1",
    forwarded_host: "myhost, another.host,example.net",
    forwarded_port: "1234",
    forwarded_proto: "myproto",
};

fn settings(full: bool, trusted: &[&str]) -> Settings {
    Settings {
        use_forwarded_headers: true,
        real_ip: false,
        compute_full_forwarded_for: full,
        trusted: trusted
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        https_port: Some("8443".into()),
    }
}

/// In the order of the table at the top of the module.
fn fields<'a>(told: &'a Forwarded<'_>) -> [&'a str; 7] {
    assert_eq!(told.real_ip.to_string(), told.real_ip_text);
    let Forwarded {
        real_ip_text,
        forwarded_for,
        host,
        port,
        scheme,
        ..
    } = told;
    [
        host,
        real_ip_text,
        forwarded_for,
        port,
        scheme,
        told.original_for,
        told.original_host,
    ]
}

fn check(settings: &Settings, connection: &Connection<'_>, client: &Client<'_>, expect: [&str; 7]) {
    let told = Forwarded::new(settings, connection, client);
    assert_eq!(fields(&told), expect);
}

#[test]
fn by_default_nothing_is_believed() {
    let hosts = CLAIMS.forwarded_host;
    let peer = "198.51.100.7";
    let expect = [
        "shop.example:8080",
        peer,
        peer,
        "80",
        "http",
        "192.0.2.1",
        hosts,
    ];
    check(&Settings::default(), &PLAIN, &CLAIMS, expect);
    let full = Settings {
        compute_full_forwarded_for: true,
        ..Settings::default()
    };
    check(&full, &PLAIN, &CLAIMS, expect);
    let silent = Client {
        host: "a",
        ..Client::default()
    };
    check(
        &Settings::default(),
        &PLAIN,
        &silent,
        ["a", peer, peer, "80", "http", "", ""],
    );
}

#[test]
fn trusted_proxies_are_believed() {
    let hosts = CLAIMS.forwarded_host;
    let expect = [
        "myhost",
        "192.0.2.1",
        "192.0.2.1",
        "1234",
        "myproto",
        "192.0.2.1",
        hosts,
    ];
    check(&settings(false, &["0.0.0.0/0"]), &PLAIN, &CLAIMS, expect);
    check(
        &settings(false, &["198.51.100.0/24"]),
        &PLAIN,
        &CLAIMS,
        expect,
    );
    let silent = Client {
        host: "a",
        ..Client::default()
    };
    let peer = PLAIN.peer_text;
    for full in [false, true] {
        let expect = ["a", peer, peer, "80", "http", "", ""];
        check(&settings(full, &["0.0.0.0/0"]), &PLAIN, &silent, expect);
    }
}

#[test]
fn others_are_not() {
    let expect = Forwarded::new(&Settings::default(), &PLAIN, &CLAIMS);
    for trusted in [&["192.0.2.0/24"][..], &["::/0"], &[]] {
        for full in [false, true] {
            assert_eq!(
                Forwarded::new(&settings(full, trusted), &PLAIN, &CLAIMS),
                expect
            );
        }
    }
    let mapped = Connection {
        peer: "::ffff:198.51.100.7".parse().unwrap(),
        ..PLAIN
    };
    let told = Forwarded::new(&settings(false, &["198.51.100.0/24"]), &mapped, &CLAIMS);
    assert_eq!(told.host, "myhost", "a mapped address is an IPv4 one");
}

#[test]
fn the_chain_is_appended_to() {
    for (sent, expect) in [
        ("", "198.51.100.7"),
        ("192.0.2.1", "192.0.2.1, 198.51.100.7"),
        ("lies, 192.0.2.1", "lies, 192.0.2.1, 198.51.100.7"),
    ] {
        let client = Client {
            forwarded_for: sent,
            ..CLAIMS
        };
        let settings = settings(true, &["0.0.0.0/0"]);
        assert_eq!(
            Forwarded::new(&settings, &PLAIN, &client).forwarded_for,
            expect
        );
    }
}

#[test]
fn the_real_address_is_the_last_that_no_proxy_has() {
    for (trusted, list, expect) in [
        (&["0.0.0.0/0"][..], "192.0.2.1, 203.0.113.9", "192.0.2.1"),
        (
            &["198.51.100.0/24"],
            "192.0.2.1, 203.0.113.9",
            "203.0.113.9",
        ),
        (
            &["198.51.100.0/24"],
            "192.0.2.1, 203.0.113.9, 198.51.100.8",
            "203.0.113.9",
        ),
        (
            &["198.51.100.0/24"],
            "192.0.2.1,203.0.113.9 198.51.100.8,",
            "203.0.113.9",
        ),
        (
            &["0.0.0.0/0"],
            "192.0.2.1, unknown, 203.0.113.9",
            "203.0.113.9",
        ),
        (&["0.0.0.0/0"], "unknown", "198.51.100.7"),
        (&["0.0.0.0/0"], "", "198.51.100.7"),
        (&["0.0.0.0/0"], "192.0.2.1:5000", "192.0.2.1"),
        (&["0.0.0.0/0"], "[2001:DB8::1]:5000", "2001:db8::1"),
        (&["0.0.0.0/0"], "[2001:db8::1]", "2001:db8::1"),
        (&["0.0.0.0/0"], "2001:db8::1", "2001:db8::1"),
        (
            &["0.0.0.0/0", "::/0"],
            "192.0.2.1, 2001:db8::1",
            "192.0.2.1",
        ),
    ] {
        let client = Client {
            address: list,
            ..CLAIMS
        };
        let settings = settings(false, trusted);
        let told = Forwarded::new(&settings, &PLAIN, &client);
        assert_eq!(told.real_ip_text, expect, "{list:?}");
        assert_eq!(told.forwarded_for, expect);
        assert_eq!(told.original_for, list);
    }
}

#[test]
fn only_a_host_is_taken_for_one() {
    for (sent, expect) in [
        ("a.example", "a.example"),
        ("A.example:8443 ,b", "A.example:8443"),
        ("", "shop.example:8080"),
        (",a", "shop.example:8080"),
        ("a b", "shop.example:8080"),
        ("user@a", "shop.example:8080"),
    ] {
        let client = Client {
            forwarded_host: sent,
            ..CLAIMS
        };
        let settings = settings(false, &["0.0.0.0/0"]);
        assert_eq!(
            Forwarded::new(&settings, &PLAIN, &client).host,
            expect,
            "{sent:?}"
        );
    }
}

#[test]
fn ports_and_schemes() {
    let check = |connection: Connection<'_>, forwarded_port, expect| {
        let client = Client {
            forwarded_port,
            forwarded_proto: "",
            ..CLAIMS
        };
        let settings = settings(false, &["0.0.0.0/0"]);
        let told = Forwarded::new(&settings, &connection, &client);
        assert_eq!((told.port, told.scheme), expect);
    };
    let tls = Connection {
        tls: true,
        port: "8443",
        ..PLAIN
    };
    let proxied = |port| Connection {
        proxied: true,
        port,
        ..PLAIN
    };
    check(PLAIN, "", ("80", "http"));
    check(
        Connection {
            port: "8080",
            ..PLAIN
        },
        "",
        ("8080", "http"),
    );
    check(
        Connection {
            port: "443",
            ..PLAIN
        },
        "",
        ("443", "http"),
    );
    check(tls, "", ("443", "https"));
    check(tls, "8443", ("443", "https"));
    check(tls, "1234", ("1234", "https"));
    check(proxied("1234"), "", ("1234", "http"));
    check(proxied("443"), "", ("443", "https"));
    let settings = settings(false, &["0.0.0.0/0"]);
    let balancer = proxied("443");
    assert_eq!(
        Forwarded::new(&settings, &balancer, &CLAIMS).scheme,
        "https"
    );
}

#[test]
fn request_ids() {
    assert_eq!(request_id("mine", || unreachable!()), "mine");
    assert_eq!(request_id("", || 0xab), "000000000000000000000000000000ab");
    assert_eq!(request_id("", || u128::MAX), "f".repeat(32));
}

#[test]
fn fields_of_one_hop() {
    for name in [
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy",
        "proxy-connection",
    ] {
        assert!(is_hop_by_hop(name), "{name}");
    }
    for name in [
        "host",
        "trailer",
        "expect",
        "content-length",
        "cookie",
        "proxy-x",
        "x-forwarded-for",
    ] {
        assert!(!is_hop_by_hop(name), "{name}");
    }
}

#[test]
fn fields_that_connection_names() {
    for (value, expect) in [
        ("close", &["close"][..]),
        ("X-Hop, X-Hop-2", &["X-Hop", "X-Hop-2"]),
        ("\tX-Hop\t ,, , close ", &["X-Hop", "close"]),
        ("", &[]),
        ("Host, X-Hop, content-length", &["X-Hop"]),
        ("Transfer-Encoding,X-Forwarded-For,x-FORWARDED-proto", &[]),
        (
            "X-Real-IP, x-request-id, Forwarded, X-Forwarded",
            &["X-Forwarded"],
        ),
    ] {
        assert!(
            connection_fields(value).eq(expect.iter().copied()),
            "{value:?}"
        );
    }
}

proptest! {
    /// Whoever is not trusted changes nothing but what is reported as sent.
    #[test]
    fn the_untrusted_change_nothing(address in "\\PC*", host in "\\PC*", port in "\\PC*", proto in "\\PC*", full: bool) {
        let sent = Client {
            host: "a",
            address: &address,
            forwarded_for: &address,
            forwarded_host: &host,
            forwarded_port: &port,
            forwarded_proto: &proto,
        };
        let silent = Client { host: "a", ..Client::default() };
        let settings = settings(full, &["203.0.113.0/24"]);
        let told = Forwarded::new(&settings, &PLAIN, &sent);
        let expect = Forwarded { original_for: &address, original_host: &host, ..Forwarded::new(&settings, &PLAIN, &silent) };
        prop_assert_eq!(told, expect);
    }

    #[test]
    fn kept_fields_are_never_named(value in "[ ,a-zA-Z-]{0,20}(host|Host|HOST|x-forwarded-[a-z]*)?[ ,a-z-]{0,9}") {
        let kept = |name: &str| name.eq_ignore_ascii_case("host") || name.to_ascii_lowercase().starts_with("x-forwarded-");
        prop_assert!(!connection_fields(&value).any(kept));
    }
}
