//! Owners and playbooks of budgets that several tenants share: those of all of them, under the name of the budget.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use weir_steer::budget::Budget;
use weir_steer::message::Context;
use weir_steer::receiver::Playbook;
use weir_steer::subject;

/// Adds the shared budgets to owners, plans and playbooks.
pub(super) fn add(context: &mut Context, mut plans: HashMap<String, String>, budgets: &[Budget]) {
    for budget in budgets.iter().filter(|budget| budget.shared) {
        let name = subject::of_shared(&budget.name);
        let tenants: BTreeSet<&str> = budget.named_tenants().collect();
        let owners: BTreeSet<&String> = tenants.iter().filter_map(|tenant| context.owners.get(*tenant)).collect();
        if !owners.is_empty() {
            let owners = owners.into_iter().map(String::as_str).collect::<Vec<_>>().join("; ");
            context.owners.insert(name.clone(), owners);
        }
        let books: BTreeSet<&String> = tenants.iter().filter_map(|tenant| plans.get(*tenant)).collect();
        let books = books.into_iter().filter_map(|plan| Some((plan.as_str(), context.playbooks.get(plan)?)));
        if let Some(merged) = merged(&books.collect::<Vec<_>>()) {
            // No plan of a gateway has such a name, so it hides no playbook.
            context.playbooks.insert(name.clone(), merged);
            plans.insert(name.clone(), name);
        }
    }
    context.plans = Arc::new(plans);
}

/// The playbooks of several plans in one; None of none.
fn merged(books: &[(&str, &Playbook)]) -> Option<Playbook> {
    let at = |text: fn(&Playbook) -> &Option<String>| match books {
        [(_, only)] => text(only).clone(),
        many => {
            let texts = many.iter().filter_map(|(plan, book)| Some(format!("{plan}: {}", text(book).as_ref()?)));
            Some(texts.collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
        }
    };
    (!books.is_empty()).then(|| Playbook {
        warn: at(|book| &book.warn),
        degrade: at(|book| &book.degrade),
        contain: at(|book| &book.contain),
        exceeded: at(|book| &book.exceeded),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_budget_has_the_owners_and_playbooks_of_all_its_tenants() {
        let text = "[{name: family, of: tokens, amount: 10, period: day, tenants: [acme, globex], shared: true}]";
        let budgets = weir_steer::budget::compile(&serde_saphyr::from_str::<Vec<_>>(text).expect("the shape"));
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let book = |text: &str| Playbook { warn: Some(text.to_owned()), ..Playbook::default() };
        let mut context = Context {
            owners: owned(&[("acme", "Ann"), ("globex", "Bob"), ("initech", "Eve")]).into_iter().collect(),
            playbooks: [("pro".to_owned(), book("call")), ("free".to_owned(), book("wait"))].into(),
            ..Context::default()
        };
        let plans = owned(&[("acme", "pro"), ("globex", "free")]).into_iter().collect();
        add(&mut context, plans, &budgets.expect("good"));
        assert_eq!(context.owners["#family"], "Ann; Bob");
        let plan = &context.plans["#family"];
        assert_eq!(context.playbooks[plan].warn.as_deref(), Some("free: wait pro: call"));
        assert_eq!(context.playbooks[plan].exceeded, None);
    }
}
