package vr

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A Config is what Self must know from the start.
type Config struct {
	Router tables.RouterID
	// Site is our own site: its other VRs say how our LAN sees us, and count when nobody else speaks.
	// Empty if not known.
	Site string
	// Declared and Endpoints: see event Declared.
	Declared  Kind
	Endpoints []netip.AddrPort
	// Used is when an earlier process last sent from our port, zero if none did: what it sent to may
	// still have a filter open.
	Used time.Time
	// Others says that there are other VRs. Then a VR that none of them sees by UDP has no reason to think that
	// they could; one that is alone waits for the first to call.
	Others bool
	// Proven are the endpoints at which an earlier process was reached: seen at one of them again, a VR
	// is taken for what it was until a round says otherwise.
	Proven []netip.AddrPort
	// Random fills a slice with unpredictable bytes.
	Random func([]byte)
}

// Self is what a VR knows of itself. It is owned by one goroutine; New makes it.
//
// There is one face for each address family, IPv4 and IPv6, and each goes its own way:
//
//	           seen           due              conclusive arrival
//	unseen ----------> idle --------> asking --------------------> idle, open
//	  ^                 ^ ^            |  |        silence
//	  |  no more seen   | |            |  +----------------------> idle, shut
//	  +-----------------+ |            |     nobody to ask
//	                      |            +-------------------------> idle, undecided
//	   another endpoint --+ (forgets the result; the round begins anew)
//
// A face that is idle becomes due at once when it is first seen, a second after a change, after 10
// minutes when open, and in growing pauses when it is not. While it asks, the former result stands.
// IPv4 decides where peers see us by it, since every site has it; else IPv6 does.
type Self struct {
	config    Config
	draining  bool
	local     []netip.AddrPort
	mapped    []netip.AddrPort
	witnesses map[tables.RouterID]*witness
	contacts  contacts
	faces     [families]face
	decides   int // the face that decided last
	asks      []time.Time
	verdict   Verdict
	now       time.Time
	out       []Action
	off       defences // for tests: those that are taken out
}

// defences can be taken out by tests, to show that an attack works without them.
type defences struct {
	sources bool // who sent a dial-back, from where
	sites   bool // the word of two sites
	pairs   bool // silence that no single VR can have made
}

// New returns the Self of a VR that has no links yet.
func New(c Config) *Self {
	s := &Self{config: c, witnesses: map[tables.RouterID]*witness{}}
	s.declare(c.Declared, c.Endpoints)
	if !c.Used.IsZero() {
		s.contacts.all = c.Used.Add(contactLife)
	}
	s.verdict = s.judge()
	return s
}

// Verdict returns what the VR knows now. The caller must not change its Endpoints.
func (s *Self) Verdict() Verdict { return s.verdict }

// Handle applies an event and returns what to do.
func (s *Self) Handle(now time.Time, ev Event) []Action {
	s.now, s.out = now, nil
	switch ev := ev.(type) {
	case Local:
		s.setLocal(ev.Endpoints)
	case Linked:
		s.link(ev)
	case Unlinked:
		if w := s.witnesses[ev.Router]; w != nil {
			delete(s.witnesses, ev.Router)
			if w.at.IsValid() {
				s.contacts.add(now, w.at)
			}
		}
	case Observed:
		s.observe(ev.By, unmap(ev.Endpoint))
	case Contacted:
		if plausible(unmap(ev.At)) {
			s.contacts.add(now, unmap(ev.At))
		}
		return nil // it comes often, and alone it changes nothing
	case Reached:
		s.reachedBy(ev)
	case Dialled:
		s.dialled(ev)
	case DialArrived:
		s.arrived(ev)
	case Declared:
		s.declare(ev.Kind, ev.Endpoints)
		s.hurry(func(*face) bool { return true })
	case Mapped:
		s.setMapped(ev.Endpoints)
	case Joined:
		s.hurry(func(f *face) bool { return f.result == undecided || !f.confirmed })
	case Draining:
		s.draining = ev.Draining
	}
	s.review()
	return s.conclude()
}

// Advance applies the passing of time: it fires every deadline at or before now.
func (s *Self) Advance(now time.Time) []Action {
	s.now, s.out = now, nil
	return s.conclude()
}

