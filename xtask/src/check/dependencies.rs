//! Direction between our crates, purity, licences, stacks and budgets.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::graph::Graph;
use super::{Findings, spdx};

/// Crates without socket, file, thread, clock, runtime or randomness.
const PURE: &[&str] = &["media", "container", "rtmp", "access", "package", "hub"];

/// What each of our crates may use beside the pure ones (DESIGN section 3). A crate that is not here fails the check,
/// so a new room states its neighbours on the day it is born.
const SHELLS: &[(&str, &[&str])] = &[
    ("platform", &[]),
    ("store", &[]),
    ("transcode", &[]),
    ("ingest", &["platform"]),
    ("live", &["transcode", "platform", "store"]),
    ("deliver", &["platform", "store"]),
    ("api", &["platform", "live", "deliver", "transcode", "ingest"]),
];

/// Tools may use only what they test through a public protocol; the product must not need them.
const TOOLS: &[(&str, &[&str])] = &[("xtask", &[]), ("tidewire-e2e", &[]), ("tidewire-bench", &[])];

/// What must never be reached from a pure crate.
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "polling",
    "socket2",
    "hyper",
    "hyper-util",
    "axum",
    "reqwest",
    "sqlx",
    "rusqlite",
    "rustls",
    "rand",
    "getrandom",
    "chrono",
    "time",
    "tracing-subscriber",
];

/// Second stacks: we have rustls with ring, hyper 1, tokio, SQLite through sqlx.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "TLS is rustls"),
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("boring", "TLS is rustls"),
    ("aws-lc-rs", "crypto provider is ring"),
    ("aws-lc-sys", "crypto provider is ring"),
    ("mbedtls", "TLS is rustls"),
    ("async-std", "the runtime is tokio"),
    ("smol", "the runtime is tokio"),
    ("actix-web", "HTTP is hyper and axum"),
    ("warp", "HTTP is hyper and axum"),
    ("isahc", "HTTP is hyper"),
    ("curl", "HTTP is hyper"),
    ("ureq", "HTTP is hyper"),
    ("rusqlite", "SQLite is reached through sqlx"),
    ("diesel", "SQL is sqlx"),
    ("ffmpeg-sys-next", "FFmpeg is a process, never a library"),
    ("ffmpeg-next", "FFmpeg is a process, never a library"),
];

/// Two incompatible versions of these are accepted, for the reason given.
const DUPLICATES: &[(&str, &str)] = &[
    (
        "hashbrown",
        "each of indexmap, sqlx and hashlink pins its own; small",
    ),
    (
        "getrandom",
        "ring 0.17 is on 0.2, everything newer on 0.3 or later",
    ),
    ("thiserror", "older leaves still use 1"),
    ("thiserror-impl", "older leaves still use 1"),
    ("windows-sys", "not built on our platforms"),
    ("syn", "procedural macros, build time only"),
    ("bitflags", "older leaves still use 1"),
    ("sha2", "sqlx is one major version behind our own use"),
    ("digest", "comes with sha2"),
    ("hmac", "comes with sha2"),
    ("block-buffer", "comes with sha2"),
    ("crypto-common", "comes with sha2"),
    ("cpufeatures", "comes with sha2"),
    ("const-oid", "comes with sha2"),
];

/// External packages that all pure crates may reach together.
const PURE_PACKAGES_MAX: usize = 40;
/// External packages of the default binary.
const PRODUCT_PACKAGES_MAX: usize = 350;

fn package_name(room: &str) -> String {
    if room == "tidewire" {
        room.into()
    } else {
        format!("tidewire-{room}")
    }
}

fn allowed(package: &str) -> Option<BTreeSet<String>> {
    let pure = || PURE.iter().map(|room| package_name(room));
    if package == "tidewire" {
        return Some(
            pure()
                .chain(SHELLS.iter().map(|(room, _)| package_name(room)))
                .collect(),
        );
    }
    if let Some((_, extra)) = TOOLS.iter().find(|(name, _)| *name == package) {
        return Some(extra.iter().map(|room| package_name(room)).collect());
    }
    let room = package.strip_prefix("tidewire-")?;
    if PURE.contains(&room) {
        return Some(pure().collect());
    }
    let (_, extra) = SHELLS.iter().find(|(name, _)| *name == room)?;
    Some(
        pure()
            .chain(extra.iter().map(|room| package_name(room)))
            .collect(),
    )
}

