package gitops

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// table is what each reason of the Ready condition of a group has to mean to kstatus (Flux, kpt,
// Helm) and to Argo CD.
var table = map[string]struct {
	kstatus status.Status
	argo    string
}{
	"Deleting":            {status.TerminatingStatus, "Progressing"},
	"InstanceNotFound":    {status.InProgressStatus, "Progressing"},
	"SecretNotFound":      {status.InProgressStatus, "Progressing"},
	"SecretInvalid":       {status.InProgressStatus, "Progressing"},
	"NotObserved":         {status.InProgressStatus, "Progressing"},
	"ObservationStale":    {status.InProgressStatus, "Progressing"},
	"Suspended":           {status.InProgressStatus, "Healthy"},
	"Progressing":         {status.InProgressStatus, "Progressing"},
	"TasksConflict":       {status.FailedStatus, "Degraded"},
	"TasksContested":      {status.FailedStatus, "Degraded"},
	"TasksFailed":         {status.FailedStatus, "Degraded"},
	"TasksInDesiredState": {status.CurrentStatus, "Healthy"},
	"SignedIn":            {status.CurrentStatus, "Healthy"}, // of an FdiInstance
	"":                    {status.InProgressStatus, "Progressing"},
}

// meant is what the table says of one revision: an old status says nothing of today's generation.
func meant(object *unstructured.Unstructured) (status.Status, string, error) {
	reason, _ := condition(object, "Ready")["reason"].(string)
	row, known := table[reason]
	switch {
	case !known:
		return "", "", fmt.Errorf("the table has no row for %q", reason)
	case object.GetDeletionTimestamp() != nil:
		return status.TerminatingStatus, "Progressing", nil
	case observed(object) != object.GetGeneration():
		row = table[""]
	}
	if suspend, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend"); suspend && observed(object) == object.GetGeneration() {
		return row.kstatus, "Healthy", nil
	}
	return row.kstatus, row.argo, nil
}

// One group lives through everything that a GitOps tool meets; every revision that a watcher sees
// is judged.
func TestEveryRevisionOfAConvergenceIsJudgedAsTheTableSays(t *testing.T) {
	p := newPlace(t, "kstatus", 12)
	p.simulator("PATCH", p.path("/policies"), map[string]any{"settle_ms": 700})
	seen := p.record()
	group := func(desired, more string) {
		p.apply(p.group("orders", desired, p.tasks, more))
	}

	// The group first, then its instance, then the Secret: the order in which nothing can be right
	// yet.
	group("Running", "")
	seen.says(p, "orders", "InstanceNotFound")
	p.apply(p.fdiInstance())
	seen.says(p, "orders", "SecretNotFound")
	p.apply(p.secret())
	// It would be noticed by itself within 30 seconds.
	p.kubectl("", "annotate", "fdiinstance/roma", "reconcile.fluxcd.io/requestedAt=1")
	seen.says(p, "orders", "TasksInDesiredState")
	seen.says(p, "roma", "SignedIn")

	// An edit, and one back before the first has settled.
	group("Stopped", "")
	group("Running", "")
	seen.says(p, "orders", "TasksInDesiredState")
	group("Stopped", "")
	seen.says(p, "orders", "TasksInDesiredState")

	// A task that cannot be started, repaired by hand.
	p.simulator("PATCH", p.path("/tasks/"+p.tasks[3]), map[string]any{"manners": []any{map[string]any{"kind": "no-schedule-plan"}}})
	group("Running", "")
	seen.says(p, "orders", "TasksFailed")
	p.simulator("PATCH", p.path("/tasks/"+p.tasks[3]), map[string]any{"manners": []any{}})
	p.requestReconcile("fditaskgroup/orders")
	seen.says(p, "orders", "TasksInDesiredState")

	// Suspended as it is; switched over by somebody; let go again: drift is corrected.
	group("Running", "  suspend: true\n")
	seen.says(p, "orders", "TasksInDesiredState")
	p.simulator("PATCH", p.path("/tasks/"+p.tasks[0]), map[string]any{"running": false})
	p.requestReconcile("fditaskgroup/orders")
	seen.says(p, "orders", "Suspended")
	group("Running", "")
	seen.says(p, "orders", "TasksInDesiredState")

	// Deleted, its tasks stopped first.
	group("Running", "  deletionPolicy: Stop\n")
	eventually(t, "the finalizer", 10*time.Second, func() bool {
		return p.kubectl("", "get", "fditaskgroup/orders", "-o", "jsonpath={.metadata.finalizers}") != ""
	})
	seen.says(p, "orders", "TasksInDesiredState")
	p.kubectl("", "delete", "fditaskgroup/orders", "--wait=false")
	eventually(t, "orders is gone", 30*time.Second, func() bool { return seen.isGone("orders") })
	for task, running := range p.Proxy.Seen(p.project).Tasks {
		if running {
			t.Errorf("the group went while %s was running", task)
		}
	}

	counts := map[status.Status]int{}
	for _, name := range []string{"orders", "roma"} {
		for i, revision := range seen.of(name) {
			object := revision.object
			where := fmt.Sprintf("%s, revision %d (generation %d, observed %d, Ready %v)", name, i, object.GetGeneration(),
				observed(object), condition(object, "Ready"))
			want, health, err := meant(object)
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			got := kstatus(t, object)
			counts[got]++
			if got != want {
				t.Errorf("%s: kstatus says %s, the table %s", where, got, want)
			}
			if said := judgeLive(t, object); said.Status != health {
				t.Errorf("%s: the health script says %+v, the table %s", where, said, health)
			}
			if reconciling, stalled := condition(object, "Reconciling"), condition(object, "Stalled"); reconciling != nil && stalled != nil {
				t.Errorf("%s is reconciling and stalled at once", where)
			}
			if i == 0 && got != status.InProgressStatus {
				t.Errorf("%s: a fresh object is %s", where, got)
			}
			if got == status.CurrentStatus && name == "orders" {
				current(t, where, p, revision)
			}
		}
	}
	t.Logf("judged: %v", counts)
	for _, wanted := range []status.Status{status.InProgressStatus, status.FailedStatus, status.CurrentStatus, status.TerminatingStatus} {
		if counts[wanted] == 0 {
			t.Errorf("no revision was %s: the test did not see what it is for", wanted)
		}
	}
}

// current demands of a revision that is said to be Current that the newest list showed every task
// as wanted, and that this list was asked for after the last call had ended: an accepted call alone
// makes nothing right.
func current(t *testing.T, where string, p *place, revision revision) {
	t.Helper()
	desired, _, _ := unstructured.NestedString(revision.object.Object, "spec", "desiredState")
	for _, task := range p.tasks {
		running, listed := revision.seen.Tasks[task]
		if !listed || running != (desired == "Running") {
			t.Errorf("%s is Current while %s is listed %v, running %v", where, task, listed, running)
		}
	}
	if revision.seen.ListAsked.Before(revision.seen.CallEnded) {
		t.Errorf("%s is Current by a list that was asked for before the last call ended", where)
	}
}
