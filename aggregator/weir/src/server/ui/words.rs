//! What pages say of values, and the notices after an act.
use serde::Deserialize;
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_dashboard::{Block, Cell, Href, Tone};
use weir_money::margin::Level;
use weir_steer::alert::file::Severity;
use weir_steer::view::Use;

/// A name in the address of a page, as [`Href`] writes it.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct Named(pub(super) String);

impl From<String> for Named {
    fn from(segment: String) -> Self {
        Named(weir_dashboard::named(&segment).to_owned())
    }
}

/// Digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    weir_dashboard::grouped(&number.to_string())
}

/// How good a margin is.
pub(super) fn level(level: Level) -> Cell {
    let tone = match level {
        Level::Negative => Tone::Bad,
        Level::Unattributed | Level::Unpriced | Level::Low | Level::Thin => Tone::Warn,
        Level::Good => Tone::Good,
    };
    Cell::status(level.as_str(), tone)
}

pub(super) fn stage_tone(stage: Stage) -> Tone {
    match stage {
        Stage::Ok => Tone::Good,
        Stage::Warn | Stage::Degrade => Tone::Warn,
        Stage::Contain | Stage::Exceeded => Tone::Bad,
    }
}

/// The tone of a budget's use: one that binds nobody is worth a look at most.
fn use_tone(used: Use) -> Tone {
    let tone = stage_tone(used.stage);
    if (used.observed || used.paused) && tone == Tone::Bad { Tone::Warn } else { tone }
}

/// The stage of a budget, and whether it binds.
pub(super) fn stage(used: Use) -> Cell {
    Cell::ranked(used.words(), use_tone(used), used.stage as u8)
}

/// The used share of a budget.
pub(super) fn share(used: Use) -> Cell {
    Cell::Meter { permille: used.permille, tone: use_tone(used) }
}

/// How severe an alert is.
pub(super) fn severity(severity: Severity) -> Cell {
    let tone = if severity.as_str() == "critical" { Tone::Bad } else { Tone::Warn };
    Cell::status(severity.as_str(), tone)
}

/// A count that should be 0.
pub(super) fn problem_count(count: u64) -> Cell {
    if count == 0 { Cell::Number(0) } else { Cell::status(grouped(count), Tone::Bad) }
}

/// A tenant's page.
pub(super) fn tenant_link(tenant: &str) -> Cell {
    Cell::link(tenant, Href::to(&["tenants", tenant]))
}

const TEST_FAILED: &str = "The receiver has not taken the test: the first of the messages below says why.";

/// What a page says after an act, named in its address. Other words say nothing.
pub(super) fn done(word: Option<&str>) -> Vec<Block> {
    let told = match word {
        Some("settled") => "The row is settled. The audit has your name and the reason.",
        Some("raised") => "The budget is raised or paused until the date. The audit has your name and the reason.",
        Some("replaced") => {
            "It is in force, in place of the raise or pause that was in force before: that one does not come back, though its date may be \
             the later one. The audit has your name, the reason, and the one before."
        }
        Some("resumed") => "The usual amount counts again.",
        Some("acknowledged") => "The alert is acknowledged under your name.",
        Some("acknowledged_again") => {
            "The alert is acknowledged under your name, in place of somebody who had done so before you: the audit names them."
        }
        Some("silenced") => "The silence is in force.",
        Some("unsilenced") => "The silence has ended.",
        Some("tested") => "The receiver has taken the test.",
        Some("test_failed") => return vec![Block::Notice(Tone::Bad, TEST_FAILED.to_owned())],
        Some("revoked") => "It is revoked.",
        Some("stored") => "The key is in the vault. Gateways have it within a second.",
        Some("removed") => "The key is removed. Gateways let go of it within a second.",
        Some("code_sent") => "A code is on its way to the address. Enter it below within an hour.",
        Some("proven") => "The address is confirmed: it is told of your budgets from now on.",
        Some("address_removed") => "The address is removed: nothing goes there any more.",
        Some("changed") => "The tenant is changed. Gateways learn of it within a second.",
        _ => return Vec::new(),
    };
    vec![Block::Notice(Tone::Good, told.to_owned())]
}

/// What a period will have seen at its end if it goes on as it has begun; None in its first twentieth, which says too little.
pub(super) fn forecast(used: i128, (start, end): (Timestamp, Timestamp), now: Timestamp) -> Option<i128> {
    let (whole, elapsed) = (i128::from(end.millis_since(start)), i128::from(now.min(end).millis_since(start)));
    if elapsed <= 0 || elapsed * 20 < whole {
        return None;
    }
    used.checked_mul(whole).map(|product| product / elapsed)
}

/// The parameter that says what was done.
pub(super) const DONE: &str = "done";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_goes_on_as_the_period_has_begun() {
        let at = |hour: u64| Timestamp::from_millis(hour * 3_600_000);
        assert_eq!(forecast(10, (at(0), at(24)), at(6)), Some(40));
        assert_eq!(forecast(10, (at(0), at(24)), at(24)), Some(10));
        assert_eq!(forecast(10, (at(0), at(24)), at(30)), Some(10), "over");
        assert_eq!(forecast(10, (at(0), at(24)), at(1)), None, "too early");
        assert_eq!(forecast(10, (at(6), at(24)), at(6)), None);
        assert_eq!(forecast(i128::MAX, (at(0), at(24)), at(6)), None, "no number of this size");
    }

    #[test]
    fn an_address_cannot_make_a_page_say_anything_else() {
        assert!(done(Some("<script>")).is_empty() && done(None).is_empty());
        assert_eq!(done(Some("settled")).len(), 1);
    }
}
