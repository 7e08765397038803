package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// server is one `k3s server`: the only one of its cluster, for the lab K3s does not join further ones.
type server struct {
	config         *config
	bin            string
	family         *family
	node           string
	nodeIP         string
	serverPassword string
	agentPassword  string

	serverCA, clientCA, frontCA *authority
	etcdCA, peerCA              *authority
	client                      kubernetes.Interface
	rest                        *rest.Config
	ready                       atomic.Bool
}

func runServer(c *config) {
	s := &server{config: c, node: nodeName(c), nodeIP: nodeAddress(c)}
	s.passwords()
	for _, folder := range []string{"server/cred", "server/db", "server/etc", "server/manifests", "server/tls", "server/tls/temporary-certs"} {
		must(os.MkdirAll(filepath.Join(dataDir, folder), 0o700))
	}
	must(os.Chmod(filepath.Join(dataDir, "server"), 0o700))
	s.bin = programs()
	s.certificates()
	s.tokens()
	s.family = newFamily(s.bin)
	onTermination(s.family.end)
	s.listen()
	node := agentOfServer(s)
	runtime, tried := make(chan struct{}), make(chan struct{})
	if !c.yes("disable-agent") {
		node.settings = s.agentConfig()
		go func() { node.containerd(); close(runtime) }() // it needs nothing of the cluster: meanwhile the control plane comes up
		go func() { node.tryKubelet(); close(tried) }()
		// As the agent in a K3s does at its start: it is told that it is too early, and the log has a line that means nothing.
		go func() { _, _ = node.get("/v1-k3s/readyz", s.serverCA.pem) }()
	} else {
		close(tried)
	}
	s.datastore()
	s.controlPlane()
	<-tried
	logf("info", "k3s is up and running")
	s.ready.Store(true)
	// As K3s does, READY before the server's own Node is there (observed with v1.34.3).
	notify("READY=1")
	go s.keepCluster()
	if !c.yes("disable-agent") {
		<-runtime
		go runAgent(node)
	}
	select {}
}

func (s *server) isReady() bool { return s.ready.Load() }

func (s *server) certificates() {
	for _, item := range []struct {
		into *(*authority)
		base string
		kind string
	}{
		{&s.serverCA, "server-ca", "k3s-server"}, {&s.clientCA, "client-ca", "k3s-client"},
		{&s.frontCA, "request-header-ca", "k3s-request-header"},
		{&s.etcdCA, "etcd/server-ca", "etcd-server"}, {&s.peerCA, "etcd/peer-ca", "etcd-peer"},
	} {
		must(os.MkdirAll(filepath.Dir(s.tls(item.base)), 0o755))
		ca, err := ensureCA(s.tls(item.base), item.kind)
		must(err)
		*item.into = ca
	}
	must(os.Chmod(s.tls(""), 0o700))
	for _, ca := range []struct {
		name string
		ca   *authority
	}{{"server-ca", s.serverCA}, {"client-ca", s.clientCA}} {
		must(writeFile(s.tls(ca.name+".nochain.crt"), ca.ca.pem, 0o644))
	}
	must(ensureServiceKey(s.tls("service.key")))
	key, err := os.ReadFile(s.tls("service.key"))
	must(err)
	must(writeFile(s.tls("service.current.key"), key, 0o600))
	for name, want := range map[string]wish{
		"client-admin":                {name: "system:admin", groups: []string{"system:masters"}},
		"client-supervisor":           {name: "system:k3s-supervisor", groups: []string{"system:masters"}},
		"client-controller":           {name: "system:kube-controller-manager"},
		"client-scheduler":            {name: "system:kube-scheduler"},
		"client-kube-apiserver":       {name: "system:apiserver", groups: []string{"system:masters"}},
		"client-k3s-cloud-controller": {name: "k3s-cloud-controller-manager"},
	} {
		want.client = true
		must(s.clientCA.ensureLeaf(s.tls(name), want))
	}
	must(s.frontCA.ensureLeaf(s.tls("client-auth-proxy"), wish{name: "system:auth-proxy", client: true}))
	must(s.serverCA.ensureLeaf(s.tls("serving-kube-apiserver"), s.apiNames()))
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		must(os.MkdirAll(s.tls(name), 0o755))
		must(s.serverCA.ensureLeaf(filepath.Join(s.tls(name), name), wish{name: name, dns: []string{"localhost"}, ips: loopback(), server: true}))
	}
	for _, name := range []string{"client-kubelet", "serving-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		_, err := newKey(s.tls(name + ".key"))
		must(err)
	}
	must(s.etcdCA.ensureLeaf(s.tls("etcd/client"), wish{name: "etcd-client", client: true}))
	both := wish{dns: []string{"localhost", s.node}, ips: append(loopback(), net.ParseIP(s.nodeIP)), server: true, client: true}
	both.name = "etcd-server"
	must(s.etcdCA.ensureLeaf(s.tls("etcd/server-client"), both))
	both.name = "etcd-peer"
	must(s.peerCA.ensureLeaf(s.tls("etcd/peer-server-client"), both))
	must(writeFile(s.tls("dynamic-cert.json"), []byte("{}\n"), 0o600))
}

