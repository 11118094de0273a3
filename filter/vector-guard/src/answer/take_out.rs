//! Takes elements out of a list, or members out of an object, with the commas between them.
use std::ops::Range;

use crate::edit::Edits;

/// Takes out those of the elements that `goes` names, in order. What stays keeps one comma between each two.
pub(super) fn take_out(edits: &mut Edits, elements: Vec<Range<usize>>, goes: &[bool]) {
    let mut is_behind_kept = false;
    let mut before = 0;
    for (at, (element, goes)) in elements.iter().zip(goes).enumerate() {
        if *goes {
            let next = elements.get(at.saturating_add(1)).map_or(element.end, |next| next.start);
            let range = if is_behind_kept { before..element.end } else { element.start..next };
            edits.replace(range, "");
        }
        is_behind_kept |= !goes;
        before = element.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use weir_llm_usage::json::tree::{ROOT, Tree};

    #[test]
    fn every_choice_of_elements_leaves_json_and_the_others() {
        let text = br#" [ "a" , {"b":1},["c"] ,null, "e" ] "#;
        let tree = Tree::read(text).expect("JSON");
        let spans: Vec<Range<usize>> =
            tree.children(ROOT).map(|child| tree.node(child).expect("a node").at.clone()).collect();
        for choice in 0..32_usize {
            let goes: Vec<bool> = (0..5).map(|at| choice >> at & 1 == 1).collect();
            let mut edits = Edits::default();
            take_out(&mut edits, spans.clone(), &goes);
            let left = edits.apply(text).unwrap_or_else(|| text.to_vec());
            let left: Vec<serde_json::Value> = serde_json::from_slice(&left).expect("JSON");
            let all: Vec<serde_json::Value> = serde_json::from_slice(text).expect("JSON");
            let expected: Vec<_> = all.into_iter().zip(&goes).filter(|(_, goes)| !**goes).map(|(v, _)| v).collect();
            assert_eq!(left, expected, "{choice:05b}");
        }
    }
}
