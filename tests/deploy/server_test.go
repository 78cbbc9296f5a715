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

// Server is a real API server without any nodes: it decides, nobody runs anything. Core objects are
// checked by it, because their schemas would have to be downloaded for kubeconform, and it knows
// more than they do: admission, permissions, and CEL.
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
		{"whoever applies the same objects next meets no conflict", takesOver},
		{"the restricted level admits the pods of every overlay", admits},
		{"the samples are accepted", samples},
		{"the ServiceAccount has the permissions it needs and no others", permissions},
		{"editors of a namespace may use both kinds and not write their status", people},
		{"a second installation has its permissions and the first keeps its own", second},
		{"the policies bound what users write and nothing that the operator writes", policies},
		{"Helm adopts what kubectl installed", adopts},
		{"the chart installs, upgrades, and leaves CRDs and objects when it is uninstalled", chart},
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
	// GitOps tools compare what they send with what is stored: the API server must not fill in or
	// rewrite anything.
	if out, err := server.try("diff", "--server-side", "--filename", install); err != nil {
		t.Errorf("applied again, something would change: %v%s", err, out)
	}
	for _, overlay := range []string{"default", "namespaced", "ha", "e2e"} {
		server.kubectl("apply", "--server-side", "--dry-run=server", "--kustomize", path("deploy/overlays", overlay))
	}
}

// kubectl, Flux and Helm are field managers of their own. What one applied another may apply again:
// a default that is left out of an atomic field would be a conflict.
func takesOver(t *testing.T, server Server) {
	rendered := tool(t, "helm", "template", "fdi-operator", path("deploy/helm/fdi-operator"), "--namespace", "fdi-system")
	chart := filepath.Join(t.TempDir(), "chart.yaml")
	if err := os.WriteFile(chart, []byte(rendered), 0o600); err != nil {
		t.Fatal(err)
	}
	for manager, file := range map[string]string{"kustomize-controller": path("deploy/install.yaml"), "argocd-controller": path("deploy/install.yaml")} {
		if _, err := server.try("apply", "--server-side", "--field-manager="+manager, "--filename", file); err != nil {
			t.Errorf("%s: %v", manager, err)
		}
	}
	// The labels of Helm are its own; everything else must agree.
	if _, err := server.try("apply", "--server-side", "--dry-run=server", "--field-manager=helm", "--filename", chart); err != nil {
		t.Errorf("helm: %v", err)
	}
}

// second installs an operator of its own for other namespaces, as docs/install.md says.
func second(t *testing.T, server Server) {
	server.kubectl("create", "namespace", "billing")
	for _, object := range copyOfNamespaced(t, "billing-system", "billing", "nameSuffix: -billing\n") {
		server.kubectl("apply", "--server-side", "--filename", write(t, object))
	}
	for account, namespaces := range map[string][2]string{
		"system:serviceaccount:billing-system:fdi-operator-billing": {"billing", "orders"},
		"system:serviceaccount:fdi-system:fdi-operator":             {"orders", ""},
	} {
		for number, namespace := range namespaces {
			if namespace == "" {
				continue
			}
			out, _ := server.try("auth", "can-i", "list", "fditaskgroups", "--namespace", namespace, "--as", account)
			if allowed := strings.HasPrefix(out, "yes"); allowed != (number == 0) {
				t.Errorf("%s lists the groups of %s: %v", account, namespace, allowed)
			}
		}
		if out, _ := server.try("auth", "can-i", "get", "crd/fdiinstances.fdi.romaconnect.dev", "--as", account); !strings.HasPrefix(out, "yes") {
			t.Errorf("%s may not compare the CRDs", account)
		}
	}
	server.kubectl("delete", "namespace", "billing", "billing-system", "--wait=false")
	for _, kind := range []string{"clusterrole", "clusterrolebinding"} {
		for _, object := range strings.Fields(server.kubectl("get", kind, "--output", "name")) {
			if strings.HasSuffix(object, "-billing") {
				server.kubectl("delete", object)
			}
		}
	}
}

