package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// overlay builds a kustomization that uses a folder of the repository as a user would.
func overlay(t *testing.T, folder, more string) []Object {
	t.Helper()
	absolute, err := filepath.Abs(path("deploy", folder))
	if err != nil {
		t.Fatal(err)
	}
	place := t.TempDir()
	relative, err := filepath.Rel(place, absolute)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [%s]\n%s", relative, more)
	if err := os.WriteFile(filepath.Join(place, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return objects(t, tool(t, "kustomize", "build", place))
}

// bound fails unless every binding is for the account that the Deployment runs with.
func bound(t *testing.T, all []Object) {
	t.Helper()
	accounts := having(all, ofKind("ServiceAccount"))
	if len(accounts) != 1 {
		t.Fatalf("%d accounts", len(accounts))
	}
	deployment := having(all, ofKind("Deployment"))[0]
	same(t, "namespace of the account", field(deployment, "metadata", "namespace"), field(accounts[0], "metadata", "namespace"))
	same(t, "account", field(deployment, "spec", "template", "spec", "serviceAccountName"), field(accounts[0], "metadata", "name"))
	bindings := 0
	for _, object := range all {
		for _, subject := range as[[]any](object["subjects"]) {
			bindings++
			for _, part := range []string{"name", "namespace"} {
				same(t, id(object)+" "+part, field(accounts[0], "metadata", part), field(subject, part))
			}
		}
	}
	if bindings < 3 {
		t.Errorf("%d bindings", bindings)
	}
}

func TestTheBindingsFollowTheOperatorIntoAnyNamespace(t *testing.T) {
	for _, folder := range []string{"base", "overlays/default", "overlays/ha"} {
		t.Run(folder, func(t *testing.T) { bound(t, overlay(t, folder, "namespace: team-ops\n")) })
	}
	for _, folder := range []string{"overlays/default", "overlays/ha", "overlays/namespaced"} {
		t.Run(folder+" under another name", func(t *testing.T) { bound(t, overlay(t, folder, "nameSuffix: -b\n")) })
	}
}

// A copy whose operator is elsewhere: the bindings in the watched namespaces are in another folder
// than the account.
func TestTheBindingsOfWatchedNamespacesFollowTheOperatorToo(t *testing.T) {
	bound(t, copyOfNamespaced(t, "team-ops", "billing", ""))
}

// copyOfNamespaced is what docs/install.md tells users to do for a few namespaces.
func copyOfNamespaced(t *testing.T, namespace, watched, more string) []Object {
	t.Helper()
	place := t.TempDir()
	if err := os.CopyFS(place, os.DirFS(path("deploy"))); err != nil {
		t.Fatal(err)
	}
	edit := func(file, from, to string) {
		file = filepath.Join(place, "overlays/namespaced", file)
		content, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(content), from) {
			t.Fatalf("%s: no %q, %v", file, from, err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(content), from, to)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("operator/kustomization.yaml", "namespace: fdi-system", "namespace: "+namespace)
	edit("operator/kustomization.yaml", "--namespaces=orders", "--namespaces="+watched)
	edit("orders/kustomization.yaml", "namespace: orders", "namespace: "+watched)
	edit("kustomization.yaml", "kind: Kustomization\n", "kind: Kustomization\n"+more)
	return objects(t, tool(t, "kustomize", "build", filepath.Join(place, "overlays/namespaced")))
}

// Whichever is applied last would take the bindings away from the first, without a word.
func TestTwoInstallationsWithASuffixShareOnlyTheCRDs(t *testing.T) {
	first, second := copyOfNamespaced(t, "fdi-system", "orders", ""), copyOfNamespaced(t, "billing-system", "billing", "nameSuffix: -billing\n")
	bound(t, second)
	var names []string
	for _, object := range first {
		names = append(names, id(object))
	}
	for _, object := range second {
		if slices.Contains(names, id(object)) && object["kind"] != "CustomResourceDefinition" {
			t.Errorf("both installations have %s", id(object))
		}
	}
	releases := [][]Object{
		template(t, "--set", "watchNamespaces={orders},priorityClass.create=true"),
		template(t, "--namespace", "billing-system", "--set", "watchNamespaces={billing},nameSuffix=-billing,crds.install=false,priorityClass.create=true"),
	}
	names = nil
	for _, object := range releases[0] {
		names = append(names, id(object))
	}
	for _, object := range releases[1] {
		if slices.Contains(names, id(object)) {
			t.Errorf("both releases have %s", id(object))
		}
	}
	same(t, "priority class", "fdi-operator-billing", field(having(releases[1], ofKind("Deployment"))[0], "spec", "template", "spec", "priorityClassName"))
}

// references lists the paths of the fields of a schema that hold the name of another object.
func references(schema any, at string) []string {
	var found []string
	for name, property := range as[Object](as[Object](schema)["properties"]) {
		if strings.HasSuffix(name, "Ref") && field(property, "properties", "name") != nil {
			found = append(found, at+name+"/name")
		} else {
			found = append(found, references(property, at+name+"/")...)
		}
	}
	return found
}

func TestKustomizeKnowsEveryReferenceOfTheTwoKinds(t *testing.T) {
	known := read(t, "deploy/kustomize/namereference.yaml")
	for _, definition := range objects(t, read(t, "crds/fdi.romaconnect.dev.yaml")) {
		schema := field(as[[]any](field(definition, "spec", "versions"))[0], "schema", "openAPIV3Schema")
		paths := references(schema, "")
		if len(paths) == 0 {
			t.Errorf("%s refers to nothing: this test finds nothing", id(definition))
		}
		for _, path := range paths {
			kind := as[string](field(definition, "spec", "names", "kind"))
			if !strings.Contains(known, "- kind: "+kind+"\n    group: fdi.romaconnect.dev\n    path: "+path+"\n") {
				t.Errorf("deploy/kustomize does not rewrite %s of %s", path, kind)
			}
		}
	}
	for _, copied := range []string{"deploy/samples/namereference.yaml", "deploy/gitops/orders/connection/namereference.yaml"} {
		same(t, copied, known, read(t, copied))
	}
}

func TestAPrefixAndAGeneratedSecretReachTheReferences(t *testing.T) {
	component, err := filepath.Abs(path("deploy/kustomize"))
	if err != nil {
		t.Fatal(err)
	}
	place := t.TempDir()
	relative, err := filepath.Rel(place, component)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"instance.yaml": read(t, "deploy/samples/instance.yaml"),
		"groups.yaml":   read(t, "deploy/samples/groups.yaml"),
		"kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namePrefix: prod-
resources: [instance.yaml, groups.yaml]
components: [` + relative + `]
secretGenerator:
- name: roma-credentials
  literals: [accessKey=AK, secretKey=SK]
`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(place, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	builds := map[string][]Object{
		"a component":    objects(t, tool(t, "kustomize", "build", place)),
		"samples":        overlay(t, "samples", "namePrefix: prod-\n"),
		"gitops samples": overlay(t, "gitops/orders", "namePrefix: prod-\n"),
	}
	for name, all := range builds {
		secret := as[string](field(having(all, ofKind("Secret"))[0], "metadata", "name"))
		if !strings.HasPrefix(secret, "prod-") {
			t.Errorf("%s: the Secret is %s", name, secret)
		}
		same(t, name+": secretRef", secret, field(find(t, all, "FdiInstance", "prod-orders-roma"), "spec", "auth", "accessKey", "secretRef", "name"))
		for _, group := range having(all, ofKind("FdiTaskGroup")) {
			same(t, name+": "+id(group), "prod-orders-roma", field(group, "spec", "instanceRef", "name"))
		}
	}
}
