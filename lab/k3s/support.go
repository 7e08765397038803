package main

import (
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
)

// supported are the flags that do here what they do in K3s.
var supported = wordSet(`
	agent-token agent-token-file alsologtostderr advertise-address cluster-cidr cluster-dns cluster-domain cluster-init config
	debug default-local-storage-path disable disable-agent flannel-iface kube-apiserver-arg kube-controller-manager-arg kube-proxy-arg kube-scheduler-arg
	kubelet-arg node-ip node-label node-name node-taint server service-cidr service-node-port-range tls-san token token-file
	v vmodule write-kubeconfig write-kubeconfig-mode write-kubeconfig-name`)

// harmless are values of other flags that ask for nothing the lab K3s lacks: a default, or that a missing part stay away.
var harmless = map[string][]string{
	"data-dir":                 {dataDir},
	"disable-cloud-controller": {"true"},
	"disable-helm-controller":  {"true"},
	"disable-network-policy":   {"true"},
	"etcd-disable-snapshots":   {"true"},
	"flannel-backend":          {"vxlan", "host-gw"}, // both are routes here
	"https-listen-port":        {"6443"},
	"snapshotter":              {"overlayfs"},
}

func wordSet(text string) map[string]bool {
	result := map[string]bool{}
	for _, word := range strings.Fields(text) {
		result[word] = true
	}
	return result
}

// refuseMissing fails loudly on what the lab K3s does not have: it never pretends.
func refuseMissing(c *config) {
	names := make([]string, 0, len(c.values))
	for name := range c.values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range c.values[name] {
			if !supported[name] && value != "" && value != "false" && !contains(harmless[name], value) {
				refuse("%s: %s", name, value)
			}
		}
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		_, known := variables[name]
		harmless := name == "K3S_CONFIG_FILE" || name == "K3S_DATA_DIR" && value == dataDir
		if strings.HasPrefix(name, "K3S_") && !known && !harmless && value != "" {
			refuse("%s in the environment", name)
		}
	}
	if c.role == "server" && c.one("server", "") != "" {
		refuse("joining a further server")
	}
	for _, name := range []string{"cluster-cidr", "service-cidr", "cluster-dns", "node-ip"} {
		if len(c.list(name)) > 1 {
			refuse("two values of %s", name)
		}
	}
	if name := c.one("flannel-iface", ""); name != "" {
		if _, err := net.InterfaceByName(name); err != nil {
			fatal("Error: unable to find interface %s: %v", name, err)
		}
	}
	if _, err := os.Stat("/etc/rancher/k3s/registries.yaml"); err == nil {
		refuse("registries.yaml")
	}
}

// refuse ends the process: something was asked for that the lab K3s does not have.
func refuse(format string, values ...any) {
	fatal("Error: this is the lab K3s, not K3s: missing: %s", fmt.Sprintf(format, values...))
}
