package gitops

import (
	"path/filepath"
	"reflect"
	"sort"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const requestedAt = "reconcile.fluxcd.io/requestedAt"

// action is an entry of the menu that Argo CD shows for a resource.
type action struct {
	Name        string `json:"name"`
	Disabled    bool   `json:"disabled"`
	IconClass   string `json:"iconClass"`
	DisplayName string `json:"displayName"`
}

// actionTests is a file in Argo CD's own format.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string   `json:"inputPath"`
		Result    []action `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

func actionsOf(kind string) string {
	return filepath.Join(customizations(kind), "actions")
}

func TestTheDiscoveryScriptsOfferWhatTheCasesSay(t *testing.T) {
	for _, kind := range kinds {
		var file actionTests
		readStrict(t, filepath.Join(actionsOf(kind), "action_test.yaml"), &file)
		for _, test := range file.DiscoveryTests {
			t.Run(kind+"/"+filepath.Base(test.InputPath), func(t *testing.T) {
				var object map[string]any
				readStrict(t, filepath.Join(actionsOf(kind), test.InputPath), &object)
				offered, expected := discover(t, kind, object), byName(test.Result)
				if !reflect.DeepEqual(offered, expected) {
					t.Errorf("the script offers %+v, the case %+v", offered, expected)
				}
			})
		}
	}
}

func TestTheActionsChangeWhatTheCasesSayAndNothingElse(t *testing.T) {
	for _, kind := range kinds {
		var file actionTests
		readStrict(t, filepath.Join(actionsOf(kind), "action_test.yaml"), &file)
		for _, test := range file.ActionTests {
			t.Run(kind+"/"+test.Action+"/"+filepath.Base(test.InputPath), func(t *testing.T) {
				var before, expected map[string]any
				readStrict(t, filepath.Join(actionsOf(kind), test.InputPath), &before)
				readStrict(t, filepath.Join(actionsOf(kind), test.ExpectedOutputPath), &expected)
				if !enabled(t, kind, test.Action, before) {
					t.Error("nobody can choose this action here")
				}
				after := act(t, kind, test.Action, before)
				if test.Action == "reconcile" {
					isNow(t, after)
				}
				if !reflect.DeepEqual(after, expected) {
					t.Errorf("the action gives\n%v\nthe case\n%v", after, expected)
				}
			})
		}
	}
}

// isNow checks the time of the request and sets it to the one that the cases have.
func isNow(t *testing.T, object map[string]any) {
	t.Helper()
	annotations := object["metadata"].(map[string]any)["annotations"].(map[string]any)
	said, _ := annotations[requestedAt].(string)
	at, err := time.Parse(time.RFC3339, said)
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("requested at %q, which is not now: %v", said, err)
	}
	annotations[requestedAt] = "0001-01-01T00:00:00Z"
}

func TestEveryActionIsOfferedDefinedAndTestedAndEveryCaseUsed(t *testing.T) {
	for _, kind := range kinds {
		var file actionTests
		readStrict(t, filepath.Join(actionsOf(kind), "action_test.yaml"), &file)
		used, tested := map[string]bool{}, map[string]bool{}
		for _, test := range file.DiscoveryTests {
			used[test.InputPath] = true
		}
		for _, test := range file.ActionTests {
			used[test.InputPath], used[test.ExpectedOutputPath] = true, true
			tested[test.Action] = true
		}
		for _, input := range glob(t, actionsOf(kind), "testdata/*.yaml") {
			if !used[input] {
				t.Errorf("%s: %s is in no case", kind, input)
			}
		}
		var defined []string
		for _, script := range glob(t, actionsOf(kind), "*/action.lua") {
			name := filepath.Dir(script)
			defined = append(defined, name)
			if !tested[name] {
				t.Errorf("%s: no case of the action %s", kind, name)
			}
		}
		var offered []string
		for _, one := range discover(t, kind, map[string]any{"metadata": map[string]any{}, "spec": map[string]any{}}) {
			offered = append(offered, one.Name)
		}
		if !reflect.DeepEqual(offered, defined) {
			t.Errorf("%s: the script offers %v, defined are %v", kind, offered, defined)
		}
	}
}

func TestTheDiscoveryScriptsSurviveOddObjects(t *testing.T) {
	for _, kind := range kinds {
		for _, text := range []string{`{metadata: {}}`, `{metadata: {}, spec: {}}`, `{metadata: {}, spec: {suspend: "yes", desiredState: 1}}`} {
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			for _, one := range discover(t, kind, object) {
				if one.Name == "resume" != one.Disabled {
					t.Errorf("%s %s: %+v", kind, text, one)
				}
			}
		}
	}
}

func TestTheConfigMapForArgoCarriesTheSameActions(t *testing.T) {
	config := argoConfig(t)
	for _, kind := range kinds {
		var carried struct {
			Discovery   string `json:"discovery.lua"`
			Definitions []struct {
				Name   string `json:"name"`
				Action string `json:"action.lua"`
			} `json:"definitions"`
		}
		if err := yaml.UnmarshalStrict([]byte(config["resource.customizations.actions.fdi.romaconnect.dev_"+kind]), &carried); err != nil {
			t.Fatal(err)
		}
		if carried.Discovery != read(t, filepath.Join(actionsOf(kind), "discovery.lua")) {
			t.Errorf("argocd-cm.yaml does not carry the discovery.lua of %s: copy it there", kind)
		}
		left := map[string]bool{}
		for _, script := range glob(t, actionsOf(kind), "*/action.lua") {
			left[filepath.Dir(script)] = true
		}
		for _, one := range carried.Definitions {
			if !left[one.Name] || one.Action != read(t, filepath.Join(actionsOf(kind), one.Name, "action.lua")) {
				t.Errorf("argocd-cm.yaml has another action %s of %s: copy it there", one.Name, kind)
			}
			delete(left, one.Name)
		}
		if len(left) != 0 {
			t.Errorf("argocd-cm.yaml lacks of %s: %v", kind, left)
		}
	}
}

// discover runs a discovery script, as Argo CD does before it shows the menu.
func discover(t *testing.T, kind string, object map[string]any) []action {
	t.Helper()
	var table map[string]action
	runLua(t, read(t, filepath.Join(actionsOf(kind), "discovery.lua")), object, &table)
	var offered []action
	for name, one := range table {
		one.Name = name
		offered = append(offered, one)
	}
	return byName(offered)
}

func byName(actions []action) []action {
	sort.Slice(actions, func(i, j int) bool { return actions[i].Name < actions[j].Name })
	return actions
}

func enabled(t *testing.T, kind, name string, object map[string]any) bool {
	t.Helper()
	for _, one := range discover(t, kind, object) {
		if one.Name == name {
			return !one.Disabled
		}
	}
	t.Fatalf("%s has no action %s", kind, name)
	return false
}

// act runs the script of an action: the object as Argo CD would have it.
func act(t *testing.T, kind, name string, object map[string]any) map[string]any {
	t.Helper()
	var after map[string]any
	runLua(t, read(t, filepath.Join(actionsOf(kind), name, "action.lua")), object, &after)
	emptyAsBefore(after, object)
	return after
}

// emptyAsBefore tells empty maps from empty lists, which are the same in Lua: Argo CD takes the
// object from before the action for it.
func emptyAsBefore(after, before map[string]any) {
	for key, was := range before {
		was, isMap := was.(map[string]any)
		if !isMap {
			continue
		}
		switch is := after[key].(type) {
		case map[string]any:
			emptyAsBefore(is, was)
		case []any:
			if len(is) == 0 {
				after[key] = map[string]any{}
			}
		}
	}
}

// glob gives paths relative to the folder, sorted.
func glob(t *testing.T, folder, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, folder, err)
	}
	for i := range found {
		if found[i], err = filepath.Rel(folder, found[i]); err != nil {
			t.Fatal(err)
		}
	}
	return found
}
