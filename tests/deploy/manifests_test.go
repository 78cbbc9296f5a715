package deploy_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"
)

func TestTheRenderedInstallationIsWhatTheDefaultOverlayGives(t *testing.T) {
	if read(t, "deploy/install.yaml") != tool(t, "kustomize", "build", path("deploy/overlays/default")) {
		t.Error("deploy/install.yaml is out of date: make manifests")
	}
}

func TestKustomizeAndChartInstallTheGeneratedCRDs(t *testing.T) {
	generated := read(t, "crds/fdi.romaconnect.dev.yaml")
	for _, copied := range []string{"deploy/crds/fdi.romaconnect.dev.yaml", "deploy/helm/fdi-operator/files/crds/fdi.romaconnect.dev.yaml"} {
		if read(t, copied) != generated {
			t.Errorf("%s differs from crds/: make manifests", copied)
		}
	}
}

func TestAWatchedNamespaceGivesThePermissionsOfTheClusterRole(t *testing.T) {
	cluster := find(t, kustomize(t, "base"), "ClusterRole", "fdi-operator")
	namespaced := kustomize(t, "overlays/namespaced")
	same(t, "rules", field(cluster, "rules"), field(find(t, namespaced, "Role", "fdi-operator"), "rules"))
	if found := having(namespaced, func(object Object) bool {
		return (object["kind"] == "ClusterRole" || object["kind"] == "ClusterRoleBinding") && field(object, "metadata", "name") == "fdi-operator"
	}); len(found) > 0 {
		t.Error("the namespaced overlay still has permissions in the whole cluster")
	}
}

func TestEveryBindingIsForTheAccountInTheOperatorsNamespace(t *testing.T) {
	for _, overlay := range []string{"default", "namespaced", "ha", "e2e"} {
		for _, object := range kustomize(t, "overlays/"+overlay) {
			for _, subject := range as[[]any](object["subjects"]) {
				if field(subject, "namespace") != "fdi-system" || field(subject, "name") != "fdi-operator" {
					t.Errorf("%s in %s binds %v", id(object), overlay, subject)
				}
			}
		}
	}
}

func TestTheOperatorReadsSecretsByNameOnly(t *testing.T) {
	for _, object := range kustomize(t, "overlays/default") {
		for _, rule := range as[[]any](object["rules"]) {
			verbs := as[[]any](field(rule, "verbs"))
			if slices.Contains(as[[]any](field(rule, "resources")), any("secrets")) && !slices.Equal(verbs, []any{"get"}) {
				t.Errorf("%s: secrets %v", id(object), verbs)
			}
			for _, part := range []string{"verbs", "resources", "apiGroups"} {
				if slices.Contains(as[[]any](field(rule, part)), any("*")) {
					t.Errorf("%s has a wildcard in %s", id(object), part)
				}
			}
		}
	}
}

func TestTheNamespaceEnforcesTheRestrictedLevel(t *testing.T) {
	for _, overlay := range []string{"default", "namespaced", "ha", "e2e"} {
		namespace := find(t, kustomize(t, "overlays/"+overlay), "Namespace", "fdi-system")
		if level := field(namespace, "metadata", "labels", "pod-security.kubernetes.io/enforce"); level != "restricted" {
			t.Errorf("%s enforces %v", overlay, level)
		}
	}
}

// What the end-to-end test installs is what is shipped.
func TestTheEndToEndOverlayChangesOnlyAddressesImageAndStorage(t *testing.T) {
	shipped, tested := kustomize(t, "overlays/default"), kustomize(t, "overlays/e2e")
	for _, all := range [][]Object{shipped, tested} {
		container := as[Object](as[[]any](field(find(t, all, "Deployment", "fdi-operator"), "spec", "template", "spec", "containers"))[0])
		delete(container, "image")
		delete(container, "imagePullPolicy")
		for _, amounts := range as[Object](container["resources"]) {
			delete(as[Object](amounts), "ephemeral-storage")
		}
		container["env"] = slices.DeleteFunc(as[[]any](container["env"]), func(variable any) bool {
			return field(variable, "value") != nil // given by the overlay; the shipped one comes from the pod
		})
	}
	compare(t, shipped, tested)
}