func policies(t *testing.T, server Server) {
	server.kubectl("create", "namespace", "bounded")
	group := func(name string, annotations, more Object) string {
		metadata := Object{"name": name, "namespace": "bounded", "annotations": annotations}
		for key, value := range more {
			metadata[key] = value
		}
		return write(t, Object{"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup", "metadata": metadata,
			"spec": Object{"instanceRef": Object{"name": "roma"}, "desiredState": "Running", "taskIds": []any{"one"}}})
	}
	owners := func(number int) Object {
		var all []any
		for index := range number {
			all = append(all, Object{"apiVersion": "v1", "kind": "ConfigMap", "name": fmt.Sprintf("c%d", index), "uid": fmt.Sprintf("uid-%d", index)})
		}
		return Object{"ownerReferences": all}
	}
	many := Object{}
	for index := range 33 {
		many[fmt.Sprintf("example.com/a%d", index)] = "x"
	}
	const requestedAt = "reconcile.fluxcd.io/requestedAt"
	// From before the policy: too large, and it must not become a prisoner of its finalizer.
	grown := group("grown", Object{"example.com/note": strings.Repeat("x", 9000), requestedAt: strings.Repeat("9", 200)}, owners(6))
	server.kubectl("create", "--filename", grown)
	server.kubectl("apply", "--filename", path("deploy/policies/admission-policy.yaml"))
	refused := func(reason string, arguments ...string) {
		t.Helper()
		if _, err := server.try(arguments...); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("not refused with %q: %v", reason, err)
		}
	}
	// A policy takes effect some moments after it was accepted.
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := server.try("create", "--dry-run=server", "--filename", group("probe", Object{}, owners(5)))
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the policy has no effect")
		}
		time.Sleep(100 * time.Millisecond)
	}
	refused("at most 4 owner references", "create", "--filename", group("owners", Object{}, owners(5)))
	refused("at most 32 annotations", "create", "--filename", group("many", many, nil))
	refused("at most 8,192 characters", "create", "--filename", group("long", Object{"example.com/note": strings.Repeat("x", 8193)}, nil))
	refused("requestedAt may have at most 128", "create", "--filename", group("asked", Object{requestedAt: strings.Repeat("9", 129)}, nil))
	server.kubectl("create", "--filename", group("fits", Object{"example.com/note": strings.Repeat("x", 8192), requestedAt: "2026-01-01T00:00:00Z"}, owners(4)))
	refused("requestedAt may have at most 128", "annotate", "--namespace", "bounded", "fditaskgroup/fits", "--overwrite", requestedAt+"="+strings.Repeat("9", 129))

	// The writes of the operator, on the object that is too large.
	server.kubectl("patch", "--namespace", "bounded", "fditaskgroup/grown", "--subresource=status", "--type=merge", "--patch", `{"status":{"observedGeneration":1}}`)
	server.kubectl("patch", "--namespace", "bounded", "fditaskgroup/grown", "--type=merge", "--patch", `{"metadata":{"finalizers":["fdi.romaconnect.dev/stop"]}}`)
	server.kubectl("patch", "--namespace", "bounded", "fditaskgroup/grown", "--type=merge", "--patch", `{"metadata":{"finalizers":null}}`)

	// Nothing counts here without kube-controller-manager, so the test writes the status that it
	// would write.
	server.kubectl("apply", "--namespace", "bounded", "--filename", path("deploy/policies/resourcequota.yaml"))
	hard := as[Object](field(objects(t, read(t, "deploy/policies/resourcequota.yaml"))[0], "spec", "hard"))
	used := Object{}
	for resource, limit := range hard {
		used[resource] = limit
	}
	status, err := json.Marshal(Object{"status": Object{"hard": hard, "used": used}})
	if err != nil {
		t.Fatal(err)
	}
	server.kubectl("patch", "--namespace", "bounded", "resourcequota/fdi-operator", "--subresource=status", "--type=merge", "--patch", string(status))
	deadline = time.Now().Add(30 * time.Second)
	for {
		_, err := server.try("create", "--dry-run=server", "--filename", group("more", Object{}, nil))
		if err != nil && strings.Contains(err.Error(), "exceeded quota: fdi-operator") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the quota has no effect: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	server.kubectl("delete", "--filename", path("deploy/policies/admission-policy.yaml"))
	server.kubectl("delete", "namespace", "bounded", "--wait=false")
}

func adopts(t *testing.T, server Server) {
	server.kubectl("apply", "--server-side", "--force-conflicts", "--filename", path("deploy/install.yaml"))
	// Another version of the CRDs is what an upgrade finds.
	older := filepath.Join(t.TempDir(), "older.yaml")
	if err := os.WriteFile(older, []byte(read(t, "tests/e2e/previous-crds/stand-in.yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	server.kubectl("apply", "--server-side", "--force-conflicts", "--filename", older)
	folder := path("deploy/helm/fdi-operator")
	if _, err := try("go", "tool", "helm", "--kubeconfig", server.kubeconfig, "--namespace", "fdi-system", "install", "fdi-operator", folder, "--take-ownership"); err == nil || !strings.Contains(err.Error(), ".spec.versions") {
		t.Errorf("the README explains a conflict that there is not: %v", err)
	}
	if _, err := try("go", "tool", "helm", "--kubeconfig", server.kubeconfig, "--namespace", "fdi-system", "uninstall", "fdi-operator", "--ignore-not-found"); err != nil {
		t.Error(err)
	}
	server.kubectl("apply", "--server-side", "--force-conflicts", "--filename", path("deploy/install.yaml"))
	server.kubectl("apply", "--server-side", "--force-conflicts", "--filename", older)
	server.helm("install", "fdi-operator", folder, "--take-ownership", "--force-conflicts")
	server.kubectl("apply", "--server-side", "--force-conflicts", "--filename", path("deploy/install.yaml"))
	server.helm("uninstall", "fdi-operator")
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

func permissions(t *testing.T, server Server) {
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
