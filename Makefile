# make demo    a master and two workers become and stay equal, before your eyes
# make test    everything: unit, property, whole clusters, the two programs, an independent peer
# make bench   how long, and how much memory
# make lint    format, clippy, documentation
# make build   the two programs, in target/release

CARGO   ?= cargo
PYTHON  ?= python3
RULESET ?=
VENV    := target/venv

.PHONY: build demo test lint bench clean

build:
	$(CARGO) build --release --locked

demo:
	@$(CARGO) build --release --locked $$(test -t 2 || echo --quiet)
	@$(PYTHON) scripts/demo.py $(if $(RULESET),--ruleset '$(RULESET)') $(if $(KEEP),--keep)

test: $(VENV)/ready
	$(CARGO) test --locked
	$(VENV)/bin/python tests/interop/run.py --bin-dir target/debug

# The independent peer has a cipher library of its own; it lives in an environment of its own.
$(VENV)/ready: tests/interop/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/interop/requirements.txt
	touch $@

lint:
	$(CARGO) fmt --check -- --config-path etc/lint
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib

# The first leaves nothing deleted behind that could slow the file system down for the second.
bench: build
	$(CARGO) bench --locked --bench sync
	$(CARGO) bench --locked --bench parts
	$(CARGO) bench --locked --bench agents

clean:
	$(CARGO) clean
