package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
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

func runAgent(a *agent) {
	a.connect()
	a.certificates()
	a.kubeconfigs()
	a.containerd()
	a.importImages()
	a.kubelet()
	a.network()
	a.family.start("kube-proxy", "/proc/self/exe", append([]string{
		"--kubeconfig", a.file("kubeproxy.kubeconfig"), "--proxy-mode=iptables", "--cluster-cidr", a.settings.PodRange, "--hostname-override", a.node,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s", "--healthz-bind-address=127.0.0.1",
	}, dashed(a.config.arguments("kube-proxy-arg"))...))
	if !a.onServer {
		logf("info", "k3s agent is up and running")
	}
	notify("READY=1")
}

func (a *agent) file(name string) string { return filepath.Join(dataDir, "agent", name) }

// balance is K3s' client-side load balancer, of one server: 127.0.0.1:6444 to the server's address.
func (a *agent) balance() {
	target, err := url.Parse(a.url)
	must(err)
	address := target.Host
	if target.Port() == "" {
		address = net.JoinHostPort(target.Hostname(), "443")
	}
	document, _ := json.Marshal(map[string]any{"ServerURL": a.url, "ServerAddresses": []string{address}})
	must(writeFile(a.file("etc/k3s-agent-load-balancer.json"), document, 0o644))
	listener, err := net.Listen("tcp", "127.0.0.1:6444")
	must(err)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				continue
			}
			go func() {
				defer near.Close()
				far, err := net.DialTimeout("tcp", address, 5*time.Second)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, near); far.Close() }()
				_, _ = io.Copy(near, far)
			}()
		}
	}()
	a.url = "https://127.0.0.1:6444"
}

func (a *agent) get(path string, pinned []byte) ([]byte, error) {
	return a.call("GET", path, pinned, nil, nil)
}

func (a *agent) call(method, path string, pinned []byte, body []byte, headers map[string]string) ([]byte, error) {
	config := &tls.Config{InsecureSkipVerify: pinned == nil}
	if pinned != nil {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pinned)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	request, err := http.NewRequest(method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if pinned != nil {
		user := "node"
		if _, credentials, ok := strings.Cut(a.token, "::"); ok {
			user, _, _ = strings.Cut(credentials, ":")
		}
		request.SetBasicAuth(user, password(a.token))
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	switch {
	case answer.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("not authorized")
	case answer.StatusCode != http.StatusOK:
		return nil, errors.New(strings.TrimSpace(string(data)))
	}
	return data, nil
}

// connect checks the server's CA against the token and gets the settings; K3s never gives up here.
func (a *agent) connect() {
	for {
		data, err := a.get("/cacerts", nil)
		if err != nil {
			logf("error", "Failed to validate connection to cluster at %s: failed to get CA certs: %v", a.shownURL(), err)
			time.Sleep(2 * time.Second)
			continue
		}
		if want, _, ok := strings.Cut(strings.TrimPrefix(a.token, "K10"), "::"); ok && strings.HasPrefix(a.token, "K10") {
			have := (&authority{pem: data}).hash()
			if have != want {
				logf("error", "Failed to validate connection to cluster at %s: token CA hash does not match the Cluster CA certificate hash: %s != %s", a.shownURL(), want, have)
				time.Sleep(2 * time.Second)
				continue
			}
		} else {
			logf("warning", "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. Use the full token from the server's node-token file to enable Cluster CA validation.")
		}
		a.caPEM = data
		break
	}
	a.retry(func() error {
		data, err := a.get("/v1-k3s/config", a.caPEM)
		if err != nil {
			return fmt.Errorf("failed to retrieve configuration from server: %w", err)
		}
		return json.Unmarshal(data, &a.settings)
	})
}

func (a *agent) shownURL() string {
	if a.onServer {
		return a.url
	}
	return a.config.one("server", a.url)
}

func (a *agent) retry(ask func() error) {
	pause := 5 * time.Second
	if a.onServer {
		pause = 200 * time.Millisecond
	}
	for {
		err := ask()
		if err == nil {
			return
		}
		if a.onServer && !strings.Contains(err.Error(), "rejected") {
			time.Sleep(pause)
			continue
		}
		logf("info", "Waiting to retrieve agent configuration; server is not ready: %v", err)
		wait := 5 * time.Second
		if strings.Contains(err.Error(), "apiserver not ready") {
			wait = 500 * time.Millisecond
		}
		time.Sleep(wait)
	}
}

func (a *agent) certificates() {
	var err error
	a.password, err = ensurePassword("/etc/rancher/node/password")
	must(err)
	for _, name := range []string{"client-ca", "server-ca"} {
		a.retry(func() error {
			data, err := a.get("/v1-k3s/"+name+".crt", a.caPEM)
			if err != nil {
				return err
			}
			return writeFile(a.file(name+".crt"), data, 0o600)
		})
	}
	for _, name := range []string{"serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		if leafFits(a.file(name+".crt"), wish{name: certificateName(name, a.node)}) {
			continue
		}
		key, err := newKey(a.file(name + ".key"))
		must(err)
		a.retry(func() error {
			chain, err := a.sign(name, key)
			if err != nil {
				return fmt.Errorf("%s: %w", a.file(name+".crt"), err)
			}
			return writeFile(a.file(name+".crt"), chain, 0o600)
		})
	}
}

func certificateName(name, node string) string {
	return map[string]string{
		"serving-kubelet": node, "client-kubelet": "system:node:" + node,
		"client-kube-proxy": "system:kube-proxy", "client-k3s-controller": "system:k3s-controller",
	}[name]
}

func (a *agent) sign(name string, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: a.node}}, key)
	if err != nil {
		return nil, err
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return a.call("POST", "/v1-k3s/"+name+".crt", a.caPEM, body, map[string]string{
		"k3s-Node-Name": a.node, "k3s-Node-Password": a.password, "k3s-Node-IP": a.nodeIP,
	})
}

