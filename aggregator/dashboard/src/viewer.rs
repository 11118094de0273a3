//! Who looks at a page.

/// What a person may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees one tenant's own page.
    #[default]
    Tenant,
    /// Sees every page.
    Viewer,
    /// Does the daily work.
    Operator,
    /// Does everything.
    Admin,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Tenant => "tenant",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// Who looks at a page.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// The person, as the audit names them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The session's token, for forms.
    pub csrf: String,
}
