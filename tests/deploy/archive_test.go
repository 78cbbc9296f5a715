package deploy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	*tar.Header
	content []byte
}

func untar(t *testing.T, reader io.Reader) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for archive := tar.NewReader(reader); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		entries[strings.TrimSuffix(header.Name, "/")] = entry{header, content}
	}
}

type descriptor struct {
	MediaType, Digest string
	Size              int
	Annotations       map[string]string
	Platform          struct{ Architecture, OS string }
}

// imageConfig is what an image says about the process in it.
type imageConfig struct {
	Architecture, OS string
	Config           struct {
		User, WorkingDir string
		Entrypoint, Cmd  []string
		ExposedPorts     map[string]struct{}
		Labels           map[string]string
	}
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

// imageManifest names the blobs of an image.
type imageManifest struct {
	Config descriptor
	Layers []descriptor
}

// unpack gives the manifest and the configuration of the one image in an archive.
func unpack(t *testing.T, image map[string]entry) (descriptor, imageManifest, imageConfig) {
	t.Helper()
	index := decode[struct{ Manifests []descriptor }](t, image["index.json"].content)
	manifest := decode[imageManifest](t, blob(t, image, index.Manifests[0]))
	return index.Manifests[0], manifest, decode[imageConfig](t, blob(t, image, manifest.Config))
}

// blob gives what a descriptor stands for, once digest and size are right.
func blob(t *testing.T, archive map[string]entry, about descriptor) []byte {
	t.Helper()
	content := archive["blobs/sha256/"+strings.TrimPrefix(about.Digest, "sha256:")].content
	if actual := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); actual != about.Digest || len(content) != about.Size {
		t.Fatalf("%+v is %s of %d bytes", about, actual, len(content))
	}
	return content
}

