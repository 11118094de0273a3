//! The model that a request's path names, and how another one replaces it.
use crate::classify::{self, PathModel};
use crate::head::Head;

/// A path's model.
#[derive(Debug)]
pub(super) struct ModelInPath {
    pub(super) model: PathModel,
    /// What stands behind the path, the `?` included, where another model can be put there. None: it cannot.
    tail: Option<Box<str>>,
}

impl ModelInPath {
    /// The model that a path names. `sets_path`: the gateway takes another path.
    pub(super) fn read(head: &Head<'_>, sets_path: bool) -> Option<Self> {
        let model = classify::model_in_path(head.path)?;
        let query =
            head.query.map_or(Some(String::new()), |query| Some(format!("?{}", std::str::from_utf8(query).ok()?)));
        let changes = sets_path && !is_signed(head) && std::str::from_utf8(head.path).is_ok();
        Some(ModelInPath { model, tail: query.filter(|_| changes).map(Into::into) })
    }

    /// Whether another model can be put there.
    pub(super) fn changes(&self) -> bool {
        self.tail.is_some()
    }

    /// The whole `:path` with another model; None where it is that model already, or nothing can be put there.
    pub(super) fn with(&self, path: &[u8], model: &str) -> Option<String> {
        let tail = self.tail.as_deref().filter(|_| *self.model.name != *model)?;
        Some(classify::with_model(path, &self.model.at, model)? + tail)
    }
}

/// Whether the client's own signature covers the path: AWS Signature Version 4, in its header or, presigned, in the query.
/// A request that is signed by the gateway, behind weir, is not signed yet.
fn is_signed(head: &Head<'_>) -> bool {
    let in_header = head.values("authorization").any(|value| value.starts_with(b"AWS4-"));
    let query = head.query.unwrap_or_default().to_ascii_lowercase();
    in_header || memchr::memmem::find(&query, b"x-amz-signature=").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Pair;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn changed(path: &[u8], more: &[Pair<'_>], sets_path: bool) -> Option<String> {
        let pairs: Vec<Pair<'_>> = [(&b":path"[..], path)].into_iter().chain(more.iter().copied()).collect();
        let head = Head::read(&pairs);
        ModelInPath::read(&head, sets_path)?.with(head.path, "mini")
    }

    #[test]
    fn the_query_stays_as_it_is() {
        let path = b"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
        let expected = "/openai/deployments/mini/chat/completions?api-version=2024-10-21";
        assert_eq!(changed(path, &[], true).as_deref(), Some(expected));
        assert_eq!(changed(b"/model/mini/converse", &[], true), None, "it is that one");
    }

    #[test]
    fn a_path_that_the_gateway_or_a_signature_holds_fast_is_not_changed() {
        let path = b"/model/large/converse";
        assert_eq!(changed(path, &[], false), None);
        let signed: Pair<'_> =
            (b"Authorization", b"AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1/bedrock/aws4_request");
        assert_eq!(changed(path, &[signed], true), None);
        assert_eq!(changed(b"/model/large/converse?X-Amz-Signature=ab", &[], true), None);
        assert_eq!(changed(b"/model/large/converse?x=\xFF", &[], true), None);
        assert!(changed(path, &[(b"authorization", b"Bearer x")], true).is_some());
    }
}
