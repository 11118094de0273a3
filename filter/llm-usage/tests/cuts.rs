//! However an answer is cut into pieces, it reads the same.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use harness::{assert_cuts_agree, head, read, sse, summary};

#[test]
fn a_chat_completion_reads_the_same_however_it_is_cut() {
    let body = include_bytes!("fixtures/usage/openai_chat.json");
    assert_eq!(summary(&read(body)), "complete in=812 out=143 read=512 write=- reasoning=64");
    assert_cuts_agree(&head(), body);
}

#[test]
fn a_chat_stream_reads_the_same_however_it_is_cut() {
    let body = sse(include_str!("fixtures/usage/openai_chat_stream.lines"));
    assert_eq!(summary(&read(&body)), "complete in=21 out=6 read=0 write=- reasoning=0");
    assert_cuts_agree(&head(), &body);
}

#[test]
fn a_message_reads_the_same_however_it_is_cut() {
    let body = include_bytes!("fixtures/usage/anthropic_message.json");
    assert_eq!(summary(&read(body)), "complete in=1240 out=77 read=1000 write=200 reasoning=-");
    assert_cuts_agree(&head(), body);
}

#[test]
fn a_message_stream_reads_the_same_however_it_is_cut() {
    let body = sse(include_str!("fixtures/usage/anthropic_stream.lines"));
    assert_eq!(summary(&read(&body)), "complete in=635 out=18 read=500 write=100 reasoning=-");
    assert_cuts_agree(&head(), &body);
}
