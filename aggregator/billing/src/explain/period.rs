//! An invoice's period, as written on a command line.
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

const DAY_MS: u64 = 24 * HOUR_MS;

/// A span of time from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Inclusive.
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
}

impl Period {
    /// Reads `2026-11` (a month in UTC), `2026-11-21` (a day), `2026-11-21T03` (an hour), or two moments with a slash
    /// between them. The error says which forms are valid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no period: write 2026-11, 2026-11-21, 2026-11-21T03 or \
                 2026-11-03T10:37:22Z/2026-12-03T10:37:22Z (UTC)"
            )
        };
        let moment = |text: &str| Timestamp::parse(text);
        let (from, to) = match text.split_once('/') {
            Some((from, to)) => (moment(from), moment(to)),
            None if text.len() == 7 => (moment(&month(text)), next_month(text).and_then(|next| moment(&month(&next)))),
            None => {
                let (start, length) = match text.len() {
                    10 => (moment(&format!("{text}T00:00:00Z")), DAY_MS),
                    13 => (moment(&format!("{text}:00:00Z")), HOUR_MS),
                    _ => (None, 0),
                };
                (start, start.map(|start| start.plus_millis(length)))
            }
        };
        match (from, to) {
            (Some(from), Some(to)) if from < to => Ok(Period { from, to }),
            _ => Err(wrong()),
        }
    }
}

fn month(text: &str) -> String {
    format!("{text}-01T00:00:00Z")
}

fn next_month(text: &str) -> Option<String> {
    let (year, month) = text.split_once('-')?;
    let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
    Some(if month == 12 { format!("{:04}-01", year + 1) } else { format!("{year:04}-{:02}", month + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        Period::parse(text).ok().map(|period| (period.from.to_string(), period.to.to_string()))
    }

    #[test]
    fn a_period_is_a_month_a_day_an_hour_or_two_moments() {
        let pair = |from: &str, to: &str| Some((format!("{from}:00.000Z"), format!("{to}:00.000Z")));
        assert_eq!(read("2026-11"), pair("2026-11-01T00:00", "2026-12-01T00:00"));
        assert_eq!(read("2026-12"), pair("2026-12-01T00:00", "2027-01-01T00:00"));
        assert_eq!(read("2028-02-29"), pair("2028-02-29T00:00", "2028-03-01T00:00"));
        assert_eq!(read("2026-11-21T23"), pair("2026-11-21T23:00", "2026-11-22T00:00"));
        assert_eq!(read("2026-11-03T10:37:00Z/2026-12-03T10:37:00Z"), pair("2026-11-03T10:37", "2026-12-03T10:37"));
    }

    #[test]
    fn anything_else_is_refused_with_examples() {
        for text in ["", "2026", "2026-13", "2026-11-31", "november", "2026-11-02/2026-11-01", "2026-11-21T24"] {
            let error = Period::parse(text).expect_err(text);
            assert!(error.contains("2026-11-21T03"), "{error}");
        }
    }
}
