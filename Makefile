.PHONY: bench

# Measures; takes some minutes. See tests/benches/sync.rs for what can be set.
bench:
	cargo build --release --locked
	cargo bench --locked --bench sync
	cargo bench --locked --bench parts
