//! What the dashboard lists and follows: the latest requests page by page, levels and refusals, costs against the weeks before.
use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use weir_clock::ManualClock;
use weir_contract::{Timestamp, UsageData};

use super::browser::Browser;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN};
use super::viewing::{busy, token};

const PRICES: &str = "prices: {shipped: false, entries: [{model: m, per_request: 1, per_million: {input: 100000}}]}\n";

async fn send(server: &Running, body: Vec<u8>) {
    assert_eq!(server.post(body).await.status(), StatusCode::ACCEPTED);
}

/// The ids of the events that a page of requests lists, in its order.
fn listed(page: &str) -> Vec<String> {
    let ids = page.split("href=\"/ui/requests?event=").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect()
}

/// The address of a link of a page, below `/ui`.
fn link(page: &str, words: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!(">{words}"))?;
    let (_, href) = before.rsplit_once("href=\"/ui")?;
    Some(href.split('"').next().unwrap_or_default().replace("&amp;", "&"))
}

#[tokio::test]
async fn requests_are_listed_the_latest_first_and_each_once_however_many_pages_they_fill() {
    let server = Running::start(noon(), "").await;
    let (acme, globex) = (Worker::new(1, noon()), Worker { tenant: "globex", ..Worker::new(2, noon()) });
    for body in 0..25_u64 {
        let numbers = body * 10 + 1..=body * 10 + 10;
        let events: Vec<_> = numbers.flat_map(|number| [acme.usage(number), globex.usage(number)]).collect();
        send(&server, batch(&events)).await;
    }
    // A repeat is no request of its own.
    send(&server, batch(&[acme.usage(7)])).await;
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let (mut path, mut found) = (Some("/requests?tenant=acme".to_owned()), Vec::new());
    while let Some(asked) = path {
        let page = browser.page(&asked).await;
        let here = listed(&page);
        assert!(here.len() <= 100 && page.contains("Received since"), "{asked}: {}", here.len());
        found.extend(here);
        path = link(&page, "Further back");
    }
    let all: Vec<String> = (1..=250).rev().map(|number| acme.id(number).to_string()).collect();
    assert_eq!(found, all);
    let both = listed(&browser.page("/requests").await);
    let last = [globex.id(250), acme.id(250), globex.id(249)].map(|id| id.to_string());
    assert_eq!((both.len(), &both[..3]), (100, &last[..]));
    for wrong in ["before=x", "before=0.1", "from=yesterday"] {
        assert_eq!(browser.get(&format!("/requests?{wrong}")).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(listed(&browser.page("/requests?before=99999999999.5").await).len(), 100, "behind the end is the end");
}

#[tokio::test]
async fn a_tenant_that_was_idle_for_long_is_found_by_its_last_hour() {
    let clock = ManualClock::at(noon());
    let server = Running::start_by(tempfile::tempdir().expect("a directory"), clock.clone(), "").await;
    let acme = Worker::new(1, noon());
    send(&server, batch(&[acme.usage(1)])).await;
    clock.advance(Duration::from_secs(5 * 3_600));
    let later = noon().plus_millis(5 * 3_600_000);
    let globex = Worker { tenant: "globex", ..Worker::new(2, later) };
    // Blanks between events count as the log's bytes, too: more of them than a page looks at.
    for number in 1..=30 {
        let mut body = batch(&[globex.usage(number)]);
        body.splice(1..1, vec![b' '; 1_000_000]);
        send(&server, body).await;
    }
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let page = browser.page("/requests?tenant=acme").await;
    assert!(listed(&page).is_empty() && page.contains("No request fits in the part"), "{page}");
    let last = link(&page, "To the last hour before with requests of acme: 2026-11-21T12:00:00.000Z").expect("a link");
    assert_eq!(listed(&browser.page(&last).await), [acme.id(1).to_string()]);
    let further = link(&page, "Further back").expect("a link");
    assert_eq!(listed(&browser.page(&further).await), [acme.id(1).to_string()], "the long way leads there as well");
    let of_globex = browser.page("/requests?tenant=globex").await;
    assert!(!of_globex.contains("To the last hour") && link(&of_globex, "Further back").is_some());
}

#[tokio::test]
async fn every_refusal_is_told_with_its_status_and_what_clients_hear() {
    let server = busy("").await;
    let worker = Worker::new(3, noon());
    let refusals = [("rate_limited", 17), ("budget_exceeded", 5), ("invalid_credential", 3), ("suspended_tenant", 2)];
    let events: Vec<_> = (1..).zip(refusals).map(|(number, (why, count))| worker.refused(number, why, count)).collect();
    send(&server, batch(&events)).await;
    let globex = Worker { tenant: "globex", ..Worker::new(4, noon()) };
    send(&server, batch(&[globex.refused(1, "rate_limited", 4), globex.refused(2, "of_another_version", 1)])).await;
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let row = |page: &str, reason: &str| -> String {
        let by_reason = page.split("The most frequent, by tenant").next().unwrap_or_default();
        let (_, rest) = by_reason.split_once(&format!("<code>{reason}</code>")).expect(reason);
        rest.split("</tr>").next().unwrap_or_default().to_owned()
    };
    let page = browser.page("/limits").await;
    for (reason, status, count) in [
        ("rate_limited", "429", 21),
        ("budget_exceeded", "402, or 429 where the plan says so", 5),
        ("invalid_credential", "401", 3),
        ("suspended_tenant", "403", 2),
    ] {
        let row = row(&page, reason);
        assert!(row.contains(&format!(">{status}<")) && row.contains(&format!("value=\"{count}\"")), "{reason}: {row}");
    }
    assert!(row(&page, "suspended_tenant").contains("The account is suspended."));
    assert!(row(&page, "of_another_version").contains("value=\"1\""));
    let own = browser.page("/limits?tenant=globex").await;
    assert!(row(&own, "rate_limited").contains("value=\"4\"") && !own.contains("suspended_tenant"), "{own}");
}

fn lease(gateway: &str) -> serde_json::Value {
    let definition = json!({"capacity": 100, "refill": 100, "period_ms": 60_000});
    let key = json!({"owner": {"tenant": "acme"}, "limit": "requests"});
    let lease = json!({"key": key, "definition": definition, "lease": 1, "want": 100, "largest": 1});
    json!({"gateway": gateway, "sent_ms": 1, "draws": true, "leases": [lease]})
}

#[tokio::test]
async fn levels_and_leases_are_followed_while_the_session_lasts() {
    let server = busy("").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let page = browser.page("/limits?tenant=acme").await;
    assert!(page.contains("data-follow=\"/ui/limits/live?tenant=acme&amp;pool=\""), "{page}");
    let mut response = browser.open("/limits/live?tenant=acme&pool=").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    server.ask("/v1/leases", &lease("gw-east")).await;
    let told = async {
        let mut told = String::new();
        while !told.contains("gw-east") {
            let piece = response.chunk().await.expect("an answer").expect("a piece");
            told.push_str(&String::from_utf8_lossy(&piece));
        }
        told
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await.expect("in time");
    assert!(told.starts_with("data: {\"html\":") && told.contains("holds a lease"), "{told}");
    let page = browser.page("/limits").await;
    assert!(page.contains("gw-east") && page.contains("requests"), "and without the script: {page}");
    assert_eq!(browser.act("/sign-out", &[]).await.location(), "/ui/sign-in");
    let rest = async { while response.chunk().await.is_ok_and(|piece| piece.is_some()) {} };
    tokio::time::timeout(Duration::from_secs(20), rest).await.expect("the stream ends with the session");
}

/// Requests of the feature `search`, some days before noon, each of which costs 1 and a tenth for each input token.
async fn search(server: &Running, days: u8, count: u64, input: u64) {
    let at = Timestamp::from_millis(noon().as_millis() - u64::from(days) * 24 * 3_600_000);
    let worker = Worker::new(days + 1, at);
    let event = |number| {
        worker.usage_with(number, |data| {
            data.response_model = Some("m".into());
            data.feature = Some("search".into());
            data.usage.input_tokens = Some(input);
        })
    };
    send(server, batch(&(1..=count).map(event).collect::<Vec<_>>())).await;
}

#[tokio::test]
async fn what_a_request_costs_is_compared_with_the_weeks_before_and_names_the_last_deploy() {
    let server = Running::start(noon(), PRICES).await;
    search(&server, 30, 2, 10).await;
    search(&server, 10, 2, 10).await;
    search(&server, 6, 1, 20).await;
    search(&server, 0, 3, 20).await;
    let mark = json!({"name": "search v2", "feature": "sea*", "at": "2026-11-15T08:00:00Z"});
    server.ask("/v1/deploys", &mark).await;
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let page = browser.page("/models").await;
    let table = |by: &str| -> String {
        let (_, rest) = page.split_once(&format!("<caption>Cost of requests by {by}</caption>")).expect("a table");
        rest.split("</table>").next().unwrap_or_default().to_owned()
    };
    for (by, value) in [("model", ">m<"), ("feature", ">search<")] {
        let table = table(by);
        // Of ten tokens before, a request cost 2; of twenty it costs 3.
        assert!(table.contains(value) && table.contains("value=\"2\"") && table.contains("value=\"3\""), "{table}");
        assert!(table.contains("status bad\">+50.00 %<"), "{by}: {table}");
        assert!(table.contains("-10.00 %"), "of fifteen tokens and of 25, so that one costs less: {table}");
    }
    let deploy = "<td>search v2</td><td data-sort=\"1794729600000\"><time datetime=\"2026-11-15T08:00:00.000Z\">";
    assert!(table("feature").contains(deploy) && !table("model").contains(deploy), "{page}");
    assert!(page.contains("Deploys since then") && page.contains("sea*"), "{page}");
}

#[tokio::test]
async fn pages_of_requests_lose_nothing_where_a_page_ends_within_a_record() {
    let server = Running::start(noon(), "").await;
    let acme = Worker::new(1, noon());
    send(&server, batch(&(1..=150).map(|number| acme.usage(number)).collect::<Vec<_>>())).await;
    send(&server, batch(&(151..=400).map(|number| acme.usage(number)).collect::<Vec<_>>())).await;
    server.json("/v1/ledger").await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    let (mut path, mut pages) = (Some("/requests".to_owned()), Vec::new());
    while let Some(asked) = path {
        let page = browser.page(&asked).await;
        pages.push(listed(&page));
        path = link(&page, "Further back");
    }
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [100; 4]);
    assert_eq!(pages.concat().into_iter().collect::<BTreeSet<_>>().len(), 400);
}

/// A tenant of a file, with a price that includes units, and receivers of its own and of others.
const OF_A_FILE: &str = "tenants: tenants.yaml
price_plans:
- {name: pro, currency: USD, plans: [starter], base_fee: 30, charges: [{meter: input_tokens, included: 100, per_unit: 0.01}]}
alerts:
  receivers:
  - {name: own, tenant: acme, email: {server: 'smtp+plain://127.0.0.1:2525', from: weir@example.com, to: [ops@acme.example]}}
  - {name: other, tenant: globex, email: {server: 'smtp+plain://127.0.0.1:2525', from: weir@example.com, to: [ops@globex.example]}}
  - {name: house, email: {server: 'smtp+plain://127.0.0.1:2525', from: weir@example.com, to: [ops@house.example]}}
";

#[tokio::test]
async fn a_tenant_of_a_file_sees_what_is_included_and_left_who_is_told_and_takes_all_of_it_as_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let tenants = "tenants: [{id: acme, plan: starter}, {id: globex, plan: starter}]\n";
    std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
    let server = Running::start_in(dir, noon(), OF_A_FILE).await;
    let (acme, globex) = (Worker::new(1, noon()), Worker { tenant: "globex", ..Worker::new(2, noon()) });
    let of_search = |data: &mut UsageData<'_>| {
        (data.feature, data.credential_id) = (Some("=search".into()), Some("key-1".into()));
    };
    let events: Vec<_> = (1..=9).map(|number| acme.usage_with(number, of_search)).collect();
    send(&server, batch(&events)).await;
    send(&server, batch(&[globex.usage(1)])).await;
    let own = token(&server, "acme-own", "Alan", json!({"tenant": "acme"})).await;
    let browser = Browser::sign_in(&server, &own).await;
    let page = browser.page("/own").await;
    assert!(
        page.contains("ops@acme.example") && page.contains("the operator") && page.contains("Left of that"),
        "{page}"
    );
    assert!(!page.contains("globex") && !page.contains("house") && !page.contains("Send the code"), "{page}");
    let files = [
        ("usage.csv", "\"2026-11-21\",\"9\",\"90\",\"45\""),
        ("units.csv", "\"input_tokens\",\"90\",\"90\",\"100\",\"10\""),
        ("features.csv", "\"'=search\",\"9\",\"90\",\"45\""),
        ("keys.csv", "\"key-1\",\"9\",\"90\",\"45\""),
        ("bill.csv", "\"USD\",\"included\",\"input_tokens\",\"pro\",\"90\",\"0\",\"0\""),
    ];
    for (name, line) in files {
        assert!(page.contains(&format!("href=\"/ui/own/{name}\"")), "{name}");
        let file = browser.get(&format!("/own/{name}")).await;
        let saved = format!("attachment; filename=\"{}-acme-2026-11-01.csv\"", name.trim_end_matches(".csv"));
        assert_eq!(file.headers["content-disposition"], saved);
        assert!(file.text.lines().any(|one| one == line), "{name}: {}", file.text);
        assert!(!file.text.contains("globex"), "{name}");
    }
    assert_eq!(browser.get("/own/secrets.csv").await.status, StatusCode::NOT_FOUND);
    assert!(Browser::fresh(&server).get("/own/bill.csv").await.asks_to_sign_in());
}
