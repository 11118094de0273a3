//! The shape of a price book's entries in YAML and JSON.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use weir_contract::Timestamp;
use weir_ledger::amount::Currency;
use weir_ledger::cost::Kind;

use super::decimal::{Factor, PerMillion, PerUnit};

/// A file of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesFile {
    /// Where the prices come from; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The day on which they were taken from there; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What a provider charges for a model, or for all models that a pattern names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The provider as events name it: `openai`, `azure_openai`, `anthropic`, `google`, `bedrock`, … Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model as the provider answers with; the one sent to it where it names none. `*` stands for any text; an exact name goes
    /// first, then the longest pattern.
    pub model: String,
    /// The first hour in which these prices apply (UTC). Absent: always. A later entry of the same model follows an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Timestamp>,
    /// The currency. Absent: `USD`. Amounts of different currencies are never added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub currency: Option<Currency>,
    /// Prices of a million tokens, by kind. A kind without a price costs as its parent: `reasoning`, `audio_output`, `image_output` and
    /// `video_output` as `output`; `cache_write_1h` as `cache_write`; `audio_cache_read` and `image_cache_read` as `cache_read`; the
    /// other kinds of input as `input`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_million: BTreeMap<TokenKind, PerMillion>,
    /// The price of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<PerUnit>,
    /// The price of an image made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image: Option<PerUnit>,
    /// The price of a search, of the web or of documents for a ranking. Factors do not apply to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_search: Option<PerUnit>,
    /// The price of a page read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_page: Option<PerUnit>,
    /// The price of a second of audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<PerUnit>,
    /// The price of a character spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_character: Option<PerUnit>,
    /// Prices of requests with a long input, by rising `input_tokens_over`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Above>,
    /// Prices of service tiers, by the name the provider answers with: a factor (`flex: 0.5`), or prices of their own. What the tier
    /// does not name costs as without it. A tier that is not listed has no price.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_tier: BTreeMap<String, TierPrices>,
    /// Prices of batches: a factor, or prices of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<TierPrices>,
}

/// Prices by unit: those of [`Entry`], for a tier of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prices {
    /// Prices of a million tokens, by kind. A kind without a price costs as its parent: `reasoning`, `audio_output`, `image_output` and
    /// `video_output` as `output`; `cache_write_1h` as `cache_write`; `audio_cache_read` and `image_cache_read` as `cache_read`; the
    /// other kinds of input as `input`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_million: BTreeMap<TokenKind, PerMillion>,
    /// The price of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<PerUnit>,
    /// The price of an image made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image: Option<PerUnit>,
    /// The price of a search, of the web or of documents for a ranking. Factors do not apply to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_search: Option<PerUnit>,
    /// The price of a page read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_page: Option<PerUnit>,
    /// The price of a second of audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<PerUnit>,
    /// The price of a character spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_character: Option<PerUnit>,
    /// Prices of requests with a long input, by rising `input_tokens_over`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Above>,
}

/// Prices of requests whose input exceeds a number of tokens. They apply to the whole request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Above {
    /// The number of input tokens, cached ones included, that the request must exceed.
    pub input_tokens_over: u64,
    /// Prices of a million tokens. Kinds that are not named cost as below this number.
    pub per_million: BTreeMap<TokenKind, PerMillion>,
}

/// A kind of token that has a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKind(pub Kind);

impl TokenKind {
    fn names() -> Vec<&'static str> {
        Kind::ALL.into_iter().filter(|kind| kind.is_token()).map(Kind::as_str).collect()
    }
}

impl Serialize for TokenKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for TokenKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = weir_contract::Text::deserialize(deserializer)?;
        let known = Kind::ALL.into_iter().find(|kind| kind.is_token() && kind.as_str() == &*name);
        known.map(TokenKind).ok_or_else(|| {
            let known = TokenKind::names().join(", ");
            de::Error::custom(format_args!("{:?} is no kind of token that has a price; known are {known}", &*name))
        })
    }
}

impl JsonSchema for TokenKind {
    fn schema_name() -> Cow<'static, str> {
        "TokenKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A pattern, since an enumeration of a map's keys would become fields without descriptions.
        json_schema!({ "type": "string", "pattern": format!("^({})$", TokenKind::names().join("|")) })
    }
}

