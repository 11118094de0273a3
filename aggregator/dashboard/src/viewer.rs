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
    /// A name for the page's forms: one that is sent twice is acted on once.
    pub once: String,
    /// Whose name the page bears.
    pub brand: Brand,
}

/// What tenants see instead of weir's name.
#[derive(Clone, Debug, Default)]
pub struct Brand {
    /// The name; None for weir's.
    pub name: Option<String>,
    /// Whether there is a logo, at `/ui/assets/logo`.
    pub has_logo: bool,
    /// Whether there is a stylesheet with colours, at `/ui/assets/theme.css`.
    pub has_style: bool,
}

impl Brand {
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("weir")
    }
}
