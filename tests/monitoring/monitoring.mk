# Alert rules, dashboard and metrics. promtool comes with Debian's prometheus package;
# kube-state-metrics is built as a Go module, which takes two minutes the first time.
test-monitoring: ## check alert rules, dashboard and a real scrape with promtool and kube-state-metrics (20 s)
	cargo build --locked --workspace
	tests/monitoring/prepare
	go -C tests/monitoring test -count=1 ./...
.PHONY: test-monitoring
