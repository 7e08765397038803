package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// agent is the node's side: on an agent host, and inside every server.
type agent struct {
	config   *config
	family   *family
	bin      string
	node     string
	nodeIP   string
	url      string
	token    string
	password string
	onServer bool
	caPEM    []byte
	settings agentSettings
}

// agentSettings are what the server tells its agents.
type agentSettings struct {
	PodRange   string `json:"podRange"`
	ClusterDNS string `json:"clusterDNS"`
	Domain     string `json:"domain"`
}

func (s *server) agentConfig() agentSettings {
	return agentSettings{s.podRange(), s.config.one("cluster-dns", s.serviceIP(10).String()), s.domain()}
}

func agentOfServer(s *server) *agent {
	return &agent{
		config: s.config, family: s.family, bin: s.bin, node: s.node, nodeIP: s.nodeIP, onServer: true,
		url: "https://127.0.0.1:6443", token: "K10" + s.serverCA.hash() + "::node:" + s.agentPassword,
	}
}

func runAgentCommand(c *config) {
	token := tokenOf(c, "token")
	if token == "" {
		fatal("Error: --token is required")
	}
	if c.one("server", "") == "" {
		fatal("Error: --server is required")
	}
	bin := programs()
	a := &agent{config: c, bin: bin, family: newFamily(bin), node: nodeName(c), nodeIP: nodeAddress(c), url: strings.TrimRight(c.one("server", ""), "/"), token: token}
	onTermination(a.family.end)
	a.balance()
	runAgent(a)
	select {}
}

// runAgent brings up the node; on a server containerd runs already.
func runAgent(a *agent) {
	a.connect()
	a.certificates()
	a.kubeconfigs()
	if !a.onServer {
		a.containerd()
	}
	a.kubelet()
	a.network()
	a.family.start("kube-proxy", "/proc/self/exe", append([]string{
		"--kubeconfig", a.file("kubeproxy.kubeconfig"), "--proxy-mode=iptables", "--cluster-cidr", a.settings.PodRange, "--hostname-override", a.node,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s", "--healthz-bind-address=127.0.0.1",
	}, dashed(a.config.arguments("kube-proxy-arg"))...))
	if !a.onServer {
		logf("info", "k3s agent is up and running")
		notify("READY=1")
	}
}

func (a *agent) file(name string) string { return filepath.Join(dataDir, "agent", name) }

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]s}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
clusterDNS: [%[2]q]
clusterDomain: %[3]q
containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock
failSwapOn: false
healthzBindAddress: 127.0.0.1
oomScoreAdj: 0
providerID: k3s://%[4]s
registerWithTaints: %[5]s
resolvConf: %[6]s
serializeImagePulls: false
staticPodPath: /var/lib/rancher/k3s/agent/pod-manifests
tlsCertFile: %[7]s
tlsPrivateKeyFile: %[8]s
volumePluginDir: /var/lib/kubelet/volumeplugins
evictionHard: {imagefs.available: 5%%, nodefs.available: 5%%}
`

// configureKubelet writes K3s' own part of the kubelet's configuration; drop-ins of the user lie beside it.
func (a *agent) configureKubelet() {
	resolv := "/etc/resolv.conf"
	if data, err := os.ReadFile(resolv); err != nil || !strings.Contains(string(data), "nameserver") {
		// K3s names a public resolver then; the lab speaks to nobody outside. Without any, containerd makes no sandbox.
		resolv = a.file("etc/resolv.conf")
		must(writeFile(resolv, []byte("nameserver 127.0.0.1\n"), 0o644))
	}
	document := fmt.Sprintf(kubeletConfig, a.file("client-ca.crt"), a.settings.ClusterDNS, a.settings.Domain, a.node, a.taints(), resolv,
		a.file("serving-kubelet.crt"), a.file("serving-kubelet.key"))
	must(os.MkdirAll(a.file("etc/kubelet.conf.d"), 0o700))
	must(writeFile(a.file("etc/kubelet.conf.d/00-k3s-defaults.conf"), []byte(document), 0o600))
}

func (a *agent) kubeletArguments() []string {
	return append([]string{
		"--config-dir", a.file("etc/kubelet.conf.d"), "--kubeconfig", a.file("kubelet.kubeconfig"), "--hostname-override", a.node,
		"--node-ip", a.nodeIP, "--node-labels", strings.Join(a.labels(), ","),
	}, dashed(a.config.arguments("kubelet-arg"))...)
}

// labels are those that the configuration asks for, and K3s' own.
func (a *agent) labels() []string {
	return append([]string{"node.kubernetes.io/instance-type=k3s", "beta.kubernetes.io/instance-type=k3s"}, a.config.list("node-label")...)
}

// tryKubelet starts a kubelet for as long as it looks at its configuration, and ends the process if it refuses that. In K3s
// a server's kubelet starts before its READY, in the lab K3s after it: without this a server would be active for a moment.
func (a *agent) tryKubelet() {
	a.configureKubelet()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "/proc/self/exe", a.kubeletArguments()...)
	command.Args[0] = "kubelet"
	command.Env = quietEnvironment()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := command.StderrPipe()
	must(err)
	must(command.Start())
	last, accepted := "", false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		last = lines.Text()
		if accepted = strings.Contains(last, "Kubelet version"); accepted {
			break
		}
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	if !accepted {
		shutDown("kubelet exited: " + last)
	}
}

func (a *agent) kubelet() {
	a.configureKubelet()
	a.family.start("kubelet", "/proc/self/exe", a.kubeletArguments())
}

func (a *agent) taints() string {
	type taint struct {
		Key    string `json:"key"`
		Value  string `json:"value,omitempty"`
		Effect string `json:"effect"`
	}
	result := []taint{}
	for _, text := range a.config.list("node-taint") {
		pair, effect, ok := strings.Cut(text, ":")
		key, value, _ := strings.Cut(pair, "=")
		if !ok {
			fatal("Error: invalid node-taint %s", text)
		}
		result = append(result, taint{key, value, effect})
	}
	data, _ := json.Marshal(result)
	return string(data)
}