// The pod must be able to end cleanly: the operator takes up to 6 s (--shutdown-timeout).
func TestThePodHasTimeToReleaseTheLease(t *testing.T) {
	pod := field(find(t, kustomize(t, "base"), "Deployment", "fdi-operator"), "spec", "template", "spec")
	if grace := as[float64](field(pod, "terminationGracePeriodSeconds")); grace < 10 {
		t.Errorf("the kubelet kills after %v s", grace)
	}
}

// compare fails unless both hold the same objects.
func compare(t *testing.T, one, other []Object) {
	t.Helper()
	index := map[string]Object{}
	for _, object := range other {
		index[id(object)] = object
	}
	for _, object := range one {
		counterpart, there := index[id(object)]
		if !there {
			t.Errorf("only one of the two has %s", id(object))
			continue
		}
		same(t, id(object), object, counterpart)
		delete(index, id(object))
	}
	for name := range index {
		t.Errorf("only one of the two has %s", name)
	}
}

// every runs a check on the installation of each overlay and of the chart.
func every(t *testing.T, check func(t *testing.T, all []Object)) {
	t.Helper()
	for _, overlay := range []string{"default", "namespaced", "ha"} {
		t.Run(overlay, func(t *testing.T) { check(t, kustomize(t, "overlays/"+overlay)) })
	}
	t.Run("chart", func(t *testing.T) { check(t, template(t)) })
}

// With the default of 5, roma.cn-north-4.myhuaweicloud.com is queried in the domains of the cluster
// first: four more queries for each name, and whoever may create such a Service answers.
func TestHostNamesAreResolvedBeforeTheSearchDomainsOfTheCluster(t *testing.T) {
	every(t, func(t *testing.T, all []Object) {
		pod, _ := podOf(t, all)
		same(t, "options", []any{Object{"name": "ndots", "value": "1"}}, field(pod, "spec", "dnsConfig", "options"))
	})
}

// Everyone in the cluster could open connections to the port otherwise.
func TestOnlyMonitoringReachesThePortOfTheOperator(t *testing.T) {
	every(t, func(t *testing.T, all []Object) {
		rules := as[[]any](field(find(t, all, "NetworkPolicy", "fdi-operator"), "spec", "ingress"))
		if len(rules) == 0 {
			t.Fatal("nobody can scrape the metrics")
		}
		for _, rule := range rules {
			peers := as[[]any](field(rule, "from"))
			if len(peers) == 0 {
				t.Error("everyone may connect")
			}
			for _, peer := range peers {
				if field(peer, "namespaceSelector", "matchExpressions") == nil {
					t.Errorf("%v can be joined by a label that anyone may set", peer)
				}
			}
		}
	})
	policy := func(settings ...string) any {
		return field(find(t, template(t, settings...), "NetworkPolicy", "fdi-operator"), "spec", "ingress")
	}
	same(t, "no peers", []any{}, policy("--set-json", "networkPolicy.metricsFrom=[]"))
	if peers := as[[]any](field(as[[]any](policy("--set", "tests.image=busybox"))[0], "from")); len(peers) != 2 {
		t.Errorf("the test pod is kept out: %v", peers)
	}
}

// 0.0.0.0 does not exist in the pods of an IPv6-only cluster, and 127.0.0.1 is no address for a
// Service.
func TestNoManifestFixesAnAddressFamily(t *testing.T) {
	every(t, func(t *testing.T, all []Object) {
		for _, object := range all {
			if object["kind"] == "CustomResourceDefinition" {
				continue
			}
			text, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if found := regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b|ipFamil`).Find(text); found != nil {
				t.Errorf("%s has %s", id(object), found)
			}
		}
	})
}

// A namespace whose quota names ephemeral storage refuses pods that do not say how much they use.
func TestThePodSaysHowMuchOfEveryResourceItUses(t *testing.T) {
	every(t, func(t *testing.T, all []Object) {
		_, container := podOf(t, all)
		for _, resource := range []string{"memory", "ephemeral-storage"} {
			for _, kind := range []string{"requests", "limits"} {
				if field(container, "resources", kind, resource) == nil {
					t.Errorf("no %s of %s", kind, resource)
				}
			}
		}
	})
}