/// The prices of a service tier or of batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierPrices {
    /// All prices times this factor.
    Factor(Factor),
    /// Prices of their own.
    Prices(Box<Prices>),
}

impl Serialize for TierPrices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            TierPrices::Factor(factor) => factor.serialize(serializer),
            TierPrices::Prices(prices) => prices.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TierPrices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactorOrPrices)
    }
}

struct FactorOrPrices;

impl<'de> Visitor<'de> for FactorOrPrices {
    type Value = TierPrices;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a factor in quotes such as \"0.5\", or prices such as {per_million: {input: 1}}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TierPrices, E> {
        Factor::parse(text).map(TierPrices::Factor).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<TierPrices, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<TierPrices, E> {
        self.visit_str(&number.to_string())
    }

    /// The shortest decimal that reads back as this number is the one that was written: factors have few digits.
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<TierPrices, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TierPrices, A::Error> {
        let mut prices = Prices::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "per_million" => prices.per_million = map.next_value()?,
                "per_request" => prices.per_request = map.next_value()?,
                "per_image" => prices.per_image = map.next_value()?,
                "per_search" => prices.per_search = map.next_value()?,
                "per_page" => prices.per_page = map.next_value()?,
                "per_second" => prices.per_second = map.next_value()?,
                "per_character" => prices.per_character = map.next_value()?,
                "above" => prices.above = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(de::Error::unknown_field(&name, &PRICE_FIELDS));
                }
            }
        }
        Ok(TierPrices::Prices(Box::new(prices)))
    }
}

/// The fields of [`Prices`].
const PRICE_FIELDS: [&str; 8] =
    ["per_million", "per_request", "per_image", "per_search", "per_page", "per_second", "per_character", "above"];

impl JsonSchema for TierPrices {
    fn schema_name() -> Cow<'static, str> {
        "TierPrices".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (factor, prices) = (generator.subschema_for::<Factor>(), generator.subschema_for::<Prices>());
        json_schema!({
            "description": "The prices of a service tier or of batches: a factor such as `0.5`, or prices of their own: `per_million`, \
                            `per_request`, `per_image`, `per_search`, `per_page`, `per_second`, `per_character` and `above`, each as in the \
                            entry. What they do not name costs as without the tier. A factor does not apply to searches.",
            "anyOf": [factor, prices],
        })
    }
}

impl Entry {
    /// An entry without prices.
    pub fn named(provider: Option<&str>, model: &str) -> Self {
        Entry {
            provider: provider.map(str::to_owned),
            model: model.to_owned(),
            effective_from: None,
            currency: None,
            per_million: BTreeMap::new(),
            per_request: None,
            per_image: None,
            per_search: None,
            per_page: None,
            per_second: None,
            per_character: None,
            above: Vec::new(),
            service_tier: BTreeMap::new(),
            batch: None,
        }
    }

    /// Its prices, but for those of tiers and batches.
    pub fn prices(&self) -> Prices {
        Prices {
            per_million: self.per_million.clone(),
            per_request: self.per_request,
            per_image: self.per_image,
            per_search: self.per_search,
            per_page: self.per_page,
            per_second: self.per_second,
            per_character: self.per_character,
            above: self.above.clone(),
        }
    }

    /// Sets its prices, but for those of tiers and batches.
    pub fn set_prices(&mut self, prices: Prices) {
        let Prices { per_million, per_request, per_image, per_search, per_page, per_second, per_character, above } =
            prices;
        (self.per_million, self.above) = (per_million, above);
        (self.per_request, self.per_image, self.per_search) = (per_request, per_image, per_search);
        (self.per_page, self.per_second, self.per_character) = (per_page, per_second, per_character);
    }

    /// The currency of its prices.
    pub fn currency(&self) -> Currency {
        self.currency.unwrap_or(Currency::USD)
    }
}

impl Prices {
    /// The price of one unit that is not a token.
    pub fn unit(&self, kind: Kind) -> Option<PerUnit> {
        match kind {
            Kind::Request => self.per_request,
            Kind::Image => self.per_image,
            Kind::Search => self.per_search,
            Kind::Page => self.per_page,
            Kind::Second => self.per_second,
            Kind::Character => self.per_character,
            _ => None,
        }
    }

    /// Returns true if nothing has a price.
    pub fn is_empty(&self) -> bool {
        *self == Prices::default()
    }
}
