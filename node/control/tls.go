package control

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/vine-mesh/vine/tables"
)

const (
	// certificateLife is how long our certificates are good. The key behind them is what is trusted; they end soon so
	// that one that got lost is worth nothing the next day.
	certificateLife = 12 * time.Hour
	// certificateLifeMax is the longest life of a certificate that is taken.
	certificateLifeMax = 24 * time.Hour
	// clockSlack is by how much clocks may differ.
	clockSlack = 5 * time.Minute
)

// A Gate says what the VR is to the holder of a key.
type Gate interface {
	// As returns the VR as the holder of key may see and use it now. The error wraps ErrForbidden if it has no
	// rights at all. It may be called from any goroutine.
	As(key tables.PublicKey) (Router, error)
}

// Certificate returns a short-lived certificate of an Ed25519 key, signed by that key itself. It says nothing but that
// whoever uses it holds the key: what that is worth stands in the tables. The bytes it signs begin otherwise than
// those of a document, so neither can stand for the other.
func Certificate(key ed25519.PrivateKey, now time.Time) (tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: tables.PublicOf(key).Fingerprint()},
		NotBefore:    now.Add(-clockSlack), NotAfter: now.Add(certificateLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// holder returns the key that the other side of a connection has proved to hold: that of its one certificate, which
// must be current, short-lived and signed by that key.
func holder(state tls.ConnectionState, now time.Time) (tables.PublicKey, error) {
	if len(state.PeerCertificates) != 1 {
		return tables.PublicKey{}, fmt.Errorf("%d certificates, want one that signs itself", len(state.PeerCertificates))
	}
	c := state.PeerCertificates[0]
	key, ok := c.PublicKey.(ed25519.PublicKey)
	switch {
	case !ok || c.SignatureAlgorithm != x509.PureEd25519:
		return tables.PublicKey{}, errors.New("the certificate is not of an Ed25519 key")
	case now.Before(c.NotBefore.Add(-clockSlack)) || !now.Before(c.NotAfter.Add(clockSlack)):
		return tables.PublicKey{}, fmt.Errorf("the certificate is good from %s to %s, and now it is %s", c.NotBefore.UTC(), c.NotAfter.UTC(), now.UTC())
	case c.NotAfter.Sub(c.NotBefore) > certificateLifeMax:
		return tables.PublicKey{}, fmt.Errorf("the certificate is good for longer than %s", certificateLifeMax)
	}
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		return tables.PublicKey{}, fmt.Errorf("the certificate does not sign itself: %w", err)
	}
	return tables.PublicKey(key), nil
}

// fresh returns what makes certificates of key when the last one is half over.
func fresh(key ed25519.PrivateKey) func() (*tls.Certificate, error) {
	var mu sync.Mutex // guards made and until
	var made tls.Certificate
	var until time.Time
	return func() (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.After(until) {
			c, err := Certificate(key, now)
			if err != nil {
				return nil, err
			}
			made, until = c, now.Add(certificateLife/2)
		}
		c := made
		return &c, nil
	}
}

// ServeTLS answers calls that come in by l, a TCP listener, until ctx ends, and closes l. Both sides show what key
// they hold: the VR its identity, which callers know by its fingerprint, and the caller a key that the tables give
// rights. Without such a key the handshake fails, and nothing else is answered; a caller whose rights end
// meanwhile is refused at its next call. names are names of this machine beside its addresses.
func ServeTLS(ctx context.Context, l net.Listener, gate Gate, identity ed25519.PrivateKey, names []string, log *slog.Logger) error {
	limited := netutil.LimitListener(l, connectionsMax) // beneath TLS, for the server has to see that it is TLS
	return serve(ctx, tls.NewListener(limited, serverTLS(gate, identity)), newServer(onNetwork(gate, names), log, usualTimes))
}

func serverTLS(gate Gate, identity ed25519.PrivateKey) *tls.Config {
	certificate := fresh(identity)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		ClientAuth:             tls.RequireAnyClientCert, // there is no certification authority: see VerifyConnection
		SessionTicketsDisabled: true,                     // every connection proves its key anew
		NextProtos:             []string{"http/1.1"},
		VerifyConnection: func(state tls.ConnectionState) error {
			key, err := holder(state, time.Now())
			if err == nil {
				_, err = gate.As(key)
			}
			return err
		},
	}
}

func onNetwork(gate Gate, names []string) entrance {
	lower := []string{host, "localhost"}
	for _, n := range names {
		lower = append(lower, strings.ToLower(n))
	}
	return entrance{"https", lower, func(r *http.Request) (Router, error) {
		if r.TLS == nil {
			return nil, fmt.Errorf("%w without TLS", ErrForbidden)
		}
		key, err := holder(*r.TLS, time.Now())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForbidden, err)
		}
		return gate.As(key)
	}}
}
