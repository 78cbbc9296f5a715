package gitops

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/clusterreader"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"fdi-operator.test/gitops/world"
)

const samples = "../../deploy/gitops"

// Tasks of the samples, by group.
var sampleTasks = map[string][]string{
	"nightly-orders": {"49460e99d597464d885f871dd6acc894", "5c1f0e99d597464d885f871dd6acc895", "6d2f0e99d597464d885f871dd6acc896"},
	"month-end":      {"7e3f0e99d597464d885f871dd6acc897"},
	"legacy-feed":    {"8f4f0e99d597464d885f871dd6acc898", "905f0e99d597464d885f871dd6acc899"},
}

// fluxKustomizations are the samples, read strictly as Flux's own types: an unknown field fails.
func fluxKustomizations(t *testing.T) map[string]kustomizev1.Kustomization {
	found, _ := fluxSamples(t)
	return found
}

// fluxSamples also gives the namespaces that the samples create.
func fluxSamples(t *testing.T) (map[string]kustomizev1.Kustomization, []corev1.Namespace) {
	t.Helper()
	found := map[string]kustomizev1.Kustomization{}
	var namespaces []corev1.Namespace
	files, err := filepath.Glob(filepath.Join(samples, "flux", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Flux samples: %v", err)
	}
	for _, file := range files {
		for _, document := range strings.Split(read(t, file), "\n---\n") {
			var kind struct {
				Kind string `json:"kind"`
			}
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatal(err)
			}
			switch kind.Kind {
			case "GitRepository":
				var source sourcev1.GitRepository
				if err := yaml.UnmarshalStrict([]byte(document), &source); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			case "Namespace":
				var namespace corev1.Namespace
				if err := yaml.UnmarshalStrict([]byte(document), &namespace); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				namespaces = append(namespaces, namespace)
			case "Kustomization":
				var one kustomizev1.Kustomization
				if err := yaml.UnmarshalStrict([]byte(document), &one); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				found[one.Name] = one
			default:
				t.Errorf("%s: unexpected kind %q", file, kind.Kind)
			}
		}
	}
	return found, namespaces
}

// Flux creates no namespace for targetNamespace: applying the objects fails until somebody does.
func TestTheFluxSampleCreatesTheNamespacesThatItUses(t *testing.T) {
	all, namespaces := fluxSamples(t)
	created := map[string]bool{}
	for _, namespace := range namespaces {
		created[namespace.Name] = true
		if namespace.Annotations["kustomize.toolkit.fluxcd.io/prune"] != "disabled" {
			t.Errorf("the namespace %s is pruned, and everything in it at once", namespace.Name)
		}
	}
	for name, one := range all {
		if target := one.Spec.TargetNamespace; target != "" && !created[target] {
			t.Errorf("nobody creates the namespace %s of %s", target, name)
		}
	}
}

func TestTheFluxSampleIsInOrderAndPointsAtWhatIsThere(t *testing.T) {
	all := fluxKustomizations(t)
	if len(all) != 3 {
		t.Fatalf("%d Kustomizations", len(all))
	}
	for name, one := range all {
		if !one.Spec.Wait {
			t.Errorf("%s does not wait: a later one would start too early", name)
		}
		for _, needed := range one.Spec.DependsOn {
			if _, there := all[needed.Name]; !there {
				t.Errorf("%s depends on %s, which is not in the sample", name, needed.Name)
			}
		}
		if folder := filepath.Join(samples, one.Spec.Path); strings.HasPrefix(one.Spec.Path, "./orders") {
			read(t, filepath.Join(folder, "kustomization.yaml"))
		}
	}
	groups := all["orders-groups"]
	if groups.Spec.DependsOn[0].Name != "orders-connection" || groups.Spec.DeletionPolicy != kustomizev1.DeletionPolicyWaitForTermination {
		t.Error("the groups must come after their connection, and their deletion must be waited for")
	}
	if _, err := cel.NewStatusReader(groups.Spec.HealthCheckExprs); err != nil {
		t.Error(err)
	}
}

