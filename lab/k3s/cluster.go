package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	core "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// keepCluster does what K3s' own controllers do, as far as this project relies on it.
func (s *server) keepCluster() {
	deployer, err := newDeployer(s)
	must(err)
	s.writeManifests(deployer)
	known := map[string]bool{}
	for {
		s.keepEndpoints()
		known = s.keepNodes(known)
		s.keepBalancers()
		deployer.sweep()
		time.Sleep(500 * time.Millisecond)
	}
}

func contains(list []string, wanted string) bool {
	for _, item := range list {
		if item == wanted {
			return true
		}
	}
	return false
}

// keepEndpoints lets 10.43.0.1 lead to port 6443: upstream would write the API server's own port, on loopback.
func (s *server) keepEndpoints() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	want := []core.EndpointSubset{{
		Addresses: []core.EndpointAddress{{IP: s.config.one("advertise-address", s.nodeIP)}},
		Ports:     []core.EndpointPort{{Name: "https", Port: 6443, Protocol: core.ProtocolTCP}},
	}}
	endpoints := s.client.CoreV1().Endpoints("default")
	found, err := endpoints.Get(ctx, "kubernetes", v1.GetOptions{})
	if kerrors.IsNotFound(err) {
		_, _ = endpoints.Create(ctx, &core.Endpoints{ObjectMeta: v1.ObjectMeta{Name: "kubernetes"}, Subsets: want}, v1.CreateOptions{})
		return
	}
	if err == nil && fmt.Sprint(found.Subsets) != fmt.Sprint(want) {
		found.Subsets = want
		_, _ = endpoints.Update(ctx, found, v1.UpdateOptions{})
	}
}

// keepNodes sets what K3s sets on a server's Node, and forgets the password of a Node that was deleted.
func (s *server) keepNodes(known map[string]bool) map[string]bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes, err := s.client.CoreV1().Nodes().List(ctx, v1.ListOptions{})
	if err != nil {
		return known
	}
	now := map[string]bool{}
	for index := range nodes.Items {
		node := &nodes.Items[index]
		now[node.Name] = true
		if node.Name != s.node {
			continue
		}
		s.markServer(ctx, node)
		if s.isEtcd() {
			s.markVoter(ctx, node)
		}
	}
	for name := range known {
		if !now[name] {
			_ = s.client.CoreV1().Secrets("kube-system").Delete(ctx, name+".node-password.k3s", v1.DeleteOptions{})
		}
	}
	return now
}

func (s *server) markServer(ctx context.Context, node *core.Node) {
	labels := map[string]string{"node-role.kubernetes.io/control-plane": "true"}
	if s.isEtcd() {
		labels["node-role.kubernetes.io/etcd"] = "true"
	}
	same := true
	for key, value := range labels {
		same = same && node.Labels[key] == value
	}
	if same {
		return
	}
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	_, _ = s.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, v1.PatchOptions{})
}

// markVoter sets EtcdIsVoter some seconds after the start, as K3s does; the only member is a voter.
func (s *server) markVoter(ctx context.Context, node *core.Node) {
	for _, condition := range node.Status.Conditions {
		if condition.Type == "EtcdIsVoter" && condition.Status == core.ConditionTrue {
			return
		}
	}
	if time.Since(node.CreationTimestamp.Time) < 6*time.Second {
		return
	}
	now := v1.Now()
	patch, _ := json.Marshal(map[string]any{"status": map[string]any{"conditions": []core.NodeCondition{{
		Type: "EtcdIsVoter", Status: core.ConditionTrue, Reason: "MemberNotLearner", Message: "Node is a voting member of the etcd cluster",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}}})
	_, _ = s.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, v1.PatchOptions{}, "status")
}

// deployer applies the files of server/manifests, as K3s' deploy controller does; .skip files are honoured.
type deployer struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	done   map[string]string
}

func newDeployer(s *server) (*deployer, error) {
	client, err := dynamic.NewForConfig(s.rest)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.client.Discovery()))
	return &deployer{client, mapper, map[string]string{}}, nil
}

func (d *deployer) sweep() {
	for _, path := range manifestFiles() {
		if _, err := os.Stat(path + ".skip"); err == nil {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil || d.done[path] == string(data) {
			continue
		}
		if err := d.apply(data); err != nil {
			logf("error", "Failed to process config: failed to process %s: %v", path, err)
			continue
		}
		d.done[path] = string(data)
		logf("info", "Applied manifest %s", path)
	}
}

func manifestFiles() []string {
	files := []string{}
	_ = filepath.WalkDir(filepath.Join(dataDir, "server", "manifests"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			files = append(files, path)
		}
		return nil
	})
	sort.Strings(files)
	return files
}

func (d *deployer) apply(data []byte) error {
	return d.each(data, func(ctx context.Context, target dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		body, err := json.Marshal(object.Object)
		if err != nil {
			return err
		}
		force := true
		_, err = target.Patch(ctx, object.GetName(), types.ApplyPatchType, body, v1.PatchOptions{FieldManager: "deploy@lab", Force: &force})
		return err
	})
}

// remove deletes what a manifest describes, if it is there.
func (d *deployer) remove(data []byte) error {
	return d.each(data, func(ctx context.Context, target dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		background := v1.DeletePropagationBackground
		err := target.Delete(ctx, object.GetName(), v1.DeleteOptions{PropagationPolicy: &background})
		if kerrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// each hands over every object of a manifest, with the way to it.
func (d *deployer) each(data []byte, act func(context.Context, dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	reader := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := reader.Decode(&object.Object); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if len(object.Object) == 0 {
			continue
		}
		if object.GetKind() == "HelmChart" || object.GetKind() == "HelmChartConfig" {
			return fmt.Errorf("this is the lab K3s, not K3s: %s is missing", object.GetKind())
		}
		target, err := d.find(object)
		if err != nil {
			return err
		}
		if err := act(ctx, target, object); err != nil {
			return err
		}
	}
}

func (d *deployer) find(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := d.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		d.mapper.Reset()
		mapping, err = d.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return d.client.Resource(mapping.Resource), nil
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = "default"
	}
	return d.client.Resource(mapping.Resource).Namespace(namespace), nil
}
