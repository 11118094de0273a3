//! Generated entries and usage, against a reckoning that knows nothing of the price book: part by part, in whole trillionths.
use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_contract::{Outcome, Text, Timestamp, Usage, UsageData, UsageStatus};
use weir_ledger::amount::Pico;
use weir_ledger::cost::{Kind, Pricing};
use weir_money::prices::entry::{Above, Entry, Prices, TierPrices, TokenKind};
use weir_money::prices::{Book, Layer, decimal};

/// Kinds of tokens in the input, and in the output.
const INPUT: [Kind; 9] = [
    Kind::Input,
    Kind::CacheRead,
    Kind::CacheWrite,
    Kind::CacheWrite1h,
    Kind::AudioInput,
    Kind::AudioCacheRead,
    Kind::ImageInput,
    Kind::ImageCacheRead,
    Kind::VideoInput,
];
const OUTPUT: [Kind; 5] = [Kind::Output, Kind::Reasoning, Kind::AudioOutput, Kind::ImageOutput, Kind::VideoOutput];
/// Other units, with the detail that counts them.
const UNITS: [(Kind, &str); 5] = [
    (Kind::Image, "images"),
    (Kind::Search, "search_units"),
    (Kind::Page, "pages"),
    (Kind::Second, "seconds"),
    (Kind::Character, "characters"),
];
/// Where context tiers begin.
const EDGES: [u64; 3] = [1_000, 32_000, 200_000];

/// Trillionths for a token or unit, by kind. Prices are even, so that half of them is exact.
type PriceList = BTreeMap<Kind, i128>;

/// Prices of an entry or of a tier, as the reckoning knows them.
#[derive(Clone, Debug, Default)]
struct Listed {
    tokens: PriceList,
    units: PriceList,
    above: Vec<(u64, PriceList)>,
}

#[derive(Clone, Debug)]
enum Tier {
    None,
    Half,
    Own(Listed),
}

fn tokens() -> impl Strategy<Value = PriceList> {
    let kinds = INPUT.into_iter().chain(OUTPUT).collect::<Vec<_>>();
    let price = prop::option::weighted(0.5, (0_i128..20_000_000).prop_map(|price| price * 2));
    prop::collection::vec(price, kinds.len())
        .prop_map(move |prices| kinds.iter().zip(prices).filter_map(|(kind, price)| Some((*kind, price?))).collect())
}

fn listed() -> impl Strategy<Value = Listed> {
    let unit = prop::option::weighted(0.6, (0_i128..5_000_000_000).prop_map(|price| price * 2));
    let kinds = UNITS.map(|(kind, _)| kind).into_iter().chain([Kind::Request]).collect::<Vec<_>>();
    let units = prop::collection::vec(unit, kinds.len())
        .prop_map(move |prices| kinds.iter().zip(prices).filter_map(|(kind, price)| Some((*kind, price?))).collect());
    let above = prop::collection::vec(prop::option::of(tokens()), EDGES.len()).prop_map(|tiers| {
        EDGES.into_iter().zip(tiers).filter_map(|(edge, prices)| Some((edge, prices?))).collect::<Vec<_>>()
    });
    (tokens(), units, above).prop_map(|(tokens, units, above)| Listed { tokens, units, above })
}

fn tier() -> impl Strategy<Value = Tier> {
    let own = (listed(), 1_i128..1_000).prop_map(|(mut own, price)| {
        own.tokens.entry(Kind::Output).or_insert(price * 2);
        Tier::Own(own)
    });
    prop_oneof![Just(Tier::None), Just(Tier::Half), own]
}

