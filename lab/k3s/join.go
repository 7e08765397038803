package main

import (
	"bytes"
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
	"strings"
	"time"
)

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
		// Always as user node, whatever user the token names (K3s, pkg/agent/run.go, WithUser).
		request.SetBasicAuth("node", password(a.token))
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
		// At every start, as K3s: so a node that lost its password is noticed.
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
