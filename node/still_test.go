package node

import (
	"crypto/ed25519"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/secure"
)

// A still is the founding VR of a federation that does not run: the test calls its control loop and
// does the clerk's work, so that the test decides what happens before what.
type still struct {
	t         *testing.T
	l         *loop
	sent      *outbox
	path      string // of the state directory
	authority ed25519.PrivateKey
	user      ed25519.PrivateKey // the administrator's
	enrolled  tables.RouterID    // the last one
}

// A quietSocket keeps what is sent, and is at an address.
type quietSocket struct{ *outbox }

func (quietSocket) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:8463") }

// withStill runs f in a bubble. The VR does not act as the authority, so that nothing is signed that
// the test does not sign.
func withStill(t *testing.T, f func(t *testing.T, s *still)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &still{t: t, sent: newOutbox(1 << 12), path: t.TempDir()}
		dir, err := state.Open(s.path)
		s.check(err)
		defer dir.Close()
		random := &steady{}
		founded, err := Found(time.Now(), Founding{Name: "still", VR: "alpha", Site: "alpha", UserName: "admin", Rand: random})
		s.check(err)
		s.check(founded.Store(dir))
		s.check(s.start(dir, random, "open"))
		s.enrolled = s.l.n.self.Router
		s.l.author = nil
		user := founded.Keys["user"]
		s.user = ed25519.NewKeyFromSeed(user[:])
		f(t, s)
	})
}

// start makes the VR of a state directory.
func (s *still) start(dir *state.Dir, random io.Reader, autoAdmit string) error {
	n, err := New(Options{
		State: dir, Socket: quietSocket{s.sent}, Rand: random, Log: slog.New(slog.DiscardHandler),
		Settings: Settings{Kind: "auto", PathMTU: 1500, AutoAdmit: autoAdmit}, Software: "test",
	})
	if err == nil {
		s.l, s.authority = n.loop, n.self.authority
	}
	return err
}

func (s *still) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// work does what is on the clerk's desk, in order, and has the control loop take what came of it,
// until the desk is empty.
func (s *still) work() {
	for {
		select {
		case j := <-s.l.clerk.desk:
			s.l.handle(func(now time.Time) { j.work()(now, s.l) })
		default:
			return
		}
	}
}

// wait lets time pass, and has the control loop and the clerk do what it makes due.
func (s *still) wait(d time.Duration) {
	time.Sleep(d)
	s.l.handle(func(time.Time) {})
	s.work()
}

// breakDisk has every write of documents fail until the function that it returns is called. A file is
// in the place of their directory: permissions would not stop root.
func (s *still) breakDisk() (mend func()) {
	s.t.Helper()
	path := filepath.Join(s.path, "documents")
	s.check(os.Rename(path, path+".away"))
	s.check(os.WriteFile(path, nil, 0o600))
	return func() {
		s.t.Helper()
		s.check(os.Remove(path))
		s.check(os.Rename(path+".away", path))
	}
}

// onDisk returns the versions of a document on disk, in the order in which they were written.
func (s *still) onDisk(key tables.DocKey) (versions []uint64) {
	s.t.Helper()
	raw, err := state.Read(s.path)
	s.check(err)
	for _, b := range raw {
		d, err := tables.ParseDocument(b)
		s.check(err)
		if d.Key() == key {
			versions = append(versions, d.Version())
		}
	}
	return versions
}

// told returns the version of a document that the VR tells others it has; zero for none.
func (s *still) told(key tables.DocKey) uint64 {
	d, _ := s.l.gossip.index.Get(key)
	return d.Version
}

func (s *still) sign(body tables.Body, key ed25519.PrivateKey) *tables.Document {
	s.t.Helper()
	d, err := tables.Sign(body, key)
	s.check(err)
	return d
}

// keep gives the control loop documents with good signatures, as gossip brings them.
func (s *still) keep(documents ...*tables.Document) {
	s.l.handle(func(now time.Time) { s.l.keep(now, documents, 0) })
}

// A resident is an enrolled VR.
type resident struct {
	id       tables.RouterID
	identity ed25519.PrivateKey
	static   secure.StaticKey
	version  uint64 // of its last link record
}

// enrol enrols a VR at a site and stores its enrolment; the VR has no link record yet.
func (s *still) enrol(name, site string) *resident { return s.enrolAs(name, site, false) }

func (s *still) enrolAs(name, site string, mayQueue bool) *resident {
	s.t.Helper()
	s.enrolled++
	id := s.enrolled
	r := &resident{id: id, identity: ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(id)))}
	r.static = secure.NewStaticKey([32]byte{1: byte(id)}) // X25519 ignores some bits of the first byte
	now := time.Now()
	s.keep(s.sign(tables.Enrolment{
		Version: 1, Router: id, Name: name, Site: site, Identity: tables.PublicOf(r.identity),
		Blocks:   []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200, byte(id), 0}), 24)},
		MayQueue: mayQueue, NotBefore: now.Unix(), NotAfter: now.AddDate(1, 0, 0).Unix(),
	}, s.authority))
	if _, ok := s.l.store.Enrolment(id); !ok {
		s.t.Fatalf("%s is not enrolled", name)
	}
	return r
}

// record returns the VR's next link record, which claims key as its own.
func (s *still) record(r *resident, key tables.LinkKey) *tables.Document {
	s.t.Helper()
	return s.recordAs(r, tables.LinkRecord{
		Link: key, VRKind: "regular",
		Endpoints: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.id)}), 8463)},
	})
}

// recordAs returns the VR's next link record, which says what body says.
func (s *still) recordAs(r *resident, body tables.LinkRecord) *tables.Document {
	s.t.Helper()
	r.version++
	body.Version, body.Router, body.Software = r.version, r.id, "test"
	return s.sign(body, r.identity)
}

// envelopesOf returns documents as a hello carries them.
func envelopesOf(documents ...*tables.Document) []byte { return slices.Concat(envelopes(documents)...) }
