// Package gitops tests how Flux and Argo CD judge our objects, against the real API server and the
// programs themselves.
package gitops

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"fdi-operator.test/gitops/world"
)

var (
	once   sync.Once
	shared *world.World
	broken error
)

// live is the world that all tests of a run share, each with a namespace and a project of its own.
func live(t *testing.T) *world.World {
	t.Helper()
	once.Do(func() { shared, broken = world.Start() })
	if broken != nil {
		t.Fatal(broken)
	}
	return shared
}

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	code := m.Run()
	if shared != nil {
		shared.Stop()
	}
	os.Exit(code)
}

// place is a namespace with an FdiInstance of its own at the simulator.
type place struct {
	*world.World
	t                            *testing.T
	namespace, project, instance string
	tasks                        []string
}

// newPlace makes the namespace, the simulator's instance with `tasks` stopped tasks, and a Secret
// with a token for it.
func newPlace(t *testing.T, namespace string, tasks int) *place {
	t.Helper()
	p := &place{World: live(t), t: t, namespace: namespace, project: "project-" + namespace, instance: "instance-" + namespace}
	p.kubectl("", "create", "namespace", namespace)
	p.simulator("PUT", p.path(""), map[string]any{})
	ids := make([]string, tasks)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%02d", namespace, i+1)
	}
	p.tasks = ids
	if tasks > 0 {
		p.simulator("POST", p.path("/tasks"), map[string]any{"ids": ids})
	}
	p.simulator("POST", "/tokens", map[string]any{"token": "token-" + namespace, "project": p.project})
	return p
}

func (p *place) path(rest string) string {
	return "/instances/" + p.project + "/" + p.instance + rest
}

func (p *place) simulator(method, path string, body any) {
	p.t.Helper()
	if err := p.World.Simulator(method, path, body, nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) kubectl(input string, args ...string) string {
	p.t.Helper()
	out, err := p.World.Kubectl(input, append([]string{"-n", p.namespace}, args...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// apply is what Flux and Argo CD do: server-side apply under their own name.
func (p *place) apply(manifests ...string) {
	p.t.Helper()
	p.kubectl(strings.Join(manifests, "---\n"), "apply", "--server-side", "--field-manager=gitops", "-f", "-")
}

func (p *place) secret() string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: credentials}\nstringData: {token: token-%s}\n", p.namespace)
}

func (p *place) fdiInstance() string {
	return fmt.Sprintf(`apiVersion: fdi.romaconnect.dev/v1alpha1
kind: FdiInstance
metadata: {name: roma}
spec:
  endpoint: %s
  projectId: %s
  instanceId: %s
  auth: {token: {secretRef: {name: credentials}}}
`, p.Proxy.URL, p.project, p.instance)
}

// group is a manifest with nothing in it that may be defaulted, but for what `more` sets.
func (p *place) group(name, desired string, tasks []string, more string) string {
	return fmt.Sprintf(`apiVersion: fdi.romaconnect.dev/v1alpha1
kind: FdiTaskGroup
metadata: {name: %s}
spec:
  instanceRef: {name: roma}
  desiredState: %s
  taskIds: [%s]
%s`, name, desired, strings.Join(tasks, ", "), more)
}

// ready waits until a group is as wanted for today's spec.
func (p *place) ready(names ...string) {
	p.t.Helper()
	for _, name := range names {
		p.kubectl("", "wait", "--for=condition=Ready", "--timeout=30s", name)
	}
}

// requestReconcile is what `flux reconcile` does. The operator reuses a list that is younger than
// two seconds.
func (p *place) requestReconcile(name string) {
	p.t.Helper()
	eventually(p.t, "the newest list is two seconds old", 5*time.Second, func() bool {
		return time.Since(p.Proxy.Seen(p.project).ListAsked) > 2100*time.Millisecond
	})
	p.kubectl("", "annotate", "--overwrite", name, "reconcile.fluxcd.io/requestedAt="+time.Now().Format(time.RFC3339Nano))
}

// eventually waits for a condition with a deadline.
func eventually(t *testing.T, what string, limit time.Duration, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
