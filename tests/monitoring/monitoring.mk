# Alert rules, dashboard and metrics. promtool comes with Debian's prometheus package.
test-monitoring: ## check alert rules, dashboard and a real scrape with promtool (10 s)
	cargo build --locked --workspace
	tests/monitoring/prepare
	go -C tests/monitoring test -count=1 ./...
.PHONY: test-monitoring
