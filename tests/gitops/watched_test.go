package gitops

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"fdi-operator.test/gitops/world"
)

// revision is one state of an object as every watcher sees it, with what could be known of FDI when
// it arrived.
type revision struct {
	object *unstructured.Unstructured
	seen   world.Seen
}

// recorder keeps every revision of the objects of one namespace.
type recorder struct {
	mutex     sync.Mutex
	revisions []revision
	gone      map[string]bool
}

// record watches both kinds from before the first object.
func (p *place) record() *recorder {
	p.t.Helper()
	r := &recorder{gone: map[string]bool{}}
	for _, kind := range []schema.GroupVersionResource{world.Groups, world.Instances} {
		watcher, err := p.Client.Resource(kind).Namespace(p.namespace).Watch(context.Background(), metav1.ListOptions{})
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(watcher.Stop)
		go func() {
			for event := range watcher.ResultChan() {
				object, ok := event.Object.(*unstructured.Unstructured)
				if !ok {
					continue
				}
				seen := p.Proxy.Seen(p.project)
				r.mutex.Lock()
				if event.Type == watch.Deleted {
					r.gone[object.GetName()] = true
				} else {
					r.revisions = append(r.revisions, revision{object, seen})
				}
				r.mutex.Unlock()
			}
		}()
	}
	return r
}

func (r *recorder) of(name string) []revision {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var found []revision
	for _, revision := range r.revisions {
		if revision.object.GetName() == name {
			found = append(found, revision)
		}
	}
	return found
}

// says waits until the operator gives this reason for the object as it is now, and has handled the
// last requested reconcile.
func (r *recorder) says(p *place, name, reason string) {
	p.t.Helper()
	kind := world.Groups
	if name == "roma" {
		kind = world.Instances
	}
	last := "nothing"
	deadline := time.Now().Add(40 * time.Second)
	for time.Now().Before(deadline) {
		live, err := p.Client.Resource(kind).Namespace(p.namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			p.t.Fatal(err)
		}
		handled, _, _ := unstructured.NestedString(live.Object, "status", "lastHandledReconcileAt")
		ready := condition(live, "Ready")
		last = fmt.Sprintf("generation %d, observed %d, handled %q, %v", live.GetGeneration(), observed(live), handled, ready)
		if observed(live) == live.GetGeneration() && handled == live.GetAnnotations()["reconcile.fluxcd.io/requestedAt"] && ready["reason"] == reason {
			r.saw(p.t, name, live.GetResourceVersion())
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatalf("%s does not say %s but: %s", name, reason, last)
}

// saw waits until the watch has brought a revision.
func (r *recorder) saw(t *testing.T, name, resourceVersion string) {
	t.Helper()
	eventually(t, "the watch brings revision "+resourceVersion, 10*time.Second, func() bool {
		return slices.ContainsFunc(r.of(name), func(revision revision) bool { return revision.object.GetResourceVersion() == resourceVersion })
	})
}

func (r *recorder) isGone(name string) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.gone[name]
}

func condition(object *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		if condition := condition.(map[string]any); condition["type"] == kind {
			return condition
		}
	}
	return nil
}

func observed(object *unstructured.Unstructured) int64 {
	generation, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	return generation
}

func kstatus(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	result, err := status.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}
