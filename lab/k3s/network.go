package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

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
	a.annotate(client)
	go a.relabel(client)
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
	go a.routes()
}

// annotate notes on the Node what K3s notes there of its start (observed with v1.34.3).
func (a *agent) annotate(client kubernetes.Interface) {
	arguments, err := json.Marshal(a.config.args)
	must(err)
	notes := map[string]string{
		"alpha.kubernetes.io/provided-node-ip": a.nodeIP, "flannel.alpha.coreos.com/public-ip": a.nodeIP, "flannel.alpha.coreos.com/backend-type": "vxlan",
		"flannel.alpha.coreos.com/kube-subnet-manager": "true", "k3s.io/hostname": a.node, "k3s.io/internal-ip": a.nodeIP, "k3s.io/node-env": "{}",
		"k3s.io/node-args": string(arguments),
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": notes}})
	must(err)
	waitFor("the Node", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := client.CoreV1().Nodes().Patch(ctx, a.node, types.StrategicMergePatchType, patch, meta.PatchOptions{})
		return err
	})
}

// relabel sets every label of the configuration again, as each start of K3s does, some time after it (observed with v1.36.3: 1 to 3 s).
// What was taken out of the configuration stays on the Node.
func (a *agent) relabel(client kubernetes.Interface) {
	time.Sleep(1500 * time.Millisecond)
	labels := map[string]string{}
	for _, label := range a.labels() {
		key, value, _ := strings.Cut(label, "=")
		labels[key] = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := await(ctx, 500*time.Millisecond, func() error {
		_, err := client.CoreV1().Nodes().Patch(ctx, a.node, types.StrategicMergePatchType, patch, meta.PatchOptions{})
		return err
	}); err != nil {
		logf("error", "lab K3s: labels of the Node: %v", err)
	}
}

// routes leads to the other nodes' pods. A kubelet may not list Nodes: this is the user system:k3s-controller.
func (a *agent) routes() {
	config, err := clientcmd.BuildConfigFromFlags("", a.file("k3scontroller.kubeconfig"))
	must(err)
	client, err := kubernetes.NewForConfig(config)
	must(err)
	have := map[string]string{}
	said := ""
	for ; ; time.Sleep(500 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		nodes, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{ResourceVersion: "0"})
		cancel()
		if err != nil {
			if said != err.Error() {
				said = err.Error()
				logf("warning", "lab K3s: routes to other nodes: %v", err)
			}
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