// Next returns the time of the next deadline, or the zero Time if there is none.
func (s *Self) Next() time.Time {
	var next time.Time
	if s.declared() {
		return next
	}
	for i := range s.faces {
		f := &s.faces[i]
		t := f.due
		if f.asking {
			t = f.deadline
		}
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// declared reports whether the operator has decided, so that nothing is to be found out.
func (s *Self) declared() bool { return s.config.Declared != Auto || len(s.config.Endpoints) > 0 }

func (s *Self) declare(kind Kind, endpoints []netip.AddrPort) {
	s.config.Declared = kind
	s.config.Endpoints = slices.Clone(endpoints[:min(len(endpoints), endpointsMax)])
}

func (s *Self) link(ev Linked) {
	w := s.witnesses[ev.Router]
	if w == nil {
		if len(s.witnesses) >= witnessesMax {
			return
		}
		w = &witness{}
		s.witnesses[ev.Router] = w
		s.hurry(func(f *face) bool { return !f.confirmed })
	}
	w.site = ev.Site
	at := unmap(ev.At)
	if !plausible(at) {
		at = netip.AddrPort{}
	}
	if w.at != at && w.at.IsValid() {
		s.contacts.add(s.now, w.at)
	}
	w.at = at
}

func (s *Self) observe(by tables.RouterID, at netip.AddrPort) {
	w := s.witnesses[by]
	if w == nil || !plausible(at) || w.seen == at {
		return
	}
	for i := range s.faces {
		if f := &s.faces[i]; f.seen && w.seen.IsValid() && w.seen == f.sight.endpoint {
			f.stir(s.now) // one that agreed does so no more
		}
	}
	w.seen = at
}

func (s *Self) setLocal(endpoints []netip.AddrPort) {
	list := unmapAll(endpoints, localMax)
	if slices.Equal(list, s.local) {
		return
	}
	for _, at := range s.local {
		if slices.Contains(list, at) {
			continue
		}
		// An address that is gone is nobody else's translator.
		for _, w := range s.witnesses {
			if w.seen == at {
				w.seen = netip.AddrPort{}
			}
		}
	}
	changed := func(fam int) bool {
		of := func(l []netip.AddrPort) (some []netip.AddrPort) {
			for _, at := range l {
				if family(at.Addr()) == fam {
					some = append(some, at)
				}
			}
			return some
		}
		return !slices.Equal(of(list), of(s.local))
	}
	for i := range s.faces {
		if changed(i) {
			s.faces[i].stir(s.now)
		}
	}
	s.local = list
}

func (s *Self) setMapped(endpoints []netip.AddrPort) {
	if list := unmapAll(endpoints, mappedMax); !slices.Equal(list, s.mapped) {
		s.mapped = list
		s.hurry(func(*face) bool { return true })
	}
}

func unmapAll(list []netip.AddrPort, most int) []netip.AddrPort {
	var all []netip.AddrPort
	for _, at := range list {
		if at = unmap(at); plausible(at) && len(all) < most && !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all
}

// hurry has the faces that want it ask again soon.
func (s *Self) hurry(wants func(*face) bool) {
	for i := range s.faces {
		if f := &s.faces[i]; f.seen && wants(f) {
			f.stir(s.now)
		}
	}
}

// review looks at what the witnesses say now and has faces begin anew whose endpoint is another one.
func (s *Self) review() {
	for i := range s.faces {
		f := &s.faces[i]
		v := s.look(i)
		was := f.sight
		if v.class == classNone {
			// Nobody sees us here any more. The last result stands, unconfirmed, until somebody does.
			f.sight = sight{endpoint: was.endpoint, class: was.class, mapping: was.mapping}
			f.seen, f.due = false, time.Time{}
			f.stop()
			continue
		}
		f.sight = v
		first := was.class == classNone
		switch {
		case first:
			f.seen, f.due = true, s.now
			if f.result == unasked && slices.Contains(s.config.Proven, v.endpoint) {
				f.result, f.reason = open, "was reached there before the last start"
			}
			s.useReached(f)
		case v.endpoint != was.endpoint || v.class != was.class:
			f.forget()
			f.seen = true
			f.stir(s.now)
		case !f.seen:
			f.seen = true
			f.stir(s.now)
		}
	}
}

// conclude lets the faces act and tells whether the verdict is another one.
func (s *Self) conclude() []Action {
	if !s.declared() {
		for i := range s.faces {
			s.advance(i)
		}
	} else {
		for i := range s.faces {
			s.faces[i].stop()
		}
	}
	if v := s.judge(); !v.equal(s.verdict) {
		s.verdict = v
		s.out = append(s.out, Changed{v})
	}
	out := s.out
	s.out = nil
	return out
}

// judge makes the verdict.
func (s *Self) judge() Verdict {
	for i := range s.faces {
		if s.faces[i].seen {
			s.decides = i
			break
		}
	}
	f := &s.faces[s.decides]
	v := Verdict{
		Draining:   s.draining,
		Translated: f.sight.class == classTranslated || f.sight.class == classMapped,
		Mapping:    f.sight.mapping,
		Filtering:  f.filtering,
		Endpoints:  s.endpoints(),
	}
	if len(s.config.Endpoints) > 0 {
		v.Endpoints = s.config.Endpoints
	}
	if s.declared() {
		v.Kind, v.Confirmed, v.Reason = Regular, true, "declared by the operator"
		if s.config.Declared == Limited {
			v.Kind = Limited
		}
		v.Filtering = Finding{}
		return v
	}
	v.Kind, v.Confirmed, v.Reason = f.judge()
	if f.result == unasked && f.sight.class == classNone && s.config.Others && len(s.config.Proven) == 0 {
		v.Kind = Limited
	}
	if !f.seen && f.sight.class != classNone {
		v.Confirmed = false
		v.Reason = "no linked VR sees us; before: " + v.Reason
	}
	return v
}
