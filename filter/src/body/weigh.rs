//! Weighing a body that passes by unread: it is too large to hold, or the gateway holds none.
//!
//! Nothing in it is changed. What its texts weigh, and which model it names, is kept, so that the estimate of a request does not
//! depend on whether its body was held. Where names of what tenants share may not pass, [`super::watch`] looks for them.
use weir_config::shared::Shared;
use weir_llm_usage::TextWeight;
use weir_llm_usage::estimate;
use weir_llm_usage::json::{Container, Scalar, Scanner, Varying, Visitor, Want};

use super::watch::Watch;
use super::{IMAGE_TOKENS, MODEL_MAX_BYTES, binary};

/// A body, weighed chunk by chunk.
#[derive(Debug, Default)]
pub(crate) struct Weigher {
    scanner: Scanner,
    scale: Scale,
}

#[derive(Debug, Default)]
struct Scale {
    depth: usize,
    member: Member,
    /// In a list of pictures, each of which is counted where it begins.
    lists_images: bool,
    text: TextWeight,
    images: u64,
    model: Option<Box<str>>,
    /// Looks for names of what tenants share; None where they may pass.
    watch: Option<Watch>,
}

/// What the next value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Text,
    Model,
    Type,
    Image,
}

impl Weigher {
    /// One that also looks for names of what tenants share.
    pub(crate) fn watching() -> Self {
        Weigher { scale: Scale { watch: Some(Watch::new()), ..Scale::default() }, ..Weigher::default() }
    }

    /// Whether it looks for names of what tenants share.
    pub(crate) fn watches(&self) -> bool {
        self.scale.watch.is_some()
    }

    /// What it has found of them.
    pub(crate) fn named(&self) -> &[Shared] {
        self.scale.watch.as_ref().map_or(&[], Watch::named)
    }

    /// Whether all of the body so far is one document that was read.
    pub(crate) fn is_readable(&self) -> bool {
        let is_one = match self.scanner.documents() {
            0 => true,
            documents => documents == 1 && self.scanner.is_between_documents(),
        };
        is_one && !self.scanner.has_failed() && !self.scale.watch.as_ref().is_some_and(Watch::is_lost)
    }

    /// Weighs the next chunk.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.scanner.feed(chunk, &mut self.scale);
    }

    /// The likely tokens of the body; None if it is not JSON and so has no text.
    pub(crate) fn input_estimate(&self) -> Option<u64> {
        let is_json =
            !self.scanner.has_failed() && (self.scanner.documents() > 0 || !self.scanner.is_between_documents());
        let images = self.scale.images.saturating_mul(IMAGE_TOKENS);
        is_json.then(|| estimate::input_tokens(self.scale.text).saturating_add(images))
    }

    /// The model that it names.
    pub(crate) fn model(&self) -> Option<&str> {
        self.scale.model.as_deref()
    }
}

impl Visitor for Scale {
    fn key(&mut self, key: &[u8]) -> Want {
        if let Some(watch) = &mut self.watch {
            watch.key(key);
        }
        self.lists_images = false;
        self.member = match key {
            b"model" if self.depth == 1 => Member::Model,
            b"type" => Member::Type,
            b"images" | b"inlineData" | b"inline_data" | b"fileData" | b"file_data" => Member::Image,
            _ => Member::Text,
        };
        match self.member {
            Member::Model | Member::Type => Want::Read,
            Member::Text | Member::Image => Want::Stream,
        }
    }

    fn element(&mut self) -> Want {
        if let Some(watch) = &mut self.watch {
            watch.element();
        }
        self.images = self.images.saturating_add(u64::from(self.lists_images));
        Want::Stream
    }

    fn begin(&mut self, container: Container) -> bool {
        if let Some(watch) = &mut self.watch {
            watch.begin(container);
        }
        self.depth = self.depth.saturating_add(1);
        if self.member == Member::Image {
            self.lists_images = container == Container::Array;
            self.images = self.images.saturating_add(u64::from(!self.lists_images));
            self.member = Member::Text;
        }
        true
    }

    fn end(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.end();
        }
        self.depth = self.depth.saturating_sub(1);
        self.member = Member::Text;
        self.lists_images = false;
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        if let Some(watch) = &mut self.watch {
            watch.scalar(scalar);
        }
        match (self.member, scalar) {
            (Member::Model, Scalar::String(Some(name))) if name.len() <= MODEL_MAX_BYTES => {
                self.model = std::str::from_utf8(name).ok().map(Into::into);
            }
            (Member::Type, Scalar::String(Some(kind))) if binary::is_image(kind) => {
                self.images = self.images.saturating_add(1);
            }
            _ => {}
        }
    }

    fn piece(&mut self, piece: &[u8]) {
        if let Some(watch) = &mut self.watch {
            watch.piece(piece);
        }
        binary::weigh(piece, &mut self.text);
    }

    /// A container is left out: it nests too deep, or stands under an endless name.
    fn begin_varying(&mut self, varying: Varying, _left: usize) {
        if let (Varying::Container, Some(watch)) = (varying, &mut self.watch) {
            watch.lose();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Document;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn weighed(body: &str, chunk: usize) -> Option<u64> {
        let mut weigher = Weigher::default();
        body.as_bytes().chunks(chunk).for_each(|chunk| weigher.feed(chunk));
        weigher.input_estimate()
    }

    #[test]
    fn a_body_that_passes_by_weighs_about_what_it_weighs_when_it_is_read() {
        let picture = "iVBORw0KGgo/aB3+QUJDREVGR0hJSktM".repeat(10_000);
        let words = "Low water at noon, high water at six. ".repeat(40);
        let body = format!(
            r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":[{{"type":"text","text":"{words}"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#
        );
        let read = Document::read(body.as_bytes()).expect("JSON").input_estimate();
        for chunk in [body.len(), 16_384, 1_000] {
            let passed = weighed(&body, chunk).expect("JSON");
            assert!(passed.abs_diff(read) < read / 5, "{passed} and {read} in chunks of {chunk}");
        }
        let mut weigher = Weigher::default();
        weigher.feed(body.as_bytes());
        assert_eq!(weigher.model(), Some("gpt-4o"));
    }

    #[test]
    fn what_is_no_json_weighs_nothing() {
        assert_eq!(weighed("\u{1f}\u{8b}gzip", 100), None);
        assert_eq!(weighed("", 1), None);
    }
}
