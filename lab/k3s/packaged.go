package main

import (
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// packagedComponent is one of the components that a K3s brings with it: a manifest, and where K3s has it.
type packagedComponent struct {
	name string // as `disable` calls it
	path string // below server/manifests
	text string
}

//go:embed manifests/coredns.yaml
var corednsManifest string

//go:embed manifests/local-storage.yaml
var localStorageManifest string

//go:embed manifests/metrics-server.yaml
var metricsServerManifest string

//go:embed manifests/rolebindings.yaml
var rolebindingsManifest string

var packagedComponents = []packagedComponent{
	{"coredns", "coredns.yaml", corednsManifest},
	{"local-storage", "local-storage.yaml", localStorageManifest},
	{"metrics-server", "metrics-server/metrics-server-deployment.yaml", metricsServerManifest},
}

// absent are the packaged components of a K3s that the lab K3s does not have.
var absent = []string{"traefik"}

//go:embed images.json
var imagesDocument []byte

// images are the names under which a K3s of this version has its images; the build names the lab's own by them.
var images = func() map[string]string {
	result := map[string]string{}
	if err := json.Unmarshal(imagesDocument, &result); err != nil {
		panic(err)
	}
	return result
}()

// shortImage is an image's name as K3s' manifests have it: without the registry, which is the default one.
func shortImage(name string) string { return strings.TrimPrefix(images[name], "docker.io/") }

// writeManifests writes the packaged manifests, as at each start of a K3s, and takes off what is disabled.
func (s *server) writeManifests(d *deployer) {
	folder := filepath.Join(dataDir, "server", "manifests")
	must(writeFile(filepath.Join(folder, "rolebindings.yaml"), []byte(rolebindingsManifest), 0o600))
	values := []string{
		"%{CLUSTER_DNS}%", s.config.one("cluster-dns", s.serviceIP(10).String()), "%{CLUSTER_DOMAIN}%", s.domain(),
		"%{DEFAULT_LOCAL_STORAGE_PATH}%", s.config.one("default-local-storage-path", dataDir+"/storage"),
		"%{IMAGE_BUSYBOX}%", shortImage("busybox"), "%{IMAGE_COREDNS}%", shortImage("coredns"),
		"%{IMAGE_LOCAL_PATH}%", shortImage("local-path"), "%{IMAGE_METRICS_SERVER}%", shortImage("metrics-server"),
	}
	for _, component := range packagedComponents {
		text, path := strings.NewReplacer(values...).Replace(component.text), filepath.Join(folder, component.path)
		if !contains(s.config.list("disable"), component.name) {
			must(os.MkdirAll(filepath.Dir(path), 0o700))
			must(writeFile(path, []byte(text), 0o600))
			continue
		}
		_ = os.Remove(path)
		if err := d.remove([]byte(text)); err != nil {
			logf("error", "lab K3s: %s cannot be taken off: %v", component.name, err)
		}
	}
	for _, name := range absent {
		if !contains(s.config.list("disable"), name) {
			logf("warning", "this is the lab K3s, not K3s: the packaged component %s is missing", name)
		}
	}
}
