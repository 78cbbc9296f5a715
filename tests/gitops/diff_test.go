package gitops

import "testing"

// What a GitOps tool compares: the manifest against the live object, as the API server would merge
// them. No rule that ignores differences is needed, whatever the operator wrote in between.
func TestAppliedManifestsShowNoDifferenceWhileTheOperatorRuns(t *testing.T) {
	p := newPlace(t, "diff", 3)
	manifests := map[string]string{
		"a Secret": p.secret(),
		// Nothing but what is required: every default is filled in by the API server.
		"an instance": p.fdiInstance(),
		"an instance that says the defaults": p.fdiInstance() +
			"  pollIntervalSeconds: 60\n  suspend: false\n  rateLimit: {requestsPerSecond: 5, maxConcurrentCalls: 2}\n",
		"an instance with half a rate limit": p.fdiInstance() + "  rateLimit: {maxConcurrentCalls: 2}\n",
		"a group":                            p.group("plain", "Running", p.tasks[:1], ""),
		"a group that says the defaults":     p.group("spoken", "Stopped", p.tasks[1:2], "  suspend: false\n  deletionPolicy: Orphan\n"),
		"a group with a finalizer":           p.group("stop", "Running", []string{p.tasks[2], p.tasks[2]}, "  deletionPolicy: Stop\n"),
	}
	p.apply(manifests["a Secret"], manifests["an instance"], manifests["a group"], manifests["a group that says the defaults"],
		manifests["a group with a finalizer"])
	p.ready("fditaskgroup/plain", "fditaskgroup/spoken", "fditaskgroup/stop", "fdiinstance/roma")
	// Somebody requests a reconcile: an annotation and a status field that no manifest has.
	p.kubectl("", "annotate", "fditaskgroup/plain", "reconcile.fluxcd.io/requestedAt=now")
	for what, manifest := range manifests {
		t.Run(what, func(t *testing.T) {
			for _, round := range []string{"first", "second"} {
				p.kubectl(manifest, "apply", "--server-side", "--field-manager=gitops", "-f", "-")
				// Exit code 0 is "no difference"; 1 would be an error of kubectl here.
				if diff := p.kubectl(manifest, "diff", "--server-side", "--field-manager=gitops", "-f", "-"); diff != "" {
					t.Errorf("the %s time there is a difference:\n%s", round, diff)
				}
			}
			before := p.kubectl("", "get", "fditaskgroups,fdiinstances", "-o", "jsonpath={.items[*].metadata.generation}")
			p.kubectl(manifest, "apply", "--server-side", "--field-manager=gitops", "-f", "-")
			if after := p.kubectl("", "get", "fditaskgroups,fdiinstances", "-o", "jsonpath={.items[*].metadata.generation}"); after != before {
				t.Errorf("applying the same again moves a generation: %s, then %s", before, after)
			}
		})
	}
	p.ready("fditaskgroup/plain", "fditaskgroup/spoken", "fditaskgroup/stop", "fdiinstance/roma")
}

// A real difference must show, or the test above could not fail.
func TestAChangedManifestShowsADifference(t *testing.T) {
	p := newPlace(t, "differs", 1)
	p.apply(p.group("plain", "Running", p.tasks, ""))
	_, err := p.World.Kubectl(p.group("plain", "Stopped", p.tasks, ""), "-n", p.namespace, "diff", "--server-side",
		"--field-manager=gitops", "-f", "-")
	if err == nil {
		t.Error("kubectl diff sees no difference between Running and Stopped")
	}
}
