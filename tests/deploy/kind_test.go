package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standIns are programs that this machine may lack; each writes how it was called and succeeds.
func standIns(t *testing.T, names ...string) (folder string, calls func() string) {
	t.Helper()
	folder = t.TempDir()
	log := filepath.Join(folder, "calls")
	script := "#!/bin/sh\necho \"RUST_BACKTRACE=${RUST_BACKTRACE-unset} $(basename \"$0\") $*\" >> " + log + "\n"
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return folder, func() string {
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
}

// onKind runs the last command of `make e2e-kind` as make would run it. The commands before it
// build the images, which `make e2e` does too.
func onKind(t *testing.T, folder string, variables ...string) (string, error) {
	t.Helper()
	recipe := run(t, "make", append([]string{"--directory", root, "--no-print-directory", "--just-print", "e2e-kind"}, variables...)...)
	_, command, found := strings.Cut(recipe, "tests/e2e/on-kind")
	if !found {
		t.Fatalf("make e2e-kind does not run on-kind:\n%s", recipe)
	}
	shell := exec.Command("bash", "-c", "tests/e2e/on-kind"+command)
	shell.Dir = root
	shell.Env = append(os.Environ(), "PATH="+folder+":/usr/bin:/bin", "RUST_BACKTRACE=1")
	out, err := shell.CombinedOutput()
	return string(out), err
}

func TestTheSuiteRunsOnAKindClusterThatIsRemovedAfterwards(t *testing.T) {
	folder, calls := standIns(t, "docker", "kind", "kubectl", "cargo")
	if out, err := onKind(t, folder); err != nil {
		t.Fatalf("%v\n%s\n%s", err, calls(), out)
	}
	var order []string
	for line := range strings.Lines(calls()) {
		words := strings.Fields(line)
		order = append(order, strings.Join(words[1:min(4, len(words))], " "))
	}
	same(t, "calls", "docker info, kind create cluster, kind load image-archive, kind load image-archive, "+
		"kind load image-archive, cargo test --locked, kind delete cluster", strings.Join(order, ", "))
	if !strings.Contains(calls(), "RUST_BACKTRACE=0 cargo test") {
		t.Errorf("the suite has another environment on kind than on the node:\n%s", calls())
	}
}

func TestTheKindClusterTakesANodeImageAndAConfiguration(t *testing.T) {
	folder, calls := standIns(t, "docker", "kind", "kubectl", "cargo")
	if out, err := onKind(t, folder, "KIND_IMAGE=registry.example.com/node:v1.36.1", "KIND_CONFIG=cluster.yaml"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, calls(), out)
	}
	if !strings.Contains(calls(), " --image registry.example.com/node:v1.36.1 --config cluster.yaml") {
		t.Errorf("kind is not given them:\n%s", calls())
	}
}

func TestAFailureOfTheSuiteOnKindIsTheFailureOfTheCommand(t *testing.T) {
	folder, calls := standIns(t, "docker", "kind", "kubectl")
	if err := os.WriteFile(filepath.Join(folder, "cargo"), []byte("#!/bin/sh\nexit 42\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := onKind(t, folder)
	if failure, ok := err.(*exec.ExitError); !ok || failure.ExitCode() != 42 {
		t.Errorf("the suite failed with 42, the command with %v", err)
	}
	if !strings.Contains(calls(), "kind delete cluster") {
		t.Errorf("the cluster of a failed suite stays:\n%s", calls())
	}
}

func TestWithoutAnEngineTheSuiteSaysThatItDidNotRun(t *testing.T) {
	folder, _ := standIns(t, "kind", "kubectl", "cargo")
	if err := os.WriteFile(filepath.Join(folder, "docker"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := onKind(t, folder)
	if failure, ok := err.(*exec.ExitError); !ok || failure.ExitCode() != 69 {
		t.Errorf("the code is not that of an unavailable service: %v", err)
	}
	if !strings.Contains(out, "Docker") {
		t.Errorf("it does not say what is missing: %s", out)
	}
}
