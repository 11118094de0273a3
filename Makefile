# `make` lists the targets. The work is in cargo and in scripts/: this file only names it.
.DEFAULT_GOAL := help
.PHONY: help setup setup-check setup-demo wasm image binaries demo run test limits chaos memory envoy-versions soak spool estimate token-counts sim kills bench bench-fuel bench-curves bench-hostcalls bench-envoy bench-aggregator bench-keep fuel check docs deny fmt lint fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## bring what building and testing needs: Envoy, wasm-opt, the wasm target (once; some minutes at most)
	@scripts/setup test

setup-check: # cargo-deny takes minutes to build and only `make check` needs it
	@scripts/setup check

setup-demo: # the demo does not wait for the tools of the tests
	@scripts/setup

wasm: setup-demo ## build build/weir.wasm (optimised), print its size, check its imports
	@scripts/wasm

image: wasm ## pack the module as an OCI image for Istio and Envoy Gateway: build/weir-wasm.tar
	@scripts/image

# One build for all: the same features as `cargo test --workspace`, so that nothing is compiled twice.
binaries:
	@cargo build --workspace --bin weir --bin weir-demo

target := $(or $(CARGO_TARGET_DIR),target)

demo: wasm binaries ## prove the numbers end to end: clients, provider, weir, Stripe (two minutes once built)
	@$(target)/debug/weir-demo check $(ARGS)

run: wasm binaries ## the same stack until Ctrl-C, with commands to try
	@$(target)/debug/weir-demo run

test: setup wasm binaries ## everything that can be tested: natively, on wasm32, over the built module, in real Envoy
	@scripts/check-filter
	cargo test --workspace
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(CURDIR)/.tools/cargo/bin/wasm-bindgen-test-runner \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C target-feature=+simd128" \
		cargo test -p weir-contract -p weir-config -p weir-filter --lib --target wasm32-unknown-unknown

seconds ?= 300

limits: setup wasm ## hold limits to the arithmetic in real Envoy for minutes: make limits seconds=300
	WEIR_LIMIT_SECONDS=$(seconds) cargo test --workspace --test envoy limits:: -- --nocapture

chaos: wasm ## fail every hostcall at random: make chaos REQUESTS=100000 SEED=1, on both gateways
	@WEIR_REQUESTS=$(REQUESTS) WEIR_SEED=$(SEED) cargo test --quiet --workspace --test chaos -- --nocapture

memory: wasm ## tenants come and go while a worker's memory is watched: make memory REQUESTS=1000000
	@WEIR_REQUESTS=$(REQUESTS) cargo test --quiet --workspace --test memory -- --nocapture

envoy-versions: setup wasm ## the decisive suites in the real Envoy of this and the two minor versions before
	@scripts/setup envoys
	@scripts/envoy-versions

soak: wasm binaries ## 20,000 requests (REQUESTS=n SEED=n) under faults in real Envoy; every number and token accounted for
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak soak --requests $(or $(REQUESTS),20000) --seed $(or $(SEED),1)

spool: wasm binaries ## kill -9 Envoy under load, replay its access log: what is lost (FLUSH_MS=n)
	@cargo build --quiet --workspace --bin weir-soak
	@$(target)/debug/weir-soak spool --flush-ms $(or $(FLUSH_MS),1000)

estimate: ## how far estimates of tokens are from a tokenizer's counts
	@cargo run --quiet --bin weir-soak estimate

token-counts: # only after a change of the texts: the counts are checked in
	@scripts/setup tokenizer
	@node scripts/token-counts.mjs .tools/tokenizer

sim: ## the seeded simulator: make sim SEEDS=10000, or one seed with every step: make sim SEED=17
	@WEIR_SIM_SEEDS=$(SEEDS) WEIR_SIM_SEED=$(SEED) cargo test --quiet --workspace --lib \
		whatever_fails -- --nocapture

kills: ## kill `weir serve` under load, and while it reports: make kills KILLS=200
	@WEIR_KILLS=$(or $(KILLS),200) cargo test --quiet --workspace --test aggregator killed_under_load -- --nocapture

parts ?= fuel curves hostcalls envoy aggregator

bench: setup wasm ## what it costs, each number beside its floor: make bench parts="fuel envoy" rounds=9 only=chat
	@$(foreach part,$(parts),$(MAKE) --no-print-directory bench-$(part) &&) true

bench-fuel: # instructions by phase, and what has changed against docs/performance/fuel.tsv
	@cargo run --quiet --bin weir-bench fuel

bench-envoy: # CPU and latency in the real Envoy, beside Envoy's own filters; report and charts in build/bench
	@cargo run --quiet --bin weir-bench envoy --rounds $(or $(rounds),9) $(if $(only),--only "$(only)")

bench-curves: # instructions and memory by tenants, bodies, chunks and workers; report in build/bench
	@cargo run --quiet --bin weir-bench curves

bench-hostcalls: # what one call into the real Envoy costs, and what that explains; report in build/bench
	@cargo run --quiet --bin weir-bench hostcalls --rounds $(or $(rounds),9)

bench-aggregator: # PART=sustained WEIR_BENCH_SECS=600; all of it is left in build/bench
	@mkdir -p build/bench
	@bash -o pipefail -c 'scripts/bench-aggregator $(PART) | tee build/bench/aggregator$(addprefix -,$(PART)).txt'

bench-keep: # keep the last report and its charts: docs/performance
	@cp build/bench/*.md build/bench/*.svg docs/performance/
	@if [ -e build/bench/aggregator.txt ]; then cp build/bench/aggregator.txt docs/performance/; fi

fuel: setup wasm ## keep the instructions that requests cost now: docs/performance/fuel.tsv
	@cargo run --quiet --bin weir-bench fuel --accept

check: setup-check lint deny test ## what CI runs: formatting, clippy, docs, licences and crates, then the tests

docs: binaries ## write docs/configuration.md, docs/schema/ and kong/weir.meta.json anew from the types
	@mkdir -p docs/schema
	@$(target)/debug/weir schema kong >kong/weir.meta.json
	@for subject in filter weir tenants; do $(target)/debug/weir schema $$subject >docs/schema/$$subject.json || exit 1; done
	@$(target)/debug/weir schema reference >docs/configuration.md

deny: setup-check ## which licences, crates and sources may become part of weir
	@.tools/cargo/bin/cargo-deny --log-level error check bans licenses sources

fmt: ## format the code
	cargo fmt --all

lint: ## formatting, clippy and docs with warnings denied, shell scripts if shellcheck is here
	@scripts/check-faults
	@scripts/check-unused aggregator
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet --workspace --no-deps --document-private-items
	@if command -v shellcheck >/dev/null; then shellcheck -x scripts/setup scripts/wasm scripts/bench-aggregator scripts/fuzz scripts/envoy-versions scripts/check-faults; fi

fuzz: ## run every fuzz target for FUZZ_SECONDS (30) each; TARGETS names some
	@scripts/setup fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz $(TARGETS)

clean: ## remove what was built (the tools in .tools/ stay)
	cargo clean --quiet
	rm -rf build
