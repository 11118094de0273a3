# `make` lists the targets. The work is in cargo and in scripts/; this file only names it.
.DEFAULT_GOAL := help
.PHONY: help setup setup-check setup-demo test-native test-wasm32 test-postgres test-ui ui-shots ui-load wasm image binaries demo run test miri limits fleet fleet-kills limits-sim leases-fleet chaos memory envoy-versions waiting stage-latency soak routing-soak hostile photographs spool estimate token-counts sim leases-sim leases-table leases-cost usage-oracle vector-guard sealed-ids-hostile sealed-ids-cost translate-cost kills kafka-durable bench bench-fuel bench-curves bench-hostcalls bench-envoy bench-failover bench-aggregator bench-keep fuel check docs prices deny fmt lint fuzz clean

# A line that starts with `##@` opens a group; a target with `##` behind it is listed there.
help:
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

target := $(or $(CARGO_TARGET_DIR),target)

# Most tests wait for a gateway, a server or a clock: two for each core keep the cores busy.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

##@ Try it

demo: wasm binaries ## run everything end to end and compare the numbers to the unit (two minutes once built)
	@$(target)/debug/weir-demo check $(ARGS)

fleet: wasm binaries ## the same with two Envoys, three weir serve, Redis and PostgreSQL; the node that owns is killed in the middle
	@scripts/setup fleet
	@$(target)/debug/weir-demo fleet

run: wasm binaries ## keep the same stack up until Ctrl-C and print commands to try
	@$(target)/debug/weir-demo run

##@ Test

test: test-native test-wasm32 ## run every test: native, over the built module, in real Envoy, on wasm32

test-native: setup wasm binaries
	@scripts/check-layers --self-test
	@scripts/check-layers
	scripts/with-postgres scripts/test-programs
	cargo test --workspace --doc

test-wasm32: setup
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(CURDIR)/.tools/cargo/bin/wasm-bindgen-test-runner \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C target-feature=+simd128" \
		cargo test -p weir-contract -p weir-config -p weir-keys -p weir-llm-usage -p weir-llm-translate -p weir-sealed-ids -p weir-vector-guard \
			-p weir-filter --lib --target wasm32-unknown-unknown

test-postgres: setup ## run the tests of ledger and tenants over a PostgreSQL of their own
	scripts/with-postgres scripts/test-programs --postgres

test-ui: wasm binaries ## look at the dashboard of the demo in a real Chromium: pages, forms, accessibility, no call elsewhere
	@scripts/setup ui
	@node host-tests/ui/run.mjs $(target)/debug/weir-demo

ui-shots: wasm binaries ## the same, and write pictures of every page into build/ui: light, dark, phone; and those of README
	@scripts/setup ui
	@mkdir -p build/ui docs/dashboard
	@node host-tests/ui/run.mjs $(target)/debug/weir-demo build/ui docs/dashboard

check: setup-check lint deny test test-ui ## run what CI runs: formatting, clippy, docs, licences and crates, then the tests, the last in a browser

lint: ## check formatting, clippy and docs with warnings denied, and shell scripts where shellcheck is installed
	@scripts/check-faults
	@scripts/check-unused
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet --workspace --no-deps --document-private-items
	@if command -v shellcheck >/dev/null; then shellcheck -x scripts/setup scripts/wasm scripts/bench-aggregator scripts/fuzz scripts/envoy-versions scripts/prices scripts/kafka-durable scripts/with-postgres; fi

deny: setup-check ## check licences, crates and sources against deny.toml
	@.tools/cargo/bin/cargo-deny --log-level error check bans licenses sources

##@ Prove it: longer runs under load and faults

sim: ## simulate disk, clock and process failures: make sim SEEDS=10000; one seed step by step: make sim SEED=17
	@WEIR_SIM_SEEDS=$(SEEDS) WEIR_SIM_SEED=$(SEED) cargo test --quiet --workspace --lib \
		whatever_fails -- --nocapture

nodes-sim: ## simulate nodes that share a log and a ledger on a network that fails: make nodes-sim SEEDS=10000; one seed step by step: SEED=17
	@WEIR_SIM_SEEDS=$(SEEDS) WEIR_SIM_SEED=$(SEED) cargo test --quiet --workspace --lib \
		whatever_nodes_and_network_do -- --nocapture

leases-sim: ## simulate fleets that share a limit: make leases-sim SEEDS=100000; one seed step by step: make leases-sim SEED=17
	@WEIR_LEASES_SEEDS=$(or $(SEEDS),20000) WEIR_LEASES_SEED=$(SEED) cargo test --quiet --workspace --test storms \
		whatever_fails -- --nocapture

leases-cost: ## print bytes and time of a call of 1,000 leases, in memory and in a Redis
	@cargo test --quiet -p weir-leases-redis --lib thousand -- --nocapture

leases-table: ## write the simulator's table of fleet-wide limits into docs/limits.md
	@WEIR_WRITE_TABLE=1 cargo test --quiet --workspace --test storms a_fleet_admits

