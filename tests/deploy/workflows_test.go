package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

type job struct {
	Needs       any
	Uses        string
	Permissions map[string]string
	Strategy    struct {
		Matrix struct {
			Include []struct{ Target, Runner string }
		}
	}
	Steps []struct {
		Uses, Run string
		With      map[string]any
	}
}

// needs lists the jobs that a job waits for, also through others.
func (j job) needs(jobs map[string]job) []string {
	var found []string
	switch needed := j.Needs.(type) {
	case string:
		found = append(found, needed)
	case []any:
		for _, name := range needed {
			found = append(found, as[string](name))
		}
	}
	for _, name := range slices.Clone(found) {
		found = append(found, jobs[name].needs(jobs)...)
	}
	return found
}

func workflows(t *testing.T) map[string]map[string]job {
	t.Helper()
	files, err := filepath.Glob(path(".github/workflows/*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	found := map[string]map[string]job{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var workflow struct{ Jobs map[string]job }
		if err := yaml.Unmarshal(content, &workflow); err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(file)] = workflow.Jobs
	}
	return found
}

// A command that only a hosted runner runs is found broken there, or never: each has its
// counterpart in the gate, or a reason why it has none, in the table of docs/releases.md.
func TestEveryCommandOfAWorkflowIsRunByTheGateOrHasAReason(t *testing.T) {
	gate := read(t, ".ci/run")
	_, table, found := strings.Cut(read(t, "docs/releases.md"), "## What CI runs\n")
	if !found {
		t.Fatal("docs/releases.md has no table of commands")
	}
	rows := map[string]bool{} // prefix of a command: whether it was met
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\|$")
	for _, match := range row.FindAllStringSubmatch(table, -1) {
		rows[match[1]] = false
		target := regexp.MustCompile("^`(make ([a-z0-9-]+)|\\.ci/run|[^`]+)`").FindStringSubmatch(match[2])
		switch {
		case strings.HasPrefix(match[2], "not run: "):
		case target == nil:
			t.Errorf("%q has neither a counterpart nor a reason: %s", match[1], match[2])
		case target[2] != "" && !regexp.MustCompile(`\b`+target[2]+`\b`).MatchString(gate):
			t.Errorf("the gate does not run make %s, which stands for %q", target[2], match[1])
		case target[2] == "" && target[1] != ".ci/run" && !strings.Contains(gate, target[1]):
			t.Errorf("the gate does not run %q, which stands for %q", target[1], match[1])
		}
	}
	for file, jobs := range workflows(t) {
		for name, job := range jobs {
			for _, step := range job.Steps {
				for line := range strings.Lines(step.Run) {
					line = strings.TrimSpace(line)
					known := false
					for prefix := range rows {
						if strings.Contains(line, prefix) {
							rows[prefix], known = true, true
						}
					}
					if !known && line != "" {
						t.Errorf("%s, %s: %q is not in the table of docs/releases.md", file, name, line)
					}
				}
			}
		}
	}
	for prefix, met := range rows {
		if !met {
			t.Errorf("no workflow runs %q", prefix)
		}
	}
}

func TestEveryTargetThatIsRunForCIExists(t *testing.T) {
	texts := []string{read(t, ".ci/run")}
	for _, jobs := range workflows(t) {
		for _, job := range jobs {
			for _, step := range job.Steps {
				texts = append(texts, step.Run)
			}
		}
	}
	targets := regexp.MustCompile(`(?m)^\s*(?:twice )?make ([a-z0-9-]+)`)
	for _, text := range texts {
		for _, match := range targets.FindAllStringSubmatch(text, -1) {
			run(t, "make", "--directory", root, "--just-print", match[1])
		}
	}
	_, loop, _ := strings.Cut(texts[0], "\nfor target in ")
	loop, _, _ = strings.Cut(loop, ";")
	for _, target := range strings.Fields(loop) {
		run(t, "make", "--directory", root, "--just-print", target)
	}
}

