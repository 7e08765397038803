package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

const containerdConfig = `version = 2
root = "/var/lib/rancher/k3s/agent/containerd"
state = "/run/k3s/containerd"
[grpc]
  address = "/run/k3s/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/rancher/k3s/agent/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
  enable_selinux = false
  restrict_oom_score_adj = true
  sandbox_image = "docker.io/rancher/mirrored-pause:3.6"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "%s"
  conf_dir = "/var/lib/rancher/k3s/agent/etc/cni/net.d"
`

func (a *agent) containerd() {
	must(os.MkdirAll(a.file("containerd"), 0o700))
	must(os.MkdirAll(a.file("etc/cni/net.d"), 0o700))
	must(os.MkdirAll(a.file("pod-manifests"), 0o750))
	must(os.MkdirAll(a.file("images"), 0o755))
	must(os.MkdirAll(runDir+"/containerd", 0o711))
	must(os.Chmod(runDir, 0o711))
	must(writeFile(a.file("etc/containerd/config.toml"), []byte(fmt.Sprintf(containerdConfig, a.bin)), 0o644))
	must(writeFile(a.file("etc/crictl.yaml"), []byte("runtime-endpoint: unix:///run/k3s/containerd/containerd.sock\n"), 0o600))
	a.family.start("containerd", filepath.Join(a.bin, "containerd"), []string{"-c", a.file("etc/containerd/config.toml")})
	waitFor("containerd", func() error {
		connection, err := net.Dial("unix", runDir+"/containerd/containerd.sock")
		if err == nil {
			_ = connection.Close()
		}
		return err
	})
	a.importImages()
}

func (a *agent) ctr(arguments ...string) *exec.Cmd {
	return exec.Command(filepath.Join(a.bin, "ctr"), append([]string{"-a", runDir + "/containerd/containerd.sock", "-n", "k8s.io"}, arguments...)...)
}

// importImages imports what lies in agent/images, and what is put there later.
func (a *agent) importImages() {
	seen := map[string]time.Time{}
	a.importNew(seen)
	go func() {
		for range time.Tick(2 * time.Second) {
			a.importNew(seen)
		}
	}()
}

func (a *agent) importNew(seen map[string]time.Time) {
	entries, _ := os.ReadDir(a.file("images"))
	for _, entry := range entries {
		info, err := entry.Info()
		path := filepath.Join(a.file("images"), entry.Name())
		if err != nil || !strings.HasSuffix(path, ".tar") || seen[path].Equal(info.ModTime()) {
			continue
		}
		seen[path] = info.ModTime()
		if output, err := a.ctr("images", "import", "--all-platforms", path).CombinedOutput(); err != nil {
			logf("error", "Failed to import %s: %v: %s", path, err, output)
		} else {
			logf("info", "Imported images from %s", path)
		}
	}
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]s}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
clusterDNS: [%[2]q]
clusterDomain: %[3]q
containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock
failCgroupV1: false
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

func (a *agent) kubelet() {
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
	labels := []string{"node.kubernetes.io/instance-type=k3s", "beta.kubernetes.io/instance-type=k3s"}
	labels = append(labels, a.config.list("node-label")...)
	a.family.start("kubelet", "/proc/self/exe", append([]string{
		"--config", a.file("etc/kubelet.conf.d/00-k3s-defaults.conf"), "--kubeconfig", a.file("kubelet.kubeconfig"), "--hostname-override", a.node,
		"--node-ip", a.nodeIP, "--node-labels", strings.Join(labels, ","),
	}, dashed(a.config.arguments("kubelet-arg"))...))
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
