package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func tokenOf(c *config, name string) string {
	if value := c.one(name, ""); value != "" {
		return value
	}
	path := c.one(name+"-file", "")
	if path == "" {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		fatal("Error: open %s: %v", path, errors.Unwrap(err))
	}
	return strings.TrimSpace(string(data))
}

// password takes the password out of a token in its secure or short form.
func password(token string) string {
	if _, credentials, ok := strings.Cut(token, "::"); ok && strings.HasPrefix(token, "K10") {
		_, secret, _ := strings.Cut(credentials, ":")
		return secret
	}
	return token
}

func (s *server) passwords() {
	path := filepath.Join(dataDir, "server", "token")
	stored := ""
	if data, err := os.ReadFile(path); err == nil {
		stored = password(strings.TrimSpace(string(data)))
	}
	given := password(tokenOf(s.config, "token"))
	switch {
	case given != "" && stored != "" && given != stored:
		fatal("Error: preparing server: failed to bootstrap cluster data: failed to reconcile with local datastore: bootstrap data already found and encrypted with different token")
	case given != "":
		s.serverPassword = given
	case stored != "":
		s.serverPassword = stored
	default:
		s.serverPassword = randomHex(16)
	}
	s.agentPassword = password(tokenOf(s.config, "agent-token"))
	if s.agentPassword == "" {
		s.agentPassword = s.serverPassword
	}
}

func (s *server) tokens() {
	folder := filepath.Join(dataDir, "server")
	full := func(user, secret string) []byte {
		return []byte(fmt.Sprintf("K10%s::%s:%s\n", s.serverCA.hash(), user, secret))
	}
	must(writeFile(filepath.Join(folder, "token"), full("server", s.serverPassword), 0o600))
	agent := filepath.Join(folder, "agent-token")
	if s.agentPassword == s.serverPassword {
		link(filepath.Join(folder, "token"), agent)
	} else {
		_ = os.Remove(agent)
		must(writeFile(agent, full("node", s.agentPassword), 0o600))
	}
	link(filepath.Join(folder, "token"), filepath.Join(folder, "node-token"))
	lines := fmt.Sprintf("%s,node,node,k3s:agent\n%s,server,server,k3s:server\n", s.agentPassword, s.serverPassword)
	must(writeFile(filepath.Join(folder, "cred", "passwd"), []byte(lines), 0o600))
	if _, err := os.Stat(filepath.Join(folder, "cred", "ipsec.psk")); err != nil {
		must(writeFile(filepath.Join(folder, "cred", "ipsec.psk"), []byte(randomHex(48)), 0o600))
	}
}

func link(target, path string) {
	if have, _ := os.Readlink(path); have == target {
		return
	}
	_ = os.Remove(path)
	must(os.Symlink(target, path))
}
