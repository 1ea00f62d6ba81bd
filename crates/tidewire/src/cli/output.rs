//! Everything that commands print goes through here.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::exit::Exit;

/// Where a command prints. A reader that has gone (`| head`) ends the command without a word.
pub(crate) struct Output {
    to: Box<dyn Write>,
    colour: bool,
}

/// A word's colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
    Strong,
    Faint,
}

impl Tone {
    /// SGR parameter (ECMA-48 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Strong => "1",
            Self::Faint => "2",
        }
    }
}

impl Output {
    /// Standard output; colours only on a terminal, and not with `NO_COLOR` (no-color.org).
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let colour =
            stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            to: Box::new(stdout.lock()),
            colour,
        }
    }

    /// Prints one line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Exit> {
        writeln!(self.to, "{}", text.as_ref()).map_err(closed)
    }

    /// Prints a text that has its own line ends.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Exit> {
        self.to
            .write_all(text.as_bytes())
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Exit> {
        let line = serde_json::to_string(value).map_err(|error| Exit::failed(error.to_string()))?;
        self.line(line)
    }

    /// Prints rows under a head, columns as wide as their widest cell.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<(), Exit> {
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([head[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let format = |cells: Vec<&str>| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head = format(head.to_vec());
        let head = self.tint(Tone::Strong, &head);
        self.line(head)?;
        for row in rows {
            self.line(format(row.iter().map(String::as_str).collect()))?;
        }
        Ok(())
    }

    /// `text` in a colour, if this output has colours.
    pub(crate) fn tint(&self, tone: Tone, text: &str) -> String {
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }
}

fn closed(error: io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::silent(0),
        _ => Exit::failed(format!("cannot write to standard output: {error}")),
    }
}

/// Prints why a command ended, on standard error, one `error:` a line.
pub(crate) fn complain(exit: &Exit) {
    let mut stderr = io::stderr().lock();
    for line in exit.to_string().lines() {
        // There is nobody to tell when standard error is closed.
        let _ = writeln!(stderr, "error: {line}");
    }
}

/// `2026-11-20 18:03 UTC` of milliseconds since 1970.
pub(crate) fn minute(ms: i64) -> String {
    let (days, seconds) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1000);
    let (year, month, day) = civil_date(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        seconds / 3600,
        seconds / 60 % 60
    )
}

/// Milliseconds since 1970 of `2026-12-01T18:00:00Z` (RFC 3339, UTC, whole seconds).
pub(crate) fn parse_utc(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, mark: char, digits: [usize; 3]| -> Option<[i64; 3]> {
        let mut pieces = text.split(mark);
        let mut found = [0; 3];
        for (number, digits) in found.iter_mut().zip(digits) {
            let piece = pieces.next()?;
            let is_number = piece.len() == digits && piece.bytes().all(|byte| byte.is_ascii_digit());
            *number = piece.parse().ok().filter(|_| is_number)?;
        }
        pieces.next().is_none().then_some(found)
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The inverse of `civil_date`: what it does not give back is no date.
    let (year_from_march, month_from_march) = (year - i64::from(month <= 2), (month + 9) % 12);
    let era = year_from_march.div_euclid(400);
    let year_of_era = year_from_march.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil_date(days) == (year, month, day))
        .then_some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

/// Year, month and day of a count of days since 1970-01-01, proleptic Gregorian. The year is counted from March, so
/// that the leap day is its last, in eras of 400 years = 146097 days.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2026-11-20T18:03:00Z", Some(1_795_197_780_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-12-01T24:00:00Z", None),
            ("2026-12-01T18:00:00", None),
            ("2026-12-1T18:00:00Z", None),
            ("2026-12-01", None),
        ] {
            assert_eq!(parse_utc(text), expected, "{text}");
        }
    }

    #[test]
    fn minutes_are_civil_dates() {
        assert_eq!(minute(0), "1970-01-01 00:00 UTC");
        assert_eq!(minute(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(minute(1_795_197_780_000), "2026-11-20 18:03 UTC");
        assert_eq!(minute(-1), "1969-12-31 23:59 UTC");
    }
}