func decode[T any](t *testing.T, content []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// program gives a real one that is linked dynamically: the archive is about what surrounds the
// operator's binary, not about the binary.
func program(t *testing.T) string {
	t.Helper()
	source, built := filepath.Join(t.TempDir(), "main.c"), filepath.Join(t.TempDir(), "fdi-operator")
	if err := os.WriteFile(source, []byte("#include <math.h>\nint main(int c, char **v) { return (int) cos(c); }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "cc", "-o", built, source, "-lm")
	return built
}

func archive(t *testing.T, binary, output string, more ...string) []byte {
	t.Helper()
	arguments := []string{path("deploy/image/archive.py"), "--binary", binary, "--name", "example.com/fdi-operator:v1", "--output", output,
		"--label", "org.opencontainers.image.title=fdi-operator"}
	run(t, "python3", append(arguments, more...)...)
	content, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheImageArchiveIsWhatTheRuntimeAndTheRestrictedLevelExpect(t *testing.T) {
	built := program(t)
	image := untar(t, bytes.NewReader(archive(t, built, filepath.Join(t.TempDir(), "image.tar"))))
	if layout := string(image["oci-layout"].content); layout != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: %s", layout)
	}
	about, manifest, config := unpack(t, image)
	if name := about.Annotations["io.containerd.image.name"]; name != "example.com/fdi-operator:v1" {
		t.Errorf("containerd would call it %q", name)
	}
	if config.OS != "linux" || config.Architecture != about.Platform.Architecture {
		t.Errorf("platform %s/%s, the index says %+v", config.OS, config.Architecture, about.Platform)
	}
	// A number, or the kubelet cannot tell that runAsNonRoot holds.
	if config.Config.User != "65532:65532" {
		t.Errorf("user %s", config.Config.User)
	}
	if config.Config.Labels["org.opencontainers.image.title"] != "fdi-operator" {
		t.Errorf("labels %v", config.Config.Labels)
	}

	unpacked, err := gzip.NewReader(bytes.NewReader(blob(t, image, manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if id := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); len(config.RootFS.DiffIDs) != 1 || id != config.RootFS.DiffIDs[0] {
		t.Errorf("the layer is %s, the configuration says %v", id, config.RootFS.DiffIDs)
	}
	files := untar(t, bytes.NewReader(layer))
	binary, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	stored := files[strings.TrimPrefix(config.Config.Entrypoint[0], "/")]
	if !bytes.Equal(stored.content, binary) || stored.Mode != 0o755 {
		t.Errorf("%v is not the program", config.Config.Entrypoint)
	}
	if !strings.Contains(string(files["etc/ssl/certs/ca-certificates.crt"].content), "BEGIN CERTIFICATE") {
		t.Error("no CA certificates")
	}
	if !strings.Contains(string(files["etc/passwd"].content), "nonroot:x:65532:65532:") {
		t.Error("no user nonroot")
	}
	// What the image holds is enough to run the program: no library is missing from it.
	folder := t.TempDir()
	for name, file := range files {
		target := filepath.Join(folder, name)
		if file.Typeflag == tar.TypeDir {
			err = os.MkdirAll(target, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(target), 0o700); err == nil {
			err = os.WriteFile(target, file.content, os.FileMode(file.Mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		run(t, "chroot", folder, config.Config.Entrypoint[0])
	}
}

// archiveLayer gives the files of an archive that is made with these options.
func archiveLayer(t *testing.T, options ...string) []byte {
	t.Helper()
	image := untar(t, bytes.NewReader(archive(t, program(t), filepath.Join(t.TempDir(), "image.tar"), options...)))
	_, manifest, _ := unpack(t, image)
	unpacked, err := gzip.NewReader(bytes.NewReader(blob(t, image, manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// docker load reads manifest.json, and old versions read nothing else.
func TestDockerFindsNameConfigurationAndLayersOfTheArchive(t *testing.T) {
	image := untar(t, bytes.NewReader(archive(t, program(t), filepath.Join(t.TempDir(), "image.tar"))))
	content, there := image["manifest.json"]
	if !there {
		t.Fatal("there is no manifest.json")
	}
	listed := decode[[]struct {
		Config   string
		RepoTags []string
		Layers   []string
	}](t, content.content)
	if len(listed) != 1 {
		t.Fatalf("%d images", len(listed))
	}
	same(t, "name", "example.com/fdi-operator:v1", strings.Join(listed[0].RepoTags, " "))
	_, manifest, _ := unpack(t, image)
	file := func(about descriptor) string { return "blobs/sha256/" + strings.TrimPrefix(about.Digest, "sha256:") }
	same(t, "configuration", file(manifest.Config), listed[0].Config)
	if len(listed[0].Layers) != len(manifest.Layers) {
		t.Fatalf("%d layers for Docker, %d for the others", len(listed[0].Layers), len(manifest.Layers))
	}
	for index, layer := range manifest.Layers {
		same(t, "layer", file(layer), listed[0].Layers[index])
	}
}

func TestTheSameInputsGiveTheSameImage(t *testing.T) {
	built, folder := program(t), t.TempDir()
	one := archive(t, built, filepath.Join(folder, "one.tar"))
	if !bytes.Equal(one, archive(t, built, filepath.Join(folder, "two.tar"))) {
		t.Error("the two archives differ")
	}
	if bytes.Equal(one, archive(t, built, filepath.Join(folder, "three.tar"), "--label", "a=b")) {
		t.Error("a label more makes no difference")
	}
}

func TestTheArchiveSaysWhatIsWrong(t *testing.T) {
	for _, arguments := range [][]string{
		{"--binary", "/nonexistent", "--name", "n", "--output", "o"},
		{"--binary", "/bin/true", "--name", "n", "--output", "o", "--label", "nothing"},
		{"--binary", "/bin/true", "--name", "n", "--output", "o", "--licences", "/nonexistent"},
	} {
		_, err := try("python3", append([]string{path("deploy/image/archive.py")}, arguments...)...)
		if err == nil || strings.Contains(err.Error(), "Traceback") {
			t.Errorf("%v: %v", arguments, err)
		}
	}
}
