package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// withValues renders the chart with a file of values.
func withValues(t *testing.T, values string) []Object {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return template(t, "--values", file)
}

// podOf gives the pod of the operator and its container.
func podOf(t *testing.T, all []Object) (Object, Object) {
	t.Helper()
	pod := as[Object](field(find(t, all, "Deployment", "fdi-operator"), "spec", "template"))
	return pod, as[Object](as[[]any](field(pod, "spec", "containers"))[0])
}

// YAML takes 123 and true for other types, and the API server refuses them as names.
func TestNamesThatLookLikeNumbersStayText(t *testing.T) {
	all := withValues(t, `
watchNamespaces: ["123", "0x10"]
serviceAccount: {name: "123"}
leaderElection: {leaseName: "1e3"}
priorityClass: {create: true, name: "123"}
image: {repository: "123", tag: "1"}
metrics: {podMonitor: {enabled: true}}
`)
	text := tool(t, "helm", "template", "123", path("deploy/helm/fdi-operator"), "--namespace", "123")
	for _, object := range append(all, objects(t, text)...) {
		for _, name := range []string{"name", "namespace"} {
			value := field(object, "metadata", name)
			if _, text := value.(string); value != nil && !text {
				t.Errorf("%s: metadata.%s is %v, a %T", id(object), name, value, value)
			}
		}
		for label, value := range as[Object](field(object, "metadata", "labels")) {
			if _, text := value.(string); !text {
				t.Errorf("%s: the label %s is %v, a %T", id(object), label, value, value)
			}
		}
		for _, subject := range as[[]any](object["subjects"]) {
			if as[string](field(subject, "name")) == "" || as[string](field(subject, "namespace")) == "" {
				t.Errorf("%s binds %v", id(object), subject)
			}
		}
	}
	pod, container := podOf(t, all)
	for what, value := range map[string]any{
		"account": field(pod, "spec", "serviceAccountName"), "class": field(pod, "spec", "priorityClassName"), "image": container["image"],
	} {
		if _, text := value.(string); !text {
			t.Errorf("the %s is %v, a %T", what, value, value)
		}
	}
	same(t, "lease", []any{"1e3"}, field(as[[]any](field(find(t, all, "Role", "fdi-operator-lease"), "rules"))[0], "resourceNames"))
}

