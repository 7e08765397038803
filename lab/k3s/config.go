package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed flags.json
var flagsDocument []byte

type flagRow struct {
	Roles      []string `json:"roles"`
	Type       string   `json:"type"`
	Repeatable bool     `json:"repeatable"`
	Secret     bool     `json:"secret"`
	Aliases    []string `json:"aliases"`
}

var flagTable = func() map[string]flagRow {
	var document struct {
		Flags map[string]flagRow `json:"flags"`
	}
	if err := json.Unmarshal(flagsDocument, &document); err != nil {
		panic(err)
	}
	return document.Flags
}()

// config is what the flags of one run come to; every value is a list.
type config struct {
	role   string
	values map[string][]string
	args   []string // as K3s shows them in the node-args annotation
}

func (c *config) one(name, fallback string) string {
	if list := c.values[name]; len(list) > 0 {
		return list[len(list)-1]
	}
	return fallback
}

func (c *config) list(name string) []string {
	var result []string
	for _, value := range c.values[name] {
		for _, part := range strings.Split(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				result = append(result, part)
			}
		}
	}
	return result
}

func (c *config) arguments(name string) []string { return c.values[name] }

func (c *config) yes(name string) bool {
	value := c.one(name, "false")
	return value == "true" || value == "1"
}

func longName(name string) (string, bool) {
	if row, ok := flagTable[name]; ok {
		_ = row
		return name, true
	}
	for long, row := range flagTable {
		for _, alias := range row.Aliases {
			if alias == name {
				return long, true
			}
		}
	}
	return name, false
}

func allowed(role, name string) bool {
	long, ok := longName(name)
	if !ok {
		return false
	}
	for _, one := range flagTable[long].Roles {
		if one == role {
			return true
		}
	}
	return false
}

// configArguments turns config.yaml and its drop-ins into arguments, by K3s' rules.
func configArguments(role, path string) ([]string, error) {
	files := []string{}
	if _, err := os.Stat(path); err == nil {
		files = append(files, path)
	}
	entries, _ := os.ReadDir(path + ".d")
	for _, entry := range entries {
		extension := strings.ToLower(filepath.Ext(entry.Name()))
		if extension == ".yaml" || extension == ".yml" {
			files = append(files, filepath.Join(path+".d", entry.Name()))
		}
	}
	order := []string{}
	values := map[string][]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		document := map[string]any{}
		if err := yaml.Unmarshal(data, &document); err != nil {
			return nil, fmt.Errorf("failed to parse %s: %w", file, err)
		}
		keys := make([]string, 0, len(document))
		for key := range document {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			name := strings.TrimSuffix(key, "+")
			list := words(document[key])
			if _, seen := values[name]; !seen {
				order = append(order, name)
			}
			if strings.HasSuffix(key, "+") {
				list = append(append([]string{}, values[name]...), list...)
			}
			values[name] = list
		}
	}
	result := []string{}
	for _, name := range order {
		if role == "server" && !allowed(role, name) {
			logf("warning", "Unknown flag --%s found in config.yaml, skipping\n", name)
			continue
		}
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		for _, value := range values[name] {
			result = append(result, dashes+name+"="+value)
		}
	}
	return result, nil
}

func words(value any) []string {
	if list, ok := value.([]any); ok {
		result := make([]string, 0, len(list))
		for _, item := range list {
			result = append(result, word(item))
		}
		return result
	}
	return []string{word(value)}
}

func word(value any) string {
	switch typed := value.(type) {
	case nil:
		return ""
	case float64:
		if typed == float64(int64(typed)) {
			return fmt.Sprint(int64(typed))
		}
	}
	return fmt.Sprint(value)
}

// variables of the environment and the flags that they stand for.
var variables = map[string]string{
	"K3S_TOKEN": "token", "K3S_TOKEN_FILE": "token-file", "K3S_URL": "server", "K3S_NODE_NAME": "node-name",
	"K3S_AGENT_TOKEN": "agent-token", "K3S_AGENT_TOKEN_FILE": "agent-token-file", "K3S_KUBECONFIG_MODE": "write-kubeconfig-mode",
	"K3S_KUBECONFIG_NAME": "write-kubeconfig-name",
}

// usageError is a flag that is not defined: K3s prints its help and exits with 1.
type usageError struct{ flag string }

func (e usageError) Error() string { return "flag provided but not defined: -" + e.flag }

// parse reads flags from the environment, config.yaml and the command line, the later over the earlier.
func parse(role string, commandLine []string) (*config, error) {
	path := os.Getenv("K3S_CONFIG_FILE")
	if path == "" {
		path = "/etc/rancher/k3s/config.yaml"
	}
	for index, word := range commandLine {
		if value, ok := strings.CutPrefix(word, "--config="); ok {
			path = value
		} else if (word == "--config" || word == "-c") && index+1 < len(commandLine) {
			path = commandLine[index+1]
		}
	}
	fromFile, err := configArguments(role, path)
	if err != nil {
		return nil, err
	}
	result := &config{role: role, values: map[string][]string{}}
	for variable, name := range variables {
		if value := os.Getenv(variable); value != "" && allowed(role, name) {
			result.values[name] = []string{value}
		}
	}
	fileValues, err := readArguments(role, fromFile)
	if err != nil {
		return nil, err
	}
	lineValues, err := readArguments(role, commandLine)
	if err != nil {
		return nil, err
	}
	for name, list := range fileValues {
		result.values[name] = list
	}
	for name, list := range lineValues {
		result.values[name] = list
	}
	result.args = masked(append(append([]string{role}, fromFile...), commandLine...))
	return result, nil
}

func readArguments(role string, arguments []string) (map[string][]string, error) {
	values := map[string][]string{}
	for index := 0; index < len(arguments); index++ {
		argument := arguments[index]
		if !strings.HasPrefix(argument, "-") {
			continue
		}
		given, value, has := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		name, known := longName(given)
		if !known || !allowed(role, name) {
			return nil, usageError{given}
		}
		row := flagTable[name]
		if !has {
			if row.Type == "bool" {
				value = "true"
			} else if index+1 < len(arguments) {
				index++
				value = arguments[index]
			} else {
				return nil, fmt.Errorf("flag needs an argument: -%s", given)
			}
		}
		if row.Repeatable {
			values[name] = append(values[name], value)
		} else {
			values[name] = []string{value}
		}
	}
	return values, nil
}

func masked(arguments []string) []string {
	result := []string{}
	hide := false
	for _, argument := range arguments {
		given, value, has := strings.Cut(argument, "=")
		name, _ := longName(strings.TrimLeft(given, "-"))
		switch {
		case hide:
			result = append(result, "********")
			hide = false
		case !strings.HasPrefix(given, "-"):
			result = append(result, argument)
		case has && flagTable[name].Secret:
			result = append(result, given, "********")
		case has:
			result = append(result, given, value)
		default:
			result = append(result, given)
			hide = flagTable[name].Secret
		}
	}
	return result
}
