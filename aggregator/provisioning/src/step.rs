//! The steps by which tenants come and go.
use serde::{Deserialize, Serialize};

/// Whether a tenant comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It comes.
    Provision,
    /// It goes.
    Deprovision,
}

impl Kind {
    /// As the database and the API write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Provision => "provision",
            Kind::Deprovision => "deprovision",
        }
    }
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The customer at Stripe.
    Customer,
    /// Its subscription.
    Subscription,
    /// API keys, which nobody may use yet.
    Keys,
    /// The collection in a vector store.
    Collection,
    /// What an outside system prepares.
    Environment,
    /// Owner and amounts of budgets.
    Budgets,
    /// The message that welcomes the tenant.
    Welcome,
    /// Gateways learn of the tenant.
    Publish,
    /// Gateways refuse the tenant.
    Suspend,
    /// Its last usage is reported.
    Report,
    /// The subscription ends with its period.
    EndSubscription,
    /// The time for which a tenant that has left is kept.
    Retain,
    /// The collection is removed.
    DropCollection,
    /// The outside system takes back what it prepared.
    ReleaseEnvironment,
    /// The message that says goodbye.
    Goodbye,
    /// Gateways forget the tenant; its keys and its part of the vault are gone.
    Archive,
}

impl Step {
    /// As the journal, the API and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Customer => "customer",
            Step::Subscription => "subscription",
            Step::Keys => "keys",
            Step::Collection => "collection",
            Step::Environment => "environment",
            Step::Budgets => "budgets",
            Step::Welcome => "welcome",
            Step::Publish => "publish",
            Step::Suspend => "suspend",
            Step::Report => "report",
            Step::EndSubscription => "end_subscription",
            Step::Retain => "retain",
            Step::DropCollection => "drop_collection",
            Step::ReleaseEnvironment => "release_environment",
            Step::Goodbye => "goodbye",
            Step::Archive => "archive",
        }
    }

    /// Whether it makes something elsewhere that there must be one of.
    pub(crate) const fn makes(self) -> bool {
        matches!(self, Step::Customer | Step::Subscription | Step::Collection)
    }

    /// Whether a call that comes again under its key is answered as the first one was: Stripe does so.
    pub(crate) const fn repeats(self) -> bool {
        matches!(self, Step::Customer | Step::Subscription)
    }

    /// The steps that are taken back before this one: what they made rests on it.
    pub(crate) const fn carries(self) -> &'static [Step] {
        match self {
            Step::Customer => &[Step::Subscription],
            // The outside system is told of it.
            Step::Collection => &[Step::Environment],
            _ => &[],
        }
    }

    /// Whether something that was there before will do. Any other step fails on it: it belongs to somebody else.
    pub(crate) const fn adopts(self) -> bool {
        matches!(self, Step::Customer | Step::Subscription)
    }

    /// Whether a tenant may go without it: what it takes away stays where it is.
    pub(crate) const fn may_be_left(self) -> bool {
        matches!(self, Step::EndSubscription | Step::DropCollection | Step::ReleaseEnvironment | Step::Goodbye)
    }

    /// Whether a refusal says that the tenant is no longer to go.
    pub(crate) const fn stops(self) -> bool {
        matches!(self, Step::Suspend | Step::Report | Step::Retain | Step::Archive)
    }
}

/// A step that a saga is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// How long it may be under way elsewhere, in milliseconds. Absent: for ever.
    pub patience_ms: Option<u64>,
}

impl From<Step> for Planned {
    fn from(step: Step) -> Self {
        Planned { step, patience_ms: None }
    }
}