func loopback() []net.IP { return []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("::1")} }

func (s *server) apiNames() wish {
	want := wish{
		name: "kube-apiserver", server: true, ips: append(loopback(), net.ParseIP(s.nodeIP), s.serviceIP(1)),
		dns: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + s.domain(), "localhost", s.node},
	}
	for _, name := range append(s.config.list("tls-san"), s.config.one("advertise-address", "")) {
		if ip := net.ParseIP(name); ip != nil {
			want.ips = append(want.ips, ip)
		} else if name != "" {
			want.dns = append(want.dns, name)
		}
	}
	return want
}

func (s *server) domain() string { return s.config.one("cluster-domain", "cluster.local") }

func (s *server) serviceRange() string { return s.config.one("service-cidr", "10.43.0.0/16") }

func (s *server) podRange() string { return s.config.one("cluster-cidr", "10.42.0.0/16") }

func (s *server) serviceIP(last byte) net.IP {
	ip, _, err := net.ParseCIDR(s.serviceRange())
	must(err)
	address := ip.To4()
	return net.IPv4(address[0], address[1], address[2], last)
}

// etcdFolder is where K3s has etcd with cluster-init; without it K3s has SQLite, and the lab K3s etcd under another name.
func (s *server) etcdFolder() string {
	etcd := filepath.Join(dataDir, "server", "db", "etcd")
	if _, err := os.Stat(etcd); err == nil || s.config.yes("cluster-init") {
		return etcd
	}
	return filepath.Join(dataDir, "server", "db", "lab-etcd")
}

func (s *server) isEtcd() bool { return filepath.Base(s.etcdFolder()) == "etcd" }

