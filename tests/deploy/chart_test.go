package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What Helm's conventions add to every object; kustomize has no counterpart of it.
var helmOnly = []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"}

// plain gives the chart's objects without Helm's additions, and kustomize's without the namespace,
// which Helm leaves to its user.
func plain(all []Object) []Object {
	for _, object := range all {
		metadata := as[Object](object["metadata"])
		for _, label := range helmOnly {
			delete(as[Object](metadata["labels"]), label)
		}
		delete(as[Object](metadata["annotations"]), "helm.sh/resource-policy")
		for _, name := range []string{"labels", "annotations"} {
			if len(as[Object](metadata[name])) == 0 {
				delete(metadata, name)
			}
		}
		if object["kind"] == "CustomResourceDefinition" {
			// Helm's convention wants the labels on every object; the definitions of kustomize are
			// the plain generated ones.
			delete(metadata, "labels")
		}
	}
	return having(all, func(object Object) bool { return object["kind"] != "Namespace" })
}

func TestTheChartRendersWhatKustomizeRenders(t *testing.T) {
	for overlay, settings := range map[string][]string{
		"default":    nil,
		"namespaced": {"--set", "watchNamespaces={orders}"},
		"ha":         {"--set", "replicas=2,priorityClass.create=true"},
	} {
		t.Run(overlay, func(t *testing.T) {
			compare(t, plain(kustomize(t, "overlays/"+overlay)), plain(template(t, settings...)))
		})
	}
}

func TestTheChartPassesHelmsStrictLint(t *testing.T) {
	tool(t, "helm", "lint", "--strict", path("deploy/helm/fdi-operator"))
}

func TestTheCRDsStayWhenTheReleaseIsRemovedAndCanBeLeftOut(t *testing.T) {
	definitions := having(template(t), ofKind("CustomResourceDefinition"))
	if len(definitions) != 2 {
		t.Fatalf("%d definitions", len(definitions))
	}
	for _, definition := range definitions {
		if field(definition, "metadata", "annotations", "helm.sh/resource-policy") != "keep" {
			t.Errorf("%s goes with the release, and all objects with it", id(definition))
		}
	}
	if left := having(template(t, "--set", "crds.install=false"), ofKind("CustomResourceDefinition")); len(left) > 0 {
		t.Error("crds.install=false installs definitions")
	}
}

