//! Tokens from making to refusing.

use super::*;
use crate::claims::TOKEN_BYTES_MAX;
use crate::explain::Explanation;
use crate::key::{KeyId, SigningKey};
use crate::scope::{SCOPE_BYTES_MAX, Scope, resource};

const NOW_S: u64 = 1_800_000_000;

fn key(number: u8) -> SigningKey {
    SigningKey::new(KeyId::new([number; 5]), &[number; 32])
}

fn ring(keys: &[u8]) -> Arc<KeyRing> {
    let ring = KeyRing::default();
    ring.replace(keys.iter().map(|number| key(*number)).collect());
    Arc::new(ring)
}

fn claims() -> Claims {
    Claims {
        key_id: KeyId::new([1; 5]),
        expires_at_s: NOW_S + 60,
        not_before_s: None,
        network: None,
        scope: Scope::of_link("/watch/stage").unwrap(),
    }
}

fn asked(claims: &Claims, now_s: u64, address: &str, path: &str) -> Result<(), Refusal> {
    let token = key(1).sign(claims);
    let resource = resource(path, None).unwrap();
    let ask = Ask {
        now_s,
        address: address.parse().unwrap(),
        resource: &resource,
    };
    Grant::open(&token, &ring(&[1])).unwrap().check(&ask)
}

#[test]
fn the_format_is_fixed() {
    // Tokens that are in use must still open after an update: these texts never change.
    let plain = key(1).sign(&claims());
    assert_eq!(
        plain,
        "AQABAQEBAQBrSdI8L2xpdmUvc3RhZ2Uvg2gBqVWbwcwrK214fRYMfEqMYLnbDoAP72U085wC30o"
    );
    let full = Claims {
        not_before_s: Some(NOW_S),
        network: "2001:db8::/33".parse().ok(),
        ..claims()
    };
    let full = key(1).sign(&full);
    assert_eq!(
        full,
        "AQUBAQEBAQBrSdI8AGtJ0gAhIAENuAAvbGl2ZS9zdGFnZS9Fzr6HVEbwb0e1NVBBs2Qtc3CDQ2n9NEui1O0-mkZXRw"
    );
}

#[test]
fn what_is_signed_is_what_is_read() {
    let networks = [
        None,
        Some("192.0.2.0/24"),
        Some("0.0.0.0/0"),
        Some("10.0.0.7"),
        Some("::/0"),
        Some("2001:db8::7"),
    ];
    for network in networks {
        for not_before_s in [None, Some(0), Some(NOW_S)] {
            let claims = Claims {
                not_before_s,
                network: network.map(|text| text.parse().unwrap()),
                ..claims()
            };
            let grant = Grant::open(&key(1).sign(&claims), &ring(&[2, 1])).unwrap();
            assert_eq!(*grant.claims(), claims);
        }
    }
    let longest = Claims {
        not_before_s: Some(u64::MAX >> 24),
        network: "2001:db8::7".parse().ok(),
        scope: Scope::new(&format!("/live/{}/", "x".repeat(SCOPE_BYTES_MAX - 7))).unwrap(),
        ..claims()
    };
    let token = key(1).sign(&longest);
    assert!(token.len() <= TOKEN_BYTES_MAX, "{}", token.len());
    assert!(Grant::open(&token, &ring(&[1])).is_ok());
}

#[test]
fn each_claim_is_named_when_it_fails() {
    let (here, page) = ("192.0.2.9", "/watch/stage");
    assert_eq!(asked(&claims(), NOW_S, here, page), Ok(()));
    assert_eq!(asked(&claims(), NOW_S + 59, here, page), Ok(()));
    assert_eq!(asked(&claims(), NOW_S + 60, here, page), Err(Refusal::Expired));
    assert_eq!(
        asked(&claims(), NOW_S, here, "/live/other/master.m3u8"),
        Err(Refusal::Path)
    );
    let later = Claims {
        not_before_s: Some(NOW_S + 1),
        ..claims()
    };
    assert_eq!(asked(&later, NOW_S, here, page), Err(Refusal::NotYet));
    assert_eq!(asked(&later, NOW_S + 1, here, page), Ok(()));
    let bound = Claims {
        network: "192.0.2.0/28".parse().ok(),
        ..claims()
    };
    assert_eq!(asked(&bound, NOW_S, here, page), Ok(()));
    assert_eq!(asked(&bound, NOW_S, "::ffff:192.0.2.9", page), Ok(()));
    assert_eq!(asked(&bound, NOW_S, "192.0.2.16", page), Err(Refusal::Address));
    assert_eq!(asked(&bound, NOW_S, "2001:db8::1", page), Err(Refusal::Address));
}

