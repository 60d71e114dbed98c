package control

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// SchemaVersion is the version of the JSON forms below. Fields are added without changing it.
const SchemaVersion = 1

// ErrNotFound is wrapped by errors about a name that nothing has.
var ErrNotFound = errors.New("not found")

// ErrRefused is wrapped by errors about a request that the VR does not accept.
var ErrRefused = errors.New("refused")

// ErrElsewhere is wrapped by errors about a question that other VRs can answer.
var ErrElsewhere = errors.New("not known here")

// ErrForbidden is wrapped by errors about what the caller's key gives no right to.
var ErrForbidden = errors.New("not permitted")

// ErrStale is wrapped by errors about a request that was made for another version of a VN than there is now.
var ErrStale = errors.New("changed meanwhile")

// A Router is a running VR, as the management interface needs it. All methods may be called from
// any goroutine.
type Router interface {
	Status(ctx context.Context) (Status, error)
	Members(ctx context.Context) ([]Member, error)
	Sites(ctx context.Context) ([]Site, error)
	VRs(ctx context.Context) ([]VR, error)
	Hosts(ctx context.Context) ([]Host, error)
	VNs(ctx context.Context) ([]VN, error)
	// VN returns one VN; the error wraps ErrNotFound if there is none of that name.
	VN(ctx context.Context, name string) (VN, error)
	// VNLog returns the log of a VN, oldest entry first; VNAt what the VN consisted of after one entry. The errors wrap
	// ErrNotFound if there is no such VN, or no such entry.
	VNLog(ctx context.Context, name string) ([]Entry, error)
	VNAt(ctx context.Context, name string, number uint64) (VNState, error)
	// Plan says what the request document would do, and changes nothing.
	Plan(ctx context.Context, envelope []byte) (Plan, error)
	Routes(ctx context.Context) ([]Route, error)
	Links(ctx context.Context) ([]Link, error)
	Queues(ctx context.Context) (Queues, error)
	// Paths returns the paths between two VRs, given by name or router ID; an empty from is this VR. The
	// error wraps ErrElsewhere if this VR is neither.
	Paths(ctx context.Context, from, to string) (Paths, error)
	// Drain begins to empty this VR of those it serves, or takes that back. Twice is the same as once.
	Drain(ctx context.Context, begin bool) (Drain, error)
	// Drained returns how far that is.
	Drained(ctx context.Context) (Drain, error)
	Pending(ctx context.Context) ([]Pending, error)
	// Documents returns the envelopes of the documents that say who may sign: roots, grants,
	// revocations and heads.
	Documents(ctx context.Context) ([][]byte, error)
	// Users returns every right that a user has or had, delegations too.
	Users(ctx context.Context) ([]User, error)
	// Requests returns the open requests that are not to join.
	Requests(ctx context.Context) ([]OpenRequest, error)
	// Publish takes a document that a user has signed and that needs no answer of the authority: a
	// delegation. When it returns without an error that is on this VR's disk and on its way to the
	// others. An error that wraps ErrRefused says why not.
	Publish(ctx context.Context, envelope []byte) (Published, error)
	// Submit takes a request document. When it returns without an error the request is on this
	// VR's disk and on its way to the authority. An error that wraps ErrRefused says why not.
	Submit(ctx context.Context, envelope []byte) (Request, error)
	// Request returns where a request stands, after waiting up to wait for an outcome.
	Request(ctx context.Context, id tables.Hash, wait time.Duration) (Request, error)
	// Reload reads the configuration again and applies what can change; on an error nothing has changed.
	Reload(ctx context.Context) error

	LANHosts
	Bundles
	// Alerts returns what is wrong now, and what became of telling people.
	Alerts(ctx context.Context) (Alerts, error)
	// TryAlerts tells people that somebody tries the hooks, and returns for each what came of it.
	TryAlerts(ctx context.Context) ([]Hook, error)
	// Metrics returns the counters and gauges of the VR.
	Metrics(ctx context.Context) ([]Metric, error)
	// Watch calls f with what happens, one after the other, until ctx ends or f returns an error, which it returns.
	// It begins behind the event whose ID is after; if that is empty, with the next; if that is no longer known, with
	// an event of kind "lost". When nothing happens for a heartbeat it calls f with an Event without a kind. A
	// caller that is too slow gets an error that wraps ErrSlow.
	Watch(ctx context.Context, after string, f func(Event) error) error
}