// flux is Flux's own engine on our API server, with the health checks of one Kustomization.
func (p *place) flux(checks []kustomize.CustomHealthCheck) *ssa.ResourceManager {
	p.t.Helper()
	direct, err := client.New(p.Config, client.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	reader, err := cel.NewStatusReader(checks)
	if err != nil {
		p.t.Fatal(err)
	}
	custom := []func(meta.RESTMapper) engine.StatusReader{reader}
	options := polling.Options{ClusterReaderFactory: engine.ClusterReaderFactoryFunc(clusterreader.NewDirectClusterReader)}
	for _, make := range custom {
		options.CustomStatusReaders = append(options.CustomStatusReaders, make(direct.RESTMapper()))
	}
	poller := polling.NewStatusPoller(direct, direct.RESTMapper(), options)
	return ssa.NewResourceManager(direct, poller, ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"})
}

// render is what the tools build from a folder of the samples, pointed at the simulator instead of
// the cloud.
func (p *place) render(folder string) []*unstructured.Unstructured {
	p.t.Helper()
	text := p.kubectl("", "kustomize", filepath.Join(samples, folder))
	text = strings.ReplaceAll(text, "region: cn-north-4", "endpoint: "+p.Proxy.URL)
	text = strings.ReplaceAll(text, "namespace: orders\n", "namespace: "+p.namespace+"\n")
	for from, to := range map[string]string{
		"0123456789abcdef0123456789abcdef": p.project, "1d94f3f6-1111-2222-3333-444455556666": p.instance,
		"EXAMPLE-ACCESS-KEY": "KEY-" + p.namespace,
	} {
		text = strings.ReplaceAll(text, from, to)
	}
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			p.t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

// newSamplePlace is a place with the tasks and the key of the samples.
func newSamplePlace(t *testing.T, namespace string) *place {
	p := newPlace(t, namespace, 0)
	for _, ids := range sampleTasks {
		p.simulator("POST", p.path("/tasks"), map[string]any{"ids": ids})
	}
	p.simulator("PUT", "/keys/KEY-"+namespace, map[string]any{"secret": "EXAMPLE-SECRET-KEY"})
	return p
}

// unchanged applies again as Flux does at every interval: nothing may be left to change.
func (p *place) unchanged(flux *ssa.ResourceManager, objects []*unstructured.Unstructured) {
	p.t.Helper()
	changes, err := flux.ApplyAll(context.Background(), objects, ssa.DefaultApplyOptions())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, entry := range changes.Entries {
		if entry.Action != ssa.UnchangedAction {
			p.t.Errorf("Flux finds %s %s", entry.Subject, entry.Action)
		}
	}
}

func (p *place) applyWith(flux *ssa.ResourceManager, objects []*unstructured.Unstructured) {
	p.t.Helper()
	if _, err := flux.ApplyAll(context.Background(), objects, ssa.DefaultApplyOptions()); err != nil {
		p.t.Fatal(err)
	}
}

func waitOptions(limit time.Duration) ssa.WaitOptions {
	return ssa.WaitOptions{Interval: 100 * time.Millisecond, Timeout: limit, FailFast: true}
}

// running tells which tasks of a group run at the simulator now.
func (p *place) running(group string) int {
	p.t.Helper()
	var tasks []struct {
		ID      string `json:"id"`
		Running bool   `json:"running"`
	}
	if err := p.World.Simulator("GET", p.path("/tasks"), nil, &tasks); err != nil {
		p.t.Fatal(err)
	}
	count := 0
	for _, task := range tasks {
		for _, id := range sampleTasks[group] {
			if task.ID == id && task.Running {
				count++
			}
		}
	}
	return count
}

func TestTheFluxSampleConvergesWithFluxsOwnEngine(t *testing.T) {
	all := fluxKustomizations(t)
	p := newSamplePlace(t, "flux")
	p.simulator("PATCH", p.path("/policies"), map[string]any{"settle_ms": 500})
	connection, groups := p.render("orders/connection"), p.render("orders/groups")
	plain, checked := p.flux(nil), p.flux(all["orders-groups"].Spec.HealthCheckExprs)

	p.applyWith(plain, connection)
	if err := plain.Wait(connection, waitOptions(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	p.applyWith(checked, groups)
	if err := checked.Wait(groups, waitOptions(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	// What Flux took for healthy is so at the service.
	if n := p.running("nightly-orders"); n != 3 {
		t.Errorf("Flux is satisfied with %d of 3 running tasks", n)
	}
	if n := p.running("month-end") + p.running("legacy-feed"); n != 0 {
		t.Errorf("%d tasks run that nobody wanted to", n)
	}
	p.unchanged(plain, connection)
	p.unchanged(checked, groups)

	// Without the expressions a group that is suspended on purpose is waited for: the reason why
	// they are in the sample.
	suspended, err := p.Client.Resource(world.Groups).Namespace(p.namespace).Get(context.Background(), "month-end", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if said := kstatus(t, suspended); said != status.InProgressStatus {
		t.Errorf("kstatus alone says of the suspended group: %s", said)
	}

	// A failure is reported at once, not at the timeout.
	p.simulator("PATCH", p.path("/tasks/"+sampleTasks["legacy-feed"][0]), map[string]any{
		"manners": []any{map[string]any{"kind": "no-schedule-plan"}}})
	for _, object := range groups {
		if object.GetName() == "legacy-feed" {
			if err := unstructured.SetNestedField(object.Object, "Running", "spec", "desiredState"); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.applyWith(checked, groups)
	begun := time.Now()
	err = checked.Wait(groups, waitOptions(time.Minute))
	if err == nil || !strings.Contains(err.Error(), "legacy-feed") || time.Since(begun) > 30*time.Second {
		t.Errorf("after %v Flux says of the failed group: %v", time.Since(begun), err)
	}
}

// A sync wave and a Kustomization that waits end only when every object is healthy. Whatever is
// suspended on purpose must not hang them: the commit that ends the suspension would never be
// applied.
func TestNothingThatIsSuspendedHangsASync(t *testing.T) {
	all := fluxKustomizations(t)
	p := newSamplePlace(t, "suspended")
	connection, groups := p.render("orders/connection"), p.render("orders/groups")
	for _, object := range connection {
		if object.GetKind() == "FdiInstance" {
			if err := unstructured.SetNestedField(object.Object, true, "spec", "suspend"); err != nil {
				t.Fatal(err)
			}
		}
	}
	plain, checked := p.flux(nil), p.flux(all["orders-groups"].Spec.HealthCheckExprs)
	p.applyWith(plain, connection)
	if err := plain.Wait(connection, waitOptions(20*time.Second)); err != nil {
		t.Errorf("the suspended instance hangs Flux: %v", err)
	}
	p.applyWith(checked, groups)
	if err := checked.Wait(groups, waitOptions(20*time.Second)); err != nil {
		t.Errorf("the groups of the suspended instance hang Flux: %v", err)
	}
	for _, object := range append(connection, groups...) {
		if object.GetKind() == "Secret" {
			continue
		}
		kind, name := strings.ToLower(object.GetKind()), object.GetName()
		eventually(t, "Argo CD goes on after "+name, 20*time.Second, func() bool {
			var live unstructured.Unstructured
			if err := yaml.Unmarshal([]byte(p.kubectl("", "get", kind, name, "-o", "yaml")), &live.Object); err != nil {
				t.Fatal(err)
			}
			return judgeLive(t, &live).Status == "Healthy"
		})
	}
	if n := p.running("nightly-orders"); n != 0 {
		t.Errorf("%d tasks run, so the instance was not suspended: this test finds nothing", n)
	}
}

// The order of the documentation: the groups go first, their deletion is waited for, then what they
// needed.
func TestPruningTheGroupsBeforeTheirConnectionStopsTheirTasks(t *testing.T) {
	p := newSamplePlace(t, "prune")
	p.simulator("PATCH", p.path("/policies"), map[string]any{"settle_ms": 500})
	connection, groups := p.render("orders/connection"), p.render("orders/groups")
	flux := p.flux(nil)
	p.applyWith(flux, append(append([]*unstructured.Unstructured{}, connection...), groups...))
	p.ready("fditaskgroup/nightly-orders", "fditaskgroup/legacy-feed")
	for _, objects := range [][]*unstructured.Unstructured{groups, connection} {
		if _, err := flux.DeleteAll(context.Background(), objects, ssa.DefaultDeleteOptions()); err != nil {
			t.Fatal(err)
		}
		if err := flux.WaitForTermination(objects, waitOptions(20*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.running("nightly-orders"); n != 0 {
		t.Errorf("%d tasks of a group with deletionPolicy: Stop still run", n)
	}
}

// Everything in one run, as when a whole folder is removed: nothing may stay stuck, whatever
// becomes of the tasks.
func TestPruningEverythingAtOnceNeverLeavesAnythingStuck(t *testing.T) {
	p := newSamplePlace(t, "at-once")
	p.simulator("PATCH", p.path("/policies"), map[string]any{"settle_ms": 500})
	everything := p.render("orders")
	flux := p.flux(nil)
	p.applyWith(flux, everything)
	p.ready("fditaskgroup/nightly-orders", "fditaskgroup/legacy-feed")
	begun := time.Now()
	changes, err := flux.DeleteAll(context.Background(), everything, ssa.DefaultDeleteOptions())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, entry := range changes.Entries {
		order = append(order, strings.SplitN(entry.Subject, "/", 2)[0])
	}
	if said := strings.Join(order, " "); said != "FdiTaskGroup FdiTaskGroup FdiTaskGroup FdiInstance Secret" {
		t.Errorf("Flux deletes in the order %s; docs/gitops.md says otherwise", said)
	}
	if err := flux.WaitForTermination(everything, waitOptions(50*time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Logf("gone after %v, %d of 3 tasks still running", time.Since(begun).Round(time.Second), p.running("nightly-orders"))
	t.Log(p.kubectl("", "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.note}{.message}{\"\\n\"}{end}"))
}

// application is what the sample uses of Argo CD's kind; anything else fails, since its definition
// is not at hand.
type application struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name, Namespace string
		Finalizers      []string `json:"finalizers"`
	} `json:"metadata"`
	Spec struct {
		Project string `json:"project"`
		Source  struct {
			RepoURL, TargetRevision, Path string
		} `json:"source"`
		Destination struct{ Server, Namespace string } `json:"destination"`
		SyncPolicy  struct {
			Automated struct{ Prune, SelfHeal bool } `json:"automated"`
			Retry     struct {
				Limit   int
				Refresh bool
			} `json:"retry"`
			SyncOptions []string `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

func TestTheArgoSampleOrdersByWaves(t *testing.T) {
	apps := map[string]application{}
	for _, document := range strings.Split(read(t, filepath.Join(samples, "argocd", "application.yaml")), "\n---\n") {
		var app application
		if err := yaml.UnmarshalStrict([]byte(document), &app); err != nil {
			t.Fatal(err)
		}
		if app.APIVersion != "argoproj.io/v1alpha1" || app.Kind != "Application" || app.Spec.Destination.Server == "" {
			t.Errorf("%s is no complete Application", app.Metadata.Name)
		}
		apps[app.Metadata.Name] = app
	}
	for name, app := range apps {
		// A wrong key in a commit must not hold back the commit that corrects it.
		if retry := app.Spec.SyncPolicy.Retry; retry.Limit < 1 || !retry.Refresh {
			t.Errorf("%s tries again with the old commit: %+v", name, retry)
		}
	}
	if apps["fdi-operator"].Spec.SyncPolicy.Automated.Prune {
		t.Error("the operator must not be pruned under its finalizers")
	}
	if orders := apps["orders"]; len(orders.Metadata.Finalizers) != 1 || orders.Spec.Source.Path != "orders" {
		t.Error("the application of the team must delete in waves, from the folder orders")
	}
	p := newSamplePlace(t, "argo")
	waves := map[string]string{"Secret": "0", "FdiInstance": "0", "FdiTaskGroup": "1"}
	for _, object := range p.render("orders") {
		if wave := object.GetAnnotations()["argocd.argoproj.io/sync-wave"]; wave != waves[object.GetKind()] {
			t.Errorf("%s %s is in wave %q", object.GetKind(), object.GetName(), wave)
		}
	}

	// Wave by wave, each healthy by the scripts before the next; then all of it shows no
	// difference.
	healthy := func(kind, name string, wanted string) {
		t.Helper()
		eventually(t, name+" is "+wanted, 20*time.Second, func() bool {
			var object unstructured.Unstructured
			text := p.kubectl("", "get", kind, name, "-o", "yaml")
			if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
				t.Fatal(err)
			}
			return judgeLive(t, &object).Status == wanted
		})
	}
	manifest := func(objects []*unstructured.Unstructured) string {
		var all []string
		for _, object := range objects {
			text, err := yaml.Marshal(object.Object)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
		return strings.Join(all, "---\n")
	}
	connection, groups := manifest(p.render("orders/connection")), manifest(p.render("orders/groups"))
	apply := func(text string) {
		p.kubectl(text, "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
	}
	apply(connection)
	healthy("fdiinstance", "orders-roma", "Healthy")
	apply(groups)
	healthy("fditaskgroup", "nightly-orders", "Healthy")
	healthy("fditaskgroup", "legacy-feed", "Healthy")
	healthy("fditaskgroup", "month-end", "Healthy")
	for _, text := range []string{connection, groups} {
		if diff := p.kubectl(text, "diff", "--server-side", "--field-manager=argocd-controller", "-f", "-"); diff != "" {
			t.Errorf("out of sync:\n%s", diff)
		}
	}
}
