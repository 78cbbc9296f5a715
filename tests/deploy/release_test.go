package deploy_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// platforms are those of a release, by target of the compiler.
var platforms = map[string]string{
	"x86_64-unknown-linux-musl": "linux_amd64", "aarch64-unknown-linux-musl": "linux_arm64",
	"x86_64-apple-darwin": "darwin_amd64", "aarch64-apple-darwin": "darwin_arm64",
	"x86_64-pc-windows-gnu": "windows_amd64", "aarch64-pc-windows-gnullvm": "windows_arm64",
}

// version is that of the workspace.
var version = func() string {
	text, _ := os.ReadFile(path("Cargo.toml"))
	_, version, _ := strings.Cut(string(text), "\nversion = \"")
	version, _, _ = strings.Cut(version, "\"")
	return version
}()

// standIn is a program that says which platform it was packed for and by which name it was called.
func standIn(t *testing.T, platform string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	text := "#!/bin/sh\necho " + platform + " \"${0##*/}\" \"$@\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func packed(platform string) string {
	ending := ".tar.gz"
	if strings.HasPrefix(platform, "windows") {
		ending = ".zip"
	}
	return "fdi-operator_" + version + "_" + platform + ending
}

// release makes the archives of every platform with stand-ins, their checksums and the manifest.
func release(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for target, platform := range platforms {
		run(t, path("deploy/release/archive"), target, folder, "--binary", standIn(t, platform), "--licences", path("LICENSE"))
	}
	run(t, path("deploy/release/krew"), folder)
	return folder
}