// Status describes the VR itself.
type Status struct {
	SchemaVersion int              `json:"schema_version"`
	Federation    string           `json:"federation"`
	FederationID  string           `json:"federation_id"` // fingerprint
	Space         []netip.Prefix   `json:"space"`
	Router        tables.RouterID  `json:"router"`
	Name          string           `json:"name"`
	Site          string           `json:"site"`
	Kind          string           `json:"kind"`      // "regular" or "limited"
	Confirmed     bool             `json:"confirmed"` // not a guess: dialled back, or declared
	Why           string           `json:"why"`       // the reason, for people
	Mapping       string           `json:"mapping"`   // of the translator or firewall in front, in the words of RFC 4787
	Filtering     string           `json:"filtering"`
	Identity      string           `json:"identity"`
	Blocks        []netip.Prefix   `json:"blocks"`
	Endpoints     []netip.AddrPort `json:"endpoints"`
	Streams       []string         `json:"streams"`       // where stream connections are taken, such as tls://[::]:443
	PortMappings  []netip.AddrPort `json:"port_mappings"` // what the gateway says that it passes on to us
	Queues        []string         `json:"queues"`        // the queue-VRs attached to, in order of preference
	Clients       int              `json:"clients"`       // limited VRs attached to this one
	Draining      bool             `json:"draining"`
	Serving       bool             `json:"serving"` // runs the authority
	Joinable      bool             `json:"joinable"`
	Software      string           `json:"software"`
	AES           string           `json:"aes"`         // which AES-GCM, such as "VAES, 512 bits" or "standard library"
	Goroutines    int              `json:"goroutines"`  // of the process
	Descriptors   int              `json:"descriptors"` // open in the process; zero where the system does not say
	Started       time.Time        `json:"started"`
	Boot          uint64           `json:"boot"`
	Members       int              `json:"members"` // believed alive, with this VR
	Links         int              `json:"links"`
	VNs           int              `json:"vns"` // installed
	Documents     int              `json:"documents"`
	Root          string           `json:"root"`        // fingerprint of the set of documents
	TrustStale    bool             `json:"trust_stale"` // no current head: nobody new is trusted
	Gateways      []Gateway        `json:"gateways"`    // addresses that VRs of the site share
	Scale         []Scale          `json:"scale"`       // one, or none: nothing watches the load
	Problems      []string         `json:"problems"`    // what an operator should look at
	Packets       Packets          `json:"packets"`
}

// A Gateway is the gateway addresses that VRs of a site share on one LAN.
type Gateway struct {
	Interface string       `json:"interface"`
	Addresses []netip.Addr `json:"addresses"`
	Held      bool         `json:"held"`  // this VR answers for them
	Hears     []string     `json:"hears"` // the other VRs that are heard on the LAN
}

// A Scale is how VRs of the site are started and stopped by load.
type Scale struct {
	Measure string    `json:"measure"` // "cpu" or "packets"
	Load    float64   `json:"load"`    // of this VR: percent, or packets a second
	High    float64   `json:"high"`
	Low     float64   `json:"low"`
	VRs     int       `json:"vrs"` // alive, with this one
	Least   int       `json:"least"`
	Most    int       `json:"most"`
	Leads   bool      `json:"leads"`   // this VR decides
	Last    string    `json:"last"`    // what was last done: "grow", "shrink"; empty: nothing yet
	At      time.Time `json:"at"`      // when that was done
	Outcome string    `json:"outcome"` // of the command: "done", or what is wrong
}

// Packets counts packets since the start.
type Packets struct {
	Sent     uint64            `json:"sent"`
	Received uint64            `json:"received"`
	Local    uint64            `json:"local"`
	Drops    map[string]uint64 `json:"drops"` // by reason, without zeros
	Lanes    []Lane            `json:"lanes"` // what of these each lane has sent and received
}

