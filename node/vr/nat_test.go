package vr

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/transporttest"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A message is what the VRs of these tests say to each other. Links have no keys here: whoever says that
// he is a router is that router.
type message struct {
	Kind                string // hello, observed, dial back, dial for, dialled, token
	From, Helper, Whose tables.RouterID
	At                  netip.AddrPort
	Token               Token
}

// A player is one VR: Self and Helper behind a socket of the in-memory Internet.
type player struct {
	id     tables.RouterID
	host   *transporttest.Host
	socket underlay.Socket
	mu     sync.Mutex // guards self: a test looks at it while the loop runs
	self   *Self
	helper Helper
	links  map[tables.RouterID]Candidate
	room   Room
	random func([]byte)
	dials  int
}

func play(t *testing.T, id tables.RouterID, host *transporttest.Host, port uint16) *player {
	t.Helper()
	socket, err := host.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{id: id, host: host, socket: socket, links: map[tables.RouterID]Candidate{}, random: seeded(uint64(id))}
	p.self = New(Config{Router: id, Site: site(id), Random: p.random})
	p.room = Room{
		Self: id, Site: site(id), Endpoints: []netip.AddrPort{socket.LocalAddr()},
		InSpace:  func(netip.Addr) bool { return false },
		Enrolled: func(tables.RouterID) bool { return true },
	}
	return p
}

// site puts every VR on a site of its own.
func site(id tables.RouterID) string { return fmt.Sprintf("site%d", id) }

func (p *player) write(socket underlay.Socket, to netip.AddrPort, m message) {
	m.From = p.id
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	socket.WriteBatch([]underlay.Datagram{{Buf: b, N: len(b), Addr: to}})
}

// run is the loop of a VR that dials others at the start and sends to its peers every 20 s.
func (p *player) run(dial []netip.AddrPort) {
	arrived := make(chan func(), 64)
	go func() {
		defer close(arrived)
		for {
			dgs := []underlay.Datagram{{Buf: make([]byte, 2048)}}
			n, err := p.socket.ReadBatch(dgs)
			if err != nil {
				return
			}
			for _, d := range dgs[:n] {
				var m message
				if json.Unmarshal(d.Buf[:d.N], &m) == nil {
					arrived <- func() { p.receive(m, d.Addr) }
				}
			}
		}
	}()
	p.handle(Local{[]netip.AddrPort{p.socket.LocalAddr()}})
	for _, to := range dial {
		p.handle(Contacted{to})
		p.write(p.socket, to, message{Kind: "hello"})
	}
	ping := time.Now()
	for {
		wait := time.Until(ping)
		if next := p.next(); !next.IsZero() {
			wait = min(wait, time.Until(next))
		}
		select {
		case f, ok := <-arrived:
			if !ok {
				return
			}
			f()
		case <-time.After(wait):
			p.advance()
			if !time.Now().Before(ping) {
				for _, c := range p.peers() {
					p.write(p.socket, c.At, message{Kind: "observed", At: c.At})
				}
				ping = time.Now().Add(20 * time.Second)
			}
		}
	}
}

// peers returns the links in order.
func (p *player) peers() []Candidate {
	return slices.SortedFunc(maps.Values(p.links), func(a, b Candidate) int { return int(a.Router) - int(b.Router) })
}

