//! `bench/runs/DATE/{raw.json,summary.md}`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) server: String,
    pub(crate) what: String,
    /// Name of the figure, its value, its unit, and the bar it is held against, when there is one.
    pub(crate) figures: Vec<(String, f64, &'static str, Option<f64>)>,
    /// What a reader must know to trust it: load CPU, errors.
    pub(crate) note: String,
}

/// All lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Writes both files and says where.
    pub(crate) fn write(&self, setup: &str) -> Result<PathBuf> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?
            .as_secs();
        let dir = PathBuf::from("bench/runs").join(date(now));
        std::fs::create_dir_all(&dir)?;
        let rows: Vec<Value> = self.rows.iter().map(as_json).collect();
        let raw = json!({ "setup": setup, "unix_time": now, "rows": rows });
        std::fs::write(dir.join("raw.json"), serde_json::to_string_pretty(&raw)? + "\n")?;
        let mut text = format!(
            "# cargo xtask bench live\n\n{setup}\n\n| server | what | figures | note |\n|---|---|---|---|\n"
        );
        for row in &self.rows {
            text += &format!(
                "| {} | {} | {} | {} |\n",
                row.server,
                row.what,
                figures(row),
                row.note
            );
        }
        std::fs::write(dir.join("summary.md"), text)?;
        Ok(dir)
    }
}

fn as_json(row: &Row) -> Value {
    let mut figures = Map::new();
    for (name, value, unit, bar) in &row.figures {
        figures.insert(name.clone(), json!({ "value": value, "unit": unit, "bar": bar }));
    }
    json!({ "server": row.server, "what": row.what, "figures": figures, "note": row.note })
}

fn figures(row: &Row) -> String {
    let one = |(name, value, unit, bar): &(String, f64, &'static str, Option<f64>)| {
        let digits = if *value < 1.0 {
            3
        } else if *value < 100.0 {
            2
        } else {
            0
        };
        let bar = bar.map(|bar| format!(" (bar {bar})")).unwrap_or_default();
        format!("{name} {value:.digits$} {unit}{bar}")
    };
    row.figures.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn line(row: &Row) -> String {
    format!(
        "{:<22} {:<32} {}  [{}]",
        row.server,
        row.what,
        figures(row),
        row.note
    )
}

/// `YYYY-MM-DD-HHMM` (UTC) of a Unix time.
fn date(unix: u64) -> String {
    let days = unix / 86_400;
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}-{:02}{:02}",
        unix % 86_400 / 3600,
        unix % 3600 / 60
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_right() {
        assert_eq!(super::date(0), "1970-01-01-0000");
        assert_eq!(super::date(1_772_323_199), "2026-02-28-2359");
    }
}
