//! Rules about the files themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Findings;
use crate::proc::{cmd, output, root};

/// Longer source files fail, unless their first line says why (`// Long because ...`).
const LINES_MAX: usize = 1200;
const LONG_BECAUSE: &str = "// Long because ";
/// Documents that a reader is promised.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "GLOSSARY.md",
    "SPECS.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

/// Runs all of them.
pub(crate) fn check() -> Result<Findings> {
    let files = tracked()?;
    let mut findings = Vec::new();
    documents(&mut findings);
    rooms_are_on_the_map(&mut findings)?;
    let mut cited = BTreeSet::new();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else {
            continue;
        };
        let name = file.display().to_string();
        if matches!(
            file.extension().and_then(|e| e.to_str()),
            Some("rs" | "ts" | "svelte" | "mjs" | "js" | "css")
        ) {
            source_file(&name, &text, &mut findings);
            cited.extend(citations(&text));
        }
        if name.ends_with(".md") {
            links(file, &text, &mut findings);
        }
    }
    specs_are_listed(&cited, &mut findings);
    Ok(findings)
}

/// Files that git knows or would take.
fn tracked() -> Result<Vec<PathBuf>> {
    let list = output(&mut cmd(
        "git",
        ["ls-files", "--cached", "--others", "--exclude-standard"],
    ))?;
    Ok(list.lines().map(PathBuf::from).collect())
}

fn documents(findings: &mut Findings) {
    for name in DOCUMENTS {
        // One LICENSE file that holds both texts serves as well.
        let present =
            root().join(name).is_file() || (name.starts_with("LICENSE") && root().join("LICENSE").is_file());
        if !present {
            findings.push(format!("{name} is missing"));
        }
    }
}

fn rooms_are_on_the_map(findings: &mut Findings) -> Result<()> {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    for entry in std::fs::read_dir(root().join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !map.contains(&format!("`{name}`")) && !map.contains(&format!("crates/{name}")) {
            findings.push(format!("ARCHITECTURE.md does not name `{name}`"));
        }
    }
    Ok(())
}

fn source_file(name: &str, text: &str, findings: &mut Findings) {
    let lines = text.lines().count();
    if lines > LINES_MAX && !text.starts_with(LONG_BECAUSE) {
        findings.push(format!(
            "{name}: {lines} lines, {LINES_MAX} allowed (or a first line `{LONG_BECAUSE}...`)"
        ));
    }
    // Put together, so that this file does not find itself.
    let ignored = concat!("#[", "ignore");
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with(ignored) {
            findings.push(format!("{name}:{}: a test that does not run", number + 1));
        }
    }
}

/// The specifications that comments of `text` name: `RFC 8216bis`, `ISO/IEC 14496-12`.
fn citations(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("//"))
    {
        for prefix in ["RFC ", "ISO/IEC "] {
            for (at, _) in line.match_indices(prefix) {
                let rest = &line[at + prefix.len()..];
                let number: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .collect();
                if number.starts_with(|c: char| c.is_ascii_digit()) {
                    found.insert(format!("{prefix}{}", number.trim_end_matches('-')));
                }
            }
        }
    }
    found
}

fn specs_are_listed(cited: &BTreeSet<String>, findings: &mut Findings) {
    let specs = std::fs::read_to_string(root().join("SPECS.md")).unwrap_or_default();
    for name in cited.iter().filter(|name| !specs.contains(name.as_str())) {
        findings.push(format!("{name} is cited in the code but not listed in SPECS.md"));
    }
}

/// Relative links of a document lead somewhere.
fn links(file: &Path, text: &str, findings: &mut Findings) {
    for (at, _) in text.match_indices("](") {
        let target: String = text[at + 2..]
            .chars()
            .take_while(|c| *c != ')' && *c != '\n')
            .collect();
        let path = target.split(['#', ' ']).next().unwrap_or_default();
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") || path.starts_with('/') {
            continue;
        }
        let base = root().join(file);
        if !base.parent().unwrap_or(&base).join(path).exists() {
            findings.push(format!("{}: the link to {path} leads nowhere", file.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{citations, source_file};

    #[test]
    fn citations_are_found_in_comments_only() {
        let text =
            "/// RFC 8216bis 4.4.4.9 and ISO/IEC 14496-12 8.8.12.\nlet s = \"RFC 1\";\n// RFC, nothing\n";
        let found: Vec<String> = citations(text).into_iter().collect();
        assert_eq!(found, ["ISO/IEC 14496-12", "RFC 8216bis"]);
    }

    #[test]
    fn long_files_and_sleeping_tests_are_found() {
        let mut findings = Vec::new();
        source_file("a.rs", &"x\n".repeat(1201), &mut findings);
        source_file(
            "b.rs",
            &format!("// Long because generated.\n{}", "x\n".repeat(1201)),
            &mut findings,
        );
        source_file("c.rs", concat!("    #[", "ignore = \"slow\"]\n"), &mut findings);
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}
