package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	dataDir = "/var/lib/rancher/k3s"
	runDir  = "/run/k3s"
)

// family runs the components as children. K3s has them in one process: so they die with this one, however it dies.
type family struct {
	bin     string
	mutex   sync.Mutex
	members []*child
	ending  bool
	work    chan func()
}

type child struct {
	name    string
	process *os.Process
	done    chan struct{}
}

func newFamily(bin string) *family {
	f := &family{bin: bin, work: make(chan func())}
	go func() {
		// The parent-death signal goes out when the thread that forked ends: this one never does.
		runtime.LockOSThread()
		for job := range f.work {
			job()
		}
	}()
	return f
}

// start starts a component. When it ends while the family lives, this process ends: in K3s they are one.
func (f *family) start(name, program string, arguments []string) {
	done := make(chan struct{})
	f.work <- func() {
		defer close(done)
		f.mutex.Lock()
		defer f.mutex.Unlock()
		if f.ending {
			return
		}
		log := openLog(name)
		defer log.Close()
		command := exec.Command(program, arguments...)
		command.Args[0] = name
		command.Stdout, command.Stderr = log, log
		command.Env = append(quietEnvironment(), "PATH="+f.bin+":"+os.Getenv("PATH"))
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		if err := command.Start(); err != nil {
			fatal("lab K3s: component %s cannot be started: %v", name, err)
		}
		one := &child{name, command.Process, make(chan struct{})}
		f.members = append(f.members, one)
		go f.watch(one, command)
	}
	<-done
}

func (f *family) watch(one *child, command *exec.Cmd) {
	err := command.Wait()
	close(one.done)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.ending {
		return
	}
	if one.name == "kubelet" {
		shutDown(one.name + " exited: " + lastLine(one.name))
	}
	fatal("lab K3s: component %s ended (%v): %s", one.name, err, lastLine(one.name))
}

// shutDown ends the process as a K3s does whose kubelet ended: with exit status 0 (observed with v1.36.3 on cgroup v1).
func shutDown(reason string) {
	logf("error", "Shutdown request received: %q", reason)
	os.Exit(0)
}

func lastLine(name string) string {
	data, _ := os.ReadFile(logPath(name))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

// quietEnvironment keeps systemd's socket from the components: only this process tells systemd anything.
func quietEnvironment() []string {
	result := []string{}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "NOTIFY_SOCKET=") && !strings.HasPrefix(entry, "PATH=") {
			result = append(result, entry)
		}
	}
	return result
}

// end stops the components, the last started first. Containers stay: their shims are nobody's children.
func (f *family) end() {
	f.mutex.Lock()
	f.ending = true
	members := append([]*child{}, f.members...)
	f.mutex.Unlock()
	for index := len(members) - 1; index >= 0; index-- {
		one := members[index]
		patience := 2 * time.Second
		if one.name == "kube-apiserver" {
			patience = 300 * time.Millisecond // it would drain open connections for a minute
		}
		_ = one.process.Signal(syscall.SIGTERM)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		select {
		case <-one.done:
		case <-ctx.Done():
			_ = one.process.Kill()
			<-one.done
		}
		cancel()
	}
}

func logPath(name string) string {
	if name == "containerd" {
		return filepath.Join(dataDir, "agent", "containerd", "containerd.log")
	}
	return filepath.Join(dataDir, "agent", "lab-logs", name+".log")
}

func openLog(name string) *os.File {
	path := logPath(name)
	_ = os.MkdirAll(filepath.Dir(path), 0o700)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		fatal("lab K3s: %v", err)
	}
	return file
}

// await asks until the answer is yes; it gives up at the deadline with the last reason.
func await(ctx context.Context, every time.Duration, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
	}
}
