package main

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// nodeName is the node's name: K3s lowers it, and takes the hostname when none is given.
func nodeName(c *config) string {
	if name := c.one("node-name", ""); name != "" {
		return strings.ToLower(name)
	}
	name, err := os.Hostname()
	must(err)
	return strings.ToLower(name)
}

// nodeAddress is node-ip, or the address of the interface that has the default route, or the first address there is.
func nodeAddress(c *config) string {
	if list := c.list("node-ip"); len(list) > 0 {
		return list[0]
	}
	if connection, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer connection.Close()
		return connection.LocalAddr().(*net.UDPAddr).IP.String()
	}
	addresses, err := net.InterfaceAddrs()
	must(err)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String()
		}
	}
	fatal("Error: no default routes found in \"/proc/net/route\" or \"/proc/net/ipv6_route\"")
	return ""
}

// onTermination ends the components in order when the unit is stopped.
func onTermination(end func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		end()
		os.Exit(0)
	}()
}

// notify tells systemd, as sd_notify(3) says.
func notify(message string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer connection.Close()
	_, _ = connection.Write([]byte(message))
}

func writeKubeconfig(path, server, ca, certificate, key string) error {
	return writeFile(path, []byte(fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- cluster: {server: %q, certificate-authority: %q}
  name: local
contexts:
- context: {cluster: local, namespace: default, user: user}
  name: Default
current-context: Default
users:
- name: user
  user: {client-certificate: %q, client-key: %q}
`, server, ca, certificate, key)), 0o600)
}

func writeAdminKubeconfig(path, name string, ca []byte, certificate, key string, mode os.FileMode) error {
	client, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString
	return writeFile(path, []byte(fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %[2]s
    server: https://127.0.0.1:6443
  name: %[1]s
contexts:
- context:
    cluster: %[1]s
    user: %[1]s
  name: %[1]s
current-context: %[1]s
kind: Config
preferences: {}
users:
- name: %[1]s
  user:
    client-certificate-data: %[3]s
    client-key-data: %[4]s
`, name, text(ca), text(client), text(secret))), mode)
}
