//! Text storage that keeps each text once: ids one after another, and the few names that repeat.
use std::rc::Rc;

use crate::hash::{Keyed, Map};

/// Bytes of one block of text. Blocks never move: growing copies nothing.
const BLOCK_BYTES: usize = 64 * 1024;

/// The location of a text: block, start, length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    block: u16,
    start: u16,
    length: u16,
}

/// Texts, one after another.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    blocks: Vec<String>,
}

impl Arena {
    /// Appends a text. One that is too long for a block is stored as an empty text; ids are far shorter.
    pub(crate) fn push(&mut self, text: &str) -> Span {
        let fits = self.blocks.last().is_some_and(|block| block.len() + text.len() < BLOCK_BYTES);
        if !fits {
            self.blocks.push(String::with_capacity(BLOCK_BYTES));
        }
        let block = u16::try_from(self.blocks.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let Some(last) = self.blocks.last_mut() else { return Span { block, start: 0, length: 0 } };
        let (start, length) = (u16::try_from(last.len()), u16::try_from(text.len()));
        let (Ok(start), Ok(length)) = (start, length) else { return Span { block, start: 0, length: 0 } };
        if text.len() < BLOCK_BYTES {
            last.push_str(text);
        }
        Span { block, start, length }
    }

    /// The text at a location.
    pub(crate) fn get(&self, span: Span) -> Option<&str> {
        let start = usize::from(span.start);
        self.blocks.get(usize::from(span.block))?.get(start..start + usize::from(span.length))
    }
}

/// Repeated names by number; number 0 is no name.
#[derive(Debug)]
pub struct Names {
    names: Vec<Rc<str>>,
    numbers: Map<Rc<str>, u16>,
}

impl Names {
    /// None yet.
    pub fn new(keyed: Keyed) -> Self {
        Names { names: Vec::new(), numbers: keyed.map() }
    }

    /// The number of a name; None if all numbers are taken.
    pub fn number(&mut self, name: Option<&str>) -> Option<u16> {
        let Some(name) = name else { return Some(0) };
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let shared: Rc<str> = name.into();
        self.names.push(Rc::clone(&shared));
        let number = u16::try_from(self.names.len()).ok()?;
        self.numbers.insert(shared, number);
        Some(number)
    }

    /// How many further names there are numbers for.
    pub fn room(&self) -> usize {
        usize::from(u16::MAX).saturating_sub(self.names.len())
    }

    /// The name of a number.
    pub fn get(&self, number: u16) -> Option<&Rc<str>> {
        self.names.get(usize::from(number).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn texts_are_found_again_across_blocks() {
        let mut arena = Arena::default();
        let texts: Vec<String> = (0..10_000).map(|at| format!("tenant-{at:06}-with-a-name")).collect();
        let spans: Vec<Span> = texts.iter().map(|text| arena.push(text)).collect();
        assert!(arena.blocks.len() > 3);
        assert!(spans.iter().zip(&texts).all(|(span, text)| arena.get(*span) == Some(text)));
    }

    #[test]
    fn a_name_has_one_number_and_no_name_has_0() {
        let mut names = Names::new(Keyed::new([0; 16]));
        assert_eq!(
            (names.number(Some("a")), names.number(Some("b")), names.number(Some("a"))),
            (Some(1), Some(2), Some(1))
        );
        assert_eq!((names.number(None), names.get(0)), (Some(0), None));
        assert_eq!(names.get(2).map(|name| &**name), Some("b"));
    }
}
