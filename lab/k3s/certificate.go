package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// certificateCommand is `k3s certificate check`, in its text form.
func certificateCommand(arguments []string) {
	if len(arguments) != 1 || arguments[0] != "check" {
		missing("certificate " + strings.Join(arguments, " "))
	}
	folder := filepath.Join(dataDir, "server", "tls")
	if _, err := os.Stat(folder); err == nil {
		logf("info", "Server detected, checking agent and server certificates")
	} else {
		logf("info", "Agent detected, checking agent certificates")
		folder = ""
	}
	for _, place := range []string{folder, filepath.Join(folder, "etcd"), filepath.Join(dataDir, "agent")} {
		if place == "" || place == "etcd" {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(place, "*.crt"))
		for _, file := range files {
			checkFile(file)
		}
	}
}

func checkFile(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return
		}
		usages := []string{}
		for _, usage := range cert.ExtKeyUsage {
			usages = append(usages, map[x509.ExtKeyUsage]string{x509.ExtKeyUsageClientAuth: "ClientAuth", x509.ExtKeyUsageServerAuth: "ServerAuth"}[usage])
		}
		if cert.IsCA {
			usages = append(usages, "CertSign")
		}
		state := "is ok"
		if time.Until(cert.NotAfter) < 120*24*time.Hour {
			state = "is about to expire"
		}
		logf("info", "%s: certificate %s (%s) %s, expires at %s", filepath.Base(path), cert.Subject.CommonName, strings.Join(usages, ","), state, cert.NotAfter.Format(time.RFC3339))
	}
}
