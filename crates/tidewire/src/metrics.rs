//! `/metrics`: every figure of the process in OpenMetrics text, read from the rooms' own counters when asked.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// Label names and values of one row.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// One metric with all its rows.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, HistogramRow)>),
}

/// Buckets as (upper bound in seconds, count in this bucket alone).
#[derive(Debug)]
pub(crate) struct HistogramRow {
    pub(crate) sum_s: f64,
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Family {
    /// Counts that only rise; `_total` is added to the name.
    pub(crate) fn counter(name: &'static str, help: &'static str, rows: Vec<(Labels, u64)>) -> Self {
        Self {
            name,
            help,
            rows: Rows::Counters(rows),
        }
    }

    /// Values that rise and fall.
    pub(crate) fn gauge(name: &'static str, help: &'static str, rows: Vec<(Labels, f64)>) -> Self {
        Self {
            name,
            help,
            rows: Rows::Gauges(rows),
        }
    }

    /// Distributions.
    pub(crate) fn histogram(
        name: &'static str,
        help: &'static str,
        rows: Vec<(Labels, HistogramRow)>,
    ) -> Self {
        Self {
            name,
            help,
            rows: Rows::Histograms(rows),
        }
    }
}

#[derive(Debug)]
struct Snapshot(Vec<Family>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Family { name, help, rows } in &self.0 {
            match rows {
                Rows::Counters(rows) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                    for (labels, value) in rows {
                        metric
                            .encode_family(labels)?
                            .encode_counter::<NoLabelSet, _, u64>(value, None)?;
                    }
                }
                Rows::Gauges(rows) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    for (labels, value) in rows {
                        metric.encode_family(labels)?.encode_gauge(value)?;
                    }
                }
                Rows::Histograms(rows) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
                    for (labels, row) in rows {
                        let count = row.buckets.iter().map(|(_, count)| count).sum();
                        let mut metric = metric.encode_family(labels)?;
                        metric.encode_histogram::<NoLabelSet>(row.sum_s, count, &row.buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The families as OpenMetrics text.
pub(crate) fn render(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(families)));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => text,
        Err(error) => format!("# metrics could not be written: {error}\n# EOF\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_open_metrics() {
        let labels = |value: &str| vec![("kind", value.to_owned())];
        let text = render(vec![
            Family::counter(
                "tidewire_things",
                "Things seen.",
                vec![(labels("a"), 3), (labels("b"), 4)],
            ),
            Family::gauge("tidewire_level", "Level.", vec![(Vec::new(), 1.5)]),
            Family::histogram(
                "tidewire_time_seconds",
                "Time.",
                vec![(
                    labels("a"),
                    HistogramRow {
                        sum_s: 0.5,
                        buckets: vec![(0.1, 1), (f64::INFINITY, 2)],
                    },
                )],
            ),
        ]);
        let expected = "# HELP tidewire_things Things seen.\n# TYPE tidewire_things counter\n\
            tidewire_things_total{kind=\"a\"} 3\ntidewire_things_total{kind=\"b\"} 4\n\
            # HELP tidewire_level Level.\n# TYPE tidewire_level gauge\ntidewire_level{} 1.5\n\
            # HELP tidewire_time_seconds Time.\n# TYPE tidewire_time_seconds histogram\n\
            tidewire_time_seconds_sum{kind=\"a\"} 0.5\ntidewire_time_seconds_count{kind=\"a\"} 3\n\
            tidewire_time_seconds_bucket{le=\"0.1\",kind=\"a\"} 1\n\
            tidewire_time_seconds_bucket{le=\"+Inf\",kind=\"a\"} 3\n# EOF\n";
        assert_eq!(text, expected);
    }
}
