// Package monitoring holds the alert rules and the dashboard to the documented metrics, and the
// metrics to promtool.
package monitoring

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fdi-operator.test/gitops/world"
)

const deploy = "../../deploy/monitoring/"

type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func load(t *testing.T) rules {
	t.Helper()
	var found rules
	if err := yaml.UnmarshalStrict([]byte(read(t, deploy+"rules.yaml")), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Groups) != 1 || len(found.Groups[0].Rules) == 0 {
		t.Fatal("no rules")
	}
	return found
}

func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool(t, "", "check", "rules", deploy+"rules.yaml")
}

// scraped is a series of a history as Prometheus stores it. The history has the labels that the
// operator exposes, and of the target `job` and `pod`; a target has more labels, and honor_labels
// decides whose label holds where both have one.
func scraped(series string, honor bool) string {
	name, text, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	target := map[string]string{"namespace": "fdi-system", "instance": "10.0.0.7:8080", "container": "operator", "endpoint": "http"}
	exposed := map[string]string{}
	for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if label[1] == "job" || label[1] == "pod" {
			target[label[1]] = label[2]
		} else {
			exposed[label[1]] = label[2]
		}
	}
	stored := maps.Clone(target)
	for label, value := range exposed {
		if _, taken := target[label]; taken && !honor {
			label = "exported_" + label
		}
		stored[label] = value
	}
	var labels []string
	for _, label := range slices.Sorted(maps.Keys(stored)) {
		labels = append(labels, fmt.Sprintf("%s=%q", label, stored[label]))
	}
	return name + "{" + strings.Join(labels, ",") + "}"
}

func TestTheRulesHoldTheirHistoriesWithHonorLabelsOnAndOff(t *testing.T) {
	rules, err := filepath.Abs(deploy + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	series := regexp.MustCompile(`(?m)^  - series: (.*)$`)
	for _, honor := range []bool{true, false} {
		text := strings.Replace(read(t, "rules_test.yaml"), deploy+"rules.yaml", rules, 1)
		found := 0
		text = series.ReplaceAllStringFunc(text, func(line string) string {
			found++
			return "  - series: '" + scraped(series.FindStringSubmatch(line)[1], honor) + "'"
		})
		if found < 20 {
			t.Fatalf("only %d series were found", found)
		}
		file := filepath.Join(t.TempDir(), "rules_test.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		promtool(t, "", "test", "rules", file)
	}
}

// Prometheus and its Operator set these for each target. A label of ours of the same name would be
// renamed, or hide the target's, as honor_labels says.
func TestNoMetricHasALabelOfTheTarget(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `[a-z_]+` \\| \\w+ \\| ([^|]*) \\|").FindAllStringSubmatch(read(t, "../../docs/metrics.md"), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d metrics were found", len(rows))
	}
	for _, row := range rows {
		for _, label := range []string{"job", "instance", "namespace", "pod", "container", "endpoint", "service", "node"} {
			if strings.Contains(row[1], "`"+label+"`") {
				t.Errorf("a label of the target: %s", row[0])
			}
		}
	}
}

func TestEveryAlertHasAFiringAndARestingHistoryAndARunbookEntry(t *testing.T) {
	histories, runbook := read(t, "rules_test.yaml"), read(t, "../../docs/operations.md")
	for _, rule := range load(t).Groups[0].Rules {
		for _, kind := range []string{"fires", "rests"} {
			if !strings.Contains(histories, rule.Alert+": "+kind) {
				t.Errorf("%s has no history in which it %s", rule.Alert, kind)
			}
		}
		if !strings.Contains(runbook, "\n### "+rule.Alert+"\n") {
			t.Errorf("docs/operations.md has no entry for %s", rule.Alert)
		}
		if !strings.HasSuffix(rule.Annotations["runbook_url"], "#"+strings.ToLower(rule.Alert)) {
			t.Errorf("%s does not link to its entry", rule.Alert)
		}
	}
}

func TestTheWrapperHoldsTheSameRules(t *testing.T) {
	var wrapper struct {
		Spec rules `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(read(t, deploy+"prometheusrule.yaml")), &wrapper); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(wrapper.Spec, load(t)) {
		t.Error("prometheusrule.yaml differs from rules.yaml")
	}
}

func TestEveryMetricOfRulesAndDashboardIsDocumentedAndTheDashboardShowsAll(t *testing.T) {
	names := regexp.MustCompile(`fdi_operator_[a-z_]+`)
	documented := regexp.MustCompile("(?m)^\\| `(fdi_operator_[a-z_]+)`").FindAllStringSubmatch(read(t, "../../docs/metrics.md"), -1)
	var known []string
	for _, match := range documented {
		known = append(known, match[1])
	}
	plain := func(name string) string {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, found := strings.CutSuffix(name, suffix); found {
				return base
			}
		}
		return name
	}
	dashboard := read(t, deploy+"dashboard.json")
	for _, text := range []string{read(t, deploy+"rules.yaml"), dashboard} {
		for _, name := range names.FindAllString(text, -1) {
			if !slices.Contains(known, plain(name)) {
				t.Errorf("%s is not in docs/metrics.md", name)
			}
		}
	}
	for _, name := range known {
		if !strings.Contains(dashboard, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

func TestPromtoolAcceptsARealScrape(t *testing.T) {
	w, err := world.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	answer, err := http.Get(w.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "fdi_operator_leader") {
		t.Fatalf("no metrics of ours:\n%s", text)
	}
	promtool(t, string(text), "check", "metrics")
}
