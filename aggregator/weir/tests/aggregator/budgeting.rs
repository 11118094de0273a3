//! Budgets from the outside: the stages that gateways learn, raises, history, and a configuration that changes.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_clock::ManualClock;
use weir_contract::directory::{Page, Tenant};
use weir_contract::hard::{HardBudget, HardMeasure};
use weir_contract::stage::{BudgetStage, KNOWS_HEADER, KNOWS_STAGES, Stage};

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN};

const BUDGETS: &str =
    "tenants: tenants.yaml\nbudgets:\n- {name: daily, of: requests, amount: 10, period: day, plans: [free]}\n";
const TENANTS: &str = "tenants: [{id: acme, plan: free}, {id: globex, plan: paid}]";
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Long enough for a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(clock: std::sync::Arc<ManualClock>) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    Running::start_by(dir, clock, BUDGETS).await
}

/// Requests of acme, numbered from `first` on.
async fn send(server: &Running, first: u64, count: u64) {
    let worker = Worker::new(1, noon());
    let events: Vec<Vec<u8>> = (first..first + count).map(|number| worker.usage(number)).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
}

async fn page(server: &Running, query: &str, knows: &str) -> Page {
    let request = server.http.get(format!("{}/v1/directory{query}", server.url)).bearer_auth(TOKEN);
    request.header(KNOWS_HEADER, knows).send().await.expect("an answer").json().await.expect("a page")
}