usage-oracle: ## compare the filter's events with an independent judge: make usage-oracle SEEDS=1000000; one exchange: SEED=17
	@WEIR_ORACLE_SEEDS=$(or $(SEEDS),20000) WEIR_ORACLE_SEED=$(SEED) cargo test --quiet --workspace --test usage_oracle -- --nocapture

vector-guard: ## send hostile requests through the guard to stores that evaluate filters: SEEDS=100000; one request: SEED=17
	@WEIR_GUARD_SEEDS=$(or $(SEEDS),100000) WEIR_GUARD_SEED=$(SEED) cargo test --quiet --release -p weir-vector-guard --test hostile -- --nocapture

kills: ## kill `weir serve` under load and while it reports: make kills KILLS=200
	@WEIR_KILLS=$(or $(KILLS),200) cargo test --quiet --workspace --test aggregator killed_under_load -- --nocapture

kafka-durable: ## kill a durable broker and `weir serve` under load in turn: make kafka-durable KILLS=40 (builds the broker once: 10 to 30 minutes)
	@scripts/kafka-durable
	@WEIR_KILLS=$(or $(KILLS),20) cargo test --quiet --workspace --test aggregator killed_under_load_with_its_kafka -- --ignored --nocapture

waiting: ## let 5,000 gateways wait for a change of tenants, print what they cost and how soon they hear of it
	@cargo test --quiet --workspace --test aggregator waiting -- --ignored --nocapture

stage-latency: setup wasm ## from the ledger's transaction until every worker of a real Envoy enforces a budget, p99 over many: CHANGES=n
	@WEIR_CHANGES=$(or $(CHANGES),200) cargo test --quiet --workspace --test envoy from_the_ledgers_transaction -- --ignored --nocapture

soak: wasm binaries ## send 20,000 requests under faults through real Envoy and account for every number (REQUESTS=n SEED=n)
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak soak --requests $(or $(REQUESTS),20000) --seed $(or $(SEED),1)

routing-soak: wasm binaries ## send 20,000 requests to three providers that fail in every way, and draw everybody's books (REQUESTS=n SEED=n)
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak routing --requests $(or $(REQUESTS),20000) --seed $(or $(SEED),1)

hostile: wasm binaries ## send 100,000 crafted requests through real Envoy, answered by a hostile provider (REQUESTS=n SEED=n)
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak hostile --requests $(or $(REQUESTS),100000) --seed $(or $(SEED),1)

photographs: wasm binaries ## send 100 pictures of 5 MB at once through real Envoy, print the memory they take (COUNT=n)
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak photographs --count $(or $(COUNT),100)

spool: wasm binaries ## kill -9 Envoy under load, replay its access log, print what is lost (FLUSH_MS=n)
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak spool --flush-ms $(or $(FLUSH_MS),1000)

seconds ?= 300

limits: setup wasm ## compare limits with their arithmetic in real Envoy for minutes: make limits seconds=300
	WEIR_LIMIT_SECONDS=$(seconds) cargo test --workspace --test envoy limits:: -- --nocapture

leases-fleet: setup wasm ## three Envoys, two weir serve and a Redis, each killed in turn, against one bucket: make leases-fleet seconds=300
	WEIR_LIMIT_SECONDS=$(seconds) cargo test --workspace --test envoy killed_fleet:: -- --nocapture

fleet-kills: setup ## three nodes, their Redis and their PostgreSQL killed, paused and cut off at random under load: make fleet-kills KILLS=200
	WEIR_KILLS=$(or $(KILLS),200) WEIR_SEED=$(or $(SEED),1) cargo test --workspace --test aggregator nodes_killed:: -- --nocapture

limits-sim: ## gateways of one fleet under every kind of trouble, against one bucket: make limits-sim SEEDS=5000; one run: SEED=17
	@WEIR_FLEET_SEEDS=$(or $(SEED:%=%..),$(SEEDS),5000) cargo test --quiet --workspace --test leases -- --nocapture

chaos: wasm ## fail host calls at random on both gateways: make chaos REQUESTS=100000 SEED=1
	@WEIR_REQUESTS=$(REQUESTS) WEIR_SEED=$(SEED) cargo test --quiet --workspace --test chaos -- --nocapture

memory: wasm ## watch a worker's memory while tenants come and go: make memory REQUESTS=1000000
	@WEIR_REQUESTS=$(REQUESTS) cargo test --quiet --workspace --test memory -- --nocapture

sealed-ids-hostile: ## open the ids in 100,000 hostile requests, and compare with a plain evaluator: make sealed-ids-hostile CASES=n
	@PROPTEST_CASES=$(or $(CASES),100000) cargo test --quiet -p weir-sealed-ids --test hostile

envoy-versions: setup wasm ## run the decisive suites in this Envoy and the two minor versions before it
	@scripts/setup envoys
	@scripts/envoy-versions

miri: ## run the allocator's tests under Miri (a component of nightly Rust)
	@cargo +nightly miri --version >/dev/null 2>&1 || { echo "make miri needs Miri: rustup toolchain install nightly --component miri --component rust-src" >&2; exit 1; }
	cargo +nightly miri test -p weir-memory

fuzz: ## run every fuzz target for FUZZ_SECONDS (30) each; TARGETS picks some
	@scripts/setup fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz $(TARGETS)