/// What was used, by kind; the input ends at an edge, beyond it, or anywhere.
fn used() -> impl Strategy<Value = BTreeMap<Kind, u64>> {
    let kinds: Vec<Kind> = INPUT.into_iter().chain(OUTPUT).chain(UNITS.map(|(kind, _)| kind)).collect();
    let quantity = prop_oneof![2 => Just(0_u64), 1 => 1_u64..500, 1 => 0_u64..90_000];
    let target = prop::option::of((0..EDGES.len(), 0_u64..2).prop_map(|(edge, beyond)| EDGES[edge] + beyond));
    (prop::collection::vec(quantity, kinds.len()), target).prop_map(move |(quantities, target)| {
        let mut used: BTreeMap<Kind, u64> = kinds.iter().copied().zip(quantities).collect();
        let input: u64 = INPUT.iter().map(|kind| used[kind]).sum();
        *used.entry(Kind::Input).or_default() += target.unwrap_or(0).saturating_sub(input);
        used.insert(Kind::Request, 1);
        used
    })
}

/// The kind whose price holds where one has none.
fn parent(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Reasoning | Kind::AudioOutput | Kind::ImageOutput | Kind::VideoOutput => Some(Kind::Output),
        Kind::CacheWrite1h => Some(Kind::CacheWrite),
        Kind::AudioCacheRead | Kind::ImageCacheRead => Some(Kind::CacheRead),
        Kind::CacheRead | Kind::CacheWrite | Kind::AudioInput | Kind::ImageInput | Kind::VideoInput => {
            Some(Kind::Input)
        }
        _ => None,
    }
}

impl Listed {
    /// The price that stands here for the kind itself, that of the highest context tier first.
    fn own(&self, kind: Kind, input: u64) -> Option<i128> {
        let reached = self.above.iter().rev().filter(|(over, _)| input > *over).map(|(_, prices)| prices);
        reached.chain([&self.tokens, &self.units]).find_map(|prices| prices.get(&kind).copied())
    }
}

/// The price of a unit in trillionths.
fn price(base: &Listed, tier: &Tier, kind: Kind, input: u64) -> Option<i128> {
    let own = match tier {
        Tier::Own(own) => own.own(kind, input),
        Tier::None | Tier::Half => None,
    };
    let Some(found) = own.or_else(|| base.own(kind, input)) else {
        return price(base, tier, parent(kind)?, input);
    };
    let halved = matches!(tier, Tier::Half) && kind != Kind::Search;
    Some(if halved { found / 2 } else { found })
}

/// The cost in trillionths, and the kinds without a price.
fn reckoned(base: &Listed, tier: &Tier, used: &BTreeMap<Kind, u64>) -> (i128, Vec<Kind>) {
    let input = INPUT.iter().map(|kind| used[kind]).sum();
    let counts_tokens = INPUT.iter().chain(&OUTPUT).any(|kind| used[kind] > 0);
    let (mut cost, mut unpriced) = (0, Vec::new());
    for (kind, quantity) in used.iter().filter(|(_, quantity)| **quantity > 0) {
        let is_free =
            *kind == Kind::Request || counts_tokens && matches!(kind, Kind::Image | Kind::Second | Kind::Character);
        match price(base, tier, *kind, input) {
            Some(price) => cost += price * i128::from(*quantity),
            None if is_free => {}
            None => unpriced.push(*kind),
        }
    }
    (cost, unpriced)
}

fn of_million(prices: &PriceList) -> BTreeMap<TokenKind, decimal::PerMillion> {
    let price = |price: i128| decimal::PerMillion::of(Pico(price * 1_000_000)).expect("a price");
    prices.iter().map(|(kind, of)| (TokenKind(*kind), price(*of))).collect()
}

fn prices(listed: &Listed) -> Prices {
    let unit = |kind| listed.units.get(&kind).map(|price| decimal::PerUnit::of(Pico(*price)).expect("a price"));
    let above = |(over, prices): &(u64, PriceList)| Above { input_tokens_over: *over, per_million: of_million(prices) };
    Prices {
        per_million: of_million(&listed.tokens),
        per_request: unit(Kind::Request),
        per_image: unit(Kind::Image),
        per_search: unit(Kind::Search),
        per_page: unit(Kind::Page),
        per_second: unit(Kind::Second),
        per_character: unit(Kind::Character),
        above: listed.above.iter().map(above).collect(),
    }
}

