package hostpage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
)

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, ok := r.Context().Value(visitKey{}).(*visit)
	if !ok {
		http.Error(w, "who are you?", http.StatusForbidden)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "same-origin") // with none at all a browser would say that a form came from nowhere
	h.Set("Vary", "Accept")
	r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	if !addressed(r.Host, v.local) {
		say(w, http.StatusMisdirectedRequest, "This is the virtual router %v: call it by that address.", v.local)
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	want := map[string]string{"/": http.MethodGet, "/setup.sh": http.MethodGet, "/setup.ps1": http.MethodGet, "/join": http.MethodPost}[r.URL.Path]
	switch {
	case want == "":
		say(w, http.StatusNotFound, "There is nothing at %.64q. See http://%s/", r.URL.Path, r.Host)
	case want != method:
		h.Set("Allow", map[string]string{http.MethodGet: "GET, HEAD", http.MethodPost: "POST"}[want])
		say(w, http.StatusMethodNotAllowed, "%s does not take %.16q.", r.URL.Path, r.Method)
	case r.URL.Path == "/join":
		p.join(w, r, v)
	case r.URL.Path == "/":
		p.state(w, r, v)
	default:
		p.setup(w, r, v)
	}
}

// addressed reports whether a Host header names the VR by the address that was called. A browser that follows a name of
// somebody else's here says that name.
func addressed(host string, local netip.Addr) bool {
	if ap, err := netip.ParseAddrPort(host); err == nil {
		return ap.Addr().Unmap().WithZone("") == local
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && a.Unmap().WithZone("") == local
}

// foreign reports whether a browser sent the request for the page of somebody else.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return true
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// say answers in plain text.
func say(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, format+"\n", args...)
}

