//! UTC text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-01-31T23:59:59.123Z` (RFC 3339), milliseconds, UTC. Times before 1970 are 1970.
pub fn rfc3339_utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

/// The same of milliseconds since 1970.
pub(crate) fn rfc3339_ms(ms: i64) -> String {
    rfc3339_utc(UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// Milliseconds since 1970 of an RFC 3339 time; `None`: it is none. Digits behind the third of a second are dropped, a leap
/// second is the first of the next minute.
pub(crate) fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        text.get(from..to)?.parse().ok()
    };
    let is = |at: usize, choices: &[u8]| bytes.get(at).is_some_and(|byte| choices.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let separators = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !separators || !in_range {
        return None;
    }
    let rest = &bytes[19..];
    let fraction_bytes = match rest.strip_prefix(b".") {
        Some(digits) => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        None => 0,
    };
    if fraction_bytes == 1 {
        return None;
    }
    let digit = |at: usize| {
        let byte = rest.get(at).filter(|_| at < fraction_bytes);
        byte.map_or(0, |byte| i64::from(byte - b'0'))
    };
    let ms = digit(1) * 100 + digit(2) * 10 + digit(3);
    let zone = 19 + fraction_bytes;
    let offset_min = match bytes.get(zone)? {
        b'Z' | b'z' if bytes.len() == zone + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == zone + 6 && is(zone + 3, b":") => {
            let (hours, minutes) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
            let offset = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_min;
    let since = (minutes * 60 + second) * 1000 + ms;
    // What an offset moves into the year 10000 has no text.
    (since < 253_402_300_800_000).then_some(since)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The inverse of [`civil`].
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, shifted_month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month, day of a count of days since 1970-01-01, in the proleptic Gregorian calendar: eras of 400 years that
/// begin in March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_500, "2024-12-31T23:59:59.500Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339_utc(UNIX_EPOCH + Duration::from_millis(ms)), text);
            assert_eq!(parse_rfc3339_ms(text), i64::try_from(ms).ok(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_rfc_3339_writes_them() {
        let noon = Some(1_767_268_800_000);
        for (text, expected) in [
            ("2026-01-01T12:00:00Z", noon),
            ("2026-01-01t12:00:00z", noon),
            ("2026-01-01 12:00:00.0009Z", noon),
            ("2026-01-01T13:30:00+01:30", noon),
            ("2026-01-01T11:00:00-01:00", noon),
            ("2026-01-01T11:59:60Z", noon),
            ("0000-03-01T00:00:00Z", Some(-62_162_035_200_000)),
            ("2026-02-29T12:00:00Z", None),
            ("2026-13-01T12:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T12:00:00", None),
            ("2026-01-01T12:00:00.Z", None),
            ("2026-01-01T12:00:00+1:00", None),
            ("2026-01-01T12:00:00Zz", None),
            ("+026-01-01T12:00:00Z", None),
            ("", None),
            ("ÄÖÜ6-01-01T12:00:00Z", None),
        ] {
            assert_eq!(parse_rfc3339_ms(text), expected, "{text}");
        }
    }
}
