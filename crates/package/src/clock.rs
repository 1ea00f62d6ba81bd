//! Ticks, microseconds and calendar text; exact integers throughout.

use std::num::NonZeroU32;

use media::MediaTime;

/// Ticks in microseconds, rounded to the nearest.
pub(crate) fn duration_us(ticks: i64, timescale: NonZeroU32) -> i64 {
    MediaTime::new(ticks, timescale).micros()
}

/// PART-TARGET of so many ticks in microseconds, rounded up: no part may exceed it after its own rounding.
pub(crate) fn part_target_us(ticks: i64, timescale: NonZeroU32) -> i64 {
    let timescale = i64::from(timescale.get());
    (ticks * 1_000_000 + timescale - 1) / timescale
}

/// Microseconds as decimal seconds: `0.233333`.
pub(crate) fn seconds(us: i64) -> impl std::fmt::Display {
    std::fmt::from_fn(move |out| write!(out, "{}.{:06}", us / 1_000_000, us % 1_000_000))
}

/// Milliseconds since 1970 as `2026-11-20T18:03:11.250Z`.
pub(crate) fn rfc3339_ms(utc_ms: i64) -> impl std::fmt::Display {
    let (days, ms) = (utc_ms.div_euclid(86_400_000), utc_ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    std::fmt::from_fn(move |out| {
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            ms % 1000
        )
    })
}

/// Days since 1970-01-01 as a proleptic Gregorian date: years are counted from 1 March, in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        assert_eq!(rfc3339_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339_ms(951_782_400_123).to_string(),
            "2000-02-29T00:00:00.123Z"
        );
        assert_eq!(
            rfc3339_ms(1_795_197_791_250).to_string(),
            "2026-11-20T18:03:11.250Z"
        );
        assert_eq!(rfc3339_ms(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn part_target_is_never_below_a_part() {
        let scale = |timescale| NonZeroU32::new(timescale).unwrap();
        assert_eq!(part_target_us(21_000, scale(90_000)), 233_334);
        assert_eq!(part_target_us(11_264, scale(48_000)), 234_667);
        assert_eq!(seconds(233_334).to_string(), "0.233334");
    }
}
