// Package world starts what these tests use: the real control plane, the simulator and the
// operator, as programs, with a recording proxy between the last two.
package world

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Program is the path of one of our binaries: an environment variable, or where `cargo build` puts
// it.
func Program(name string) (string, error) {
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_BIN"
	path := os.Getenv(variable)
	if path == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "target", "debug", name)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not there: build it with 'cargo build --workspace', or say where it is in %s", path, variable)
	}
	return path, nil
}

// Root is the folder of the repository: the nearest one above with a Cargo.lock.
func Root() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "Cargo.lock")); err == nil {
			return folder, nil
		}
		above := filepath.Dir(folder)
		if above == folder {
			return "", fmt.Errorf("no Cargo.lock in any folder above: run the tests inside the repository")
		}
		folder = above
	}
}

// process is a program that ends with us, also when we are killed.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   *os.File
	stdin io.Closer
	ended chan struct{}
}

func start(dir, name string, env []string, args ...string) (*process, error) {
	path, err := Program(name)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A pipe that closes with us: the control plane ends at the end of its input and takes its
	// children along.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if name != "controlplane" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, log: log, stdin: stdin, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	_ = p.log.Close()
}

// lastLines of what the program wrote, for messages about its failure.
func (p *process) lastLines() string {
	text, _ := os.ReadFile(p.log.Name())
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// until waits for a program to reach a condition; it fails early when the program ends.
func (p *process) until(what string, limit time.Duration, condition func() bool) error {
	deadline := time.Now().Add(limit)
	for !condition() {
		if !p.running() {
			return fmt.Errorf("%s ended before %s:\n%s", p.name, what, p.lastLines())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not %s within %v:\n%s", p.name, what, limit, p.lastLines())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
