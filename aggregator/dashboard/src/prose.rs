//! Sentences of the server as people read them: a moment in one is shown in the viewer's zone.
use maud::{Markup, html};
use weir_contract::Timestamp;

use crate::cell::time;

/// The shortest and the longest way to write a moment, in bytes: `2026-11-21T12:30:00Z`, with milliseconds.
const MOMENT_BYTES: [usize; 2] = [24, 20];

/// A sentence whose moments the script shows in the viewer's zone.
pub(crate) fn prose(text: &str) -> Markup {
    let (mut told, mut rest) = (Vec::new(), text);
    while let Some((before, at, after)) = moment(rest) {
        told.push((before, at));
        rest = after;
    }
    html! { @for (before, at) in told { (before) (time(at)) } (rest) }
}

/// The first moment in a text, with what stands before and after it.
fn moment(text: &str) -> Option<(&str, Timestamp, &str)> {
    for (place, _) in text.match_indices('T').filter(|(place, _)| *place >= 10) {
        let start = place - 10;
        for length in MOMENT_BYTES {
            let written = text.get(start..start + length).filter(|written| written.ends_with('Z'));
            if let Some(at) = written.and_then(Timestamp::parse) {
                return Some((&text[..start], at, &text[start + length..]));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_a_sentence_are_shown_in_the_viewers_zone_and_the_rest_stays() {
        let shown = prose("since 2026-11-21T12:30:00.000Z and <b>2026-11-22T00:00:00Z</b>; é THE END").into_string();
        assert_eq!(
            shown,
            "since <time datetime=\"2026-11-21T12:30:00.000Z\">2026-11-21 12:30:00 UTC</time> and &lt;b&gt;<time \
             datetime=\"2026-11-22T00:00:00.000Z\">2026-11-22 00:00:00 UTC</time>&lt;/b&gt;; é THE END"
        );
        for plain in ["", "T", "no moment at all: T2026", "é2026-11-21T12:30Z", "2026-99-21T12:30:00Z"] {
            assert_eq!(prose(plain).into_string(), plain);
        }
    }
}
