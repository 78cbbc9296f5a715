package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry knows every image as an empty one, and remembers which were asked for.
type registry struct{ asked []string }

func (r *registry) ResolveImageConfig(_ context.Context, name string, options sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	r.asked = append(r.asked, name)
	image := ocispecs.Image{Config: ocispecs.ImageConfig{Env: []string{"PATH=/usr/bin"}}}
	if platform := options.ImageOpt.Platform; platform != nil {
		image.Platform = *platform
	}
	config, err := json.Marshal(image)
	return name, digest.FromBytes(config), config, err
}

// BuildKit itself reads the Dockerfile and plans the build, for both platforms and on both; nothing
// is executed.
func TestBuildKitPlansTheImageWithoutAWarning(t *testing.T) {
	for _, builder := range []string{"amd64", "arm64"} {
		for _, wanted := range []string{"amd64", "arm64"} {
			images := &registry{}
			target := ocispecs.Platform{OS: "linux", Architecture: wanted}
			planned, err := dockerfile2llb.Dockerfile2LLB(t.Context(), []byte(read(t, "Dockerfile")), dockerfile2llb.ConvertOpt{
				Config: dockerui.Config{
					BuildPlatforms: []ocispecs.Platform{{OS: "linux", Architecture: builder}},
					BuildArgs:      map[string]string{"VERSION": "v1.2.3", "REVISION": "abc"},
				},
				TargetPlatform: &target,
				MetaResolver:   images,
				Warn: func(rule, _, _, message string, _ []parser.Range) {
					t.Errorf("%s: %s", rule, message)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := planned.State.Marshal(t.Context()); err != nil {
				t.Error(err)
			}
			// A stage whose name is mistyped would be one more image to pull.
			slices.Sort(images.asked)
			names := slices.Compact(images.asked)
			if len(names) != 2 || !strings.Contains(names[0], "/rust:") || !strings.HasPrefix(names[1], "gcr.io/distroless/cc-debian12:nonroot@") {
				t.Errorf("the build pulls %v", names)
			}
			image := planned.Image
			if image.Architecture != wanted || image.Config.User != "65532:65532" || len(image.Config.Entrypoint) != 1 {
				t.Errorf("for %s on %s: %s as %s, %v", wanted, builder, image.Architecture, image.Config.User, image.Config.Entrypoint)
			}
			same(t, "labels", "v1.2.3 abc", image.Config.Labels[ocispecs.AnnotationVersion]+" "+image.Config.Labels[ocispecs.AnnotationRevision])
		}
	}
}

// planned is the image that BuildKit would build from the Dockerfile, without building it.
func planned(t *testing.T, arguments map[string]string) ocispecs.ImageConfig {
	t.Helper()
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	result, err := dockerfile2llb.Dockerfile2LLB(t.Context(), []byte(read(t, "Dockerfile")), dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildPlatforms: []ocispecs.Platform{platform}, BuildArgs: arguments},
		TargetPlatform: &platform,
		MetaResolver:   &registry{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return result.Image.Config.ImageConfig
}

// Whoever has no Docker must get the same container from `make image-archive`.
func TestTheArchiveRunsAsTheImageOfTheDockerfileDoes(t *testing.T) {
	recipe := run(t, "make", "--directory", root, "--no-print-directory", "--just-print", "image-archive",
		"VERSION=1.2.3", "REVISION=abc", "RELEASE=RELEASE-FOLDER", "LICENCES=LICENSE")
	_, command, found := strings.Cut(recipe, "python3 deploy/image/archive.py")
	if !found {
		t.Fatalf("make image-archive writes no archive:\n%s", recipe)
	}
	folder := t.TempDir()
	if err := os.Rename(program(t), filepath.Join(folder, "fdi-operator")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "image.tar")
	shell := "cd " + root + " && python3 deploy/image/archive.py" + strings.ReplaceAll(command, "RELEASE-FOLDER", folder)
	run(t, "bash", "-c", strings.TrimSpace(shell)+" --output "+file)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, _, config := unpack(t, untar(t, bytes.NewReader(content)))
	image := planned(t, map[string]string{"VERSION": "1.2.3", "REVISION": "abc"})
	for what, pair := range map[string][2]any{
		"entry point":       {image.Entrypoint, config.Config.Entrypoint},
		"command":           {image.Cmd, config.Config.Cmd},
		"user":              {image.User, config.Config.User},
		"working directory": {image.WorkingDir, config.Config.WorkingDir},
		"ports":             {image.ExposedPorts, config.Config.ExposedPorts},
		"labels":            {image.Labels, config.Config.Labels},
	} {
		same(t, what, pair[0], pair[1])
	}
}

func TestEveryImageCarriesTheLicenceTexts(t *testing.T) {
	recipe := run(t, "make", "--directory", root, "--no-print-directory", "--just-print", "image-archive", "ARCHIVES=FOLDER")
	for _, text := range []string{"--licences LICENSE", "--licences FOLDER/THIRD-PARTY.txt"} {
		if !strings.Contains(recipe, text) {
			t.Errorf("the archive is made without %s", text)
		}
	}
	dockerfile := read(t, "Dockerfile")
	for _, line := range []string{"COPY --chmod=0644 LICENSE /licenses/", "COPY --from=licences --chmod=0644 /THIRD-PARTY.txt /licenses/"} {
		if !strings.Contains(dockerfile, "\n"+line+"\n") {
			t.Errorf("the Dockerfile lacks %q", line)
		}
	}
	files := untar(t, bytes.NewReader(archiveLayer(t, "--licences", path("LICENSE"))))
	same(t, "the text in the archive", read(t, "LICENSE"), string(files["licenses/LICENSE"].content))
}

// Whoever pins a tool in one place only gets another result in the other.
func TestTheDockerfileUsesTheSameVersionsOfCargosToolsAsEveryoneElse(t *testing.T) {
	for _, tool := range []string{"about", "auditable"} {
		_, version, _ := strings.Cut(read(t, "deploy/image/cargo-tool"), tool+") version=")
		version, _, _ = strings.Cut(version, " ")
		if !strings.Contains(read(t, "Dockerfile"), "\nARG CARGO_"+strings.ToUpper(tool)+"_VERSION="+version+"\n") {
			t.Errorf("cargo-tool pins cargo-%s %q, the Dockerfile another version", tool, version)
		}
	}
}

func TestTheLicencesThatAreAcceptedAreThoseThatMayBeLinked(t *testing.T) {
	var accepted, allowed struct {
		Accepted []string
		Licenses struct {
			Allow      []string
			Exceptions []struct{ Allow []string }
		}
	}
	for file, into := range map[string]any{"deploy/image/licences/about.toml": &accepted, "deny.toml": &allowed} {
		if err := toml.Unmarshal([]byte(read(t, file)), into); err != nil {
			t.Fatal(err)
		}
	}
	linked := allowed.Licenses.Allow
	for _, exception := range allowed.Licenses.Exceptions {
		linked = append(linked, exception.Allow...)
	}
	slices.Sort(linked)
	slices.Sort(accepted.Accepted)
	same(t, "licences", strings.Join(linked, ", "), strings.Join(accepted.Accepted, ", "))
}

// A tag can be moved to another image by whoever owns it.
func TestEveryBaseImageIsPinnedByDigest(t *testing.T) {
	pinned := regexp.MustCompile(`@sha256:[0-9a-f]{64}( |$)`)
	for line := range strings.Lines(read(t, "Dockerfile")) {
		words := strings.Fields(line)
		image := strings.HasPrefix(line, "# syntax=") || len(words) > 1 && words[0] == "FROM" && strings.ContainsAny(line, ":/")
		if image && !pinned.MatchString(strings.TrimSpace(line)) {
			t.Errorf("not pinned: %s", line)
		}
	}
}

// Cargo wants a file for every target that a manifest names, also for those that are not built.
func TestWhatGoesIntoTheBuildIsAWholeWorkspace(t *testing.T) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, ".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name := range strings.Lines(run(t, "git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard")) {
		name = strings.TrimSpace(name)
		if out, err := ignored.MatchesOrParentMatches(name); err != nil || out {
			continue
		}
		content, err := os.ReadFile(path(name))
		if os.IsNotExist(err) {
			continue // removed and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Of the commands that build nothing, this one checks for the files.
	run(t, "cargo", "fetch", "--locked", "--target", "x86_64-unknown-linux-gnu", "--manifest-path", filepath.Join(folder, "Cargo.toml"))
}

// copied lists what the stage that compiles the operator takes from the build context.
func copied(t *testing.T, stage string) []string {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, found := range stages {
		for _, command := range found.Commands {
			if files, ok := command.(*instructions.CopyCommand); ok && found.Name == stage && files.From == "" {
				sources = append(sources, files.SourcePaths...)
			}
		}
	}
	if len(sources) == 0 {
		t.Fatalf("the stage %s copies nothing", stage)
	}
	return sources
}

func TestAChangeOfATestDoesNotCompileTheOperatorAgain(t *testing.T) {
	for _, source := range copied(t, "build") {
		manifest := filepath.Base(source) == "Cargo.toml"
		if source == "." || !manifest && (strings.HasPrefix(source, "tests") || strings.HasPrefix(source, "benches")) {
			t.Errorf("the layer that is compiled holds %s", source)
		}
	}
}

// cargo chef leaves an empty file for every target. With what is copied over them, Cargo must
// accept the lock file.
func TestTheCompiledLayerIsTheWholeOperator(t *testing.T) {
	folder := t.TempDir()
	workspace := decode[struct {
		Packages []struct {
			Targets []struct {
				File string `json:"src_path"`
			}
		}
	}](t, []byte(run(t, "cargo", "metadata", "--locked", "--no-deps", "--format-version=1", "--manifest-path", path("Cargo.toml"))))
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range workspace.Packages {
		for _, target := range member.Targets {
			name, err := filepath.Rel(absolute, target.File)
			if err != nil {
				t.Fatal(err)
			}
			run(t, "install", "-D", "/dev/null", filepath.Join(folder, name))
		}
	}
	for _, source := range copied(t, "build") {
		target := filepath.Join(folder, filepath.Dir(source))
		run(t, "mkdir", "-p", target)
		run(t, "cp", "-r", path(source), target)
	}
	run(t, "cargo", "metadata", "--locked", "--no-deps", "--format-version=1", "--manifest-path", filepath.Join(folder, "Cargo.toml"))
	for _, needed := range []string{"src", "crds"} {
		run(t, "diff", "-r", path(needed), filepath.Join(folder, needed))
	}
}

// The image of the toolchain stage must hold what rust-toolchain.toml asks for, which is not in the
// build.
func TestTheImageIsBuiltWithThePinnedToolchain(t *testing.T) {
	_, channel, _ := strings.Cut(read(t, "rust-toolchain.toml"), "channel = \"")
	channel, _, _ = strings.Cut(channel, "\"")
	if !strings.Contains(read(t, "Dockerfile"), "\nARG RUST_VERSION="+channel) {
		t.Errorf("rust-toolchain.toml says %q, the Dockerfile something else", channel)
	}
}