// A key that occurs twice is refused by strict readers, and the later one wins for others.
func TestNoLabelOrAnnotationOccursTwiceAndOursWin(t *testing.T) {
	const ours = "app.kubernetes.io/name: theirs, app.kubernetes.io/component: theirs, app.kubernetes.io/part-of: theirs, helm.sh/chart: theirs"
	file := filepath.Join(t.TempDir(), "values.yaml")
	values := `
podLabels: {` + ours + `}
commonLabels: {` + ours + `, rbac.authorization.k8s.io/aggregate-to-view: "false"}
podAnnotations: {kubectl.kubernetes.io/default-container: theirs}
metrics:
  podMonitor: {enabled: true, labels: {` + ours + `}}
  prometheusRule: {enabled: true, labels: {` + ours + `}}
  dashboard: {enabled: true, labels: {` + ours + `}}
`
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	text := tool(t, "helm", "template", "fdi-operator", path("deploy/helm/fdi-operator"), "--namespace", "fdi-system", "--values", file)
	for _, document := range strings.Split(text, "\n---") {
		var object Object
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Errorf("%v in\n%s", err, document)
		}
	}
	for _, object := range objects(t, text) {
		if object["kind"] == "CustomResourceDefinition" {
			continue
		}
		same(t, id(object), "fdi-operator", field(object, "metadata", "labels", "app.kubernetes.io/name"))
	}
	pod, _ := podOf(t, objects(t, text))
	same(t, "pod", field(find(t, objects(t, text), "Deployment", "fdi-operator"), "spec", "selector", "matchLabels", "app.kubernetes.io/name"),
		field(pod, "metadata", "labels", "app.kubernetes.io/name"))
	same(t, "container", "operator", field(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container"))
}

func TestEveryUsualSettingOfAPodReachesThePod(t *testing.T) {
	all := withValues(t, `
podSecurityContext: {runAsNonRoot: true, runAsUser: 1000}
securityContext: {readOnlyRootFilesystem: true}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
extraVolumes: [{name: authority, configMap: {name: authority}}]
extraVolumeMounts: [{name: authority, mountPath: /etc/authority, readOnly: true}]
dnsConfig: {nameservers: [192.0.2.53]}
hostAliases: [{ip: 192.0.2.1, hostnames: [roma.example.com]}]
commonLabels: {cost-centre: "42"}
deploymentAnnotations: {reloader.example.com/auto: "true"}
revisionHistoryLimit: 2
`)
	pod, container := podOf(t, all)
	deployment := find(t, all, "Deployment", "fdi-operator")
	for what, pair := range map[string][2]any{
		"podSecurityContext":        {Object{"runAsNonRoot": true, "runAsUser": 1000.0, "seccompProfile": Object{"type": "RuntimeDefault"}}, field(pod, "spec", "securityContext")},
		"topologySpreadConstraints": {"zone", field(as[[]any](field(pod, "spec", "topologySpreadConstraints"))[0], "topologyKey")},
		"extraVolumes":              {"authority", field(as[[]any](field(pod, "spec", "volumes"))[0], "name")},
		"extraVolumeMounts":         {"/etc/authority", field(as[[]any](container["volumeMounts"])[0], "mountPath")},
		"dnsConfig":                 {[]any{"192.0.2.53"}, field(pod, "spec", "dnsConfig", "nameservers")},
		"hostAliases":               {"192.0.2.1", field(as[[]any](field(pod, "spec", "hostAliases"))[0], "ip")},
		"deploymentAnnotations":     {"true", field(deployment, "metadata", "annotations", "reloader.example.com/auto")},
		"revisionHistoryLimit":      {2.0, field(deployment, "spec", "revisionHistoryLimit")},
		"commonLabels of the pod":   {"42", field(pod, "metadata", "labels", "cost-centre")},
	} {
		same(t, what, pair[0], pair[1])
	}
	for _, object := range all {
		if object["kind"] != "CustomResourceDefinition" {
			same(t, "commonLabels of "+id(object), "42", field(object, "metadata", "labels", "cost-centre"))
		}
	}
	if selector := as[Object](field(deployment, "spec", "selector", "matchLabels")); len(selector) != 2 {
		t.Errorf("the selector is immutable, so no value may change it: %v", selector)
	}
}

func TestAlertsAndDashboardComeWithTheChart(t *testing.T) {
	all := withValues(t, `metrics: {prometheusRule: {enabled: true, labels: {release: p}}, dashboard: {enabled: true, annotations: {folder: f}}}`)
	var rules Object
	if err := yaml.Unmarshal([]byte(read(t, "deploy/monitoring/rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	rule := find(t, all, "PrometheusRule", "fdi-operator")
	same(t, "rules", rules, rule["spec"])
	same(t, "label", "p", field(rule, "metadata", "labels", "release"))
	dashboard := find(t, all, "ConfigMap", "fdi-operator-dashboard")
	same(t, "dashboard", strings.TrimSpace(read(t, "deploy/monitoring/dashboard.json")), field(dashboard, "data", "fdi-operator.json"))
	same(t, "label", "1", field(dashboard, "metadata", "labels", "grafana_dashboard"))
	same(t, "annotation", "f", field(dashboard, "metadata", "annotations", "folder"))
}

// OpenShift assigns users and groups per namespace and refuses pods that ask for others.
func TestNoPodAsksForAUserOrGroup(t *testing.T) {
	for name, all := range map[string][]Object{"kustomize": kustomize(t, "overlays/default"), "chart": template(t)} {
		pod, container := podOf(t, all)
		for _, context := range []any{field(pod, "spec", "securityContext"), container["securityContext"]} {
			for _, fixed := range []string{"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} {
				if field(context, fixed) != nil {
					t.Errorf("%s sets %s", name, fixed)
				}
			}
		}
		same(t, name, true, field(pod, "spec", "securityContext", "runAsNonRoot"))
	}
}

// "values don't meet the specifications" alone sends the user to the source.
func TestARefusedValueIsNamedWithTheReason(t *testing.T) {
	for settings, reason := range map[string]string{
		"watchNamespaces={Orders}":                                            `"Orders" is no name of a namespace`,
		"allowedEndpoints={roma.example.com}":                                 "must be https://HOST",
		"allowedEndpoints={https://roma.example.com/v2}":                      "without a path",
		"allowedEndpoints={http://roma.example.com}":                          "clear text",
		"image.digest=latest":                                                 "image.tag",
		"networkPolicy.egressPorts=null":                                      "neither the API server nor FDI",
		"replicas=2,leaderElection.enabled=false":                             "every replica would send calls",
		"metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true": "scrape each pod twice",
		"metrics.serviceMonitor.enabled=true,metrics.service=false":           "it selects the Service",
		"tests.image=busybox,metrics.service=false":                           "requests the Service",
		"nameSuffix=-b": "set watchNamespaces",
	} {
		_, err := try("go", "tool", "helm", "template", path("deploy/helm/fdi-operator"), "--set", settings)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestEveryValueHasAComment(t *testing.T) {
	var parents []string
	described, key := false, regexp.MustCompile(`^( *)([a-zA-Z]+):(.*)$`)
	for number, line := range strings.Split(read(t, "deploy/helm/fdi-operator/values.yaml"), "\n") {
		match := key.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "#"):
			described = true
		case match == nil:
			described = false
		default:
			parents = append(parents[:min(len(parents), len(match[1])/2)], match[2])
			group := strings.TrimSpace(match[3]) == ""
			if !described && !group && !within(parents) {
				t.Errorf("values.yaml:%d: %s has no comment", number+1, strings.Join(parents, "."))
			}
			described = false
		}
	}
}

// within says whether a value belongs to an object of Kubernetes, whose documentation describes it.
func within(parents []string) bool {
	for _, parent := range parents[:len(parents)-1] {
		switch parent {
		case "requests", "limits", "podSecurityContext", "securityContext", "dnsConfig", "metricsFrom", "labels":
			return true
		}
	}
	return false
}
