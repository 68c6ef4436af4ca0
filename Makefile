# make demo    shows a master and two workers synchronising files, agents and groups
# make demo-failover
#              kills a master while agents register, and shows who follows and that nothing is lost; needs etcd
# make test    everything: unit, property, whole clusters, the two programs, an independent peer
# make faults  a power cut at every file operation, with LUCK drawn ways of what the disk has kept
# make models  the places where threads meet, in SCHEDULES orders of the threads (tests/models)
# make page    the page of a node, measured in a headless Chromium; pictures in target/page
# make alerts  the alert rules and the dashboard, evaluated by promtool of Prometheus
# make bench   time and memory, at the end one table of all; the rows are in target/bench.jsonl too
# make bench-compare
#              the medians of that beside those of another such file, BASE
# make chaos   clusters whose nodes are killed, or with NET=1 whose network fails; SECONDS, SEED, NODES
# make soak    a large cluster for MINUTES, and whether anything grows
# make failover
#              masters killed and stopped while agents register, networks that fail, a planned change; real etcd, minutes
# make arbiter the times that etcd and the fence keep, with real members; figures on standard output
# make fuzz    each fuzz target for SECONDS=60, or only TARGET=name
# make lint    format, clippy, documentation, and the crates (cargo-deny, where it is installed)
# make build   the two programs, in target/release
# make api-test
#              the Wazuh server API on nodes of this daemon, beside stock nodes, and the HAProxy helper; WAZUH_ORIGINAL
#              names where the stock manager is (tests/api/homes.py), else it is skipped
#
# make install        installs them, service files, man pages and documents; DESTDIR, PREFIX, USER, GROUP
# make uninstall      removes these again
# make deb, make rpm  a package for this system and newer ones, in target/package
# make packages       both for Debian 11 and newer ones, whatever this system is; as root
# make dist           the source with all crates, in target/package; make dist-check builds it without network
# make package-test   installs, runs, upgrades and removes what `make packages` made in clean systems; as root

CARGO   ?= cargo
PYTHON  ?= python3
RULESET ?=
LUCK    ?= 100
SCHEDULES ?= 1000
VENV    := target/venv

# Where and for whom it is installed. Assigned, so that variables of the environment with these names do not count.
PREFIX  = /var/ossec
USER    = wazuh
GROUP   = wazuh
DESTDIR ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
PACKAGE := PREFIX='$(PREFIX)' USER='$(USER)' GROUP='$(GROUP)' VERSION='$(VERSION)'

# The daemon knows whom it becomes. Only other names are passed on, so that `cargo build` makes the same as `make build`.
ifneq ($(USER) $(GROUP),wazuh wazuh)
export WAZUH_USER := $(USER)
export WAZUH_GROUP := $(GROUP)
endif

.PHONY: build demo demo-failover test models faults failover arbiter fuzz api-test lint page alerts bench bench-compare chaos soak clean install uninstall deb rpm packages dist dist-check package-test

build:
	$(CARGO) build --release --locked

demo:
	@$(CARGO) build --release --locked $$(test -t 2 || echo --quiet)
	@$(PYTHON) scripts/demo.py $(if $(RULESET),--ruleset '$(RULESET)') $(if $(KEEP),--keep)

demo-failover:
	@$(CARGO) build --release --locked $$(test -t 2 || echo --quiet)
	@$(PYTHON) scripts/demo_failover.py $(if $(KEEP),--keep)

test: $(VENV)/ready models
	$(CARGO) test --locked
	$(VENV)/bin/python tests/interop/run.py --bin-dir target/debug

# The independent peer has a cipher library of its own; it lives in an environment of its own.
$(VENV)/ready: tests/interop/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/interop/requirements.txt
	touch $@

api-test: $(VENV)/ready
	$(CARGO) build --release --locked
	$(VENV)/bin/python tests/api/run.py --bin-dir target/release

models:
	$(CARGO) run --quiet --locked --manifest-path tests/models/Cargo.toml --target-dir target/models -- $(SCHEDULES)

faults:
	CLUSTERD_TEST_LUCK=$(LUCK) $(CARGO) test --locked --lib -- power_cut crash

failover:
	$(CARGO) test --locked --test failover -- --ignored --nocapture --test-threads 1 slow_

arbiter:
	$(CARGO) test --locked --test arbiter -- --ignored --nocapture --test-threads 1 slow_

page:
	$(CARGO) build --locked
	$(PYTHON) tests/page/run.py --bin-dir target/debug

alerts:
	$(PYTHON) tests/alerts/run.py

fuzz:
	@CARGO='$(CARGO)' tests/fuzz/run '$(or $(SECONDS),60)' '$(TARGET)'

lint:
	$(CARGO) fmt --check -- --config-path etc/lint
	$(CARGO) fmt --check --all --manifest-path tests/models/Cargo.toml -- --config-path etc/lint
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path tests/models/Cargo.toml --target-dir target/models -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib
	@CARGO='$(CARGO)' scripts/deny

# The first leaves nothing deleted behind that could slow the file system down for the second.
bench: export BENCH_OUT := $(CURDIR)/target/bench.jsonl
bench: build
	rm -f '$(BENCH_OUT)'
	$(CARGO) bench --locked --bench sync
	$(CARGO) bench --locked --bench workers
	$(CARGO) bench --locked --bench parts
	$(CARGO) bench --locked --bench agents
	$(CARGO) bench --locked --bench registrar
	$(CARGO) bench --locked --bench registration
	@echo; $(PYTHON) scripts/bench_table.py '$(BENCH_OUT)'

bench-compare:
	@$(PYTHON) scripts/bench_compare.py '$(BASE)' target/bench.jsonl

# The harness of tests/chaos, with the programs as they are installed.
CHAOS = TEST_BIN_DIR=target/release CHAOS_SEED='$(or $(SEED),1)' $(CARGO) test --locked --test chaos --

chaos: build
	CHAOS_SECONDS='$(or $(SECONDS),60)' CHAOS_NODES='$(or $(NODES),4)' $(CHAOS) --nocapture $(if $(NET),network_,kills_)

soak: build
	SOAK_MINUTES='$(or $(MINUTES),30)' $(CHAOS) --nocapture --ignored soak_

install:
	@$(PACKAGE) DESTDIR='$(DESTDIR)' scripts/package/install

uninstall:
	@$(PACKAGE) DESTDIR='$(DESTDIR)' scripts/package/uninstall

deb rpm: build
	@$(PACKAGE) scripts/package/$@

packages: dist
	@$(PACKAGE) scripts/package/packages

dist:
	@$(PACKAGE) scripts/package/dist

dist-check: dist
	@$(PACKAGE) scripts/package/dist-check

package-test: build packages
	@$(PACKAGE) scripts/package/test

clean:
	$(CARGO) clean