// A tag or branch can be moved to other code by whoever owns it.
func TestEveryActionIsPinnedByCommit(t *testing.T) {
	pinned := regexp.MustCompile(`uses: (\./\S+|\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$`)
	for file := range workflows(t) {
		for number, line := range strings.Split(read(t, ".github/workflows", file), "\n") {
			if strings.Contains(line, "uses: ") && !pinned.MatchString(line) {
				t.Errorf("%s:%d: %s", file, number+1, strings.TrimSpace(line))
			}
		}
	}
}

func TestNothingIsPublishedBeforeCIHasPassedForTheCommit(t *testing.T) {
	jobs := workflows(t)["release.yml"]
	gates := map[string]string{"ci": "./.github/workflows/ci.yml", "kubernetes": "./.github/workflows/kubernetes.yml", "tag": ""}
	for gate, workflow := range gates {
		same(t, gate, workflow, jobs[gate].Uses)
	}
	publishing := 0
	for name, job := range jobs {
		if !slices.Contains([]string{job.Permissions["packages"], job.Permissions["contents"], job.Permissions["id-token"]}, "write") {
			continue
		}
		publishing++
		for gate := range gates {
			if !slices.Contains(job.needs(jobs), gate) {
				t.Errorf("%s may write, and does not wait for %s", name, gate)
			}
		}
	}
	if publishing == 0 {
		t.Error("no job may write: this test finds nothing")
	}
}

// Whatever runs beside the token can sign in our name.
func TestTheJobThatSignsRunsNoOtherCode(t *testing.T) {
	jobs := workflows(t)["release.yml"]
	for name, job := range jobs {
		if job.Permissions["id-token"] != "write" {
			continue
		}
		for _, step := range job.Steps {
			if regexp.MustCompile(`(?m)^\s*(cargo|go|make|python3?|npm|bash)\b`).MatchString(step.Run) || strings.HasPrefix(step.Uses, "actions/checkout") {
				t.Errorf("%s signs and builds: %s%s", name, step.Uses, step.Run)
			}
		}
		for _, needed := range []string{"contents", "plugin"} {
			if !slices.Contains(job.needs(jobs), needed) {
				t.Errorf("%s signs what %s has not seen", name, needed)
			}
		}
	}
	described := false
	for _, step := range jobs["contents"].Steps {
		if strings.HasPrefix(step.Uses, "anchore/sbom-action@") {
			described = strings.Contains(as[string](step.With["image"]), "needs.image.outputs.digest")
		}
	}
	if !described {
		t.Error("the SBOM does not describe the image that was pushed")
	}
}

func TestOnlyTheVersionOfTheWorkspaceOnMainCanBeReleased(t *testing.T) {
	folder := t.TempDir()
	script, err := filepath.Abs(path("deploy/release/check-tag"))
	if err != nil {
		t.Fatal(err)
	}
	sh := func(command string) (string, error) {
		return try("bash", "-c", "cd "+folder+" && export GIT_CONFIG_GLOBAL=/dev/null && "+command)
	}
	prepare := `git init -q -b main && git config user.name n && git config user.email e@example.com &&
		printf '[workspace.package]\nversion = "1.2.3"\n' > Cargo.toml && git add . && git commit -qm one && git tag v1.2.3 && git tag v1.2.4 &&
		git update-ref refs/remotes/origin/main HEAD && git checkout -qb other && git commit -q --allow-empty -m two && git tag -a -m x v1.2.3-other`
	if out, err := sh(prepare); err != nil {
		t.Fatal(err, out)
	}
	if out, err := sh(script + " v1.2.3"); err != nil || strings.TrimSpace(out) != "1.2.3" {
		t.Errorf("%s%v", out, err)
	}
	if _, err := sh(script + " v1.2.4"); err == nil || !strings.Contains(err.Error(), "version 1.2.3") {
		t.Errorf("another version: %v", err)
	}
	if _, err := sh("git tag -f v1.2.3 v1.2.3-other && " + script + " v1.2.3"); err == nil || !strings.Contains(err.Error(), "not on main") {
		t.Errorf("a commit beside main: %v", err)
	}
}
