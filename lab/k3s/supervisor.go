package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	core "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// supervisor answers on port 6443: the join contract itself, and the API server for everything else.
type supervisor struct {
	server *server
	proxy  *httputil.ReverseProxy
}

func (s *server) listen() {
	listener, err := net.Listen("tcp", ":6443")
	if err != nil {
		fatal("Error: preparing server: failed to start supervisor listener: %v", err)
	}
	handler := &supervisor{server: s, proxy: s.newProxy()}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(s.clientCA.pem)
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  clients,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.tls("serving-kube-apiserver.crt"), s.tls("serving-kube-apiserver.key"))
			return &pair, err
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
	web := &http.Server{Handler: handler, ErrorLog: quietLog()}
	go func() { fatal("supervisor: %v", web.Serve(tls.NewListener(listener, config))) }()
}

func (s *server) newProxy() *httputil.ReverseProxy {
	target, _ := url.Parse("https://127.0.0.1:6444")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.serverCA.pem)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ErrorLog = quietLog()
	proxy.Transport = &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: roots,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				pair, err := tls.LoadX509KeyPair(s.tls("client-auth-proxy.crt"), s.tls("client-auth-proxy.key"))
				return &pair, err
			},
		},
		ForceAttemptHTTP2:   false,
		MaxIdleConnsPerHost: 200,
	}
	inner := proxy.Director
	proxy.Director = func(request *http.Request) {
		inner(request)
		for name := range request.Header {
			if strings.HasPrefix(strings.ToLower(name), "x-remote-") {
				request.Header.Del(name)
			}
		}
		if request.TLS != nil && len(request.TLS.PeerCertificates) > 0 {
			peer := request.TLS.PeerCertificates[0]
			request.Header.Set("X-Remote-User", peer.Subject.CommonName)
			for _, group := range peer.Subject.Organization {
				request.Header.Add("X-Remote-Group", group)
			}
		}
	}
	proxy.ErrorHandler = func(writer http.ResponseWriter, _ *http.Request, err error) {
		http.Error(writer, "apiserver not ready: "+err.Error(), http.StatusServiceUnavailable)
	}
	return proxy
}

func (v *supervisor) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	switch {
	case request.URL.Path == "/ping":
		fmt.Fprint(writer, "pong")
	case request.URL.Path == "/cacerts":
		_, _ = writer.Write(v.server.serverCA.pem)
	case strings.HasPrefix(request.URL.Path, "/v1-k3s/"):
		v.join(writer, request)
	default:
		v.serveAPI(writer, request)
	}
}

// serveAPI lets only known callers through: the API server trusts the proxy's certificate, not its anonymous callers.
func (v *supervisor) serveAPI(writer http.ResponseWriter, request *http.Request) {
	hasCertificate := request.TLS != nil && len(request.TLS.PeerCertificates) > 0
	if !hasCertificate && request.Header.Get("Authorization") == "" {
		refuseRequest(writer, http.StatusUnauthorized, meta.StatusReasonUnauthorized, "Unauthorized")
		return
	}
	v.proxy.ServeHTTP(writer, request)
}

func refuseRequest(writer http.ResponseWriter, code int32, reason meta.StatusReason, message string) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(int(code))
	_ = json.NewEncoder(writer).Encode(meta.Status{
		TypeMeta: meta.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Message: message, Reason: reason, Code: code,
	})
}

func (v *supervisor) mayJoin(request *http.Request) bool {
	user, password, ok := request.BasicAuth()
	want := map[string]string{"node": v.server.agentPassword, "server": v.server.serverPassword}[user]
	return ok && want != "" && subtle.ConstantTimeCompare([]byte(password), []byte(want)) == 1
}

