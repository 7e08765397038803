// Command k3s is the shell of the lab K3s: it carries all programs, unpacks them once under data/<hash>/bin and becomes
// the one inside, as K3s does. It answers --version itself and then leaves nothing on the host.
package main

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

//go:embed payload.tar.zst
var payload []byte

// Set by the linker; digest is the payload's SHA-256, which names its folder: it is not computed at each call.
var version, commit, digest string

func main() {
	if len(os.Args) == 2 && (os.Args[1] == "--version" || os.Args[1] == "-v") && filepath.Base(os.Args[0]) == "k3s" {
		fmt.Printf("k3s version %s (%.8s)\ngo version %s\n", version, commit, runtime.Version())
		return
	}
	bin, err := unpack(dataDir())
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab K3s: its programs cannot be unpacked:", err)
		os.Exit(1)
	}
	name := filepath.Base(os.Args[0])
	if name != "kubectl" && name != "ctr" && name != "crictl" {
		name = "k3s"
	}
	err = syscall.Exec(filepath.Join(bin, "k3s"), append([]string{name}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, "lab K3s:", err)
	os.Exit(1)
}

func dataDir() string {
	if folder := os.Getenv("K3S_DATA_DIR"); folder != "" {
		return folder
	}
	return "/var/lib/rancher/k3s"
}

// unpack is safe against being killed: the folder gets its name when it is complete.
func unpack(data string) (string, error) {
	home := filepath.Join(data, "data", digest)
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		temporary := fmt.Sprintf("%s.%d", home, os.Getpid())
		if err := extract(filepath.Join(temporary, "bin")); err != nil {
			_ = os.RemoveAll(temporary)
			return "", err
		}
		if err := os.Rename(temporary, home); err != nil {
			_ = os.RemoveAll(temporary)
			if _, gone := os.Stat(home); gone != nil {
				return "", err
			}
		}
	}
	return filepath.Join(home, "bin"), point(filepath.Join(data, "data"), home)
}

func point(folder, home string) error {
	current := filepath.Join(folder, "current")
	before, _ := os.Readlink(current)
	if before == home {
		return nil
	}
	if before != "" {
		previous := filepath.Join(folder, "previous")
		_ = os.Remove(previous)
		if err := os.Symlink(before, previous); err != nil {
			return err
		}
	}
	temporary := fmt.Sprintf("%s.%d", current, os.Getpid())
	if err := os.Symlink(home, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, current)
}

func extract(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	packed, err := zstd.NewReader(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	defer packed.Close()
	reader := tar.NewReader(packed)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := put(filepath.Join(folder, filepath.Base(header.Name)), reader); err != nil {
			return err
		}
	}
}

func put(path string, from io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, from); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
