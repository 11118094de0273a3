//! The two text formats of metrics: OpenMetrics, and Prometheus's plain text.
/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's own, 0.0.4.
    Plain,
}

impl TextFormat {
    /// The one that a client accepts: OpenMetrics where it says so.
    pub fn accepted(accept: Option<&str>) -> Self {
        if accept.is_some_and(|types| types.contains("application/openmetrics-text")) {
            TextFormat::OpenMetrics
        } else {
            TextFormat::Plain
        }
    }

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            TextFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            TextFormat::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics as plain text: there the description of a counter names the series with its `_total`, and nothing marks the end.
pub(super) fn plain(open: &str) -> String {
    let (mut out, mut help) = (String::with_capacity(open.len()), None);
    for line in open.lines() {
        match line.strip_prefix("# ").map(|rest| rest.splitn(3, ' ').collect::<Vec<_>>()).as_deref() {
            Some(["HELP", name, words]) => help = Some((*name, *words)),
            Some(["TYPE", name, kind]) => {
                let total = if *kind == "counter" { "_total" } else { "" };
                if let Some((_, words)) = help.take().filter(|(described, _)| described == name) {
                    out.push_str(&format!("# HELP {name}{total} {words}\n"));
                }
                out.push_str(&format!("# TYPE {name}{total} {kind}\n"));
            }
            Some(_) => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn plain_text_describes_the_series_it_has() {
        let metrics = Metrics::default();
        let (open, plain) = (TextFormat::OpenMetrics, TextFormat::Plain);
        let (open, plain) = (metrics.encode(open).expect("text"), metrics.encode(plain).expect("text"));
        assert!(open.contains("# TYPE weir_batches counter\n") && open.ends_with("# EOF\n"));
        assert!(plain.contains("# TYPE weir_batches_total counter\n") && !plain.contains("EOF"));
        assert!(
            plain.contains("# HELP weir_log_position The last record")
                && plain.contains("# TYPE weir_log_position gauge")
        );
        let series =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(series(&open), series(&plain));
    }
}