// browser reports whether the answer is for a browser.
func browser(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// join answers POST /join.
func (p *Page) join(w http.ResponseWriter, r *http.Request, v *visit) {
	if foreign(r) {
		say(w, http.StatusForbidden, "This was sent by a page of somebody else.")
		return
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		say(w, http.StatusUnsupportedMediaType, "Say it as a form: curl -X POST http://%s/join -d vn=NAME", r.Host)
		return
	}
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			status = http.StatusRequestEntityTooLarge
		}
		say(w, status, "The form cannot be read: %v", err)
		return
	}
	for field, values := range r.PostForm {
		if field != "vn" && field != "name" || len(values) != 1 {
			say(w, http.StatusBadRequest, "The form has the fields vn and name, each once; not %.32q.", field)
			return
		}
	}
	if r.PostForm.Get("vn") == "" {
		say(w, http.StatusBadRequest, "Say which virtual network: curl -X POST http://%s/join -d vn=NAME", r.Host)
		return
	}
	if !p.bucket.take(time.Now()) {
		w.Header().Set("Retry-After", strconv.Itoa(int(filesEvery/time.Second)))
		say(w, http.StatusTooManyRequests, "Too many requests come from this LAN: try again.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.write/2)
	defer cancel()
	filed, err := p.VR.FileHost(ctx, v.mac, v.from, r.PostForm.Get("name"), r.PostForm.Get("vn"))
	switch {
	case errors.Is(err, control.ErrRefused):
		say(w, http.StatusUnprocessableEntity, "%v", err)
	case err != nil:
		p.Log.Warn("request of a host not filed", "err", err)
		say(w, http.StatusServiceUnavailable, "The virtual router cannot take requests now: try again, or tell its administrator.")
	case browser(r):
		http.Redirect(w, r, "/", http.StatusSeeOther)
	default:
		say(w, http.StatusAccepted, "Request %d is filed: %s in %s is %s.\n`curl http://%s/` shows where it stands.", filed.ID, filed.Name, filed.VN, filed.State, r.Host)
	}
}

// setup answers GET /setup.sh and /setup.ps1. A shell runs what it gets, so errors are scripts that fail.
func (p *Page) setup(w http.ResponseWriter, r *http.Request, v *visit) {
	windows := r.URL.Path == "/setup.ps1"
	lasting := r.URL.Query().Has("lasting")
	s := p.VR.Standing(v.mac, v.from)
	var parts []string
	var problem error
	for _, host := range s.Hosts {
		text, err := p.script(v, s, host, windows, lasting)
		if err != nil {
			problem = err
			continue
		}
		parts = append(parts, text)
	}
	status := http.StatusOK
	if len(parts) == 0 {
		status = http.StatusNotFound
		why := fmt.Sprintf("The virtual router %v has no address for this machine (MAC %s) yet. See http://%s/", v.local, v.mac, r.Host)
		if problem != nil {
			why = problem.Error()
		}
		if why = strings.ReplaceAll(why, "'", ""); windows {
			parts = []string{"throw '" + why + "'\r\n"}
		} else {
			parts = []string{"echo '" + why + "' >&2\nexit 1\n"}
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, part := range parts {
		fmt.Fprint(w, part)
	}
}

// script returns what gives the asking machine one of its addresses.
func (p *Page) script(v *visit, s control.Standing, host control.LANHost, windows, lasting bool) (string, error) {
	gateway, ok := p.gateway(v, s, host.Addr.Is4())
	if !ok {
		return "", fmt.Errorf("the virtual router has no address on this LAN that leads to %v", host.Addr)
	}
	address := netip.PrefixFrom(host.Addr, host.Addr.BitLen())
	for _, b := range s.Blocks {
		if b.Contains(host.Addr) {
			address = netip.PrefixFrom(host.Addr, b.Bits())
		}
	}
	h, err := hosts.NewSetup(address, gateway, s.Space...)
	if err != nil {
		return "", err
	}
	if windows {
		return h.Script(hosts.Windows, lasting)
	}
	linux, err := h.Script(hosts.Linux, lasting)
	if err != nil {
		return "", err
	}
	mac, err := h.Script(hosts.MacOS, lasting)
	// Each in a shell of its own, whose variables are its own; the first that fails ends it all.
	return "set -e\ncase $(uname -s) in\nDarwin)\n(\n" + mac + ")\n;;\n*)\n(\n" + linux + ")\n;;\nesac\n", err
}

// gateway returns an address of the VR on the machine's LAN of one family, not itself in the ViNe space; if it can be, one that
// it shares with others, or else the one that was called.
func (p *Page) gateway(v *visit, s control.Standing, ipv4 bool) (netip.Addr, bool) {
	fits := func(a netip.Addr) bool {
		for _, space := range s.Space {
			if space.Contains(a) {
				return false
			}
		}
		return a.Is4() == ipv4 && a.IsGlobalUnicast()
	}
	for _, a := range slices.Concat(p.Shared[v.door.iface], []netip.Addr{v.local}, p.addresses(v.door.iface)) {
		if fits(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// state answers GET /.
func (p *Page) state(w http.ResponseWriter, r *http.Request, v *visit) {
	s := p.VR.Standing(v.mac, v.from)
	page := view{VR: s.VR, Site: s.Site, Host: r.Host, From: v.from, MAC: v.mac, Requests: s.Requests}
	for _, h := range s.Hosts {
		page.Known = append(page.Known, known{h, p.seen(r.Context(), v, h.Addr)})
	}
	page.find()
	var b bytes.Buffer
	var err error
	if browser(r) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		err = pageHTML.Execute(&b, page)
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		err = pageText.Execute(&b, page)
	}
	if err != nil {
		p.Log.Error("page for hosts", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Write(b.Bytes()) // an error means that the client has gone
}

// How the kernel saw an address on the LAN.
const (
	seenNot   = "not seen on this LAN"
	seenHere  = "in use"
	seenOther = "in use by another machine"
)

// seenTries, 50 ms apart, are longer than the second after which the kernel asks again: it may have begun to ask, in vain, just
// before the host got its address.
const seenTries = 25

// seen reports who uses an address: it has the kernel ask on the LAN, and waits for the answer a moment.
func (p *Page) seen(ctx context.Context, v *visit, addr netip.Addr) string {
	if addr == v.from {
		return seenHere
	}
	for try := range seenTries {
		mac, err := p.Neighbour(v.door.iface, addr)
		switch {
		case err == nil && mac == v.mac:
			return seenHere
		case err == nil && mac != "":
			return seenOther
		case try == 0 && p.provoke(ctx, v.door.iface, addr) != nil:
			return seenNot
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return seenNot
		}
	}
	return seenNot
}
