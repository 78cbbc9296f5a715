faults: ## what goes wrong, what the operator did, how many seconds until all was right: the table of docs/faults.md
	@rm -f target/faults.md
	FDI_FAULT_TABLE=$(CURDIR)/target/faults.md cargo test --locked --test it -- watches:: leadership:: health::
	@sort -u target/faults.md

soak: ## two minutes of three replicas, of which one at random is killed, ended or frozen again and again
	cargo test --locked --test it -- --ignored --nocapture three_replicas_with_random_kills_for_two_minutes

.PHONY: faults soak
