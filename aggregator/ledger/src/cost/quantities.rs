//! The units of an event, by kind.
//!
//! `input_tokens` holds every input token and `output_tokens` every output token, so that each is divided into parts that
//! do not overlap: first what was written to a cache and read from one, then audio, images and video, as the provider counts
//! them in `details`; the rest is text. Where the counts contradict each other, a part is cut so that the parts are
//! together what the whole is.
use std::collections::BTreeMap;

use weir_contract::{Class, Outcome, UsageData, UsageStatus};

use super::{CONTEXT_STEPS, Kind, Quantities, TIER_MAX_BYTES, Tariff};

/// The tier of batches.
pub const BATCH: &str = "batch";
/// Names under which providers mean the usual tier.
pub const USUAL_TIERS: [&str; 5] = ["", "default", "standard", "auto", "on_demand"];

/// Details that count cached audio and cached images.
const CACHED_AUDIO: [&str; 3] =
    ["cached_tokens_details_audio_tokens", "cached_tokens_details_audio_input_tokens", "audio_cache_read_tokens"];
const CACHED_IMAGES: [&str; 3] =
    ["cached_tokens_details_image_tokens", "cached_tokens_details_image_input_tokens", "image_cache_read_tokens"];
/// Details that count units other than tokens, by kind. The first one that is there counts.
const UNITS: [(Kind, &[&str]); 5] = [
    (Kind::Image, &["images", "image_count", "generated_images", "num_images", "images_generated", "output_images"]),
    (
        Kind::Search,
        &["web_search_requests", "num_search_queries", "search_queries", "num_sources_used", "search_units"],
    ),
    (Kind::Page, &["pages_processed", "pages"]),
    (Kind::Second, &["prompt_audio_seconds", "audio_seconds", "seconds"]),
    (Kind::Character, &["billable_character_count", "characters"]),
];

impl Tariff {
    /// The conditions under which an event is charged, as far as no price book is needed to know them.
    pub fn of(data: &UsageData<'_>) -> Self {
        Tariff { tier: tier(data).into(), over: step(data.usage.input_tokens.unwrap_or(0)) }
    }
}

/// The tier that a request is charged under.
fn tier(data: &UsageData<'_>) -> String {
    if data.class == Class::Batch {
        return BATCH.to_owned();
    }
    let mut name = data.service_tier.as_deref().unwrap_or_default().to_ascii_lowercase();
    if USUAL_TIERS.contains(&name.as_str()) {
        return String::new();
    }
    let end = (0..=TIER_MAX_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    name.truncate(end.unwrap_or(0));
    name
}

/// The highest of the usual context tiers that an input exceeds.
fn step(input: u64) -> u64 {
    CONTEXT_STEPS.into_iter().rev().find(|step| input > *step).unwrap_or(0)
}

/// Returns true for requests that a provider charges a price of `per_request` for.
fn is_charged(data: &UsageData<'_>) -> bool {
    data.usage.status != UsageStatus::None || matches!(data.outcome, Outcome::Ok | Outcome::ClientClosed)
}

/// The units that an event used, by kind.
pub fn quantities(data: &UsageData<'_>) -> Quantities {
    let mut all = Quantities::default();
    input(data, &mut all);
    output(data, &mut all);
    let details = &data.usage.details;
    for (kind, names) in UNITS {
        all.set(kind, first(details, names));
    }
    if assumes_one_image(data) {
        all.set(Kind::Image, 1);
    }
    all.set(Kind::Request, u64::from(is_charged(data)));
    all
}

/// Returns true for an answer with images that counts neither them nor tokens, as those of Amazon Titan and DALL·E: at least one image
/// was made, so one is charged, and the cost counts as estimated.
pub(crate) fn assumes_one_image(data: &UsageData<'_>) -> bool {
    let [(Kind::Image, names), ..] = UNITS else { return false };
    data.class == Class::Image
        && data.outcome == Outcome::Ok
        && data.usage.status != UsageStatus::Complete
        && first(&data.usage.details, names) == 0
}

fn first(details: &BTreeMap<String, u64>, names: &[&str]) -> u64 {
    if details.is_empty() {
        return 0;
    }
    names.iter().find_map(|name| details.get(*name)).copied().unwrap_or(0)
}

/// Takes at most `wanted` from `rest`.
fn take(rest: &mut u64, wanted: u64) -> u64 {
    let taken = wanted.min(*rest);
    *rest -= taken;
    taken
}

fn input(data: &UsageData<'_>, all: &mut Quantities) {
    let (usage, details) = (&data.usage, &data.usage.details);
    let mut rest = usage.input_tokens.unwrap_or(0);
    let mut written = take(&mut rest, usage.cache_write_tokens.unwrap_or(0));
    all.set(Kind::CacheWrite1h, take(&mut written, first(details, &["ephemeral_1h_input_tokens"])));
    all.set(Kind::CacheWrite, written);
    let mut read = take(&mut rest, usage.cache_read_tokens.unwrap_or(0));
    let (audio, images) = (first(details, &["audio_input_tokens"]), first(details, &["image_input_tokens"]));
    let cached_audio = take(&mut read, first(details, &CACHED_AUDIO).min(audio));
    let cached_images = take(&mut read, first(details, &CACHED_IMAGES).min(images));
    all.set(Kind::AudioCacheRead, cached_audio);
    all.set(Kind::ImageCacheRead, cached_images);
    all.set(Kind::CacheRead, read);
    all.set(Kind::AudioInput, take(&mut rest, audio - cached_audio));
    all.set(Kind::ImageInput, take(&mut rest, images - cached_images));
    all.set(Kind::VideoInput, take(&mut rest, first(details, &["video_input_tokens"])));
    all.set(Kind::Input, rest);
}

fn output(data: &UsageData<'_>, all: &mut Quantities) {
    let (usage, details) = (&data.usage, &data.usage.details);
    let mut rest = usage.output_tokens.unwrap_or(0);
    all.set(Kind::AudioOutput, take(&mut rest, first(details, &["audio_output_tokens"])));
    all.set(Kind::ImageOutput, take(&mut rest, first(details, &["image_output_tokens"])));
    all.set(Kind::VideoOutput, take(&mut rest, first(details, &["video_output_tokens"])));
    all.set(Kind::Reasoning, take(&mut rest, usage.reasoning_tokens.unwrap_or(0)));
    all.set(Kind::Output, rest);
}

#[cfg(test)]
mod tests {
    use weir_contract::Usage;

    use super::*;

    fn images(status: UsageStatus, details: &[(&str, u64)], outcome: Outcome) -> u64 {
        let details = details.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let usage = Usage { status, details, ..Usage::default() };
        quantities(&UsageData { class: Class::Image, outcome, usage, ..UsageData::default() }).get(Kind::Image)
    }

    #[test]
    fn images_are_counted_as_the_answer_says_and_one_where_it_says_nothing() {
        assert_eq!(images(UsageStatus::Complete, &[("images", 3)], Outcome::Ok), 3);
        assert_eq!(images(UsageStatus::Complete, &[("image_count", 2)], Outcome::Ok), 2);
        assert_eq!(images(UsageStatus::None, &[], Outcome::Ok), 1);
        assert_eq!(images(UsageStatus::Complete, &[], Outcome::Ok), 0, "tokens were counted instead");
        assert_eq!(images(UsageStatus::None, &[], Outcome::UpstreamError), 0);
    }
}