func (p *player) receive(m message, from netip.AddrPort) {
	now := time.Now()
	if m.Kind == "token" {
		p.handle(DialArrived{m.Token, from, m.From})
		return
	}
	if p.links[m.From].At != from {
		if m.Kind == "hello" {
			p.handle(Reached{from, m.From})
		}
		p.links[m.From] = Candidate{m.From, site(m.From), from}
		p.handle(Linked{m.From, site(m.From), from})
		p.write(p.socket, from, message{Kind: "observed", At: from})
	}
	p.room.Links = p.peers()
	switch m.Kind {
	case "observed":
		p.handle(Observed{m.From, m.At})
	case "dial back":
		helper, r, _ := p.helper.Ask(now, p.room, m.From, m.Token, m.Helper, p.random)
		if helper != 0 {
			p.write(p.socket, p.links[helper].At, message{Kind: "dial for", Token: r.Token, Whose: r.Router, At: r.Endpoint})
		}
		p.write(p.socket, from, message{Kind: "dialled", Token: m.Token, Helper: helper})
	case "dial for":
		if p.helper.Dial(now, p.room, m.From, Request{m.Token, m.Whose, m.At}) != Served {
			return
		}
		p.dials++
		fresh, err := p.host.Listen(0)
		if err != nil {
			panic(err)
		}
		p.write(fresh, m.At, message{Kind: "token", Token: m.Token})
		fresh.Close()
	case "dialled":
		p.handle(Dialled{m.From, m.Token, m.Helper})
	}
}

func (p *player) handle(ev Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.do(p.self.Handle(time.Now(), ev))
}

func (p *player) advance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.do(p.self.Advance(time.Now()))
}

func (p *player) next() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.self.Next()
}

func (p *player) verdict() Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.self.Verdict()
}

func (p *player) do(actions []Action) {
	for _, a := range actions {
		if ask, ok := a.(AskDialBack); ok {
			p.write(p.socket, p.links[ask.Via].At, message{Kind: "dial back", Token: ask.Token, Helper: ask.Helper})
		}
	}
}

// until waits for a verdict, at most five minutes, and returns how long it took.
func (p *player) until(is func(Verdict) bool) time.Duration {
	begin := time.Now()
	for time.Since(begin) < 5*time.Minute {
		synctest.Wait()
		if is(p.verdict()) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(begin)
}

// TestClassification has a VR behind each kind of box find out what it is, from five others, three of
// which it has links with.
func TestClassification(t *testing.T) {
	addr := netip.MustParseAddr
	behind := func(kind transporttest.NATKind) func(*transporttest.Internet) *transporttest.Host {
		return func(in *transporttest.Internet) *transporttest.Host {
			return in.NAT("nat", addr("203.0.113.7"), kind).Host("x", addr("192.168.1.5"))
		}
	}
	public := func(in *transporttest.Internet) *transporttest.Host { return in.Host("x", addr("203.0.113.1")) }
	for _, c := range []struct {
		name               string
		place              func(*transporttest.Internet) *transporttest.Host
		kind               Kind
		translated         bool
		mapping, filtering Behaviour
	}{
		{"public", public, Regular, false, EndpointIndependent, EndpointIndependent},
		{"full cone", behind(transporttest.FullCone), Regular, true, EndpointIndependent, EndpointIndependent},
		{"restricted", behind(transporttest.RestrictedCone), Limited, true, EndpointIndependent, AddressDependent},
		{"port restricted", behind(transporttest.PortRestrictedCone), Limited, true, EndpointIndependent, AddressAndPortDependent},
		{"symmetric", behind(transporttest.Symmetric), Limited, true, AddressAndPortDependent, AddressAndPortDependent},
		{"double NAT", func(in *transporttest.Internet) *transporttest.Host {
			outer := in.NAT("carrier", addr("203.0.113.7"), transporttest.FullCone)
			return outer.NAT("home", addr("100.64.0.2"), transporttest.PortRestrictedCone).Host("x", addr("192.168.1.5"))
		}, Limited, true, EndpointIndependent, AddressAndPortDependent},
		{"firewall", func(in *transporttest.Internet) *transporttest.Host {
			h := public(in)
			h.SetFirewall(transporttest.Firewall{BlockInbound: true})
			return h
		}, Limited, false, EndpointIndependent, AddressAndPortDependent},
	} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(c.name, " ", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					in := transporttest.Start(t, seed)
					var dial []netip.AddrPort
					for i := range 5 {
						p := play(t, tables.RouterID(2+i), in.Host(fmt.Sprint("p", i), netip.AddrFrom4([4]byte{198, 51, 100, byte(2 + i)})), 8463)
						go p.run(dial)
						dial = append(dial, p.socket.LocalAddr())
					}
					time.Sleep(time.Second)
					x := play(t, 1, c.place(in), 8463)
					x.random = seeded(seed)
					x.self.config.Random = x.random
					go x.run(dial[:3])
					right := x.until(func(v Verdict) bool { return v.Kind == c.kind && v.Confirmed })
					// A silence is believed only after some time, and again when a helper was one that it knew.
					if bound := map[Kind]time.Duration{Regular: time.Second, Limited: 20 * time.Second}[c.kind]; right > bound {
						t.Errorf("it knew after %v", right)
					}
					time.Sleep(5 * time.Minute)
					synctest.Wait()
					v := x.verdict()
					if v.Kind != c.kind || !v.Confirmed || v.Translated != c.translated ||
						v.Mapping != (Finding{c.mapping, true}) || v.Filtering.Behaviour != c.filtering {
						t.Errorf("it takes itself for %v", v)
					}
					in.Close()
					synctest.Wait()
				})
			})
		}
	}
}

