//! The aggregator's promises, one file for each, against real files and real TCP.
#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

#[path = "aggregator/accepting.rs"]
mod accepting;
#[path = "aggregator/addressing.rs"]
mod addressing;
#[path = "aggregator/agreeing.rs"]
mod agreeing;
#[path = "aggregator/alerting.rs"]
mod alerting;
#[path = "aggregator/answering.rs"]
mod answering;
#[path = "aggregator/asking.rs"]
mod asking;
#[path = "aggregator/binding.rs"]
mod binding;
#[path = "aggregator/browser.rs"]
mod browser;
#[path = "aggregator/budgeting.rs"]
mod budgeting;
#[path = "aggregator/checking.rs"]
mod checking;
#[path = "aggregator/commands.rs"]
mod commands;
#[path = "aggregator/config.rs"]
mod config;
#[path = "aggregator/counting.rs"]
mod counting;
#[path = "aggregator/crowding.rs"]
mod crowding;
#[path = "aggregator/dashboards.rs"]
mod dashboards;
#[path = "aggregator/delivering.rs"]
mod delivering;
#[path = "aggregator/deploying.rs"]
mod deploying;
#[path = "aggregator/differences.rs"]
mod differences;
#[path = "aggregator/directory.rs"]
mod directory;
#[path = "aggregator/earning.rs"]
mod earning;
#[path = "aggregator/encrypting.rs"]
mod encrypting;
#[path = "aggregator/entering.rs"]
mod entering;
#[path = "aggregator/events.rs"]
mod events;
#[path = "aggregator/explaining.rs"]
mod explaining;
#[path = "aggregator/exporting.rs"]
mod exporting;
#[path = "aggregator/failing.rs"]
mod failing;
#[path = "aggregator/flagging.rs"]
mod flagging;
#[path = "aggregator/following.rs"]
mod following;
#[path = "aggregator/forgetting.rs"]
mod forgetting;
#[path = "aggregator/hiding.rs"]
mod hiding;
#[path = "aggregator/holding.rs"]
mod holding;
#[path = "aggregator/intruding.rs"]
mod intruding;
#[path = "aggregator/kafka_log.rs"]
mod kafka_log;
#[path = "aggregator/keeping.rs"]
mod keeping;
#[path = "aggregator/killing.rs"]
mod killing;
#[path = "aggregator/leasing.rs"]
mod leasing;
#[path = "aggregator/listing.rs"]
mod listing;
#[path = "aggregator/looking.rs"]
mod looking;
#[path = "aggregator/migrating.rs"]
mod migrating;
#[path = "aggregator/moving.rs"]
mod moving;
#[path = "aggregator/nodes.rs"]
mod nodes;
#[path = "aggregator/nodes_elsewhere.rs"]
mod nodes_elsewhere;
#[path = "aggregator/nodes_killed.rs"]
mod nodes_killed;
#[path = "aggregator/nodes_standing_by.rs"]
mod nodes_standing_by;
#[path = "aggregator/notifying.rs"]
mod notifying;
#[path = "aggregator/openapi.rs"]
mod openapi;
#[path = "aggregator/opening.rs"]
mod opening;
#[path = "aggregator/operating.rs"]
mod operating;
#[path = "aggregator/overview.rs"]
mod overview;
#[path = "aggregator/plans.rs"]
mod plans;
#[path = "aggregator/postgres_kept.rs"]
mod postgres_kept;
#[path = "aggregator/postgres_ledger.rs"]
mod postgres_ledger;
#[path = "aggregator/pricing.rs"]
mod pricing;
#[path = "aggregator/proving.rs"]
mod proving;
#[path = "aggregator/provisioning.rs"]
mod provisioning;
#[path = "aggregator/raising.rs"]
mod raising;
#[path = "aggregator/readings.rs"]
mod readings;
#[path = "aggregator/refusing.rs"]
mod refusing;
#[path = "aggregator/replaying.rs"]
mod replaying;
#[path = "aggregator/reporting.rs"]
mod reporting;
#[path = "aggregator/repricing.rs"]
mod repricing;
#[path = "aggregator/routing.rs"]
mod routing;
#[path = "aggregator/schema.rs"]
mod schema;
#[path = "aggregator/server.rs"]
mod server;
#[path = "aggregator/settling.rs"]
mod settling;
#[path = "aggregator/shared_log.rs"]
mod shared_log;
#[path = "aggregator/sharing.rs"]
mod sharing;
#[path = "aggregator/signing_in.rs"]
mod signing_in;
#[path = "aggregator/skipping.rs"]
mod skipping;
#[path = "aggregator/telling.rs"]
mod telling;
#[path = "aggregator/turning.rs"]
mod turning;
#[path = "aggregator/vaulting.rs"]
mod vaulting;
#[path = "aggregator/vector_stores.rs"]
mod vector_stores;
#[path = "aggregator/version_before.rs"]
mod version_before;
#[path = "aggregator/viewing.rs"]
mod viewing;
#[path = "aggregator/waiting.rs"]
mod waiting;
#[path = "aggregator/watching.rs"]
mod watching;
#[path = "aggregator/weighing.rs"]
mod weighing;
