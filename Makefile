# What can be done with the project. Each target is complete in itself: it installs what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The steps of a target run one after the other, in the order written; the first failure ends it.
.NOTPARALLEL:

CARGO := cargo
# Neither UTC nor English: what takes a local time for UTC, or rests on a message's words, fails here.
# (Snapshots are compared, and not written anew.)
UNUSUAL := INSTA_UPDATE=no TZ=America/St_Johns LC_ALL=de_DE.UTF-8
# Most tests wait for a server or a child most of the time, so there are three to a processor.
THREADS := $(shell expr 3 '*' "$$(nproc)")

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Back up a throw-away database, lose it, and get it back
	@.ci/install build demo
	@[ -x target/debug/drctl ] || echo "Building drctl and its 400 crates. On two processors that takes some nine minutes, the first time only:"
	$(CARGO) run --locked -- demo

.PHONY: test
test: deps fmt clippy lint unit doc deny stores scenarios ## Everything CI runs
	@echo "All checks passed."

.PHONY: check
check: compiler fmt clippy unit ## What needs no server: formatting, lints, unit tests, the layout of the code

.PHONY: bench
bench: ## Measure against pipes and scripts, and plan a large retention (QUICK=1: small; GROUP=dump|base|wal|drill|files|retention: only that)
	@.ci/install build $(if $(filter retention,$(GROUP)),,bench)
	$(if $(filter-out retention,$(GROUP)),,$(CARGO) bench --locked --bench retention -- $(if $(QUICK),--quick))
	$(if $(filter retention,$(GROUP)),,DRCTL_TEST_SCRATCH=/tmp $(CARGO) bench --locked --bench against-pipes -- $(if $(QUICK),--quick) $(GROUP))

.PHONY: compiler
compiler:
	@.ci/install build

.PHONY: deps
deps:
	@.ci/install build test

.PHONY: fmt
fmt:
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

.PHONY: lint
lint: ## Shell scripts and the project's layout
	@.ci/install test
	.ci/lint

.PHONY: unit
unit:
	$(UNUSUAL) .ci/unchanged $(CARGO) test --locked --lib --bins --test cli --test documents --test format --test glossary --test layers

# One server is shared by all of these, so they run in one process. Examples in the documentation go with them.
.PHONY: stores
stores: ## What every store promises, asked of each
	$(UNUSUAL) RUST_TEST_THREADS=$(THREADS) .ci/unchanged $(CARGO) test --locked --test conformance
	$(UNUSUAL) $(CARGO) test --locked --doc

.PHONY: scenarios
scenarios: ## drctl against real servers (ONLY=name: some of them)
	@.ci/install build test
	$(UNUSUAL) NEXTEST_TEST_THREADS=$(THREADS) .ci/unchanged .ci/scenarios $(ONLY)

.PHONY: doc
doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Advisories are left out: they are a database on the network, and change without us.
.PHONY: deny
deny: ## Licences, banned and duplicate crates, where crates come from
	@.ci/install build deny
	$(CARGO) fetch --quiet --locked
	target/tools/deny/bin/cargo-deny --offline --all-features check --hide-inclusion-graph licenses bans sources

.PHONY: clean
clean: ## Remove everything that was built
	$(CARGO) clean
