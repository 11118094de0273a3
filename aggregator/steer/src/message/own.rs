//! What a tenant is told at an address of its own: how far its budgets are used, and that its keys at providers fail.
//!
//! Nothing here names the operator's costs, commands, plans or people, other tenants, or the size of the installation: of a budget of cost a tenant
//! learns the share only, since its amounts are what the operator pays.
use serde_json::{Value, json};
use weir_contract::Timestamp;
use weir_ledger::amount::Pico;

use super::{Context, Words};
use crate::alert::state::AlertChange;
use crate::budget::permille;
use crate::file::Measure;
use crate::subject;
use crate::view::Transition;

/// A change of a stage of a tenant's own budget.
pub(super) fn of_transition(change: &Transition, context: &Context) -> Words {
    let Transition { budget, was, stage, used, amount, unit, period_start, period_end, .. } = change;
    let known = context.budgets.iter().find(|known| *known.name == **budget);
    let share = match (Pico::parse(used), Pico::parse(amount)) {
        (Some(used), Some(amount)) => Some(permille(used, amount)),
        _ => None,
    };
    let percent = share.map(|share| format!("{}.{}", share / 10, share % 10));
    // A budget that is no longer configured may have been one of cost.
    let is_shown = known.is_some_and(|known| known.of != Measure::Cost);
    let much = match (&percent, is_shown) {
        (_, true) => format!("{used} of {amount} {unit} are used"),
        (Some(percent), false) => format!("{percent} % are used"),
        (None, false) => "see your account".to_owned(),
    };
    let user = subject::user(&change.subject);
    let whose = user.map_or_else(String::new, |user| format!(" of the user {user}"));
    let ends = period_end.map_or_else(String::new, |end| format!("; the period ends at {end}"));
    let mut data = json!({
        "budget": budget,
        "was": was,
        "stage": stage,
        "used_percent": percent,
        "period_start": period_start,
        "period_end": period_end,
    });
    if is_shown {
        data["used"] = json!(used);
        data["amount"] = json!(amount);
        data["unit"] = json!(unit);
    }
    if let Some(user) = user {
        data["user"] = json!(user);
    }
    words("budget.stage", change.at, format!("Budget {budget}{whose}: {stage}"), data)
        .saying(format!("Your budget {budget}{whose} went from {was} to {stage}: {much}{ends}."))
}

/// A tenant's own keys at providers begin or cease to fail.
pub(super) fn of_alert(change: &AlertChange) -> Words {
    let (kind, state) = if change.is_end() { ("alert.resolved", "resolved") } else { ("alert.firing", "firing") };
    let said = if change.is_end() {
        "Requests with a key of your own at a provider fail no longer.".to_owned()
    } else {
        format!(
            "Requests fail for a key of your own at a provider, {} within the hour: it is missing, has expired, or the provider refuses it. Replace the key.",
            change.value
        )
    };
    let title = "Your own key at a provider".to_owned();
    words(kind, change.at, title, json!({"state": state, "since": change.since})).saying(said)
}

fn words(kind: &'static str, at: Timestamp, title: String, data: Value) -> Words {
    Words {
        kind,
        at,
        title,
        summary: String::new(),
        command: None,
        page: None,
        driver: None,
        owner: None,
        action: None,
        data,
        alerts: Vec::new(),
    }
}

