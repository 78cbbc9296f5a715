# What takes longer than the everyday tests. The top Makefile includes this file.
FAULT_ROWS = $(abspath $(or $(CARGO_TARGET_DIR),target))/fault-rows.md

faults: ## break everything on purpose and write docs/faults.md
	rm -f $(FAULT_ROWS)
	FDI_FAULT_TABLE=$(FAULT_ROWS) cargo test --locked --test it -- health:: leadership:: watches:: clock_steps:: restore:: stale_views:: flood::
	{ cat benches/faults-head.md; sort $(FAULT_ROWS); } > docs/faults.md

faults-sweep: ## kill the operator before and after each of its requests, in a story of edits
	cargo test --locked --test it -- --ignored --nocapture crash_sweep::

walks: ## random edits, faults and kills on a real API server: WALKS of them (default 100) from WALKS_SEED on
	cargo test --locked --test it -- --ignored --nocapture walks::

bench-instructions: ## instructions of the pure steps under valgrind; INSTRUCTIONS="--page docs/performance.md"
	cargo bench --locked --bench instructions -- $(INSTRUCTIONS)

soak: ## three replicas with random kills for two minutes; one process through an hour of churn and faults
	cargo test --locked --test it -- --ignored --nocapture for_two_minutes
	cargo bench --locked --bench soak

hostile: ## one namespace does all it may for an hour, while the edits of another are timed; HOSTILE="--minutes 5"
	cargo bench --locked --bench hostile -- $(HOSTILE)

model: ## every order of events of a small instance, MODEL_DEPTH steps deep (default 7), and 5,000 random lives
	cargo test --locked --lib exhaustive -- --include-ignored --nocapture
	PROPTEST_CASES=5000 cargo test --locked --lib once_trouble_ends

.PHONY: bench-instructions faults faults-sweep hostile model soak walks
