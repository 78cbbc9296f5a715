// Command pause is the process that keeps a pod's namespaces: it waits, reaps what is orphaned to it, and ends when told to.
//
// `pause --archive FILE NAME` writes the image NAME, which holds this program alone, as an OCI archive.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "--archive" {
		if err := archive(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "pause:", err)
			os.Exit(1)
		}
		return
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

type object = map[string]any

// archive writes an OCI image layout as a tar: one layer with this program, its configuration, its manifest, and the index.
func archive(path, name string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	layer, err := tarball([]file{{"pause", program, 0o755}})
	if err != nil {
		return err
	}
	config, err := json.Marshal(object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": []string{"/pause"}, "User": "65535:65535"},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return err
	}
	const media = "application/vnd.oci.image."
	manifest, err := json.Marshal(object{
		"schemaVersion": 2, "mediaType": media + "manifest.v1+json",
		"config": descriptor(media+"config.v1+json", config),
		"layers": []object{descriptor(media+"layer.v1.tar", layer)},
	})
	if err != nil {
		return err
	}
	entry := descriptor(media+"manifest.v1+json", manifest)
	entry["annotations"] = object{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []object{entry}})
	if err != nil {
		return err
	}
	files := []file{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644}, {"index.json", index, 0o644}}
	for _, blob := range [][]byte{layer, config, manifest} {
		files = append(files, file{"blobs/sha256/" + digest(blob)[len("sha256:"):], blob, 0o644})
	}
	whole, err := tarball(files)
	if err != nil {
		return err
	}
	return os.WriteFile(path, whole, 0o644)
}

type file struct {
	name  string
	bytes []byte
	mode  int64
}

func tarball(files []file) ([]byte, error) {
	var whole bytes.Buffer
	to := tar.NewWriter(&whole)
	for _, f := range files {
		if err := to.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.bytes))}); err != nil {
			return nil, err
		}
		if _, err := to.Write(f.bytes); err != nil {
			return nil, err
		}
	}
	err := to.Close()
	return whole.Bytes(), err
}

func digest(blob []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(blob)) }

func descriptor(mediaType string, blob []byte) object {
	return object{"mediaType": mediaType, "digest": digest(blob), "size": len(blob)}
}