impl Words {
    fn saying(self, summary: String) -> Self {
        Words { summary, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alert::file::Severity;
    use crate::budget;
    use crate::cause::Cause;
    use crate::message;
    use crate::receiver::{self, Receiver};

    const BUDGETS: &str = "
- {name: money, of: cost, amount: 500, period: month}
- {name: calls, of: requests, amount: 1000, period: day}
";
    const RECEIVERS: &str = "
receivers:
  - {name: internal-name, webhook: {url: 'https://example.com', secret: {env: S}}, tenant: acme}
  - {name: internal-mail, email: {server: 'smtps://mail.internal', from: w@example.com, to: [a@acme.example]}, tenant: acme}
";

    /// Everything that a message to the operator says, in words that are found again.
    fn context() -> Context {
        let budgets = budget::compile(&serde_saphyr::from_str::<Vec<_>>(BUDGETS).expect("the shape")).expect("good");
        let pages = message::Pages {
            alerts: "SECRET alerts".to_owned(),
            budget: |site, _, _| site.to_owned(),
            site: "SECRET site".to_owned(),
        };
        Context {
            pages: Some(pages),
            owners: [("acme".to_owned(), "SECRET owner".to_owned())].into(),
            playbooks: serde_saphyr::from_str("{pro: {warn: SECRET playbook}}").expect("the shape"),
            plans: Arc::new([("acme".to_owned(), "pro".to_owned())].into()),
            budgets: budgets.into(),
            budget_drivers: [(7, "SECRET driver".to_owned())].into(),
            alert_drivers: [(7, "SECRET driver".to_owned())].into(),
            ..Context::default()
        }
    }

    fn receivers() -> Vec<Receiver> {
        receiver::compile(&serde_saphyr::from_str(RECEIVERS).expect("the shape")).expect("good")
    }

    fn change(budget: &str, used: &str, amount: &str, unit: &str) -> Transition {
        Transition {
            id: 7,
            at: Timestamp::from_secs(1_800_000_000),
            evaluated_through: 987_654,
            subject: "acme".to_owned(),
            budget: budget.to_owned(),
            period_start: Timestamp::from_secs(1_799_000_000),
            period_end: Some(Timestamp::from_secs(1_801_000_000)),
            was: "ok".to_owned(),
            stage: "warn".to_owned(),
            used: used.to_owned(),
            amount: amount.to_owned(),
            unit: unit.to_owned(),
            mode: "enforce".to_owned(),
            cause: Cause::Usage,
            why: "SECRET why".to_owned(),
        }
    }

    #[test]
    fn a_tenant_learns_the_share_of_a_budget_of_cost_and_nothing_of_its_operator() {
        for receiver in receivers() {
            let told =
                message::of_transition(&receiver, &change("money", "405.17", "500", "USD"), &context()).to_string();
            assert!(
                told.contains("Your budget money went from ok to warn: 81.0 % are used; the period ends at 2027-01"),
                "{told}"
            );
            for secret in ["SECRET", "405.17", "500", "USD", "weir ", "987654", "internal"] {
                assert!(!told.contains(secret), "{secret}: {told}");
            }
        }
    }

    #[test]
    fn what_a_tenant_itself_uses_or_pays_is_shown() {
        let told = message::of_transition(&receivers()[0], &change("calls", "801", "1000", "requests"), &context());
        assert_eq!(
            told["data"]["summary"],
            "Your budget calls went from ok to warn: 801 of 1000 requests are used; the period ends at 2027-01-26T21:46:40.000Z."
        );
        assert_eq!((&told["data"]["used"], &told["data"]["used_percent"]), (&json!("801"), &json!("80.1")));
        let gone =
            message::of_transition(&receivers()[0], &change("former", "801", "1000", "USD"), &context()).to_string();
        assert!(!gone.contains("801 of") && !gone.contains("USD"), "it may have been one of cost: {gone}");
    }

    #[test]
    fn a_tenant_is_told_of_its_key_in_words_without_commands_of_the_operator() {
        let alert = AlertChange {
            id: 7,
            at: Timestamp::from_secs(1_800_000_000),
            rule: "own-key-failing".to_owned(),
            subject: "acme".to_owned(),
            currency: String::new(),
            tenant: Some("acme".to_owned()),
            severity: Severity::Warning,
            state: "firing".to_owned(),
            since: Timestamp::from_secs(1_800_000_000),
            value: "12".to_owned(),
            summary: "SECRET summary".to_owned(),
            silenced: false,
        };
        for receiver in receivers() {
            let told = message::of_alert(&receiver, &alert, &context()).to_string();
            assert!(
                told.contains("12 within the hour") && !told.contains("SECRET") && !told.contains("weir "),
                "{told}"
            );
        }
    }
}
