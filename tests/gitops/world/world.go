package world

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The two kinds.
var (
	Groups    = schema.GroupVersionResource{Group: "fdi.romaconnect.dev", Version: "v1alpha1", Resource: "fditaskgroups"}
	Instances = schema.GroupVersionResource{Group: "fdi.romaconnect.dev", Version: "v1alpha1", Resource: "fdiinstances"}
)

// World is a control plane with our definitions, the simulator, and the operator that works between
// them.
type World struct {
	Client dynamic.Interface
	// Config is the administrator's way to the API server.
	Config *rest.Config
	// Metrics is the URL of the operator's metrics.
	Metrics string
	// Proxy is the endpoint that instances are to name: the simulator, every answer recorded.
	Proxy *Proxy

	dir, kubectl, kubeconfig, simulator string
	processes                           []*process
}

// Start brings everything up, about six seconds.
func Start() (*World, error) {
	dir, err := os.MkdirTemp("", "fdi-gitops-")
	if err != nil {
		return nil, err
	}
	w := &World{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig")}
	for _, step := range []func() error{w.startPlane, w.startSimulator, w.startOperator} {
		if err := step(); err != nil {
			w.Stop()
			return nil, err
		}
	}
	return w, nil
}

// Stop ends what Start began, last first.
func (w *World) Stop() {
	for i := len(w.processes) - 1; i >= 0; i-- {
		w.processes[i].stop()
	}
	if w.Proxy != nil {
		w.Proxy.server.Close()
	}
	if keep := os.Getenv("KEEP_LOGS"); keep == "" {
		_ = os.RemoveAll(w.dir)
	}
}

func (w *World) startPlane() error {
	program, err := Program("controlplane")
	if err != nil {
		return err
	}
	// Builds the programs the first time (minutes); afterwards it only says where they are.
	folder, err := exec.Command(program, "build").Output()
	if err != nil {
		return fmt.Errorf("controlplane build: %w", err)
	}
	lines := strings.Fields(string(folder))
	w.kubectl = filepath.Join(lines[len(lines)-1], "kubectl")
	plane, err := start(w.dir, "controlplane", nil, "run", "--kubeconfig", w.kubeconfig)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, plane)
	ready := func() bool {
		_, err := w.Kubectl("", "get", "--raw", "/readyz")
		return err == nil
	}
	if err := plane.until("ready", time.Minute, ready); err != nil {
		return err
	}
	root, err := Root()
	if err != nil {
		return err
	}
	if _, err := w.Kubectl("", "apply", "--server-side", "-f", filepath.Join(root, "crds")); err != nil {
		return err
	}
	if _, err := w.Kubectl("", "wait", "--for=condition=Established", "--timeout=30s", "crd/fditaskgroups.fdi.romaconnect.dev",
		"crd/fdiinstances.fdi.romaconnect.dev"); err != nil {
		return err
	}
	if w.Config, err = clientcmd.BuildConfigFromFlags("", w.kubeconfig); err != nil {
		return err
	}
	// No limit of our own: a poll that waits for its turn would look like an object that is not
	// ready.
	w.Config.QPS = -1
	w.Client, err = dynamic.NewForConfig(w.Config)
	return err
}

func (w *World) startSimulator() error {
	ports := filepath.Join(w.dir, "simulator.port")
	simulator, err := start(w.dir, "fdi-simulator", nil, "--port-file", ports)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, simulator)
	port := func() string {
		text, _ := os.ReadFile(ports)
		return strings.TrimSpace(string(text))
	}
	if err := simulator.until("listening", 10*time.Second, func() bool { return port() != "" }); err != nil {
		return err
	}
	w.simulator = "http://127.0.0.1:" + port()
	w.Proxy, err = newProxy(w.simulator)
	return err
}

func (w *World) startOperator() error {
	port, err := FreePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	operator, err := start(w.dir, "fdi-operator", []string{"KUBECONFIG=" + w.kubeconfig}, "run", "--allow-insecure-endpoints",
		"--leader-election=false", "--listen-address", address)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, operator)
	w.Metrics = "http://" + address + "/metrics"
	return operator.until("ready", 20*time.Second, func() bool {
		answer, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// Run starts another program, which ends with the others. `{kubeconfig}` in an argument is the
// administrator's.
func (w *World) Run(name string, args ...string) error {
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "{kubeconfig}", w.kubeconfig)
	}
	program, err := start(w.dir, name, nil, args...)
	if err == nil {
		w.processes = append(w.processes, program)
	}
	return err
}

// Kubectl runs kubectl against the control plane, `input` on its standard input.
func (w *World) Kubectl(input string, args ...string) (string, error) {
	cmd := exec.Command(w.kubectl, append([]string{"--kubeconfig", w.kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errors.String())
	}
	return out.String(), nil
}

// Simulator asks the simulator's control API; `answer` may be nil.
func (w *World) Simulator(method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	request, err := http.NewRequest(method, w.simulator+"/_sim"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	said, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode >= 300 {
		return fmt.Errorf("simulator: %s %s: %s %s", method, path, reply.Status, said)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(said, answer)
}
