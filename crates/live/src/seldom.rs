//! Log lines that a publisher could cause without end.

use media::Micros;

/// The same line is written once in this time, microseconds.
const EVERY_US: Micros = 1_000_000;

/// Lets one line a second through and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    next_us: Micros,
    left_out: u64,
}

impl Seldom {
    /// `Some`: write it, with how many were left out since the last one.
    pub(crate) fn may(&mut self, now: Micros) -> Option<u64> {
        if now < self.next_us {
            self.left_out += 1;
            return None;
        }
        self.next_us = now.saturating_add(EVERY_US);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second() {
        let mut seldom = Seldom::default();
        let written: Vec<_> = (0..40).filter_map(|step| seldom.may(step * 100_000)).collect();
        assert_eq!(written, [0, 9, 9, 9]);
    }
}