func (s *server) datastore() {
	folder := s.etcdFolder()
	must(os.MkdirAll(folder, 0o700))
	if s.isEtcd() {
		if _, err := os.Stat(filepath.Join(folder, "name")); err != nil {
			must(writeFile(filepath.Join(folder, "name"), []byte(s.node+"-"+randomHex(4)), 0o600))
		}
		must(os.MkdirAll(filepath.Join(dataDir, "server", "db", "snapshots"), 0o700))
	} else {
		logf("info", "Configuring sqlite3 database connection pooling (lab K3s: etcd stands in for SQLite)")
		must(writeFile(filepath.Join(dataDir, "server", "db", "state.db"), []byte("lab K3s: the data are in lab-etcd\n"), 0o600))
	}
	for _, port := range []string{"2379", "2380"} {
		probe, err := net.Listen("tcp", net.JoinHostPort(s.nodeIP, port))
		if err != nil {
			fatal("Error: starting kubernetes: failed to start cluster: start managed database: %v", err)
		}
		_ = probe.Close()
	}
	name := "lab"
	if data, err := os.ReadFile(filepath.Join(folder, "name")); err == nil {
		name = string(data)
	}
	s.learnerCheck()
	peer := "https://" + net.JoinHostPort(s.nodeIP, "2380")
	client := "https://127.0.0.1:2379,https://" + net.JoinHostPort(s.nodeIP, "2379")
	s.family.start("etcd", "/proc/self/exe", []string{
		"--name", name, "--data-dir", folder, "--listen-client-urls", client, "--listen-client-http-urls", "https://127.0.0.1:2382", "--advertise-client-urls", "https://" + net.JoinHostPort(s.nodeIP, "2379"),
		"--listen-peer-urls", "https://127.0.0.1:2380," + peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", name + "=" + peer, "--initial-cluster-state", "new",
		"--cert-file", s.tls("etcd/server-client.crt"), "--key-file", s.tls("etcd/server-client.key"), "--trusted-ca-file", s.tls("etcd/server-ca.crt"), "--client-cert-auth",
		"--peer-cert-file", s.tls("etcd/peer-server-client.crt"), "--peer-key-file", s.tls("etcd/peer-server-client.key"), "--peer-trusted-ca-file", s.tls("etcd/peer-ca.crt"), "--peer-client-cert-auth",
		"--listen-metrics-urls", "http://127.0.0.1:2381", "--snapshot-count", "10000", "--log-level", "warn",
		"--heartbeat-interval", "500", "--election-timeout", "5000",
	})
	waitFor("etcd", func() error {
		answer, err := http.Get("http://127.0.0.1:2381/health")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		if !strings.Contains(string(body), `"health":"true"`) {
			return errors.New(string(body))
		}
		return nil
	})
}

// learnerCheck says what every K3s with etcd says before its etcd is up. It means nothing (observed with v1.36.3).
func (s *server) learnerCheck() {
	connection, err := net.Dial("tcp", "127.0.0.1:2379")
	if err == nil {
		_ = connection.Close()
		return
	}
	if s.isEtcd() {
		logf("error", "Failed to check local etcd status for learner management: rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: %v\"", err)
	}
}

func waitFor(what string, ask func() error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := await(ctx, 50*time.Millisecond, ask); err != nil {
		fatal("Error: starting kubernetes: %s did not become ready: %v", what, err)
	}
}

// leaderElection is as in K3s: with etcd the controllers of a server that was started again wait until the lease that the
// process before held has run out, 15 s; only on SQLite there is nobody else (k3s-io/k3s, pkg/cluster, NoLeaderElect).
func (s *server) leaderElection() string {
	if s.isEtcd() {
		return "--leader-elect=true"
	}
	return "--leader-elect=false"
}