func (v *supervisor) join(writer http.ResponseWriter, request *http.Request) {
	if _, _, given := request.BasicAuth(); !given {
		refuseRequest(writer, http.StatusForbidden, meta.StatusReasonForbidden, "forbidden")
		return
	}
	if !v.mayJoin(request) {
		http.Error(writer, "not authorized", http.StatusUnauthorized)
		return
	}
	name := strings.TrimPrefix(request.URL.Path, "/v1-k3s/")
	switch name {
	case "config":
		_ = json.NewEncoder(writer).Encode(v.server.agentConfig())
	case "readyz":
		if !v.server.isReady() {
			logf("error", "Sending HTTP/1.1 503 response to %s: runtime core not ready", request.RemoteAddr)
			http.Error(writer, "runtime core not ready", http.StatusServiceUnavailable)
		}
	case "client-ca.crt":
		_, _ = writer.Write(v.server.clientCA.pem)
	case "server-ca.crt":
		_, _ = writer.Write(v.server.serverCA.pem)
	case "client-kubelet.crt", "serving-kubelet.crt", "client-kube-proxy.crt", "client-k3s-controller.crt":
		v.sign(writer, request, name)
	default:
		http.NotFound(writer, request)
	}
}

func (v *supervisor) sign(writer http.ResponseWriter, request *http.Request, name string) {
	node, password := request.Header.Get("k3s-Node-Name"), request.Header.Get("k3s-Node-Password")
	if !v.server.isReady() {
		http.Error(writer, "apiserver not ready", http.StatusServiceUnavailable)
		return
	}
	if strings.Contains(name, "kubelet") {
		if err := v.server.checkNodePassword(request.Context(), node, password); err != nil {
			http.Error(writer, err.Error(), http.StatusForbidden)
			return
		}
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, 1<<16))
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	block, _ := pem.Decode(body)
	if block == nil {
		http.Error(writer, "no certificate request", http.StatusBadRequest)
		return
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		http.Error(writer, "bad certificate request", http.StatusBadRequest)
		return
	}
	signer, want := v.server.nodeCertificate(name, node, request.Header.Get("k3s-Node-IP"))
	chain, err := signer.issue(csr.PublicKey, want)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = writer.Write(chain)
}

func (s *server) nodeCertificate(name, node, address string) (*authority, wish) {
	switch name {
	case "client-kubelet.crt":
		return s.clientCA, wish{name: "system:node:" + node, groups: []string{"system:nodes"}, client: true}
	case "client-kube-proxy.crt":
		return s.clientCA, wish{name: "system:kube-proxy", client: true}
	case "client-k3s-controller.crt":
		return s.clientCA, wish{name: "system:k3s-controller", client: true}
	}
	ips := []net.IP{net.ParseIP("127.0.0.1")}
	if ip := net.ParseIP(address); ip != nil {
		ips = append(ips, ip)
	}
	return s.serverCA, wish{name: node, dns: []string{node, "localhost"}, ips: ips, server: true}
}

// checkNodePassword holds a node's name to the host that came with it first.
func (s *server) checkNodePassword(ctx context.Context, node, password string) error {
	secrets := s.client.CoreV1().Secrets("kube-system")
	name := node + ".node-password.k3s"
	sum := sha256.Sum256([]byte(name + password))
	hash := hex.EncodeToString(sum[:])
	found, err := secrets.Get(ctx, name, meta.GetOptions{})
	if kerrors.IsNotFound(err) {
		immutable := true
		_, err = secrets.Create(ctx, &core.Secret{
			ObjectMeta: meta.ObjectMeta{Name: name}, Immutable: &immutable, StringData: map[string]string{"hash": hash},
		}, meta.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if string(found.Data["hash"]) != hash {
		return errors.New("Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not " +
			"match server node-passwd entry, try enabling a unique node name with the --with-node-id flag")
	}
	return nil
}

func (s *server) tls(name string) string { return filepath.Join(dataDir, "server", "tls", name) }

func ensurePassword(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	password := randomHex(16)
	return password, writeFile(path, []byte(password+"\n"), 0o600)
}
