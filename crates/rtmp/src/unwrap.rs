//! 32-bit millisecond timestamps made endless.

/// Turns wrapping 32-bit timestamps into `i64` that never wrap.
///
/// Each value is taken as the one nearest to the last, so a wrap (every 49.7 days) goes on upwards and a small step
/// back stays a small step back. A jump of more than 24.8 days cannot be told from its complement.
#[derive(Clone, Debug, Default)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    /// The endless value of `timestamp`. The first one is taken as it stands.
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let value = match self.last {
            None => i64::from(timestamp),
            Some(last) => {
                // The low 32 bits of `last` are its wrapped form; the difference is read as signed.
                let step = timestamp.wrapping_sub(last as u32) as i32;
                last + i64::from(step)
            }
        };
        self.last = Some(value);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_go_on_and_steps_back_stay() {
        let mut unwrapper = TimestampUnwrapper::default();
        assert_eq!(unwrapper.unwrap(u32::MAX - 9), i64::from(u32::MAX) - 9);
        assert_eq!(unwrapper.unwrap(5), (1 << 32) + 5);
        assert_eq!(unwrapper.unwrap(u32::MAX), i64::from(u32::MAX));
        assert_eq!(unwrapper.unwrap(40), (1 << 32) + 40);
        assert_eq!(unwrapper.unwrap(20), (1 << 32) + 20);
        let mut unwrapper = TimestampUnwrapper::default();
        assert_eq!(unwrapper.unwrap(100), 100);
        assert_eq!(unwrapper.unwrap(3_600_100), 3_600_100);
        assert_eq!(unwrapper.unwrap(0), 0);
    }
}
