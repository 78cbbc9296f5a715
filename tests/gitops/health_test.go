package gitops

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const argo = "../../deploy/gitops/argocd"

var kinds = []string{"FdiTaskGroup", "FdiInstance"}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// The cases are in Argo CD's own format, so that the two folders can be offered to its repository
// as they are.
func TestTheHealthScriptsJudgeEveryCaseAsWritten(t *testing.T) {
	for _, kind := range kinds {
		folder := filepath.Join(argo, "resource_customizations", "fdi.romaconnect.dev", kind)
		var file struct {
			Tests []struct {
				HealthStatus health `json:"healthStatus"`
				InputPath    string `json:"inputPath"`
			} `json:"tests"`
		}
		readStrict(t, filepath.Join(folder, "health_test.yaml"), &file)
		script := read(t, filepath.Join(folder, "health.lua"))
		tested := map[string]bool{}
		for _, test := range file.Tests {
			t.Run(kind+"/"+filepath.Base(test.InputPath), func(t *testing.T) {
				var object map[string]any
				readStrict(t, filepath.Join(folder, test.InputPath), &object)
				if said := judge(t, script, object); said != test.HealthStatus {
					t.Errorf("the script says %+v, the case %+v", said, test.HealthStatus)
				}
			})
			tested[filepath.Base(test.InputPath)] = true
		}
		inputs, err := filepath.Glob(filepath.Join(folder, "testdata", "*.yaml"))
		if err != nil || len(inputs) == 0 {
			t.Fatalf("no test data in %s: %v", folder, err)
		}
		for _, input := range inputs {
			if !tested[filepath.Base(input)] {
				t.Errorf("%s is no case of health_test.yaml", input)
			}
		}
	}
}

// Objects that no operator writes must not break the script either: Argo CD shows an application as
// Unknown then.
func TestTheHealthScriptsSurviveOddObjects(t *testing.T) {
	odd := []string{
		`{metadata: {}}`,
		`{metadata: {generation: 1}, status: {}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: []}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: [{}]}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: [{type: Ready}]}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: [{type: Ready, status: "False"}]}}`,
		`{metadata: {generation: 1}, spec: {suspend: false}, status: {observedGeneration: 1, conditions: [{type: New, status: "True"}]}}`,
	}
	for _, kind := range kinds {
		script := read(t, filepath.Join(argo, "resource_customizations", "fdi.romaconnect.dev", kind, "health.lua"))
		for _, text := range odd {
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			if said := judge(t, script, object); said.Status != "Progressing" || said.Message == "" {
				t.Errorf("%s %s is said to be %+v", kind, text, said)
			}
		}
	}
}

func TestTheConfigMapForArgoCarriesTheSameScripts(t *testing.T) {
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(argo, "argocd-cm.yaml"))), &config); err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		script := read(t, filepath.Join(argo, "resource_customizations", "fdi.romaconnect.dev", kind, "health.lua"))
		if config.Data["resource.customizations.health.fdi.romaconnect.dev_"+kind] != script {
			t.Errorf("argocd-cm.yaml does not carry the health.lua of %s: copy it there", kind)
		}
	}
	for key := range config.Data {
		if key == "resource.customizations.ignoreDifferences.all" {
			t.Errorf("%s: nothing needs to be ignored", key)
		}
	}
}

// judge runs a script in Argo CD's sandbox: three libraries, one second, `obj` as the only input.
func judge(t *testing.T, script string, object map[string]any) health {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatalf("the script fails: %v", err)
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script gives %v, not a table", state.Get(-1))
	}
	said := health{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	switch said.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
	default:
		t.Fatalf("Argo CD knows no health %q", said.Status)
	}
	return said
}

// judgeLive is the same for an object as the API server shows it.
func judgeLive(t *testing.T, object *unstructured.Unstructured) health {
	t.Helper()
	folder := filepath.Join(argo, "resource_customizations", "fdi.romaconnect.dev", object.GetKind())
	return judge(t, read(t, filepath.Join(folder, "health.lua")), object.Object)
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		panic("JSON has no such value")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readStrict(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