// TestOneHost has four VRs on one address, as in the demo, each of which dials the first. All are regular,
// the last one a few seconds after it could be dialled by a third.
func TestOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := transporttest.Start(t, 1)
		host := in.Host("host", netip.MustParseAddr("127.0.0.1"))
		var players []*player
		var dial []netip.AddrPort
		for i := range 4 {
			p := play(t, tables.RouterID(1+i), host, uint16(1001+i))
			go p.run(dial)
			players = append(players, p)
			dial = []netip.AddrPort{players[0].socket.LocalAddr()}
		}
		for _, p := range players {
			if d := p.until(func(v Verdict) bool { return v.Kind == Regular && v.Confirmed }); d > 6*time.Second {
				t.Errorf("after %v VR %d takes itself for %v", d, p.id, p.verdict())
			}
		}
		in.Close()
		synctest.Wait()
	})
}

// TestTranslatorReboots: the new endpoint of a full cone is known and proven a second after peers have seen it.
// Where every VR was sent to, as after an hour of gossip in a small federation, nothing can prove it,
// and the VR takes itself for limited, unconfirmed.
func TestTranslatorReboots(t *testing.T) {
	for _, known := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			in := transporttest.Start(t, 3)
			var dial []netip.AddrPort
			for i := range 5 {
				p := play(t, tables.RouterID(2+i), in.Host(fmt.Sprint("p", i), netip.AddrFrom4([4]byte{198, 51, 100, byte(2 + i)})), 8463)
				go p.run(dial)
				dial = append(dial, p.socket.LocalAddr())
			}
			time.Sleep(time.Second)
			nat := in.NAT("nat", netip.MustParseAddr("203.0.113.7"), transporttest.FullCone)
			x := play(t, 1, nat.Host("x", netip.MustParseAddr("192.168.1.5")), 8463)
			go x.run(dial[:3])
			x.until(func(v Verdict) bool { return v.Kind == Regular && v.Confirmed })
			if known {
				x.mu.Lock()
				x.self.contacts.all = time.Now().Add(time.Hour)
				x.mu.Unlock()
			}
			before := x.verdict().Endpoints[0]
			nat.Reset()
			moved := func(v Verdict) bool { return v.Translated && v.Endpoints[0] != before && len(v.Endpoints) == 2 }
			if d := x.until(moved); d > 21*time.Second { // it sends every 20 s
				t.Errorf("after %v it is %v", d, x.verdict())
			}
			want := Regular
			if known {
				want = Limited
			}
			if d := x.until(func(v Verdict) bool { return v.Kind == want && v.Confirmed == !known }); d > 3*time.Second {
				t.Errorf("known %v: after %v it is %v", known, d, x.verdict())
			}
			in.Close()
			synctest.Wait()
		})
	}
}
