package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a real API server without any nodes: it decides, nobody runs anything. Core objects are checked by it, because their
// schemas would have to be downloaded for kubeconform, and it knows more than they do: admission, rights, and CEL.
type Server struct {
	t          *testing.T
	kubectlBin string
	kubeconfig string
}

// start uses the program in CONTROLPLANE if that is set, else cargo's.
func start(t *testing.T) Server {
	t.Helper()
	program := func(arguments ...string) *exec.Cmd {
		if built := os.Getenv("CONTROLPLANE"); built != "" {
			return exec.Command(built, arguments...)
		}
		command := exec.Command("cargo", append([]string{"run", "--quiet", "--package", "controlplane", "--"}, arguments...)...)
		command.Dir = root
		return command
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	plane := program("run", "--kubeconfig", kubeconfig)
	// The program ends when its input does, also when this process is killed.
	input, err := plane.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	plane.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	plane.Stderr = os.Stderr
	if err := plane.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = plane.Wait()
	})
	ended := time.Now().Add(15 * time.Minute) // it may have to build the API server first
	for {
		if content, err := os.ReadFile(kubeconfig); err == nil && len(content) > 0 {
			break
		}
		if time.Now().After(ended) {
			t.Fatal("no API server")
		}
		time.Sleep(100 * time.Millisecond)
	}
	folder, err := program("path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return Server{t, filepath.Join(strings.TrimSpace(string(folder)), "kubectl"), kubeconfig}
}

func (s Server) try(arguments ...string) (string, error) {
	return try(s.kubectlBin, append([]string{"--kubeconfig", s.kubeconfig}, arguments...)...)
}

