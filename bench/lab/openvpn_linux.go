package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var openVPN = openVPNWith("AES-256-GCM,none")

// openVPNWith returns OpenVPN with "CIPHER,AUTH".
func openVPNWith(words string) carrier {
	cipher, auth, _ := strings.Cut(words, ",")
	return carrier{
		name: "openvpn", mtu: tunnelMTU, what: fmt.Sprintf("UDP; cipher %s, digest %s; buffers of %d MiB", cipher, auth, buffer>>20),
		programs: [][]string{{"openvpn"}},
		get:      howToGet("openvpn"),
		version:  []string{"openvpn", "--version"},
		open: func(ctx context.Context, s *sites, program func(string) string) error {
			options := []string{"--data-ciphers", cipher, "--cipher", cipher, "--auth", auth}
			if cipher == "BF-CBC" { // OpenSSL 3 keeps it apart
				options = append(options, "--providers", "legacy", "default")
			}
			return openOpenVPN(ctx, s, program("openvpn"), options...)
		},
		variant: openVPNWith, patience: 20 * time.Second,
	}
}

// openOpenVPN runs OpenVPN from point to point; words set its cipher.
func openOpenVPN(ctx context.Context, s *sites, program string, words ...string) error {
	both := []*site{s.near, s.far}
	var fingerprints [2]string
	for i, at := range both {
		var err error
		if fingerprints[i], err = certificate(at.dir); err != nil {
			return err
		}
	}
	for i, at := range both {
		other := both[1-i]
		role, far := "--tls-server", fmt.Sprintf("10.124.0.%d", 2-i)
		if i == 1 {
			role = "--tls-client"
		}
		all := []string{program, "--dev", "ovpn0", "--dev-type", "tun", "--proto", "udp4", "--port", "1194", "--remote", other.wan.String(),
			role, "--dh", "none", "--ifconfig", fmt.Sprintf("10.124.0.%d", i+1), far, "--peer-fingerprint", fingerprints[1-i],
			"--cert", filepath.Join(at.dir, "cert.pem"), "--key", filepath.Join(at.dir, "key.pem"), "--disable-dco",
			"--tun-mtu", fmt.Sprint(tunnelMTU), "--mssfix", "0", "--sndbuf", fmt.Sprint(buffer), "--rcvbuf", fmt.Sprint(buffer), "--verb", "2"}
		var err error
		if at.process, err = at.router.Start(append(all, words...)...); err != nil {
			return err
		}
	}
	for i, at := range both {
		if err := at.awaitInterface(ctx, "ovpn0"); err != nil {
			return err
		}
		if err := at.route("ovpn0", tunnelMTU, both[1-i]); err != nil {
			return err
		}
	}
	return nil
}

// certificate writes a key and a certificate signed by itself, and returns the certificate's fingerprint as OpenVPN
// wants it.
func certificate(dir string) (fingerprint string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: filepath.Base(dir)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	for name, block := range map[string]pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o600); err != nil {
			return "", err
		}
	}
	return strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(der)), " ", ":"), nil
}
