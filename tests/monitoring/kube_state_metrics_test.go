package monitoring

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fdi-operator.test/gitops/world"
)

const orders = `
apiVersion: v1
kind: Secret
metadata: {name: roma-credentials, namespace: orders}
stringData: {token: secret-of-orders}
---
apiVersion: fdi.romaconnect.dev/v1alpha1
kind: FdiInstance
metadata: {name: orders-roma, namespace: orders}
spec:
  endpoint: %s
  projectId: project
  instanceId: roma
  auth: {token: {secretRef: {name: roma-credentials}}}
---
apiVersion: fdi.romaconnect.dev/v1alpha1
kind: FdiTaskGroup
metadata: {name: nightly, namespace: orders}
spec: {instanceRef: {name: orders-roma}, desiredState: Running, taskIds: [a, b]}
---
apiVersion: fdi.romaconnect.dev/v1alpha1
kind: FdiTaskGroup
metadata: {name: idle, namespace: orders}
spec: {instanceRef: {name: orders-roma}, desiredState: Running, suspend: true, taskIds: [c]}
`

// kubeStateMetrics starts the real one with the shipped configuration and returns the URL of its
// metrics.
func kubeStateMetrics(t *testing.T, w *world.World) string {
	t.Helper()
	program, err := exec.Command("go", "-C", "kube-state-metrics", "tool", "-n", "kube-state-metrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBE_STATE_METRICS_BIN", strings.TrimSpace(string(program)))
	config, err := filepath.Abs(deploy + "kube-state-metrics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var ports [2]int
	for i := range ports {
		if ports[i], err = world.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	err = w.Run("kube-state-metrics", "--kubeconfig={kubeconfig}", "--custom-resource-state-only", "--custom-resource-state-config-file="+config,
		"--host=127.0.0.1", fmt.Sprintf("--port=%d", ports[0]), "--telemetry-host=127.0.0.1", fmt.Sprintf("--telemetry-port=%d", ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d/metrics", ports[0])
}

func scrape(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return string(text)
}

// has tells whether a sample of the metric has all these labels and the value.
func has(text, metric, value string, labels ...string) bool {
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "{")
		all := func(label string) bool { return strings.Contains(rest, label) }
		if name == metric && strings.HasSuffix(rest, "} "+value) && !slices.ContainsFunc(labels, func(l string) bool { return !all(l) }) {
			return true
		}
	}
	return false
}

func TestKubeStateMetricsShowsTheStatusOfEveryObject(t *testing.T) {
	w, err := world.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	instance := "/instances/project/roma"
	for _, request := range []struct {
		method, path string
		body         any
	}{
		{"PUT", instance, map[string]any{}},
		{"POST", instance + "/tasks", map[string]any{"ids": []string{"a", "b", "c"}}},
		{"POST", "/tokens", map[string]any{"token": "secret-of-orders", "project": "project"}},
	} {
		if err := w.Simulator(request.method, request.path, request.body, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Kubectl("", "create", "namespace", "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kubectl(fmt.Sprintf(orders, w.Proxy.URL), "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	url := kubeStateMetrics(t, w)
	nightly, idle, roma := `name="nightly"`, `name="idle"`, `name="orders-roma"`
	expected := []struct {
		metric, value string
		labels        []string
	}{
		{"fdi_task_group_info", "1", []string{nightly, `fdiinstance="orders-roma"`, `desired_state="Running"`, `suspended="false"`, `deletion_policy="Orphan"`}},
		{"fdi_task_group_info", "1", []string{idle, `suspended="true"`}},
		{"fdi_task_group_status_condition", "1", []string{nightly, `condition="Ready"`, `status="True"`}},
		{"fdi_task_group_status_condition", "0", []string{nightly, `condition="Ready"`, `status="False"`}},
		{"fdi_task_group_status_condition", "1", []string{idle, `condition="Ready"`, `status="False"`}},
		{"fdi_task_group_status_reason", "1", []string{idle, `condition="Ready"`, `reason="Suspended"`}},
		{"fdi_task_group_status_tasks", "2", []string{nightly}},
		{"fdi_task_group_status_tasks_ready", "2", []string{nightly}},
		{"fdi_task_group_status_tasks_pending", "1", []string{idle}},
		{"fdi_task_group_status_tasks_failed", "0", []string{nightly}},
		{"fdi_task_group_status_tasks_conflicting", "0", []string{nightly}},
		{"fdi_task_group_status_tasks_failing", "0", []string{nightly}},
		{"fdi_task_group_status_condition", "1", []string{nightly, `condition="RunsHealthy"`}},
		{"fdi_task_group_generation", "1", []string{nightly}},
		{"fdi_task_group_status_observed_generation", "1", []string{nightly}},
		{"fdi_instance_info", "1", []string{roma, `project_id="project"`, `instance_id="roma"`, `endpoint="http`}},
		{"fdi_instance_status_condition", "1", []string{roma, `condition="Ready"`, `status="True"`}},
		{"fdi_instance_status_reason", "1", []string{roma, `reason="SignedIn"`}},
		{"fdi_instance_status_tasks", "3", []string{roma}},
		{"fdi_instance_status_tasks_running", "2", []string{roma}},
		{"fdi_instance_status_tasks_managed", "3", []string{roma}},
		{"fdi_instance_status_groups", "2", []string{roma}},
	}
	var text string
	var missing []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		text, missing = scrape(url), nil
		for _, sample := range expected {
			if !has(text, sample.metric, sample.value, append(sample.labels, `exported_namespace="orders"`)...) {
				missing = append(missing, fmt.Sprintf("%s%v %s", sample.metric, sample.labels, sample.value))
			}
		}
		if len(missing) == 0 {
			break
		}
	}
	if len(missing) > 0 {
		t.Fatalf("missing:\n%s\nin:\n%s", strings.Join(missing, "\n"), text)
	}
	if os.Getenv("SHOW") != "" {
		fmt.Println(text)
	}
	// Every metric of the configuration has samples, and each is documented.
	page := read(t, "../../docs/metrics.md")
	families := regexp.MustCompile(`(?m)^# HELP (fdi_\w+)`).FindAllStringSubmatch(text, -1)
	if len(families) < 20 {
		t.Errorf("only %d families", len(families))
	}
	for _, family := range families {
		if !strings.Contains(text, "\n"+family[1]+"{") {
			t.Errorf("%s has no sample", family[1])
		}
		if !strings.Contains(page, "`"+family[1]+"`") {
			t.Errorf("docs/metrics.md does not list %s", family[1])
		}
	}
}
