//! The members that hold ids, and those that hold everything else.
//!
//! Names are compared without case and underscores: a careless server takes `fileId` and `FILE_ID` for `file_id`, so they
//! are places, too. A member that no table knows is [`Place::Unknown`]: an id in it is refused in requests.
use weir_config::shared::Shared;

use crate::kind::{Dialect, Kinds};

/// What stands at a place in a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No table knows it.
    Unknown,
    /// The id of an object of one of these kinds, or a list of such.
    Id(Kinds),
    /// The id of whatever surrounds it.
    OwnId,
    /// A model, which may be a tuned one.
    Model,
    /// An address, which may end in an id.
    Address,
    /// The name of an object, which may carry its owner's mark.
    Name,
    /// Text for people or models.
    Text,
    /// Calls of tools, whose ids name nothing that the provider keeps.
    ToolCalls,
    /// Clients make up everything in it.
    MadeUp,
}

impl Place {
    /// The place of a member of that name (without escapes) in an object that stands here.
    #[must_use]
    pub fn member(self, dialect: Dialect, name: &[u8]) -> Place {
        if self == Place::MadeUp {
            return Place::MadeUp;
        }
        let mut plain = [0; NAME_MAX_BYTES];
        let mut length = 0;
        for byte in name.iter().filter(|byte| **byte != b'_') {
            let Some(room) = plain.get_mut(length) else { return Place::Unknown };
            *room = byte.to_ascii_lowercase();
            length = length.saturating_add(1);
        }
        let plain = plain.get(..length).unwrap_or_default();
        if self == Place::ToolCalls && plain == b"id" {
            return Place::Text;
        }
        of_plain(plain, dialect)
    }
}

/// The longest name of a member that a table knows, in bytes without underscores.
const NAME_MAX_BYTES: usize = 32;

const fn ids(kind: Shared) -> Place {
    Place::Id(Kinds::only(kind))
}

fn of_plain(name: &[u8], dialect: Dialect) -> Place {
    match name {
        b"id" | b"itemid" | b"firstid" | b"lastid" | b"approvalrequestid" => Place::OwnId,
        // Anthropic's own skills have plain names.
        b"skillid" if dialect == Dialect::Anthropic => Place::OwnId,
        // A session's or a container's, which no table lists: the parameter takes no id.
        b"scopeid" if dialect == Dialect::Anthropic => ids(Shared::Files),
        b"fileid" | b"fileids" | b"inputfileid" | b"outputfileid" | b"errorfileid" | b"trainingfile"
        | b"validationfile" | b"resultfiles" | b"container" | b"containerid" | b"skillid" | b"uploadid" => {
            ids(Shared::Files)
        }
        b"assistantid" | b"threadid" | b"runid" | b"stepid" | b"conversation" | b"conversationid" => {
            ids(Shared::Assistants)
        }
        b"messageid" | b"messageids" => Place::Id(Kinds::only(Shared::Assistants).with(Shared::StoredResponses)),
        b"batchid" => ids(Shared::Batches),
        b"vectorstoreid" | b"vectorstoreids" => ids(Shared::VectorStores),
        b"cachedcontent" => ids(Shared::VectorStores),
        b"responseid" | b"previousresponseid" | b"completionid" => ids(Shared::StoredResponses),
        b"jobid" | b"finetuningjobid" | b"finetunedmodel" | b"finetunedmodelcheckpoint" => ids(Shared::FineTuning),
        b"model" => Place::Model,
        b"fileuri" | b"uri" | b"gcsuri" | b"resultsurl" => Place::Address,
        b"name" if dialect == Dialect::Gemini => Place::OwnId,
        b"name" | b"filename" | b"displayname" => Place::Name,
        b"content" | b"text" | b"instructions" | b"query" | b"description" | b"title" | b"output" | b"reasoning"
        | b"refusal" | b"user" | b"safetyidentifier" | b"promptcachekey" | b"system" | b"url" | b"imageurl"
        | b"data" | b"filedata" | b"customid" | b"callid" | b"toolcallid" | b"tooluseid" | b"type" | b"role"
        | b"code" | b"stop" | b"prompt" | b"input" | b"thinking" | b"signature" | b"encryptedcontent" | b"delta" => {
            Place::Text
        }
        b"toolcalls" => Place::ToolCalls,
        b"metadata" | b"attributes" | b"properties" | b"parameters" | b"inputschema" | b"outputschema" | b"schema"
        | b"args" | b"arguments" | b"enum" | b"$defs" | b"definitions" | b"labels" | b"logitbias" | b"filters" => {
            Place::MadeUp
        }
        _ => Place::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn member(name: &str) -> Place {
        Place::Unknown.member(Dialect::OpenAi, name.as_bytes())
    }

    #[test]
    fn a_name_is_known_in_every_spelling() {
        for name in ["file_id", "FILE_ID", "fileId", "file__id", "FileID"] {
            assert_eq!(member(name), ids(Shared::Files), "{name}");
        }
        assert_eq!(member("file_idx"), Place::Unknown);
        assert_eq!(member(&"x".repeat(200)), Place::Unknown);
    }

    #[test]
    fn nothing_below_what_clients_make_up_is_a_place() {
        let made_up = member("metadata");
        assert_eq!(made_up.member(Dialect::OpenAi, b"file_id"), Place::MadeUp);
        assert_eq!(member("tool_calls").member(Dialect::OpenAi, b"id"), Place::Text);
        assert_eq!(member("tool_calls").member(Dialect::OpenAi, b"file_id"), ids(Shared::Files));
    }
}
