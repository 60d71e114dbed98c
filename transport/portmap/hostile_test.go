package portmap

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// silence reads no more and answers nothing until the client gives up.
func silence(_ *http.Request, c net.Conn) bool {
	_, _ = io.Copy(io.Discard, c)
	return true
}

// TestWrongNonce has somebody who forges the gateway's address but has not seen our requests. With the check of the
// nonce taken out he has his way.
func TestWrongNonce(t *testing.T) {
	for _, lax := range []bool{false, true} {
		bubble(t, fmt.Sprintf("lax %v", lax), func(t *testing.T) {
			g := offering(ByPCP)
			g.twist = func(b []byte) []byte { b[pcpHeaderSize]++; return b }
			s := start(t, g, laxity{nonce: lax}, lane)
			if list, _ := s.after(10 * time.Second); len(list) == 1 != lax {
				t.Errorf("%+v", list)
			}
			s.end(t)
		})
	}
}

// TestStranger answers from another address than the gateway's. With the check taken out he has his way.
func TestStranger(t *testing.T) {
	for _, by := range []string{ByPCP, ByNATPMP, ByUPnP} {
		for _, lax := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s lax %v", by, lax), func(t *testing.T) {
				g := offering(by)
				g.source = netip.MustParseAddrPort("192.168.7.66:5351")
				if by == ByUPnP {
					g.source = netip.MustParseAddrPort("192.168.7.66:1900")
				}
				s := start(t, g, laxity{source: lax}, lane)
				if list, _ := s.after(10 * time.Second); len(list) == 1 != lax {
					t.Errorf("%+v", list)
				}
				if !lax && len(g.dialled) > 0 {
					t.Errorf("connected to %v", g.dialled)
				}
				s.end(t)
			})
		}
	}
}

// TestElsewhere has a device that would have us send requests to somebody else: by its location, its control URL, or a
// redirect. With the checks taken out it has its way.
func TestElsewhere(t *testing.T) {
	victim := netip.MustParseAddrPort("192.168.7.66:8080")
	away := fmt.Sprintf("http://%v/delete?all", victim)
	for name, twist := range map[string]func(*fakeGateway){
		"location": func(g *fakeGateway) { g.location = away },
		"control":  func(g *fakeGateway) { g.controlURL = away },
		"redirect": func(g *fakeGateway) {
			g.serve = func(r *http.Request, c net.Conn) bool {
				fmt.Fprintf(c, "HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", away)
				return true
			}
		},
	} {
		for _, lax := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s lax %v", name, lax), func(t *testing.T) {
				g := offering(ByUPnP)
				twist(g)
				s := start(t, g, laxity{url: lax}, lane)
				s.after(20 * time.Second)
				asked := false
				for _, to := range g.dialled {
					asked = asked || to == victim
				}
				if asked != lax {
					t.Errorf("connected to %v", g.dialled)
				}
				s.end(t)
			})
		}
	}
}