// A Lane is one goroutine that carries packets.
type Lane struct {
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// A Member is a VR that gossip knows. It is a hint.
type Member struct {
	Name   string            `json:"name"`
	Router tables.RouterID   `json:"router"`
	Status string            `json:"status"` // "alive", "leaving", "left" or "failed"
	Tags   map[string]string `json:"tags"`
}

// A Site is one site and the VRs on it.
type Site struct {
	Name     string         `json:"name"`
	Contact  string         `json:"contact"`
	Location string         `json:"location"`
	Subnets  []netip.Prefix `json:"subnets"`
	VRs      []string       `json:"vrs"`
	// What the site says about its hosts in VNs: see tables.Site. Users are names or fingerprints.
	Consent   string   `json:"consent"`
	AllowVNs  []string `json:"allow_vns"`
	With      []string `json:"with"`
	Users     []string `json:"users"`
	Withdrawn []string `json:"withdrawn"`
}

// A VR is one enrolled VR.
type VR struct {
	Router    tables.RouterID  `json:"router"`
	Name      string           `json:"name"`
	Site      string           `json:"site"`
	Kind      string           `json:"kind"`
	Identity  string           `json:"identity"` // fingerprint
	Blocks    []netip.Prefix   `json:"blocks"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Expires   time.Time        `json:"expires"`
	Linked    bool             `json:"linked"`
	Disabled  bool             `json:"disabled"` // no VR uses its rows of the tables
	Software  string           `json:"software"`
}

// A Host is a member host of a VN.
type Host struct {
	Addr netip.Addr `json:"addr"`
	VN   string     `json:"vn"`
	Site string     `json:"site"`
	VR   string     `json:"vr"` // that delivers to it; empty if none does
	// Name and MAC are what this VR's own list of hosts has; empty for hosts of other VRs. A host of the list that is
	// in no VN has an empty VN.
	Name string `json:"name"`
	MAC  string `json:"mac"`
}

// A VN is one virtual network.
type VN struct {
	ID        tables.VNID `json:"id"`
	Name      string      `json:"name"`
	Version   uint64      `json:"version"`
	State     string      `json:"state"`
	Seal      string      `json:"seal"`
	Installed uint64      `json:"installed"` // version in use here; 0: none
	Sets      []Set       `json:"sets"`
	Hosts     []Host      `json:"hosts"`
}

// A Set is one delivery set of a VN.
type Set struct {
	VRs      []string       `json:"vrs"`
	Prefixes []netip.Prefix `json:"prefixes"`
	Disabled []netip.Prefix `json:"disabled"` // those of the prefixes that are kept and not used
}

// A Route is one entry of a GNDT as it is installed here.
type Route struct {
	VN       string          `json:"vn"`
	Prefix   netip.Prefix    `json:"prefix"`
	VRs      []string        `json:"vrs"`
	Local    bool            `json:"local"` // delivered by this VR
	Linked   bool            `json:"linked"`
	Endpoint *netip.AddrPort `json:"endpoint"` // where packets go now; null without a link
}

// A Link is one link or dial of this VR.
type Link struct {
	Peer      string          `json:"peer"`
	Router    tables.RouterID `json:"router"`
	State     string          `json:"state"`
	Endpoint  *netip.AddrPort `json:"endpoint"`
	Path      string          `json:"path"`      // "direct", "punched", "relayed" or "stream"
	Via       string          `json:"via"`       // the relay; empty if there is none
	Transport string          `json:"transport"` // of the first hop: "udp", "tcp" or "tls"
	Leads     bool            `json:"leads"`     // this VR chooses the path, not the peer
	Loss      float64         `json:"loss"`      // share of lost packets, lately
	MTU       int             `json:"mtu"`       // the largest packet of a host, in bytes, that goes whole
	Rate      int64           `json:"rate_bits"` // bits per second of inner packets; 0: unknown
	RateKind  string          `json:"rate_kind"` // "estimate", "at least", or empty
	RateBy    string          `json:"rate_by"`   // "traffic", "train", or empty
	RateAge   float64         `json:"rate_age_seconds"`
	Used      int64           `json:"used_bits"`   // bits per second that flow now
	RTT       float64         `json:"rtt_seconds"` // 0: not measured yet
	RTTMillis float64         `json:"rtt_ms"`      // the same
	Handshake float64         `json:"handshake_age_seconds"`
	Streams   int             `json:"streams"`
	Channels  []string        `json:"channels"` // VNs that data may be sent in
}

// A Pending is a newcomer who waits for admission.
type Pending struct {
	Fingerprint string    `json:"fingerprint"`
	Name        string    `json:"name"`
	Site        string    `json:"site"`
	With        string    `json:"with"` // the VR whose blocks it asks to share; empty: none
	Asked       time.Time `json:"asked"`
	Reason      string    `json:"reason"`
}

// A Request says where a management request stands.
type Request struct {
	ID     string `json:"id"`    // 64 hexadecimal digits
	State  string `json:"state"` // "accepted", "pending", "done" or "refused"
	Reason string `json:"reason"`
	Result string `json:"result"`
}
