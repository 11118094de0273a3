//! Under which names budgets are counted: a tenant, `#` and a budget that several tenants share, or a tenant, `#` and an end user.
//! No tenant's id has a `#`.

/// Before the name of a budget that several tenants share, and between a tenant and its user.
pub(crate) const SHARED_MARK: char = '#';

/// The tenant that a subject is, or is a user of; empty for a budget that several share.
pub fn tenant(subject: &str) -> &str {
    subject.split_once(SHARED_MARK).map_or(subject, |(tenant, _)| tenant)
}

/// Under which name owners and playbooks of a subject stand: its tenant, or the shared budget itself.
pub(crate) fn responsible(subject: &str) -> &str {
    if is_shared(subject) { subject } else { tenant(subject) }
}

/// The subject of a budget that several tenants share.
pub fn of_shared(budget: &str) -> String {
    format!("{SHARED_MARK}{budget}")
}

/// The end user that a subject is.
pub fn user(subject: &str) -> Option<&str> {
    subject.split_once(SHARED_MARK).filter(|(tenant, _)| !tenant.is_empty()).map(|(_, user)| user)
}

/// Whether several tenants share what is counted.
pub fn is_shared(subject: &str) -> bool {
    subject.starts_with(SHARED_MARK)
}

/// The subject of an end user.
pub(crate) fn of_user(tenant: &str, user: &str) -> String {
    format!("{tenant}{SHARED_MARK}{user}")
}

/// The first and the last text between which all users of a tenant stand, in the order of SQLite.
pub(crate) fn users_of(tenant: &str) -> (String, String) {
    (format!("{tenant}#"), format!("{tenant}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_tenant_a_user_or_what_several_share() {
        assert_eq!((tenant("acme"), user("acme"), is_shared("acme")), ("acme", None, false));
        assert_eq!((tenant("#family"), user("#family"), is_shared("#family")), ("", None, true));
        assert_eq!((responsible("#family"), responsible("acme")), ("#family", "acme"));
        let ann = of_user("acme", "hmac:00");
        assert_eq!((tenant(&ann), user(&ann), is_shared(&ann)), ("acme", Some("hmac:00"), false));
        let (first, last) = users_of("acme");
        assert_eq!(responsible(&ann), "acme");
        assert!(first <= ann && ann < last);
    }
}