/// Edges between our own crates, and what the pure ones reach outside.
pub(crate) fn direction() -> Result<Findings> {
    let graph = Graph::load()?;
    let mut findings = Vec::new();
    for package in graph.packages.values().filter(|package| package.is_member) {
        let Some(allowed) = allowed(&package.name) else {
            findings.push(format!(
                "{} has no row in xtask/src/check/dependencies.rs",
                package.name
            ));
            continue;
        };
        for used in package
            .uses
            .iter()
            .filter_map(|id| graph.packages.get(id))
            .filter(|used| used.is_member)
        {
            if !allowed.contains(&used.name) {
                findings.push(format!("{} must not use {}", package.name, used.name));
            }
        }
    }
    for room in PURE {
        let Some(root) = graph.member(&package_name(room)) else {
            continue;
        };
        for package in graph.external([root]) {
            if IMPURE.contains(&package.name.as_str()) {
                findings.push(format!(
                    "{room} is pure, but reaches {} {}",
                    package.name, package.version
                ));
            }
        }
    }
    Ok(findings)
}

/// Every package of the lock file that our build can reach.
pub(crate) fn licences() -> Result<Findings> {
    let graph = Graph::load()?;
    let refused = graph.packages.values().filter(|package| {
        let expression = package.license.as_deref();
        !expression.is_some_and(spdx::accepted)
    });
    Ok(refused
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("(none stated)");
            format!(
                "{} {}: {licence} is not accepted (xtask/src/check/spdx.rs)",
                package.name, package.version
            )
        })
        .collect())
}

/// Banned packages, and incompatible versions side by side in the product.
pub(crate) fn stacks() -> Result<Findings> {
    let graph = Graph::load()?;
    let Some(root) = graph.member("tidewire") else {
        return Ok(vec!["there is no package `tidewire`".into()]);
    };
    let reached = graph.external([root]);
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &reached {
        if let Some((_, instead)) = BANNED.iter().find(|(name, _)| *name == package.name) {
            findings.push(format!(
                "{} {} is a second stack: {instead}",
                package.name, package.version
            ));
        }
        versions
            .entry(&package.name)
            .or_default()
            .insert(compatible(&package.version));
    }
    for (name, versions) in versions {
        if versions.len() > 1 && DUPLICATES.iter().all(|(known, _)| *known != name) {
            let list: Vec<&str> = versions.iter().map(String::as_str).collect();
            findings.push(format!(
                "{name} is there as {}: unify, or give a reason in DUPLICATES",
                list.join(" and ")
            ));
        }
    }
    Ok(findings)
}

/// The part of a version within which cargo would have unified: `1`, `0.4`, `0.0.7`.
fn compatible(version: &str) -> String {
    let mut parts = version.split('.');
    let mut kept = vec![parts.next().unwrap_or("0")];
    while kept.iter().all(|part| *part == "0") {
        let Some(part) = parts.next() else { break };
        kept.push(part);
    }
    kept.join(".")
}

/// How many packages stand behind us.
pub(crate) fn budget() -> Result<Findings> {
    let graph = Graph::load()?;
    let pure: Vec<String> = PURE.iter().map(|room| package_name(room)).collect();
    let pure = graph
        .external(pure.iter().filter_map(|name| graph.member(name)))
        .len();
    let product = graph.external(graph.member("tidewire")).len();
    println!(
        "     packages: pure crates {pure} of {PURE_PACKAGES_MAX}, binary {product} of {PRODUCT_PACKAGES_MAX}"
    );
    let mut findings = Vec::new();
    if pure > PURE_PACKAGES_MAX {
        findings.push(format!(
            "the pure crates reach {pure} external packages, {PURE_PACKAGES_MAX} are allowed"
        ));
    }
    if product > PRODUCT_PACKAGES_MAX {
        findings.push(format!(
            "the binary reaches {product} external packages, {PRODUCT_PACKAGES_MAX} are allowed"
        ));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::{allowed, compatible};

    #[test]
    fn versions_that_cargo_unifies_are_one() {
        for (version, expected) in [
            ("1.2.3", "1"),
            ("0.4.9", "0.4"),
            ("0.0.7", "0.0.7"),
            ("12.0.0+x", "12"),
        ] {
            assert_eq!(compatible(version), expected);
        }
    }

    #[test]
    fn nobody_may_use_the_binary_and_pure_crates_use_no_shell() {
        for package in [
            "tidewire-media",
            "tidewire-hub",
            "tidewire-live",
            "tidewire-api",
            "xtask",
            "tidewire-e2e",
        ] {
            assert!(
                !allowed(package).expect("has a row").contains("tidewire"),
                "{package}"
            );
        }
        assert!(
            !allowed("tidewire-package")
                .expect("has a row")
                .contains("tidewire-platform")
        );
        assert!(
            allowed("tidewire-live")
                .expect("has a row")
                .contains("tidewire-transcode")
        );
        assert_eq!(allowed("tidewire-newcomer"), None);
    }
}
