// Command k3s is the lab K3s: the outside of a K3s with upstream Kubernetes inside. It is not K3s, and says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	util "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	switch filepath.Base(os.Args[0]) {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "kubelet":
		runKubelet()
	case "kube-proxy":
		os.Exit(cli.Run(kubeproxy.NewProxyCommand()))
	case "kubectl":
		runKubectl()
	case "ctr":
		runCtr(os.Args[1:])
	case "crictl":
		missing("crictl")
	default:
		front(os.Args[1:])
	}
}

// runKubelet leaves the kubelet's own error as the last line of its log, for the front to repeat.
func runKubelet() {
	if err := cli.RunNoErrOutput(kubelet.NewKubeletCommand(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
}

func front(arguments []string) {
	if len(arguments) == 0 {
		usage()
	}
	switch arguments[0] {
	case "--help", "-h", "help":
		usage()
	case "--version", "-v":
		fmt.Printf("k3s version %s (%.8s)\ngo version %s\n", version.Get().GitVersion, version.Get().GitCommit, runtime.Version())
	case "server", "agent":
		c, err := parse(arguments[0], arguments[1:])
		var wrong usageError
		if errors.As(err, &wrong) {
			fmt.Printf("Incorrect Usage: %v\n\nNAME:\n   k3s %s (lab K3s)\n", wrong, arguments[0])
			fatal("Error: %v", wrong)
		}
		must(err)
		logf("info", "Starting k3s %s (this is the lab K3s, not K3s)", version.Get().GitVersion)
		refuseMissing(c)
		if arguments[0] == "server" {
			runServer(c)
		} else {
			runAgentCommand(c)
		}
	case "kubectl":
		os.Args = append([]string{"kubectl"}, arguments[1:]...)
		runKubectl()
	case "ctr":
		runCtr(arguments[1:])
	case "certificate":
		certificateCommand(arguments[1:])
	default:
		missing(arguments[0])
	}
}

func usage() {
	fmt.Println("k3s (the lab K3s, not K3s): server, agent, kubectl, ctr, certificate check, --version")
	os.Exit(0)
}

func missing(what string) {
	fmt.Fprintf(os.Stderr, "this is the lab K3s, not K3s: %s is missing\n", what)
	os.Exit(1)
}

func runKubectl() {
	if os.Getenv("KUBECONFIG") == "" {
		if _, err := os.Stat("/etc/rancher/k3s/k3s.yaml"); err == nil {
			_ = os.Setenv("KUBECONFIG", "/etc/rancher/k3s/k3s.yaml")
		}
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}

func runCtr(arguments []string) {
	line := append([]string{"ctr", "-a", runDir + "/containerd/containerd.sock", "-n", "k8s.io"}, arguments...)
	must(syscall.Exec(filepath.Join(programs(), "ctr"), line, os.Environ()))
}

// programs is the folder of the carried programs: the shell unpacked this one beside them.
func programs() string {
	path, err := os.Executable()
	must(err)
	return filepath.Dir(path)
}