/// The stages of acme, once there are `count`.
async fn stages(server: &Running, count: usize) -> Vec<BudgetStage> {
    let waiting = async {
        loop {
            let page = page(server, "", KNOWS_STAGES).await;
            let acme = page.tenants.into_iter().find(|tenant| tenant.id.as_str() == "acme").expect("acme");
            if acme.stages.len() == count {
                return acme.stages;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("stages")
}

#[tokio::test]
async fn a_gateway_that_waits_learns_of_a_stage_and_an_older_one_does_not() {
    let server = start(ManualClock::at(noon())).await;
    let before = page(&server, "", KNOWS_STAGES).await;
    let query = format!("?since={}&wait=30s", before.version);
    let (told, ()) = tokio::join!(page(&server, &query, KNOWS_STAGES), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        send(&server, 1, 9).await;
    });
    assert_eq!(told.tenants.len(), 1, "the difference names acme only");
    let stage = &told.tenants[0].stages[0];
    assert_eq!((&*stage.budget, stage.stage, stage.used_permille), ("daily", Stage::Degrade, 900));
    assert_eq!(stage.ends.map(|ends| ends.to_string()).as_deref(), Some("2026-11-22T00:00:00.000Z"));
    assert!(page(&server, "", "").await.tenants.iter().all(|tenant| tenant.stages.is_empty()));
}

#[tokio::test]
async fn a_stage_leaves_the_directory_with_its_period_and_outlives_a_restart() {
    let clock = ManualClock::at(noon());
    let server = start(clock.clone()).await;
    send(&server, 1, 10).await;
    assert_eq!(stages(&server, 1).await[0].stage, Stage::Exceeded);
    let server = Running::start_by(server.stop().await, clock.clone(), BUDGETS).await;
    assert_eq!(stages(&server, 1).await[0].stage, Stage::Exceeded);
    clock.advance(Duration::from_millis(DAY_MS));
    stages(&server, 0).await;
}

#[tokio::test]
async fn a_raise_frees_a_tenant_at_once_and_stands_in_the_audit() {
    let server = start(ManualClock::at(noon())).await;
    send(&server, 1, 10).await;
    stages(&server, 1).await;
    let raise =
        ["budgets", "raise", "daily", "acme", "--to", "100", "--until", "2026-11-22", "--why", "a launch", "--json"];
    let raised = printed(&run(server.dir.path(), &raise).await);
    assert_eq!((raised["budget"].as_str(), raised["amount"].as_str()), (Some("daily"), Some("100")));
    stages(&server, 0).await;
    let shown = server.json("/v1/budgets?tenant=acme").await;
    assert_eq!(shown["budgets"][0]["raise"]["why"], "a launch");
    assert_eq!((&shown["evaluated_through"], &shown["lag_ms"]), (&json!(1), &json!(0)));
    let audit = server.json("/v1/audit").await;
    assert_eq!(audit[0]["act"], "budgets.raise");
    let automatic: Vec<_> = audit.as_array().expect("rows").iter().filter(|row| row["who"] == "weir").collect();
    assert!(automatic.iter().any(|row| text(row, "detail").contains("exceeded to ok")), "{automatic:?}");
    assert!(automatic.iter().any(|row| text(row, "detail").ends_with("usage was counted")), "{automatic:?}");
    let resumed = server.ask("/v1/budgets/resume", &json!({"budget": "daily", "tenant": "acme"})).await;
    assert_eq!(resumed, json!({"resumed": true}));
    assert_eq!(stages(&server, 1).await[0].stage, Stage::Exceeded);
    let history = server.json("/v1/budgets/history?subject=acme").await;
    let steps: Vec<_> =
        history.as_array().expect("rows").iter().map(|row| row["stage"].as_str().expect("a stage")).collect();
    assert_eq!(steps, ["exceeded", "ok", "exceeded"], "the latest first");
    assert!(text(&history[1], "why").contains("a launch") && history[1]["cause"] == "person", "{history}");
    let shown = run(server.dir.path(), &["budgets", "history"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("a launch") && shown.contains("usage was counted"), "{shown}");
}

fn text<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().unwrap_or_default()
}

/// What gateways are told of acme, once it fits.
async fn told(server: &Running, fits: impl Fn(&Tenant) -> bool) -> Tenant {
    let waiting = async {
        loop {
            let page = page(server, "", "stages,further_stages").await;
            let acme = page.tenants.into_iter().find(|tenant| tenant.id.as_str() == "acme").expect("acme");
            if fits(&acme) {
                return acme;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("told")
}

#[tokio::test]
async fn a_budget_of_what_a_tenant_pays_equals_its_bill_so_far() {
    const PAID: &str = "tenants: tenants.yaml
price_plans:
- {name: p, currency: USD, plans: [free], base_fee: 30, per_request: 1}
budgets:
- {name: bill, of: revenue, amount: 50, period: billing_period, plans: [free]}
- {name: spent, of: revenue, amount: 10, period: day, plans: [free]}
";
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    // What is used within an hour is in the bill as soon as the hour has begun.
    let server = Running::start_by(dir, ManualClock::at(noon().plus_millis(60_000)), PAID).await;
    send(&server, 1, 9).await;
    let told = told(&server, |acme| !acme.stages.is_empty()).await;
    assert_eq!(
        (&*told.stages[0].budget, told.stages[0].stage),
        ("spent", Stage::Exceeded),
        "a fee of a day and 9 requests"
    );
    let shown = server.json("/v1/budgets?tenant=acme").await;
    let bill = server.json("/v1/bill?tenant=acme").await;
    assert_eq!(shown["budgets"][0]["used"], bill["bills"][0]["total"]);
    assert_ne!(bill["bills"][0]["total"], "0");
}

#[tokio::test]
async fn users_and_groups_of_keys_are_told_apart_and_forgotten() {
    const GROUPS: &str = "tenants: tenants.yaml
budgets:
- {name: person, of: requests, amount: 2, period: day, per: user}
- {name: team, of: requests, amount: 2, period: day, only: {keys: [k1, k2]}}
";
    const ANN: &str = "hmac:00000000000000000000000000000001";
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    let server = Running::start_by(dir, ManualClock::at(noon()), GROUPS).await;
    let worker = Worker::new(1, noon());
    let by = |number, key: &'static str| {
        worker.usage_with(number, |data| (data.user, data.credential_id) = (Some(ANN.into()), Some(key.into())))
    };
    assert_eq!(server.post(batch(&[by(1, "k1"), by(2, "k2")])).await.status(), StatusCode::ACCEPTED);
    let acme = told(&server, |acme| acme.further_stages.len() == 2).await;
    let scopes: Vec<_> = acme.further_stages.iter().map(|stage| stage.scope.to_string()).collect();
    assert_eq!(scopes, [format!("user {ANN}"), "keys k1, k2".to_owned()]);
    assert!(acme.stages.is_empty() && stages(&server, 0).await.is_empty(), "an older gateway reads neither");
    let shown = server.json("/v1/budgets?tenant=acme").await;
    assert_eq!(shown["budgets"][0]["subject"], format!("acme#{ANN}"));
    let forget = run(server.dir.path(), &["user", "forget", ANN]).await;
    assert!(forget.status.success(), "{forget:?}");
    told(&server, |acme| acme.further_stages.len() == 1).await;
    let history = server.get("/v1/budgets/history").await.text().await.expect("text");
    assert!(!history.contains(ANN) && history.contains("acme#hmac:0000"), "{history}");
}

#[tokio::test]
async fn budgets_change_without_a_restart() {
    let server = start(ManualClock::at(noon())).await;
    send(&server, 1, 10).await;
    stages(&server, 1).await;
    let path = server.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text.replace("amount: 10", "amount: 1000")).expect("written");
    stages(&server, 0).await;
    std::fs::write(&path, text.replace("amount: 10", "amount: 10, hard: true, mode: observe")).expect("written");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(stages(&server, 0).await.is_empty(), "a configuration that is not good changes nothing");
}

/// The hard budgets of acme, once `wanted` holds of them.
async fn hard_budgets(server: &Running, wanted: impl Fn(&[HardBudget]) -> bool) -> Vec<HardBudget> {
    let waiting = async {
        loop {
            let page = page(server, "", "stages,hard_budgets").await;
            let acme = page.tenants.into_iter().find(|tenant| tenant.id.as_str() == "acme").expect("acme");
            if wanted(&acme.hard_budgets) {
                return acme.hard_budgets;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("hard budgets")
}

#[tokio::test]
async fn a_hard_budget_of_cost_is_told_in_millionths_of_its_currency() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    let hard = BUDGETS.replace("of: requests, amount: 10", "of: cost, currency: EUR, amount: 25.5000019, hard: true");
    assert_ne!(hard, BUDGETS);
    let hard = hard + "prices: {entries: [{model: m, currency: EUR, per_million: {input: 1}}]}\n";
    let server = Running::start_by(dir, ManualClock::at(noon()), &hard).await;
    let told = hard_budgets(&server, |told| told.len() == 2).await;
    assert!(told.iter().all(|budget| budget.of == HardMeasure::Cost && budget.amount == 25_500_001), "{told:?}");
    assert_eq!(told[0].currency.as_deref(), Some("EUR"));
}

#[tokio::test]
async fn the_first_page_that_a_started_server_hands_out_has_the_hard_budgets() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    let hard = BUDGETS.replace("amount: 10", "amount: 10, hard: true");
    let mut server = Running::start_by(dir, ManualClock::at(noon()), &hard).await;
    for _ in 0..3 {
        let page = page(&server, "", "stages,hard_budgets").await;
        let acme = page.tenants.iter().find(|tenant| tenant.id.as_str() == "acme").expect("there");
        assert_eq!(acme.hard_budgets.len(), 2, "a gateway that learns of the tenant alone would let everything pass");
        server = Running::start_by(server.stop().await, ManualClock::at(noon()), &hard).await;
    }
    server.stop().await;
}

/// The hard budgets of a tenant on the page that a gateway is handed now.
async fn hard_now(server: &Running, tenant: &str) -> Vec<u64> {
    let page = page(server, "", "stages,hard_budgets").await;
    let found = page.tenants.iter().find(|one| one.id.as_str() == tenant).expect("there");
    found.hard_budgets.iter().map(|budget| budget.amount).collect()
}

#[tokio::test]
async fn a_tenant_has_its_hard_budgets_with_its_coming_and_with_its_new_plan() {
    let hard = BUDGETS.replace("tenants: tenants.yaml", "tenants_database: true");
    let hard = hard.replace("amount: 10", "amount: 10, hard: true");
    let server = Running::start(noon(), &hard).await;
    let change = async |method: &str, path: &str, body: Value| {
        let request = server.http.request(method.parse().expect("a method"), format!("{}{path}", server.url));
        let answer = request.bearer_auth(TOKEN).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{body}");
    };
    for number in 0..8 {
        let tenant = format!("tenant-{number}");
        change("POST", "/v1/tenants", json!({"id": tenant, "plan": "free"})).await;
        assert_eq!(hard_now(&server, &tenant).await, [10, 10], "a gateway would let everything pass");
    }
    change("POST", "/v1/tenants", json!({"id": "acme", "plan": "paid"})).await;
    assert!(hard_now(&server, "acme").await.is_empty());
    for _ in 0..4 {
        change("PATCH", "/v1/tenants/acme", json!({"plan": "free", "budgets": {"daily": "7"}})).await;
        assert_eq!(hard_now(&server, "acme").await, [7, 7]);
        change("PATCH", "/v1/tenants/acme", json!({"plan": "paid"})).await;
        assert!(hard_now(&server, "acme").await.is_empty(), "its new plan has none");
    }
    change("PATCH", "/v1/tenants/acme", json!({"plan": "free"})).await;
    // Looks of the server follow, and change nothing.
    for _ in 0..30 {
        assert_eq!((hard_now(&server, "acme").await, hard_now(&server, "tenant-0").await), (vec![7, 7], vec![10, 10]));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_tenant_of_a_new_tenants_file_has_its_hard_budgets_from_the_first_page_on() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    let hard = BUDGETS.replace("amount: 10", "amount: 10, hard: true");
    let server = Running::start_by(dir, ManualClock::at(noon()), &hard).await;
    let more = TENANTS.replace("plan: paid}]", "plan: free}, {id: initech, plan: free}]");
    std::fs::write(server.dir.path().join("tenants.yaml"), more).expect("written");
    let waiting = async {
        loop {
            let page = page(&server, "", "stages,hard_budgets").await;
            let of = |tenant: &str| page.tenants.iter().find(|one| one.id.as_str() == tenant);
            if let Some(initech) = of("initech") {
                let globex = of("globex").expect("there");
                assert_eq!((initech.hard_budgets.len(), globex.hard_budgets.len()), (2, 2));
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the new file is in force");
}

#[tokio::test]
async fn gateways_are_told_of_hard_budgets_for_this_period_and_the_next() {
    let clock = ManualClock::at(noon());
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    let hard = BUDGETS.replace("amount: 10", "amount: 10, hard: true");
    let server = Running::start_by(dir, clock.clone(), &hard).await;
    let told = hard_budgets(&server, |told| told.len() == 2).await;
    let periods: Vec<_> = told.iter().map(|budget| (budget.starts.to_string(), budget.amount)).collect();
    assert_eq!(periods, [("2026-11-21T00:00:00.000Z".to_owned(), 10), ("2026-11-22T00:00:00.000Z".to_owned(), 10)]);
    assert_eq!(told[0].ends, Some(told[1].starts));
    let free = page(&server, "", "stages,hard_budgets").await;
    let globex = free.tenants.iter().find(|tenant| tenant.id.as_str() == "globex").expect("globex");
    assert!(globex.hard_budgets.is_empty(), "its plan has none");
    let raise = ["budgets", "raise", "daily", "acme", "--to", "100", "--until", "2026-11-22", "--why", "a launch"];
    assert!(run(server.dir.path(), &raise).await.status.success());
    hard_budgets(&server, |told| told.iter().all(|budget| budget.amount == 100)).await;
    clock.advance(Duration::from_millis(DAY_MS));
    let next = hard_budgets(&server, |told| told.iter().all(|budget| budget.amount == 10)).await;
    assert_eq!(next[0].starts.to_string(), "2026-11-22T00:00:00.000Z", "the raise is over, and so is its day");
    let pause = ["budgets", "pause", "daily", "acme", "--until", "2026-11-23", "--why", "incident"];
    assert!(run(server.dir.path(), &pause).await.status.success());
    hard_budgets(&server, <[HardBudget]>::is_empty).await;
}

#[tokio::test]
async fn commands_show_budgets_with_and_without_a_server() {
    let server = start(ManualClock::at(noon())).await;
    send(&server, 1, 9).await;
    stages(&server, 1).await;
    let dir = server.dir.path().to_owned();
    let list = run(&dir, &["budgets", "list", "--stage", "degrade"]).await;
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(text.contains("daily") && text.contains("acme") && text.contains("90.0 %"), "{text}");
    let metrics = server.get("/metrics").await.text().await.expect("text");
    assert!(
        metrics.contains("weir_budget_lag_seconds 0") && metrics.contains("weir_budget_evaluated_through 1"),
        "{metrics}"
    );
    let dir = server.stop().await;
    let shown = printed(&run(dir.path(), &["budgets", "show", "acme", "--json"]).await);
    assert_eq!(shown["budgets"][0]["budget"], "daily");
    let history = run(dir.path(), &["budgets", "history", "--budget", "daily"]).await;
    assert!(String::from_utf8_lossy(&history.stdout).contains("degrade"));
}