func (a *agent) kubeconfigs() {
	api := "https://127.0.0.1:6443"
	if !a.onServer {
		api = "https://127.0.0.1:6444"
	}
	for name, certificate := range map[string]string{"kubelet": "client-kubelet", "kubeproxy": "client-kube-proxy", "k3scontroller": "client-k3s-controller"} {
		must(writeKubeconfig(a.file(name+".kubeconfig"), api, a.file("server-ca.crt"), a.file(certificate+".crt"), a.file(certificate+".key")))
	}
}

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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(await(ctx, 100*time.Millisecond, func() error { return a.ctr("version").Run() }))
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
	if _, err := os.Stat(resolv); err != nil {
		resolv = a.file("etc/resolv.conf")
		must(writeFile(resolv, []byte("# this machine has none\n"), 0o644))
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

// network waits for the node's pod range, writes the CNI configuration and keeps the routes to the other nodes.
func (a *agent) network() {
	config, err := clientcmd.BuildConfigFromFlags("", a.file("kubelet.kubeconfig"))
	must(err)
	client, err := kubernetes.NewForConfig(config)
	must(err)
	pods := ""
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		node, err := client.CoreV1().Nodes().Get(ctx, a.node, meta.GetOptions{})
		cancel()
		if err == nil && node.Spec.PodCIDR != "" {
			pods = node.Spec.PodCIDR
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	document := fmt.Sprintf(`{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,"ipMasq":false,`+
		`"ipam":{"type":"host-local","dataDir":"/var/lib/cni/networks","ranges":[[{"subnet":%q}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}`, pods)
	must(writeFile(a.file("etc/cni/net.d/10-flannel.conflist"), []byte(document), 0o644))
	must(writeFile("/run/flannel/subnet.env", []byte(fmt.Sprintf("FLANNEL_NETWORK=%s\nFLANNEL_SUBNET=%s\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=true\n", a.settings.PodRange, pods)), 0o644))
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	for _, rule := range [][]string{
		{"-P", "FORWARD", "ACCEPT"},
	} {
		_ = exec.Command("iptables", append([]string{"-w"}, rule...)...).Run()
	}
	masquerade := []string{"POSTROUTING", "-s", pods, "!", "-d", a.settings.PodRange, "-m", "comment", "--comment", "flanneld masq (lab K3s)", "-j", "MASQUERADE"}
	if exec.Command("iptables", append([]string{"-w", "-t", "nat", "-C"}, masquerade...)...).Run() != nil {
		_ = exec.Command("iptables", append([]string{"-w", "-t", "nat", "-A"}, masquerade...)...).Run()
	}
	go a.routes(client)
}

func (a *agent) routes(client kubernetes.Interface) {
	have := map[string]string{}
	for range time.Tick(time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		nodes, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{ResourceVersion: "0"})
		cancel()
		if err != nil {
			continue
		}
		for _, node := range nodes.Items {
			if node.Name == a.node || node.Spec.PodCIDR == "" {
				continue
			}
			for _, address := range node.Status.Addresses {
				if address.Type == "InternalIP" && have[node.Spec.PodCIDR] != address.Address {
					if exec.Command("ip", "route", "replace", node.Spec.PodCIDR, "via", address.Address).Run() == nil {
						have[node.Spec.PodCIDR] = address.Address
					}
				}
			}
		}
	}
}
