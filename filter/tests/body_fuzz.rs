//! The fuzz targets' assertions about request bodies, on JSON put together from hostile pieces.
#[path = "../../fuzz/src/body.rs"]
mod body;

#[path = "fixtures/body/hostile.rs"]
mod hostile;

use hostile::MEMBERS;
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #[test]
    fn edits_of_hostile_bodies_say_what_they_should(
        members in proptest::collection::vec(select(&MEMBERS[..]), 0..7), blanks in select(&["", " ", "\r\n\t"][..]),
    ) {
        let body = format!("{blanks}{{{blanks}{}{blanks}}}{blanks}", members.join(&format!("{blanks},{blanks}")));
        body::request_body(body.as_bytes());
        body::request_edits(body.as_bytes());
    }

    #[test]
    fn one_changed_byte_breaks_nothing(
        members in proptest::collection::vec(select(&MEMBERS[..]), 1..5), at: prop::sample::Index, byte: u8,
    ) {
        let mut body = format!("{{{}}}", members.join(",")).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        body::request_body(&body);
        body::request_edits(&body);
    }
}
