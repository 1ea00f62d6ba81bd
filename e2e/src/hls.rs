//! A strict LL-HLS client and judge.
//!
//! [`playlist`] reads the text, [`history`] keeps every state of one rendition and applies RFC 8216bis to the sequence,
//! [`mp4`] reads the media, [`media`] compares the media with what the text says about it, and [`checker`] is the
//! client on the network that feeds them.

pub mod checker;
pub mod history;
pub mod media;
pub mod mp4;
pub mod playlist;

use std::collections::BTreeMap;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's short name, stable for tests.
    pub rule: &'static str,
    /// Rendition, media sequence number, part: whatever locates it.
    pub at: String,
    /// What was found and what was expected.
    pub text: String,
}

/// Findings of one run; at most [`Findings::KEPT_PER_RULE`] of each rule are kept, all are counted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<&'static str, u64>,
}

impl Findings {
    /// Enough to see a pattern.
    pub const KEPT_PER_RULE: u64 = 8;

    /// Adds one.
    pub fn add(&mut self, rule: &'static str, at: impl Into<String>, text: impl Into<String>) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= Self::KEPT_PER_RULE {
            self.kept.push(Finding {
                rule,
                at: at.into(),
                text: text.into(),
            });
        }
    }

    /// Adds one unless `holds`.
    pub fn require(&mut self, holds: bool, rule: &'static str, at: &str, text: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, at, text());
        }
    }

    /// Takes over another run's.
    pub fn extend(&mut self, other: Self) {
        for finding in other.kept {
            if self.kept.iter().filter(|kept| kept.rule == finding.rule).count()
                < 4 * Self::KEPT_PER_RULE as usize
            {
                self.kept.push(finding);
            }
        }
        for (rule, count) in other.counts {
            *self.counts.entry(rule).or_default() += count;
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How often each rule was broken.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Whether `rule` was broken.
    #[must_use]
    pub fn has(&self, rule: &str) -> bool {
        self.counts.contains_key(rule)
    }
}

impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (rule, count) in &self.counts {
            writeln!(f, "{rule}: {count}")?;
            for finding in self.kept.iter().filter(|finding| finding.rule == *rule) {
                writeln!(f, "    {}: {}", finding.at, finding.text)?;
            }
        }
        Ok(())
    }
}
