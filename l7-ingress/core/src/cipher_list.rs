//! OpenSSL's cipher lists (ciphers(1)), as far as they speak of the suites that are spoken here below TLS 1.3. Those of TLS 1.3
//! are none of their business, and what they name beside is skipped, as OpenSSL skips what it was built without.

use rustls::CipherSuite;

/// A suite, under the names that lists know it by.
struct Known {
    suite: CipherSuite,
    /// OpenSSL's, and IANA's.
    names: [&'static str; 2],
    /// The words that mean it and others.
    words: [&'static str; 4],
}

/// In OpenSSL's own order.
const KNOWN: [Known; 6] = [
    Known {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        names: [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ],
        words: ["ECDSA", "AES", "AES256", "AESGCM"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        names: [
            "ECDHE-RSA-AES256-GCM-SHA384",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        ],
        words: ["aRSA", "AES", "AES256", "AESGCM"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        names: [
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ],
        words: ["ECDSA", "CHACHA20", "", ""],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        names: [
            "ECDHE-RSA-CHACHA20-POLY1305",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ],
        words: ["aRSA", "CHACHA20", "", ""],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        names: [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ],
        words: ["ECDSA", "AES", "AES128", "AESGCM"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        names: [
            "ECDHE-RSA-AES128-GCM-SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ],
        words: ["aRSA", "AES", "AES128", "AESGCM"],
    },
];

/// Words that mean every suite above.
const EVERY: [&str; 8] = [
    "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2",
];

impl Known {
    /// Whether a word of a list means it.
    fn is(&self, word: &str) -> bool {
        let word = match word {
            "" => return false,
            "aECDSA" => "ECDSA",
            word => word,
        };
        self.names.contains(&word) || self.words.contains(&word) || EVERY.contains(&word)
    }
}

/// The suites that `list` leaves, the preferred one first; perhaps none.
pub(crate) fn select(list: &str) -> Vec<CipherSuite> {
    let mut chosen: Vec<&Known> = Vec::new();
    let mut banned: Vec<CipherSuite> = Vec::new();
    for item in list.split([':', ',', ' ', ';']) {
        let (operator, words) = match item.split_at_checked(1) {
            Some((operator @ ("!" | "-" | "+"), words)) => (operator, words),
            _ => ("", item),
        };
        let means = |known: &Known| words.split('+').all(|word| known.is(word));
        let meant = KNOWN.iter().filter(|known| means(known));
        match operator {
            "!" => {
                banned.extend(meant.map(|known| known.suite));
                chosen.retain(|known| !means(known));
            }
            "-" => chosen.retain(|known| !means(known)),
            // Moves to the end what is there.
            "+" => chosen.sort_by_key(|known| means(known)),
            _ => {
                for known in meant {
                    let has = chosen.iter().any(|own| own.suite == known.suite);
                    if !has && !banned.contains(&known.suite) {
                        chosen.push(known);
                    }
                }
            }
        }
    }
    chosen.into_iter().map(|known| known.suite).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, expect: &[&str]) {
        let chosen = select(list).into_iter();
        let names = chosen.map(|suite| {
            let known = KNOWN.iter().find(|known| known.suite == suite).unwrap();
            known.names[0].trim_start_matches("ECDHE-")
        });
        assert_eq!(names.collect::<Vec<_>>(), expect, "{list:?}");
    }

    /// What `openssl ciphers -tls1_2 LIST` prints of these suites.
    #[test]
    fn lists_mean_what_openssl_says() {
        let all = [
            "ECDSA-AES256-GCM-SHA384",
            "RSA-AES256-GCM-SHA384",
            "ECDSA-CHACHA20-POLY1305",
            "RSA-CHACHA20-POLY1305",
            "ECDSA-AES128-GCM-SHA256",
            "RSA-AES128-GCM-SHA256",
        ];
        check("DEFAULT", &all);
        check("HIGH:!aNULL:!MD5", &all);
        check("ECDHE+HIGH", &all);
        check("HIGH:!AES", &all[2..4]);
        check(
            "ECDHE+AESGCM+aRSA",
            &["RSA-AES256-GCM-SHA384", "RSA-AES128-GCM-SHA256"],
        );
        check(
            "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
            &["RSA-AES128-GCM-SHA256", "ECDSA-AES256-GCM-SHA384"],
        );
        check(
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            &["RSA-AES128-GCM-SHA256"],
        );
        check(
            "ECDSA:+AES256:-CHACHA20",
            &["ECDSA-AES128-GCM-SHA256", "ECDSA-AES256-GCM-SHA384"],
        );
        check("!aRSA:ALL:-AES:ALL", &[all[2], all[0], all[4]]);
        check("-aRSA:aRSA:!aECDSA", &[all[1], all[3], all[5]]);
        for none in [
            "",
            "AES128-SHA",
            "RSA",
            "TLS_AES_128_GCM_SHA256",
            "ALL:!ALL:DEFAULT",
            "SHA256",
            "+ALL",
        ] {
            check(none, &[]);
        }
    }
}