##@ Measure

parts ?= fuel curves hostcalls envoy failover aggregator

bench: setup wasm ## measure what weir costs, beside the floor of the same run: make bench parts="fuel envoy" rounds=9 only=chat
	@$(foreach part,$(parts),$(MAKE) --no-print-directory bench-$(part) &&) true

bench-fuel: # Instructions by phase, and what changed against docs/performance/fuel.tsv.
	@cargo run --quiet --bin weir-bench fuel

bench-envoy: # CPU and latency in real Envoy beside Envoy's own filters; report and charts in build/bench.
	@cargo run --quiet --bin weir-bench envoy --rounds $(or $(rounds),9) $(if $(only),--only "$(only)")

bench-curves: # Instructions and memory by tenants, bodies, chunks and workers; report in build/bench.
	@cargo run --quiet --bin weir-bench curves

bench-hostcalls: # What one call into real Envoy costs, and how much of a request that explains; report in build/bench.
	@cargo run --quiet --bin weir-bench hostcalls --rounds $(or $(rounds),9)

bench-failover: # p50 of answers behind a provider that fails, and behind an open breaker, beside those of the one that answers.
	@cargo build --quiet --workspace --bin weir --bin weir-soak
	@$(target)/debug/weir-soak failover --rounds $(or $(rounds),100)

bench-aggregator: # PART=sustained WEIR_BENCH_SECS=600; the output stays in build/bench.
	@mkdir -p build/bench
	@bash -o pipefail -c 'scripts/bench-aggregator $(PART) | tee build/bench/aggregator$(addprefix -,$(PART)).txt'

ui-load: # Pages of 10,000 tenants and 90 days while 20,000 events/s come in, and what senders of events lose to them.
	@mkdir -p build/bench
	@bash -o pipefail -c 'scripts/bench-aggregator dashboard | tee build/bench/dashboard.txt'

bench-budgets: # What evaluating three budgets of each of 10,000 tenants costs counting, side by side.
	@cargo bench --quiet --workspace --bench budgets

bench-keep: # Copies the last report and its charts to docs/performance.
	@cp build/bench/*.md build/bench/*.svg docs/performance/
	@for part in aggregator aggregator-redis aggregator-kafka; do if [ -e build/bench/$$part.txt ]; then cp build/bench/$$part.txt docs/performance/; fi; done

fuel: setup wasm ## accept the current instruction counts as docs/performance/fuel.tsv
	@cargo run --quiet --bin weir-bench fuel --accept

sealed-ids-cost: ## say what sealing and opening one id costs natively, in nanoseconds
	@cargo run --quiet --release -p weir-sealed-ids --example sealing_cost

translate-cost: ## say what translating a chunk of a stream costs natively, beside reading it
	@cargo run --quiet --release -p weir-llm-translate --example translation_cost

estimate: ## compare token estimates with a tokenizer's counts
	@cargo run --quiet --bin weir-soak estimate

token-counts: # Needed only after a change of the texts: the counts are checked in.
	@scripts/setup tokenizer
	@node scripts/token-counts.mjs .tools/tokenizer

##@ Develop

setup: ## install what building and testing needs: Envoy, wasm-opt, the wasm target (once; some minutes at most)
	@scripts/setup test

setup-check: # Builds cargo-deny, which takes minutes and only `make check` needs.
	@scripts/setup check

setup-demo: # Lets the demo start without the tools of the tests.
	@scripts/setup

wasm: setup-demo ## build build/weir.wasm (optimised), print its size, check its imports
	@scripts/wasm

image: wasm ## pack the module as an OCI image for Istio and Envoy Gateway: build/weir-wasm.tar
	@scripts/image

# Builds with the features of `cargo test --workspace`, so that nothing is compiled twice.
# One test beside them: with a test asked for, cargo takes the features that all tests want, and the tests use what is built here.
binaries:
	@cargo build --workspace --bin weir --bin weir-demo --test golden

docs: binaries ## generate docs/configuration.md, docs/metrics.md, docs/translation.md, docs/vector-store-operations.md, docs/schema/ and kong/weir.meta.json from the types, envoy/gateway.yaml from its example
	@mkdir -p docs/schema
	@$(target)/debug/weir schema kong >kong/weir.meta.json
	@for subject in filter weir tenants; do $(target)/debug/weir schema $$subject >docs/schema/$$subject.json || exit 1; done
	@$(target)/debug/weir schema reference >docs/configuration.md
	@$(target)/debug/weir schema metrics >docs/metrics.md
	@$(target)/debug/weir gateway generate --format yaml examples/routing/gateway.yaml >envoy/gateway.yaml
	@cargo run --quiet -p weir-llm-translate --example translation_page >docs/translation.md
	@cargo run --quiet -p weir-vector-guard --example operations_page >docs/vector-store-operations.md

prices: binaries ## bring the shipped list of public prices up to date (PyPI's litellm; VERSION=n for another than the latest)
	@scripts/prices $(target)/debug/weir $(VERSION)

fmt: ## format the code
	cargo fmt --all

clean: ## remove what was built (the tools in .tools/ stay)
	cargo clean --quiet
	rm -rf build