func (s *server) controlPlane() {
	s.family.start("kube-apiserver", "/proc/self/exe", append([]string{
		"--advertise-address", s.config.one("advertise-address", s.nodeIP), "--allow-privileged=true", "--anonymous-auth=false",
		"--api-audiences", "https://kubernetes.default.svc." + s.domain() + ",k3s", "--authorization-mode=Node,RBAC", "--bind-address=127.0.0.1", "--secure-port=6444",
		"--client-ca-file", s.tls("client-ca.crt"), "--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth=true", "--endpoint-reconciler-type=none",
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile", s.tls("etcd/server-ca.crt"), "--etcd-certfile", s.tls("etcd/client.crt"), "--etcd-keyfile", s.tls("etcd/client.key"),
		"--kubelet-certificate-authority", s.tls("server-ca.crt"), "--kubelet-client-certificate", s.tls("client-kube-apiserver.crt"), "--kubelet-client-key", s.tls("client-kube-apiserver.key"),
		"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname", "--profiling=false",
		"--proxy-client-cert-file", s.tls("client-auth-proxy.crt"), "--proxy-client-key-file", s.tls("client-auth-proxy.key"),
		"--requestheader-allowed-names=system:auth-proxy", "--requestheader-client-ca-file", s.tls("request-header-ca.crt"),
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer", "https://kubernetes.default.svc." + s.domain(), "--service-account-key-file", s.tls("service.key"), "--service-account-signing-key-file", s.tls("service.current.key"),
		"--service-cluster-ip-range", s.serviceRange(), "--service-node-port-range", s.config.one("service-node-port-range", "30000-32767"),
		"--tls-cert-file", s.tls("serving-kube-apiserver.crt"), "--tls-private-key-file", s.tls("serving-kube-apiserver.key"),
	}, dashed(s.config.arguments("kube-apiserver-arg"))...))
	s.kubeconfigs()
	s.rest = &rest.Config{Host: "https://127.0.0.1:6444", QPS: 100, Burst: 200, WarningHandler: rest.NoWarnings{}, TLSClientConfig: rest.TLSClientConfig{
		CAFile: s.tls("server-ca.crt"), CertFile: s.tls("client-supervisor.crt"), KeyFile: s.tls("client-supervisor.key"),
	}}
	var err error
	s.client, err = kubernetes.NewForConfig(s.rest)
	must(err)
	waitFor("kube-apiserver", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return s.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	s.family.start("kube-controller-manager", "/proc/self/exe", append([]string{
		"--allocate-node-cidrs=true", "--authentication-kubeconfig", cred("controller"), "--authorization-kubeconfig", cred("controller"), "--kubeconfig", cred("controller"),
		"--bind-address=127.0.0.1", "--kube-api-qps=200", "--kube-api-burst=400", "--cluster-cidr", s.podRange(), "--service-cluster-ip-range", s.serviceRange(),
		"--cluster-signing-cert-file", s.tls("client-ca.crt"), "--cluster-signing-key-file", s.tls("client-ca.key"), "--controllers=*,tokencleaner", s.leaderElection(), "--profiling=false",
		"--root-ca-file", s.tls("server-ca.crt"), "--service-account-private-key-file", s.tls("service.current.key"), "--use-service-account-credentials=true",
		"--tls-cert-file", s.tls("kube-controller-manager/kube-controller-manager.crt"), "--tls-private-key-file", s.tls("kube-controller-manager/kube-controller-manager.key"),
	}, dashed(s.config.arguments("kube-controller-manager-arg"))...))
	s.family.start("kube-scheduler", "/proc/self/exe", append([]string{
		"--authentication-kubeconfig", cred("scheduler"), "--authorization-kubeconfig", cred("scheduler"), "--kubeconfig", cred("scheduler"), "--bind-address=127.0.0.1", s.leaderElection(), "--profiling=false",
		"--tls-cert-file", s.tls("kube-scheduler/kube-scheduler.crt"), "--tls-private-key-file", s.tls("kube-scheduler/kube-scheduler.key"),
	}, dashed(s.config.arguments("kube-scheduler-arg"))...))
}

func dashed(arguments []string) []string {
	result := make([]string, 0, len(arguments))
	for _, argument := range arguments {
		result = append(result, "--"+strings.TrimLeft(argument, "-"))
	}
	return result
}

func cred(name string) string { return filepath.Join(dataDir, "server", "cred", name+".kubeconfig") }

func (s *server) kubeconfigs() {
	for name, certificate := range map[string]string{
		"admin": "client-admin", "controller": "client-controller", "scheduler": "client-scheduler", "api-server": "client-kube-apiserver",
		"cloud-controller": "client-k3s-cloud-controller", "supervisor": "client-supervisor",
	} {
		must(writeKubeconfig(cred(name), "https://127.0.0.1:6444", s.tls("server-ca.crt"), s.tls(certificate+".crt"), s.tls(certificate+".key")))
	}
	mode, err := strconv.ParseUint(s.config.one("write-kubeconfig-mode", "600"), 8, 32)
	must(err)
	path := s.config.one("write-kubeconfig", "/etc/rancher/k3s/k3s.yaml")
	must(writeAdminKubeconfig(path, s.config.one("write-kubeconfig-name", "default"), s.serverCA.pem, s.tls("client-admin.crt"), s.tls("client-admin.key"), os.FileMode(mode)))
}

func must(err error) {
	if err != nil {
		fatal("Error: %v", err)
	}
}

func randomHex(size int) string {
	data := make([]byte, size)
	_, err := rand.Read(data)
	must(err)
	return hex.EncodeToString(data)
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
