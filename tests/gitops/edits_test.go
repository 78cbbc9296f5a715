package gitops

import (
	"context"
	"testing"

	"github.com/fluxcd/pkg/ssa"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fdi-operator.test/gitops/world"
)

// asFluxDoes are the options of Flux's kustomize-controller: it takes over what kubectl has
// written, and so removes what git does not say.
func asFluxDoes() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	options.Cleanup.FieldManagers = []ssa.FieldManager{
		{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
		{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
		{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
		{Name: "kustomize-controller", OperationType: metav1.ManagedFieldsOperationUpdate},
	}
	return options
}

// The table of docs/gitops.md, "What survives GitOps".
func TestFluxKeepsAnEditOfWhatGitDoesNotSayOnlyWithItsOwnFieldManager(t *testing.T) {
	p := newSamplePlace(t, "edits")
	flux := p.flux(nil)
	p.applyWith(flux, p.render("orders/connection"))
	groups := p.render("orders/groups")
	p.applyWith(flux, groups)

	reconcile := func() {
		t.Helper()
		if _, err := flux.ApplyAll(context.Background(), groups, asFluxDoes()); err != nil {
			t.Fatal(err)
		}
	}
	field := func(path ...string) any {
		t.Helper()
		group, err := p.Client.Resource(world.Groups).Namespace("edits").Get(context.Background(), "nightly-orders", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		value, _, _ := unstructured.NestedFieldNoCopy(group.Object, path...)
		return value
	}
	edit := func(patch string, flags ...string) {
		t.Helper()
		p.kubectl("", append([]string{"-n", "edits", "patch", "fditaskgroup", "nightly-orders", "--type=merge", "--patch=" + patch}, flags...)...)
	}
	const keep = "--field-manager=flux-client-side-apply"
	const commandLine = "--field-manager=fdi-operator-cli"
	for _, c := range []struct {
		what, patch string
		flags       []string
		path        []string
		expected    any
	}{
		{"a field that git does not set", `{"spec":{"suspend":true}}`, nil, []string{"spec", "suspend"}, false},
		{"the same with Flux's field manager", `{"spec":{"suspend":true}}`, []string{keep}, []string{"spec", "suspend"}, true},
		{"the end of that", `{"spec":{"suspend":false}}`, []string{keep}, []string{"spec", "suspend"}, false},
		{"the same with the field manager of fdi-operator suspend", `{"spec":{"suspend":true}}`, []string{commandLine}, []string{"spec", "suspend"}, true},
		{"a field that git sets, with that field manager", `{"spec":{"desiredState":"Stopped"}}`, []string{commandLine}, []string{"spec", "desiredState"}, "Running"},
		{"an annotation with that field manager", `{"metadata":{"annotations":{"example.com/c":"1"}}}`, []string{commandLine},
			[]string{"metadata", "annotations", "example.com/c"}, "1"},
		{"a field that git sets", `{"spec":{"desiredState":"Stopped"}}`, []string{keep}, []string{"spec", "desiredState"}, "Running"},
		{"an annotation", `{"metadata":{"annotations":{"example.com/a":"1"}}}`, nil, []string{"metadata", "annotations", "example.com/a"}, nil},
		{"an annotation with Flux's field manager", `{"metadata":{"annotations":{"example.com/b":"1"}}}`, []string{keep},
			[]string{"metadata", "annotations", "example.com/b"}, "1"},
	} {
		edit(c.patch, c.flags...)
		reconcile()
		if found := field(c.path...); found != c.expected {
			t.Errorf("%s: %v instead of %v", c.what, found, c.expected)
		}
	}
}