#[test]
fn every_changed_bit_is_noticed_and_nothing_has_two_texts() {
    let ring = ring(&[1]);
    let bound = Claims {
        network: "192.0.2.0/28".parse().ok(),
        not_before_s: Some(NOW_S),
        ..claims()
    };
    let token = key(1).sign(&bound);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ";
    for at in 0..token.len() {
        for other in alphabet.chars().filter(|other| !token[at..].starts_with(*other)) {
            let mut changed = token.clone();
            changed.replace_range(at..=at, &other.to_string());
            let refused = Grant::open(&changed, &ring).map(|_| ());
            assert!(
                matches!(refused, Err(Refusal::Malformed | Refusal::Signature)),
                "{changed}"
            );
        }
    }
    for changed in [
        String::new(),
        token[1..].to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        format!("{token}="),
        "A".repeat(TOKEN_BYTES_MAX + 1),
        "é".to_owned(),
    ] {
        assert!(Grant::open(&changed, &ring).is_err(), "{changed}");
    }
}

#[test]
fn a_token_lives_as_long_as_its_key() {
    let ring = ring(&[1, 2]);
    let grant = Grant::open(&key(1).sign(&claims()), &ring).unwrap();
    assert_eq!(grant.check_time(NOW_S), Ok(()));
    ring.replace(vec![key(2)]);
    assert_eq!(grant.check_time(NOW_S), Err(Refusal::Signature));
    assert_eq!(
        Grant::open(grant.token(), &ring).map(|_| ()),
        Err(Refusal::Signature)
    );
    // A key of the same name with another secret makes other tokens.
    let impostor = SigningKey::new(KeyId::new([2; 5]), &[9; 32]);
    let forged = impostor.sign(&Claims {
        key_id: KeyId::new([2; 5]),
        ..claims()
    });
    assert_eq!(Grant::open(&forged, &ring).map(|_| ()), Err(Refusal::Signature));
}

#[test]
fn an_explanation_agrees_with_the_verdict_and_names_all_that_fails() {
    let keys = ring(&[1]);
    let bound = Claims {
        not_before_s: Some(NOW_S),
        network: "192.0.2.0/28".parse().ok(),
        ..claims()
    };
    let token = key(1).sign(&bound);
    for now_s in [NOW_S - 1, NOW_S, NOW_S + 60] {
        for address in ["192.0.2.1", "198.51.100.1"] {
            for path in ["/watch/stage", "/live/other/master.m3u8"] {
                let address: IpAddr = address.parse().unwrap();
                let explained = Explanation::of(&token, &keys, now_s, Some(path), Some(address));
                let verdict = asked(&bound, now_s, &address.to_string(), path);
                assert_eq!(explained.refusal(), verdict.err(), "{now_s} {address} {path}");
                let claims: Vec<_> = explained.findings.iter().map(|finding| finding.claim).collect();
                assert_eq!(
                    claims,
                    ["form", "signature", "not_before", "expires", "ip", "path"]
                );
            }
        }
    }
    // Another server's token can be read, and every claim is looked at.
    let strange = Explanation::of(&token, &ring(&[2]), NOW_S + 60, Some("/metrics"), None);
    let failed: Vec<_> = strange
        .findings
        .iter()
        .filter_map(|finding| finding.refusal)
        .collect();
    assert_eq!(failed, [Refusal::Signature, Refusal::Expired, Refusal::Path]);
    assert_eq!(strange.claims, Some(bound));
    let nonsense = Explanation::of("nonsense", &keys, NOW_S, None, None);
    assert_eq!(
        (nonsense.refusal(), nonsense.findings.len()),
        (Some(Refusal::Malformed), 1)
    );
}