fn book(base: &Listed, tier: &Tier) -> Book {
    let mut entry = Entry::named(Some("p"), "m");
    entry.set_prices(prices(base));
    let tier = match tier {
        Tier::None => None,
        Tier::Half => decimal::Factor::parse("0.5").ok().map(TierPrices::Factor),
        Tier::Own(own) => Some(TierPrices::Prices(Box::new(prices(own)))),
    };
    entry.service_tier.extend(tier.map(|prices| ("flex".to_owned(), prices)));
    Book::new(vec![Layer { name: "generated".to_owned(), entries: vec![entry] }]).expect("a good book")
}

/// The event of a provider that counts every part apart, and wholes that hold them.
fn event(used: &BTreeMap<Kind, u64>, tier: &Tier) -> UsageData<'static> {
    let sum = |kinds: &[Kind]| kinds.iter().map(|kind| used[kind]).sum::<u64>();
    let mut details: BTreeMap<String, u64> =
        UNITS.iter().map(|(kind, name)| ((*name).to_owned(), used[kind])).collect();
    details.extend(
        [
            ("ephemeral_1h_input_tokens", used[&Kind::CacheWrite1h]),
            ("audio_input_tokens", sum(&[Kind::AudioInput, Kind::AudioCacheRead])),
            ("audio_cache_read_tokens", used[&Kind::AudioCacheRead]),
            ("image_input_tokens", sum(&[Kind::ImageInput, Kind::ImageCacheRead])),
            ("image_cache_read_tokens", used[&Kind::ImageCacheRead]),
            ("video_input_tokens", used[&Kind::VideoInput]),
            ("audio_output_tokens", used[&Kind::AudioOutput]),
            ("image_output_tokens", used[&Kind::ImageOutput]),
            ("video_output_tokens", used[&Kind::VideoOutput]),
        ]
        .map(|(name, count)| (name.to_owned(), count)),
    );
    UsageData {
        provider: Some("p".into()),
        response_model: Some("m".into()),
        service_tier: (!matches!(tier, Tier::None)).then(|| Text::from("Flex")),
        status: 200,
        outcome: Outcome::Ok,
        usage: Usage {
            status: UsageStatus::Complete,
            input_tokens: Some(sum(&INPUT)),
            output_tokens: Some(sum(&OUTPUT)),
            cache_read_tokens: Some(sum(&[Kind::CacheRead, Kind::AudioCacheRead, Kind::ImageCacheRead])),
            cache_write_tokens: Some(sum(&[Kind::CacheWrite, Kind::CacheWrite1h])),
            reasoning_tokens: Some(used[&Kind::Reasoning]),
            details,
            ..Usage::default()
        },
        ..UsageData::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_part_costs_its_own_price_in_every_tier_and_at_every_edge(base in listed(), tier in tier(), used in used()) {
        let book = book(&base, &tier);
        let now = Timestamp::from_secs(1_800_000_000);
        let data = event(&used, &tier);
        let got = book.cost(now, &data);
        let (cost, unpriced) = reckoned(&base, &tier, &used);
        let lacking: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| got.unpriced.contains(*kind)).collect();
        prop_assert_eq!((got.cost, lacking), (Pico(cost), unpriced));
        let again = book.cost_of(now, "p", "m", &got.tariff, &got.quantities);
        prop_assert_eq!((again.cost, again.unpriced), (got.cost, got.unpriced), "pricing the sums again");
    }

    #[test]
    fn a_tier_that_no_entry_names_leaves_everything_without_a_price(base in listed(), used in used()) {
        let data = UsageData { service_tier: Some(Text::from("scale")), ..event(&used, &Tier::None) };
        let got = book(&base, &Tier::Half).cost(Timestamp::from_secs(1_800_000_000), &data);
        prop_assert_eq!(got.cost, Pico::ZERO);
        let tokens = INPUT.iter().chain(&OUTPUT).filter(|kind| used[kind] > 0);
        for kind in tokens {
            prop_assert!(got.unpriced.contains(*kind), "{:?}", kind);
        }
    }
}
