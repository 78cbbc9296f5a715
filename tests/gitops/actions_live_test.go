package gitops

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// object is one as the API server has it now.
func (p *place) object(kind, name string) map[string]any {
	p.t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(p.kubectl("", "get", kind, name, "-o", "json")), &object); err != nil {
		p.t.Fatal(err)
	}
	return object
}

// choose does what Argo CD does for an action: the script gives the object as it should be, and the
// difference goes to the API server as a merge patch.
func (p *place) choose(kind, name, action string) {
	p.t.Helper()
	before := p.object(kind, name)
	if !enabled(p.t, kind, action, before) {
		p.t.Fatalf("%s is not offered for %s", action, name)
	}
	was, err := json.Marshal(before)
	if err != nil {
		p.t.Fatal(err)
	}
	is, err := json.Marshal(act(p.t, kind, action, before))
	if err != nil {
		p.t.Fatal(err)
	}
	patch, err := jsonpatch.CreateMergePatch(was, is)
	if err != nil {
		p.t.Fatal(err)
	}
	p.kubectl("", "patch", kind, name, "--type=merge", "--field-manager=argocd-server", "--patch="+string(patch))
}

func (p *place) statusField(kind, name, field string) any {
	p.t.Helper()
	status, _ := p.object(kind, name)["status"].(map[string]any)
	return status[field]
}

// The table of docs/gitops.md, "What survives GitOps", and its section on actions.
func TestAnActionOfArgoStopsTheTasksAndSelfHealStartsThemAgain(t *testing.T) {
	p := newSamplePlace(t, "actions")
	p.applyWith(p.flux(nil), p.render("orders/connection"))
	manifest := p.group("nightly-orders", "Running", sampleTasks["nightly-orders"], "")
	manifest = strings.Replace(manifest, "name: roma}", "name: orders-roma}", 1)
	sync := func() {
		t.Helper()
		p.kubectl(manifest, "apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-")
	}
	runs := func(count int) {
		t.Helper()
		eventually(t, "as many tasks run as wanted", 20*time.Second, func() bool { return p.running("nightly-orders") == count })
	}
	suspended := func() any {
		return p.object("fditaskgroup", "nightly-orders")["spec"].(map[string]any)["suspend"]
	}
	sync()
	runs(3)
	p.choose("FdiTaskGroup", "nightly-orders", "stop")
	runs(0)
	sync()
	runs(3)
	p.choose("FdiTaskGroup", "nightly-orders", "stop")
	runs(0)
	p.choose("FdiTaskGroup", "nightly-orders", "suspend")
	sync()
	if suspended() != true {
		t.Error("the sync ends a suspension that git says nothing of")
	}
	p.choose("FdiTaskGroup", "nightly-orders", "resume")
	runs(3)
	p.choose("FdiTaskGroup", "nightly-orders", "stop")
	p.choose("FdiTaskGroup", "nightly-orders", "start")
	runs(3)
}

func TestAnActionOfArgoReconcilesAndSuspendsEitherKindSuspendedOrNot(t *testing.T) {
	p := newPlace(t, "reconciled", 1)
	p.apply(p.secret(), p.fdiInstance(), p.group("plain", "Running", p.tasks, ""))
	p.ready("fditaskgroup/plain", "fdiinstance/roma")
	for kind, name := range map[string]string{"FdiTaskGroup": "plain", "FdiInstance": "roma"} {
		handled := func() any { return p.statusField(kind, name, "lastHandledReconcileAt") }
		for _, before := range []string{"", "suspend"} {
			if before != "" {
				p.choose(kind, name, before)
				// The time of a request has whole seconds.
				last := handled()
				eventually(t, "the next second", 3*time.Second, func() bool { return time.Now().UTC().Format(time.RFC3339) != last })
			}
			p.choose(kind, name, "reconcile")
			annotations := p.object(kind, name)["metadata"].(map[string]any)["annotations"].(map[string]any)
			eventually(t, name+" says that the request is handled", 20*time.Second, func() bool { return handled() == annotations[requestedAt] })
		}
		p.choose(kind, name, "resume")
	}
	p.ready("fditaskgroup/plain", "fdiinstance/roma")
}