// TestURLs lists URLs that do not lead to the gateway, though they look so.
func TestURLs(t *testing.T) {
	for text, want := range map[string]bool{
		"http://192.168.7.1/": true, "http://192.168.7.1:5000/ctl": true, "http://[::ffff:192.168.7.1]:1/": true,
		"https://192.168.7.1/": false, "http://192.168.7.1@5.5.5.5/": false, "http://a:b@192.168.7.1/": false,
		"http://192.168.7.1.example.org/": false, "http://192.168.7.10/": false, "http://localhost/": false,
		"http://0300.0250.7.1/": false, "http:/ctl": false, "": false, "file:///etc/passwd": false, "http:192.168.7.1": false,
	} {
		if err := onGateway(mustURL(text), gateway); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestRedirects has a device that redirects to itself for ever: it is asked once a location.
func TestRedirects(t *testing.T) {
	bubble(t, "endless", func(t *testing.T) {
		g := offering(ByUPnP)
		g.serve = func(r *http.Request, c net.Conn) bool {
			fmt.Fprintf(c, "HTTP/1.1 307 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", r.URL.Path)
			return true
		}
		s := start(t, g, laxity{}, lane)
		s.after(20 * time.Second)
		if len(g.dialled) != 1 {
			t.Errorf("%d connections", len(g.dialled))
		}
		s.end(t)
	})
}

// TestHuge has devices that never stop talking, in the header or in the body, fast or slowly: reading ends, and so does the
// call.
func TestHuge(t *testing.T) {
	for name, c := range map[string]struct {
		head, more string
		pause      time.Duration
	}{
		"body":      {"HTTP/1.1 200 OK\r\n\r\n" + description("", "/ctl")[:100], strings.Repeat("<device>", 1000), 0},
		"deep":      {"HTTP/1.1 200 OK\r\n\r\n" + `<root xmlns="urn:schemas-upnp-org:device-1-0">`, strings.Repeat("<a>", 1000), 0},
		"header":    {"HTTP/1.1 200 OK\r\n", "X: " + strings.Repeat("x", 1000) + "\r\n", 0},
		"continues": {"", "HTTP/1.1 100 Continue\r\n\r\n", 0},
		"slow":      {"HTTP/1.1 200 OK\r\n\r\n", "<a/>", 100 * time.Millisecond},
	} {
		bubble(t, name, func(t *testing.T) {
			g := offering(ByUPnP)
			sent, longest := 0, time.Duration(0)
			g.serve = func(_ *http.Request, conn net.Conn) bool {
				begin := time.Now()
				n, err := io.WriteString(conn, c.head)
				for sent += n; err == nil; sent += n {
					n, err = io.WriteString(conn, c.more)
					time.Sleep(c.pause)
				}
				longest = max(longest, time.Since(begin))
				return true
			}
			s := start(t, g, laxity{}, lane)
			if list, _ := s.after(30 * time.Second); len(list) > 0 {
				t.Errorf("%+v", list)
			}
			s.end(t)
			if sent == 0 || sent > httpBytesMax+64<<10 || longest > httpMax+time.Second {
				t.Errorf("took %d bytes in %v", sent, longest)
			}
		})
	}
}

// TestClockGoesBack has a server whose clock goes back with each answer, as if it had lost everything each time: mappings
// stay, and it makes us ask twice as often as others at most. With the guard taken out it keeps us asking without a pause.
func TestClockGoesBack(t *testing.T) {
	for _, lax := range []bool{false, true} {
		m, _ := newMachine(time.Unix(0, 0), &Config{Internal: []Port{lane, stream}, Rand: rand.NewChaCha8([32]byte{})})
		m.lax.remapping = lax
		now, clock, sent := time.Unix(0, 0), uint32(1<<30), 0
		const sentMax = 5000
		perform := func(actions []action) {
			for ; len(actions) > 0 && sent < sentMax; actions = actions[1:] {
				switch a := actions[0].(type) {
				case lookup:
					actions = append(actions, m.Handle(now, located{gateway: gateway, local: us})...)
				case send:
					if a.to.Port() != serverPort || a.bytes[0] != pcpVersion {
						continue
					}
					sent++
					clock -= 100
					answer := pcpAnswer{op: a.bytes[1], epoch: clock, lifetime: 7200}
					if answer.op == pcpMap {
						answer.mapping = parsePCPMapping(a.bytes[pcpHeaderSize:])
					}
					actions = append(actions, m.Handle(now, datagram{from: a.to, bytes: answer.append(nil)})...)
				}
			}
		}
		for now.Before(time.Unix(24*3600, 0)) && sent < sentMax {
			perform(m.Advance(now))
			now = m.Next()
		}
		// One check a minute, and after each two mappings.
		if limit := 24*60*3 + 100; sent <= limit == lax {
			t.Errorf("lax %v: %d requests in a day", lax, sent)
		}
		if !lax && len(m.told) != 2 {
			t.Errorf("mappings: %+v", m.told)
		}
	}
}

// TestRubbish feeds rubbish and damaged answers from the gateway to a machine that holds mappings, and one that asks:
// nothing that it believes changes.
func TestRubbish(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, by := range []string{ByPCP, ByNATPMP} {
		m, _ := newMachine(time.Unix(0, 0), &Config{Internal: []Port{lane}, Rand: rand.NewChaCha8([32]byte{})})
		now := time.Unix(0, 0)
		m.Advance(now)
		m.Handle(now, located{gateway: gateway, local: us})
		server := netip.AddrPortFrom(gateway, serverPort)
		answers := [][]byte{unhex(t, rfcPCPAnswer)}
		if by == ByPCP {
			copy(answers[0][pcpHeaderSize:], m.leases[0].nonce[:])
		} else {
			answers = [][]byte{unhex(t, rfcNATPMPVersion), unhex(t, rfcNATPMPAddressAnswer), unhex(t, rfcNATPMPAnswer)}
		}
		for range 20000 { // while it asks
			m.Handle(now, datagram{from: server, bytes: rubbish(random, answers[len(answers)-1])})
		}
		if len(m.told) != 0 {
			t.Fatalf("%s: rubbish maps: %+v", by, m.told)
		}
		for _, b := range answers {
			m.Handle(now, datagram{from: server, bytes: b})
		}
		if len(m.told) != 1 || m.told[0].By != by {
			t.Fatalf("%s: %+v", by, m.told)
		}
		told, leases := m.told, append([]lease(nil), m.leases...)
		for range 20000 { // while it holds
			port := []uint16{serverPort, ssdpPort}[random.IntN(2)]
			ev := datagram{from: netip.AddrPortFrom(gateway, port), bytes: rubbish(random, answers[len(answers)-1])}
			for _, a := range m.Handle(now, ev) {
				if _, ok := a.(note); !ok {
					t.Fatalf("%s: %x has it do %T", by, ev.bytes, a)
				}
			}
		}
		if !reflect.DeepEqual(m.told, told) || !reflect.DeepEqual(m.leases, leases) {
			t.Errorf("%s: %+v, want %+v", by, m.leases, leases)
		}
	}
}

// rubbish is random bytes, or an answer that was cut, lengthened, or says that it is something else.
func rubbish(random *rand.Rand, answer []byte) []byte {
	b := bytes.Clone(answer)
	switch random.IntN(4) {
	case 0:
		b = make([]byte, random.IntN(1200))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	case 1:
		b = b[:random.IntN(len(b))]
	case 2:
		b = append(b, make([]byte, 1+random.IntN(3))...)
	case 3:
		b[1] += byte(1 + random.IntN(255))
	}
	return b
}

// TestForgedAnnouncements floods with announcements, which anybody on the LAN can forge in the gateway's name: what we do
// for them is bounded.
func TestForgedAnnouncements(t *testing.T) {
	bubble(t, "flood", func(t *testing.T) {
		g := offering(ByPCP)
		s := start(t, g, laxity{}, lane)
		s.after(time.Second)
		before := len(g.asked)
		for range 600 { // a minute of ten a second
			g.mu.Lock()
			g.say(true, netip.AddrPortFrom(gateway, serverPort), pcpAnswer{op: pcpAnnounce}.append(nil))
			g.mu.Unlock()
			s.after(100 * time.Millisecond)
		}
		if n := len(g.asked) - before; n == 0 || n > 7 {
			t.Errorf("%d renewals in a minute", n)
		}
		s.end(t)
	})
}
