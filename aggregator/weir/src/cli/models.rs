//! `weir models`.
use weir_contract::catalogue::ModelFigures;
use weir_filter::config::routing::Model;

use super::EXIT_DONE;
use super::access::{self, Access};
use super::render::{json, say, table};
use crate::config::Config;
use crate::figures;
use crate::models::{ModelView, ModelsView, decimal};

pub(super) fn run(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let view: ModelsView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/models", &()).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                let now = access::clock().now();
                figures::reread(&store.home, store.ledger.recent(), store.ledger.hasher(), now)?;
                ModelsView::of(config.catalogue.as_ref(), store.ledger.recent().figures(now), Vec::new())
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print(&view);
    }
    Ok(EXIT_DONE)
}

fn print(view: &ModelsView) {
    if view.models.is_empty() {
        say!(
            "no catalogue: `models` and `routing` of the configuration are empty, and nothing was asked for within 15 minutes"
        );
        return;
    }
    let mut rows = table(&[
        "model",
        "provider",
        "region",
        "#input",
        "#output",
        "class",
        "#requests",
        "#errors",
        "#p50",
        "#p99",
        "#first p50",
        "#first p99",
    ]);
    for model in &view.models {
        let first = first_columns(model);
        let mut figures = model.figures.iter().map(figures_of);
        rows.add_row(first.into_iter().chain(figures.next().unwrap_or_default()));
        for others in figures {
            rows.add_row(std::iter::repeat_n(String::new(), 5).chain(others));
        }
    }
    say!("{rows}");
    let currency = view.currency.as_deref().unwrap_or("the currency");
    say!(
        "The last 15 minutes, in milliseconds; prices in {currency} for a million tokens. With fewer than 20 answers no latency."
    );
    let Some(version) = &view.version else { return };
    say!("catalogue {version}");
    for gateway in &view.gateways {
        let state = match (gateway.version == *version, gateway.refused) {
            (_, true) => "cannot use it and goes on with the one before; its log says why",
            (true, false) => "current",
            (false, false) => "an older one",
        };
        say!("gateway {}: {} at {}, {state}", gateway.gateway, gateway.version, gateway.at);
    }
}

fn first_columns(model: &ModelView) -> [String; 5] {
    let price = |of: fn(&Model) -> u64| model.catalogue.as_ref().map(|model| decimal(of(model))).unwrap_or_default();
    [
        model.name.clone(),
        model.catalogue.as_ref().map_or_else(|| "(not in the catalogue)".to_owned(), |model| model.provider.clone()),
        model.region.clone().unwrap_or_default(),
        price(|model| model.price.input),
        price(|model| model.price.output),
    ]
}

fn figures_of(row: &ModelFigures) -> [String; 7] {
    let ms = |ms: Option<u64>| ms.map(|ms| ms.to_string()).unwrap_or_default();
    let (requests, errors) = (row.requests.to_string(), row.errors.to_string());
    let latencies = [row.p50_ms, row.p99_ms, row.first_token_p50_ms, row.first_token_p99_ms].map(ms);
    let [p50, p99, first_p50, first_p99] = latencies;
    [row.class.as_str().to_owned(), requests, errors, p50, p99, first_p50, first_p99]
}
