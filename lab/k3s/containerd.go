package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// containerdConfig is the configuration that a template of the user may take in as "base", as K3s' documentation says.
const containerdConfig = `version = 3
imports = ["/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/*.toml"]
root = "/var/lib/rancher/k3s/agent/containerd"
state = "/run/k3s/containerd"

[grpc]
  address = "/run/k3s/containerd/containerd.sock"

[plugins.'io.containerd.internal.v1.opt']
  path = "/var/lib/rancher/k3s/agent/containerd"

[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"

[plugins.'io.containerd.cri.v1.runtime']
  enable_selinux = false
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{{ .Bin }}"]
  conf_dir = "/var/lib/rancher/k3s/agent/etc/cni/net.d"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{{ .Pause }}"
`

// renderContainerd fills the user's template in, or the one above.
func (a *agent) renderContainerd() []byte {
	own := template.Must(template.New("base").Parse(containerdConfig))
	text := `{{ template "base" . }}`
	path := a.file("etc/containerd/config-v3.toml.tmpl")
	if data, err := os.ReadFile(path); err == nil {
		text = string(data)
	} else if _, err := os.Stat(a.file("etc/containerd/config.toml.tmpl")); err == nil {
		refuse("the template config.toml.tmpl; config-v3.toml.tmpl is read")
	}
	parsed, err := own.New("user").Parse(text)
	if err != nil {
		fatal("Error: failed to parse %s: %v", path, err)
	}
	out := &bytes.Buffer{}
	// K3s' templates may name much more than this; what the lab K3s does not have ends it here.
	if err := parsed.Execute(out, struct{ Bin, Pause string }{a.bin, images["pause"]}); err != nil {
		refuse("what %s names: %v", path, err)
	}
	return out.Bytes()
}

func (a *agent) containerd() {
	must(os.MkdirAll(a.file("containerd"), 0o700))
	must(os.MkdirAll(a.file("etc/cni/net.d"), 0o700))
	must(os.MkdirAll(a.file("pod-manifests"), 0o750))
	must(os.MkdirAll(a.file("images"), 0o755))
	must(os.MkdirAll(runDir+"/containerd", 0o711))
	must(os.Chmod(runDir, 0o711))
	must(writeFile(a.file("etc/containerd/config.toml"), a.renderContainerd(), 0o644))
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
