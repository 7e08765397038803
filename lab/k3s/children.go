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

// start keeps a component running: when it ends it is started again after a moment, until the family ends.
func (f *family) start(name, program string, arguments []string, environment ...string) {
	go func() {
		for {
			done := f.once(name, program, arguments, environment)
			if done == nil {
				return
			}
			<-done
			if f.isEnding() {
				return
			}
			logf("warning", "lab K3s: component %s ended and is started again", name)
			time.Sleep(time.Second)
		}
	}()
}

func (f *family) isEnding() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.ending
}

func (f *family) once(name, program string, arguments, environment []string) chan struct{} {
	result := make(chan chan struct{})
	f.work <- func() {
		f.mutex.Lock()
		defer f.mutex.Unlock()
		if f.ending {
			result <- nil
			return
		}
		log := openLog(name)
		defer log.Close()
		command := exec.Command(program, arguments...)
		command.Args[0] = name
		command.Stdout, command.Stderr = log, log
		command.Env = append(append(quietEnvironment(), "PATH="+f.bin+":"+os.Getenv("PATH")), environment...)
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		if err := command.Start(); err != nil {
			fatal("lab K3s: component %s cannot be started: %v", name, err)
		}
		one := &child{name, command.Process, make(chan struct{})}
		f.members = append(f.members, one)
		go func() {
			_ = command.Wait()
			f.mutex.Lock()
			for index, member := range f.members {
				if member == one {
					f.members = append(f.members[:index], f.members[index+1:]...)
					break
				}
			}
			f.mutex.Unlock()
			close(one.done)
		}()
		result <- one.done
	}
	return <-result
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

func openLog(name string) *os.File {
	path := filepath.Join(dataDir, "agent", "lab-logs", name+".log")
	if name == "containerd" {
		path = filepath.Join(dataDir, "agent", "containerd", "containerd.log")
	}
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