// contents gives the files of an archive with their modes.
func contents(t *testing.T, file string) (map[string]string, map[string]os.FileMode) {
	t.Helper()
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files, modes := map[string]string{}, map[string]os.FileMode{}
	if strings.HasSuffix(file, ".zip") {
		archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range archive.File {
			reader, err := entry.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			files[entry.Name], modes[entry.Name] = string(content), entry.Mode()
		}
		return files, modes
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for name, entry := range untar(t, plain) {
		files[name], modes[name] = string(entry.content), entry.FileInfo().Mode()
	}
	return files, modes
}

func TestAnArchiveHoldsTheProgramWithItsLicencesAndNothingElse(t *testing.T) {
	folder := release(t)
	for _, platform := range platforms {
		files, modes := contents(t, filepath.Join(folder, packed(platform)))
		program := "fdi-operator"
		if strings.HasPrefix(platform, "windows") {
			program += ".exe"
		}
		same(t, platform, []string{"LICENSE", "README.md", "THIRD-PARTY.txt", program}, slices.Sorted(maps.Keys(files)))
		same(t, platform+" LICENSE", read(t, "LICENSE"), files["LICENSE"])
		if !strings.Contains(files[program], "echo "+platform) || modes[program] != 0o755 {
			t.Errorf("%s: %s %q", platform, modes[program], files[program])
		}
	}
}

func TestTheSameProgramGivesTheSameArchive(t *testing.T) {
	one, other, program := t.TempDir(), t.TempDir(), standIn(t, "any")
	for target, platform := range platforms {
		var packedTwice [2][]byte
		for i, folder := range []string{one, other} {
			run(t, path("deploy/release/archive"), target, folder, "--binary", program)
			content, err := os.ReadFile(filepath.Join(folder, packed(platform)))
			if err != nil {
				t.Fatal(err)
			}
			packedTwice[i] = content
		}
		if !bytes.Equal(packedTwice[0], packedTwice[1]) {
			t.Errorf("the two archives for %s differ", platform)
		}
	}
}

func TestAProgramForLinuxThatIsNotStaticIsRefused(t *testing.T) {
	_, err := try(path("deploy/release/archive"), "x86_64-unknown-linux-musl", t.TempDir(), "--binary", program(t))
	if err == nil || !strings.Contains(err.Error(), "is not static: it needs /") || strings.Contains(err.Error(), "Traceback") {
		t.Errorf("%v", err)
	}
}

func TestTheChecksumsAreThoseOfTheArchives(t *testing.T) {
	folder := release(t)
	out := run(t, "sh", "-c", "cd '"+folder+"' && sha256sum --strict --check checksums.txt")
	same(t, "archives", len(platforms), strings.Count(out, ": OK\n"))
}

// Krew's own check of what goes into its index.
func TestKrewAcceptsTheManifest(t *testing.T) {
	manifest := filepath.Join(release(t), "fdi.yaml")
	run(t, "go", "tool", "validate-krew-manifest", "-manifest", manifest, "-skip-install")
	content, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var plugin struct {
		Spec struct {
			Version, ShortDescription string
			Platforms                 []struct{ URI string }
		}
	}
	if err := yaml.Unmarshal(content, &plugin); err != nil {
		t.Fatal(err)
	}
	same(t, "version", "v"+version, plugin.Spec.Version)
	var uris, expected []string
	for _, platform := range plugin.Spec.Platforms {
		uris = append(uris, platform.URI)
	}
	for _, platform := range platforms {
		expected = append(expected, "https://github.com/fdi-operator/fdi-operator/releases/download/v"+version+"/"+packed(platform))
	}
	slices.Sort(uris)
	slices.Sort(expected)
	same(t, "addresses", expected, uris)
	if len(plugin.Spec.ShortDescription) > 50 {
		t.Error("Krew cuts the short description")
	}
}

// krew installs an archive as on another platform, and gives the folder with the plugin.
func krew(t *testing.T, folder, platform string) (string, error) {
	t.Helper()
	system, architecture, _ := strings.Cut(platform, "_")
	home := t.TempDir()
	command := exec.Command("go", "tool", "krew", "install", "--manifest", filepath.Join(folder, "fdi.yaml"), "--archive", filepath.Join(folder, packed(platform)))
	command.Env = append(os.Environ(), "KREW_ROOT="+home, "KREW_OS="+system, "KREW_ARCH="+architecture, "KREW_NO_UPGRADE_CHECK=1")
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return filepath.Join(home, "bin"), err
}

func TestKrewInstallsTheArchiveOfEachPlatformAsKubectlFdi(t *testing.T) {
	folder := release(t)
	for _, platform := range platforms {
		bin, err := krew(t, folder, platform)
		if err != nil {
			t.Fatal(err)
		}
		plugin := "kubectl-fdi"
		if strings.HasPrefix(platform, "windows") {
			plugin += ".exe"
		}
		same(t, platform, platform+" "+plugin+" status\n", run(t, filepath.Join(bin, plugin), "status"))
	}
}

func TestKrewRefusesAnArchiveThatWasChanged(t *testing.T) {
	folder := release(t)
	run(t, path("deploy/release/archive"), "x86_64-unknown-linux-musl", folder, "--binary", standIn(t, "changed"))
	if _, err := krew(t, folder, "linux_amd64"); err == nil || !strings.Contains(err.Error(), "checksum does not match") {
		t.Errorf("%v", err)
	}
}

func TestAManifestNeedsTheArchivesOfAllPlatforms(t *testing.T) {
	folder := release(t)
	if err := os.Remove(filepath.Join(folder, packed("windows_arm64"))); err != nil {
		t.Fatal(err)
	}
	_, err := try(path("deploy/release/krew"), folder)
	if err == nil || !strings.Contains(err.Error(), "no archive for windows/arm64") || strings.Contains(err.Error(), "Traceback") {
		t.Errorf("%v", err)
	}
	if _, err := try(path("deploy/release/krew"), t.TempDir()); err == nil || !strings.Contains(err.Error(), "archives of 0 versions") {
		t.Errorf("%v", err)
	}
}

func TestTheReleaseBuildsAnArchiveForEachPlatform(t *testing.T) {
	targets := []string{}
	for _, one := range workflows(t)["release.yml"]["archives"].Strategy.Matrix.Include {
		targets = append(targets, one.Target)
		if strings.HasSuffix(one.Target, "apple-darwin") != strings.HasPrefix(one.Runner, "macos-") {
			t.Errorf("%s is built on %s", one.Target, one.Runner)
		}
	}
	slices.Sort(targets)
	same(t, "targets", slices.Sorted(maps.Keys(platforms)), targets)
}
