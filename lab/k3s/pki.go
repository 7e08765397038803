package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sort"
	"time"
)

const (
	leafLife = 365 * 24 * time.Hour
	caLife   = 3650 * 24 * time.Hour
)

// authority is a CA read from disk.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// wish says what a leaf certificate is for.
type wish struct {
	name   string // common name
	groups []string
	dns    []string
	ips    []net.IP
	server bool
	client bool
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	if data, err := os.ReadFile(path); err == nil {
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%s holds no key", path)
		}
		return x509.ParseECPrivateKey(block.Bytes)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func serial() *big.Int {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		panic(err)
	}
	return number
}

// ensureCA reads a CA or makes one, named as K3s names them: k3s-<kind>-ca@<unix time>.
func ensureCA(base, kind string) (*authority, error) {
	key, err := newKey(base + ".key")
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(base + ".crt")
	if errors.Is(err, os.ErrNotExist) {
		now := time.Now().UTC()
		template := &x509.Certificate{
			SerialNumber:          big.NewInt(0), // K3s' authorities all have this one
			Subject:               pkix.Name{CommonName: fmt.Sprintf("%s-ca@%d", kind, now.Unix())},
			NotBefore:             now,
			NotAfter:              now.Add(caLife),
			KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
			BasicConstraintsValid: true,
			IsCA:                  true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		data = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := writeFile(base+".crt", data, 0o644); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s.crt holds no certificate", base)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, data}, nil
}

func (a *authority) hash() string {
	sum := sha256.Sum256(a.pem)
	return hex.EncodeToString(sum[:])
}

// issue signs a leaf for a public key; the chain (leaf and CA) comes back as PEM, as K3s writes it.
func (a *authority) issue(public any, want wish) ([]byte, error) {
	usages := []x509.ExtKeyUsage{}
	if want.server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	if want.client {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	now := time.Now().UTC()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: want.name, Organization: want.groups},
		// K3s: not before the CA's own start, so that a skewed clock is seen where it matters.
		NotBefore:   a.cert.NotBefore,
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: usages,
		DNSNames:    want.dns,
		IPAddresses: want.ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), a.pem...), nil
}

// ensureLeaf keeps a certificate that lasts and holds all names, and issues a new one otherwise.
func (a *authority) ensureLeaf(base string, want wish) error {
	key, err := newKey(base + ".key")
	if err != nil {
		return err
	}
	if leafFits(base+".crt", want) {
		return nil
	}
	chain, err := a.issue(key.Public(), want)
	if err != nil {
		return err
	}
	return writeFile(base+".crt", chain, 0o644)
}

// leafFits tells whether a certificate has the wanted names and more than 120 days (the window of v1.33.1 and later).
func leafFits(path string, want wish) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Until(cert.NotAfter) < 120*24*time.Hour || cert.Subject.CommonName != want.name {
		return false
	}
	have := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		have = append(have, ip.String())
	}
	sort.Strings(have)
	for _, name := range want.dns {
		if i := sort.SearchStrings(have, name); i == len(have) || have[i] != name {
			return false
		}
	}
	for _, ip := range want.ips {
		if i := sort.SearchStrings(have, ip.String()); i == len(have) || have[i] != ip.String() {
			return false
		}
	}
	return true
}

func ensureServiceKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600)
}

// writeFile replaces a file as a whole.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return err
	}
	if err := os.Chmod(temporary, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