func TestEverySettingReachesTheOperator(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	values := filepath.Join(t.TempDir(), "values.yaml")
	settings := `
image: {digest: "` + digest + `"}
imagePullSecrets: [{name: registry}]
watchNamespaces: [orders, billing]
allowedEndpoints: ["https://roma.example.com", "https://*.example.org:8443"]
allowInsecureEndpoints: true
leaderElection: {leaseName: other}
logFilter: info,fdi_operator=debug
extraArgs: [--max-api-requests=4]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
podLabels: {team: data}
podAnnotations: {note: "yes"}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{operator: Exists}]
priorityClass: {name: high}
networkPolicy: {extraEgress: [{ports: [{port: 3128, protocol: TCP}]}]}
metrics: {podMonitor: {enabled: true, labels: {release: prometheus}}}
tests: {image: busybox}
`
	if err := os.WriteFile(values, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	all := template(t, "--values", values)
	deployment := find(t, all, "Deployment", "fdi-operator")
	text, err := yaml.Marshal(deployment)
	if err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{
		"image: ghcr.io/fdi-operator/fdi-operator@" + digest, "- name: registry",
		"- --namespaces=orders,billing", "- --allowed-endpoints=https://roma.example.com,https://*.example.org:8443", "- --allow-insecure-endpoints",
		"- --lease-name=other", "- --log-filter=info,fdi_operator=debug", "- --max-api-requests=4", "name: HTTPS_PROXY",
		"team: data", `note: "yes"`, "kubernetes.io/arch: arm64", "- operator: Exists", "priorityClassName: high",
	} {
		if !strings.Contains(string(text), wanted) {
			t.Errorf("the Deployment lacks %q:\n%s", wanted, text)
		}
	}
	lease := as[[]any](field(find(t, all, "Role", "fdi-operator-lease"), "rules"))
	same(t, "lease", []any{"other"}, field(lease[0], "resourceNames"))
	if roles := having(all, func(o Object) bool { return o["kind"] == "Role" && field(o, "metadata", "name") == "fdi-operator" }); len(roles) != 2 {
		t.Errorf("%d roles for two namespaces", len(roles))
	}
	same(t, "pod monitor", "prometheus", field(find(t, all, "PodMonitor", "fdi-operator"), "metadata", "labels", "release"))
	find(t, all, "Pod", "fdi-operator-ready")
	if egress := as[[]any](field(find(t, all, "NetworkPolicy", "fdi-operator"), "spec", "egress")); len(egress) != 3 {
		t.Errorf("%d egress rules", len(egress))
	}
}

// Two monitors would scrape each pod twice, so the second is rendered for itself.
func TestAServiceMonitorCanTakeThePlaceOfThePodMonitor(t *testing.T) {
	all := template(t, "--set", "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prometheus")
	monitor, service := find(t, all, "ServiceMonitor", "fdi-operator"), find(t, all, "Service", "fdi-operator-metrics")
	same(t, "label", "prometheus", field(monitor, "metadata", "labels", "release"))
	endpoint := as[[]any](field(monitor, "spec", "endpoints"))[0]
	same(t, "port", field(as[[]any](field(service, "spec", "ports"))[0], "name"), field(endpoint, "port"))
	for label, value := range as[Object](field(monitor, "spec", "selector", "matchLabels")) {
		same(t, label, value, field(service, "metadata", "labels", label))
	}
}

// Nobody decides which of two pods may send calls, so there must never be two.
func TestWithoutLeaderElectionThePodEndsBeforeTheNextStarts(t *testing.T) {
	deployment := find(t, template(t, "--set", "leaderElection.enabled=false"), "Deployment", "fdi-operator")
	same(t, "strategy", Object{"type": "Recreate"}, field(deployment, "spec", "strategy"))
}

func TestEveryPartCanBeLeftOut(t *testing.T) {
	all := template(t, "--set", "crds.install=false,rbac.create=false,rbac.userRoles=false,serviceAccount.create=false,"+
		"podDisruptionBudget.enabled=false,networkPolicy.enabled=false,metrics.service=false")
	if len(all) != 1 || all[0]["kind"] != "Deployment" {
		t.Errorf("%d objects", len(all))
	}
}

func TestUnknownAndMistypedValuesAreRefusedBeforeAnythingIsInstalled(t *testing.T) {
	for _, mistake := range []string{
		"replica=2", "replicas=two", "logFormat=xml", "crds.keep=true", "resources.memory=1Gi",
	} {
		_, err := try("go", "tool", "helm", "template", path("deploy/helm/fdi-operator"), "--set", mistake)
		if err == nil || !strings.Contains(err.Error(), "values don't meet the specifications") {
			t.Errorf("%s: %v", mistake, err)
		}
	}
}

func TestTheReadmeAndTheSchemaNameEveryValue(t *testing.T) {
	var values, schema Object
	if err := yaml.Unmarshal([]byte(read(t, "deploy/helm/fdi-operator/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/helm/fdi-operator/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	readme := read(t, "deploy/helm/fdi-operator/README.md")
	var check func(prefix string, values, schema Object)
	check = func(prefix string, values, schema Object) {
		for name, value := range values {
			described := as[Object](field(schema, "properties", name))
			if described["description"] == nil {
				t.Errorf("values.schema.json does not describe %s%s", prefix, name)
			}
			if inner := as[Object](value); inner != nil && described["properties"] != nil {
				check(prefix+name+".", inner, described)
			} else if !strings.Contains(readme, "`"+prefix+name) {
				t.Errorf("README.md does not name %s%s", prefix, name)
			}
		}
	}
	check("", values, schema)
}

func TestTheChartHasTheVersionOfTheOperator(t *testing.T) {
	var chart Object
	if err := yaml.Unmarshal([]byte(read(t, "deploy/helm/fdi-operator/Chart.yaml")), &chart); err != nil {
		t.Fatal(err)
	}
	version := as[string](chart["appVersion"])
	if !strings.Contains(read(t, "Cargo.toml"), "\nversion = \""+version+"\"\n") {
		t.Errorf("the chart is for %s, Cargo.toml has another version", version)
	}
	image := find(t, kustomize(t, "overlays/default"), "Deployment", "fdi-operator")
	container := as[[]any](field(image, "spec", "template", "spec", "containers"))[0]
	if name := as[string](field(container, "image")); !strings.HasSuffix(name, ":v"+version) {
		t.Errorf("kustomize installs %s", name)
	}
}

// Artifact Hub shows them beside the chart.
func TestTheExamplesAndChangesOfTheChartAreValid(t *testing.T) {
	var chart struct {
		Annotations map[string]string
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/helm/fdi-operator/Chart.yaml")), &chart); err != nil {
		t.Fatal(err)
	}
	var examples []Object
	if err := yaml.UnmarshalStrict([]byte(chart.Annotations["artifacthub.io/crdsExamples"]), &examples); err != nil {
		t.Fatal(err)
	}
	folder, kinds := schemas(t), map[any]bool{}
	for _, example := range examples {
		kinds[example["kind"]] = true
		if out, err := conform(folder, write(t, example)); err != nil {
			t.Errorf("%v%s", err, out)
		}
	}
	if !kinds["FdiInstance"] || !kinds["FdiTaskGroup"] {
		t.Errorf("there are examples of %v", kinds)
	}
	var changes []struct{ Kind, Description string }
	if err := yaml.UnmarshalStrict([]byte(chart.Annotations["artifacthub.io/changes"]), &changes); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if !slices.Contains([]string{"added", "changed", "deprecated", "removed", "fixed", "security"}, change.Kind) || change.Description == "" {
			t.Errorf("Artifact Hub does not know the change %+v", change)
		}
	}
	if len(changes) == 0 {
		t.Error("the chart lists no changes")
	}
}