func (s Server) kubectl(arguments ...string) string {
	s.t.Helper()
	out, err := s.try(arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s Server) helm(arguments ...string) string {
	s.t.Helper()
	return tool(s.t, append([]string{"helm", "--kubeconfig", s.kubeconfig, "--namespace", "fdi-system"}, arguments...)...)
}

// One server for all, in this order: what is installed stays.
func TestOnARealAPIServer(t *testing.T) {
	server := start(t)
	server.kubectl("create", "namespace", "orders")
	for _, step := range []struct {
		name string
		run  func(*testing.T, Server)
	}{
		{"the rendered installation is accepted, twice, and every overlay after it", installs},
		{"the restricted level admits the pods of every overlay", admits},
		{"the samples are accepted", samples},
		{"the account may do what it must and nothing more", rights},
		{"people with edit in a namespace may use both kinds and not write their status", people},
		{"the chart installs, upgrades, and leaves definitions and objects when it goes", chart},
	} {
		if !t.Run(step.name, func(t *testing.T) { server.t = t; step.run(t, server) }) {
			return
		}
	}
}

func installs(t *testing.T, server Server) {
	install := path("deploy/install.yaml")
	server.kubectl("apply", "--server-side", "--filename", install)
	server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/fdiinstances.fdi.romaconnect.dev", "crd/fditaskgroups.fdi.romaconnect.dev")
	// GitOps tools compare what they send with what is stored: nothing may be filled in or rewritten so that it looks changed.
	if out, err := server.try("diff", "--server-side", "--filename", install); err != nil {
		t.Errorf("applied again, something would change: %v%s", err, out)
	}
	for _, overlay := range []string{"default", "namespaced", "ha", "e2e"} {
		server.kubectl("apply", "--server-side", "--dry-run=server", "--kustomize", path("deploy/overlays", overlay))
	}
}

func admits(t *testing.T, server Server) {
	for _, overlay := range []string{"default", "namespaced", "ha", "e2e"} {
		pod := as[Object](field(find(t, kustomize(t, "overlays/"+overlay), "Deployment", "fdi-operator"), "spec", "template"))
		pod["apiVersion"], pod["kind"] = "v1", "Pod"
		as[Object](pod["metadata"])["name"] = "operator-" + overlay
		if overlay == "ha" {
			// The class must exist for a pod to be admitted.
			server.kubectl("apply", "--server-side", "--filename", path("deploy/overlays/ha/priorityclass.yaml"))
		}
		server.kubectl("apply", "--dry-run=server", "--namespace", "fdi-system", "--filename", write(t, pod))
	}
	pod := as[Object](field(find(t, kustomize(t, "base"), "Deployment", "fdi-operator"), "spec", "template"))
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	as[Object](pod["metadata"])["name"] = "on-the-node"
	as[Object](pod["spec"])["hostNetwork"] = true
	if _, err := server.try("apply", "--dry-run=server", "--namespace", "fdi-system", "--filename", write(t, pod)); err == nil {
		t.Error("a pod on the node's network is admitted: the level is not enforced, and this test finds nothing")
	}
}

func samples(t *testing.T, server Server) {
	out := server.kubectl("apply", "--namespace", "orders", "--filename", path("deploy/samples/secret.yaml"),
		"--filename", path("deploy/samples/instance.yaml"), "--filename", path("deploy/samples/groups.yaml"))
	if strings.Count(out, "created") != 4 {
		t.Error(out)
	}
	server.kubectl("apply", "--dry-run=server", "--kustomize", path("deploy/samples"))
}

func rights(t *testing.T, server Server) {
	const account = "system:serviceaccount:fdi-system:fdi-operator"
	may := func(allowed bool, arguments ...string) {
		t.Helper()
		out, _ := server.try(append([]string{"auth", "can-i", "--as", account}, arguments...)...)
		if answer := strings.HasPrefix(out, "yes"); answer != allowed {
			t.Errorf("may it %v: %v", arguments, answer)
		}
	}
	for _, needed := range [][]string{
		{"list", "fdiinstances", "--all-namespaces"}, {"watch", "fdiinstances", "--all-namespaces"},
		{"list", "fditaskgroups", "--all-namespaces"}, {"watch", "fditaskgroups", "--all-namespaces"},
		{"patch", "fditaskgroups", "-n", "orders"}, {"patch", "fditaskgroups", "--subresource=status", "-n", "orders"},
		{"patch", "fdiinstances", "--subresource=status", "-n", "orders"}, {"get", "secret/roma-credentials", "-n", "orders"},
		{"create", "events.events.k8s.io", "-n", "orders"}, {"patch", "events.events.k8s.io", "-n", "orders"},
		{"create", "leases", "-n", "fdi-system"}, {"get", "lease/fdi-operator", "-n", "fdi-system"}, {"update", "lease/fdi-operator", "-n", "fdi-system"},
		{"get", "crd/fdiinstances.fdi.romaconnect.dev"}, {"get", "crd/fditaskgroups.fdi.romaconnect.dev"},
	} {
		may(true, needed...)
	}
	for _, refused := range [][]string{
		{"list", "secrets", "-n", "orders"}, {"watch", "secrets", "--all-namespaces"}, {"update", "secret/roma-credentials", "-n", "orders"},
		{"create", "fditaskgroups", "-n", "orders"}, {"delete", "fditaskgroups", "-n", "orders"}, {"patch", "fdiinstances", "-n", "orders"},
		{"get", "lease/other", "-n", "fdi-system"}, {"update", "lease/other", "-n", "fdi-system"}, {"create", "leases", "-n", "orders"},
		{"get", "crd/other.example.com"}, {"list", "crd"}, {"get", "pods", "-n", "fdi-system"}, {"create", "pods", "-n", "fdi-system"},
		{"get", "configmaps", "-n", "fdi-system"}, {"list", "namespaces"}, {"create", "tokenreviews"},
	} {
		may(false, refused...)
	}
}

func people(t *testing.T, server Server) {
	// Without kube-controller-manager nobody aggregates, so the shipped roles are bound themselves.
	for _, role := range []string{"view", "edit"} {
		server.kubectl("create", "rolebinding", "people-"+role, "--clusterrole=fdi-operator-"+role, "--user=ann", "--namespace=orders")
	}
	for question, wanted := range map[string]string{
		"create fditaskgroups": "yes", "delete fdiinstances": "yes", "list fditaskgroups": "yes",
		"patch fditaskgroups --subresource=status": "no", "get secrets": "no",
	} {
		out, _ := server.try(append([]string{"auth", "can-i", "--as", "ann", "--namespace", "orders"}, strings.Fields(question)...)...)
		if !strings.HasPrefix(out, wanted) {
			t.Errorf("%s: %s", question, out)
		}
	}
}

func chart(t *testing.T, server Server) {
	folder := path("deploy/helm/fdi-operator")
	server.kubectl("delete", "--ignore-not-found", "--wait", "--filename", path("deploy/overlays/ha/priorityclass.yaml"))
	server.kubectl("delete", "--kustomize", path("deploy/base"), "--namespace", "fdi-system", "--ignore-not-found")
	definitions := []string{"crd/fdiinstances.fdi.romaconnect.dev", "crd/fditaskgroups.fdi.romaconnect.dev"}
	for _, definition := range definitions {
		server.kubectl("annotate", definition, "meta.helm.sh/release-name=fdi-operator", "meta.helm.sh/release-namespace=fdi-system")
		server.kubectl("label", definition, "app.kubernetes.io/managed-by=Helm", "--overwrite")
	}
	// The chart of a release before: the same with definitions that lack fields.
	previous := filepath.Join(t.TempDir(), "fdi-operator")
	if err := os.CopyFS(previous, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	older := read(t, "tests/e2e/previous-crds/stand-in.yaml")
	if err := os.WriteFile(filepath.Join(previous, "files/crds/fdi.romaconnect.dev.yaml"), []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	managed := func() string {
		return server.kubectl("get", definitions[0], "--output", "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.status.properties.tasks.properties.managed.type}")
	}
	// Nothing runs the pod, so the release is installed without waiting for it.
	server.helm("install", "fdi-operator", previous, "--force-conflicts")
	before := managed()
	server.helm("upgrade", "fdi-operator", folder, "--set", "replicas=2")
	same(t, "tasks.managed before and after the upgrade", ", integer", before+", "+managed())
	if replicas := server.kubectl("get", "deployment", "fdi-operator", "--namespace", "fdi-system", "--output", "jsonpath={.spec.replicas}"); replicas != "2" {
		t.Errorf("%s replicas after the upgrade", replicas)
	}
	server.helm("uninstall", "fdi-operator")
	if left := server.kubectl("get", "deployments,serviceaccounts,roles,rolebindings", "--namespace", "fdi-system", "--selector", "app.kubernetes.io/name=fdi-operator", "--output", "name"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if left := server.kubectl("get", "fditaskgroups,fdiinstances", "--namespace", "orders", "--output", "name"); strings.Count(left, "\n") != 3 {
		t.Errorf("of the three samples are left: %s", left)
	}
}

func write(t *testing.T, object Object) string {
	t.Helper()
	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), fmt.Sprintf("%v.json", field(object, "metadata", "name")))
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
