package main

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	serviceName      = "svccontroller.k3s.cattle.io/svcname"
	serviceNamespace = "svccontroller.k3s.cattle.io/svcnamespace"
)

// keepBalancers stands in for ServiceLB: a DaemonSet with host ports for every Service of type LoadBalancer, and the
// addresses of the nodes where it runs in the Service's status.
func (s *server) keepBalancers() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	services, err := s.client.CoreV1().Services("").List(ctx, v1.ListOptions{})
	if err != nil {
		return
	}
	wanted := map[string]bool{}
	if !contains(s.config.list("disable"), "servicelb") {
		for index := range services.Items {
			service := &services.Items[index]
			if service.Spec.Type == core.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil {
				wanted[balancerName(service)] = true
				s.keepBalancer(ctx, service)
			}
		}
	}
	sets := s.client.AppsV1().DaemonSets("kube-system")
	found, err := sets.List(ctx, v1.ListOptions{LabelSelector: serviceName})
	if err != nil {
		return
	}
	for _, set := range found.Items {
		if !wanted[set.Name] {
			_ = sets.Delete(ctx, set.Name, v1.DeleteOptions{})
		}
	}
}

func balancerName(service *core.Service) string {
	return fmt.Sprintf("svclb-%s-%.8s", service.Name, service.UID)
}

func (s *server) keepBalancer(ctx context.Context, service *core.Service) {
	sets := s.client.AppsV1().DaemonSets("kube-system")
	want := balancer(service)
	found, err := sets.Get(ctx, want.Name, v1.GetOptions{})
	switch {
	case kerrors.IsNotFound(err):
		_, err = sets.Create(ctx, want, v1.CreateOptions{})
	case err == nil && found.Annotations[serviceName] != want.Annotations[serviceName]:
		found.Annotations, found.Spec.Template = want.Annotations, want.Spec.Template
		_, err = sets.Update(ctx, found, v1.UpdateOptions{})
	}
	if err != nil {
		logf("error", "lab K3s: ServiceLB of %s/%s: %v", service.Namespace, service.Name, err)
		return
	}
	s.noteAddresses(ctx, service, want.Name)
}

// noteAddresses tells in the Service's status where it can be reached: on the nodes whose pod is ready.
func (s *server) noteAddresses(ctx context.Context, service *core.Service, name string) {
	pods, err := s.client.CoreV1().Pods("kube-system").List(ctx, v1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return
	}
	addresses := []string{}
	for _, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == core.PodReady && condition.Status == core.ConditionTrue && pod.Status.HostIP != "" {
				addresses = append(addresses, pod.Status.HostIP)
			}
		}
	}
	sort.Strings(addresses)
	ingress := []core.LoadBalancerIngress{}
	mode := core.LoadBalancerIPModeVIP
	for _, address := range addresses {
		ingress = append(ingress, core.LoadBalancerIngress{IP: address, IPMode: &mode})
	}
	have := service.Status.LoadBalancer.Ingress
	if len(have) == 0 && len(ingress) == 0 || reflect.DeepEqual(have, ingress) {
		return
	}
	service.Status.LoadBalancer.Ingress = ingress
	_, _ = s.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, v1.UpdateOptions{})
}

func balancer(service *core.Service) *apps.DaemonSet {
	name := balancerName(service)
	labels := map[string]string{"app": name, serviceName: service.Name, serviceNamespace: service.Namespace}
	containers, said := []core.Container{}, []string{}
	for _, port := range service.Spec.Ports {
		said = append(said, fmt.Sprintf("%s/%d", port.Protocol, port.Port))
		containers = append(containers, core.Container{
			Name:  strings.ToLower(fmt.Sprintf("lb-%s-%d", port.Protocol, port.Port)),
			Image: shortImage("klipper-lb"), ImagePullPolicy: core.PullIfNotPresent,
			Ports: []core.ContainerPort{{Name: strings.ToLower(fmt.Sprintf("lb-%s-%d", port.Protocol, port.Port)), ContainerPort: port.Port, HostPort: port.Port, Protocol: port.Protocol}},
			Env: []core.EnvVar{
				{Name: "SRC_PORT", Value: fmt.Sprint(port.Port)}, {Name: "DEST_PROTO", Value: string(port.Protocol)},
				{Name: "DEST_PORT", Value: fmt.Sprint(port.Port)}, {Name: "DEST_IPS", Value: service.Spec.ClusterIP},
			},
		})
	}
	no := false
	return &apps.DaemonSet{
		ObjectMeta: v1.ObjectMeta{
			Name: name, Namespace: "kube-system", Labels: map[string]string{serviceName: service.Name, serviceNamespace: service.Namespace},
			Annotations: map[string]string{serviceName: service.Spec.ClusterIP + " " + strings.Join(said, " ")},
		},
		Spec: apps.DaemonSetSpec{
			Selector: &v1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: core.PodTemplateSpec{
				ObjectMeta: v1.ObjectMeta{Labels: labels},
				Spec: core.PodSpec{
					AutomountServiceAccountToken: &no, Containers: containers, PriorityClassName: "system-node-critical",
					Tolerations: []core.Toleration{
						{Key: "node-role.kubernetes.io/control-plane", Operator: core.TolerationOpExists, Effect: core.TaintEffectNoSchedule},
						{Key: "CriticalAddonsOnly", Operator: core.TolerationOpExists},
					},
				},
			},
		},
	}
}
