//! Questions about alerts: what server and commands share.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;
use weir_steer::notice::{self, Notice};
use weir_steer::receiver::Receiver;

/// The messages of one answer.
const NOTICES_SHOWN: u32 = 200;

/// Answer to `GET /v1/alerts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsView {
    /// Who is told.
    pub receivers: Vec<ReceiverView>,
    /// The latest messages, the latest first.
    pub notices: Vec<Notice>,
    /// How many messages wait.
    pub pending: u64,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverView {
    /// Its name.
    pub name: String,
    /// `webhook` or `slack`.
    pub form: String,
}

/// Who is told, and what was.
pub fn alerts(reader: &mut LedgerReader, receivers: &[Receiver]) -> Result<AlertsView, LedgerError> {
    let view = |receiver: &Receiver| ReceiverView {
        name: receiver.name.clone(),
        form: notice::form(&receiver.target).to_owned(),
    };
    Ok(AlertsView {
        receivers: receivers.iter().map(view).collect(),
        notices: notice::history(reader.db(), NOTICES_SHOWN)?,
        pending: notice::pending(reader.db())?,
    })
}

/// Body of `POST /v1/alerts/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// The receiver.
    pub receiver: String,
}
