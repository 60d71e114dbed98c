package forward

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// base is a good Input that the tests spoil.
func base() Input {
	return Input{
		Self:        1,
		Space:       []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00::/8")},
		Own:         []netip.Addr{addr("10.1.0.1"), addr("fd01::1")},
		Attachments: []Attachment{{}, {VNs: []tables.VNID{2}}},
		VNs: []VNInput{
			{ID: 1, Seal: tables.SealEncrypt, Sets: []Set{set(1, "10.1.0.0/24"), set(2, "10.2.0.0/24", "fd02::/64")}, Local: hosts(0, "10.1.0.5", "fd01::5")},
			{ID: 2, Seal: tables.SealAuth, Sets: []Set{set(1, "10.1.0.0/24"), set(3, "10.3.0.0/24")}, Local: hosts(0, "10.1.0.5")},
		},
		PathMTU: map[tables.RouterID]int{2: 1400},
	}
}

func TestNewSnapshotRefuses(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*Input)
		vn    tables.VNID
		text  string
	}{
		{"no router ID", func(in *Input) { in.Self = 0 }, 0, "no router ID"},
		{"space with host bits", func(in *Input) { in.Space[0] = prefix("10.0.0.1/8") }, 0, "host bits"},
		{"own address outside", func(in *Input) { in.Own[0] = addr("192.0.2.1") }, 0, "own address"},
		{"own address invalid", func(in *Input) { in.Own[0] = netip.Addr{} }, 0, "own address"},
		{"VN without ID", func(in *Input) { in.VNs[0].ID = 0 }, 0, "without an ID"},
		{"VN twice", func(in *Input) { in.VNs[0].ID = 2 }, 2, "twice"},
		{"unknown seal", func(in *Input) { in.VNs[0].Seal = "" }, 1, "seal"},
		{"set without router", func(in *Input) { in.VNs[0].Sets[0].Routers = nil }, 1, "without a router"},
		{"set not sorted", func(in *Input) { in.VNs[0].Sets[0].Routers = []tables.RouterID{2, 1} }, 1, "not sorted"},
		{"set with router zero", func(in *Input) { in.VNs[0].Sets[0].Routers = []tables.RouterID{0} }, 1, "not sorted"},
		{"prefix outside", func(in *Input) { in.VNs[0].Sets[1] = set(2, "192.0.2.0/24") }, 1, "outside the ViNe space"},
		{"prefix wider than space", func(in *Input) { in.VNs[0].Sets[1] = set(2, "8.0.0.0/6") }, 1, "outside the ViNe space"},
		{"prefix with host bits", func(in *Input) { in.VNs[0].Sets[1] = set(2, "10.2.0.1/24") }, 1, "host bits"},
		{"prefix invalid", func(in *Input) { in.VNs[0].Sets[1].Prefixes[0] = netip.Prefix{} }, 1, "outside the ViNe space"},
		{"prefix twice", func(in *Input) { in.VNs[0].Sets[1] = set(2, "10.2.0.0/24", "10.2.0.0/24") }, 1, "twice"},
		{"sets overlap", func(in *Input) { in.VNs[0].Sets[1] = set(2, "10.1.0.128/25") }, 1, "overlaps"},
		{"sets overlap, wider", func(in *Input) { in.VNs[0].Sets[1] = set(2, "10.0.0.0/8") }, 1, "overlaps"},
		{"host outside", func(in *Input) { in.VNs[0].Local = hosts(0, "192.0.2.1") }, 1, "outside the ViNe space"},
		{"host mapped", func(in *Input) { in.VNs[0].Local = hosts(0, "::ffff:10.1.0.5") }, 1, "outside the ViNe space"},
		{"host twice", func(in *Input) { in.VNs[0].Local = hosts(0, "10.1.0.5", "10.1.0.5") }, 1, "given twice"},
		{"host on two attachments", func(in *Input) { in.VNs[1].Local = append(hosts(0, "10.1.0.5"), hosts(1, "10.1.0.5")...) }, 2, "given twice"},
		{"no such attachment", func(in *Input) { in.VNs[0].Local = hosts(2, "10.1.0.5") }, 1, "no attachment 2"},
		{"negative attachment", func(in *Input) { in.VNs[0].Local = hosts(-1, "10.1.0.5") }, 1, "no attachment -1"},
		{"attachment of another VN", func(in *Input) { in.VNs[0].Local = hosts(1, "10.1.0.5") }, 1, "does not serve"},
		{"ambiguous", func(in *Input) { in.VNs[1].Sets[1] = set(3, "10.2.0.0/24") }, 2, "also in vn1"},
		{"ambiguous, narrower", func(in *Input) { in.VNs[1].Sets[1] = set(3, "10.2.0.64/26") }, 2, "also in vn1, which delivers 10.2.0.0/24 to other routers than 10.2.0.64/26 here"},
		{"ambiguous, in a longer table", func(in *Input) {
			in.VNs[1].Sets[1] = set(3, "10.2.0.64/26", "10.3.0.0/24", "10.4.0.0/24")
		}, 2, "also in vn1, which delivers 10.2.0.0/24 to other routers than 10.2.0.64/26 here"},
		{"ambiguous, wider", func(in *Input) { in.VNs[1].Sets = []Set{set(1, "10.1.0.0/24"), set(3, "10.2.0.0/16")} }, 2, "also in vn1"},
		{"ambiguous, more routers", func(in *Input) {
			in.VNs[1].Sets[1] = Set{Routers: []tables.RouterID{2, 3}, Prefixes: []netip.Prefix{prefix("10.2.0.0/24")}}
		}, 2, "also in vn1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := base()
			test.spoil(&in)
			s, err := NewSnapshot(in)
			var refused *InputError
			if s != nil || !errors.As(err, &refused) || refused.VN != test.vn || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v; want one of %v with %q", err, test.vn, test.text)
			}
		})
	}
}

func TestNewSnapshotAccepts(t *testing.T) {
	tests := []struct {
		name  string
		alter func(*Input)
	}{
		{"as it is", func(*Input) {}},
		{"no attachments", func(in *Input) { in.Attachments = nil }},
		{"no VNs", func(in *Input) { in.VNs = nil }},
		{"nested prefixes of one set", func(in *Input) { in.VNs[0].Sets[1] = set(2, "10.2.0.0/24", "10.2.0.0/25") }},
		{"same prefix, same router, two VNs", func(in *Input) { in.VNs[1].Sets[1] = set(2, "10.2.0.0/25") }},
		{"ambiguous, but on two attachments", func(in *Input) {
			in.VNs[1].Sets[1], in.VNs[1].Local = set(3, "10.2.0.0/24"), hosts(1, "10.1.0.5")
		}},
		{"ambiguous, but no host in both", func(in *Input) {
			in.VNs[1].Sets[1], in.VNs[1].Local = set(3, "10.2.0.0/24"), hosts(0, "10.1.0.6")
		}},
		{"host outside its VR's prefixes", func(in *Input) { in.VNs[0].Local = hosts(0, "10.9.0.1") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := base()
			test.alter(&in)
			mustSnapshot(t, in)
		})
	}
}

// A Snapshot does not change when the caller goes on using what it was made of.
func TestSnapshotKeepsNothing(t *testing.T) {
	in := base()
	s := mustSnapshot(t, in)
	in.VNs[0].Sets[1].Routers[0] = 9
	in.VNs[0].Sets[1].Prefixes[0] = prefix("10.9.0.0/24")
	in.VNs[0].Local[0].Addr = addr("10.9.0.9")
	in.PathMTU[2] = 700
	if d := Decide(s, 0, udp("10.1.0.5", "10.2.0.1", 1400)); d.Drop != DropNone || d.To != 2 || d.Fit != FitWhole {
		t.Fatalf("%+v", d)
	}
}

func TestSnapshotReads(t *testing.T) {
	s := mustSnapshot(t, base())
	if s.Self() != 1 || s.Attachments() != 2 || !s.InSpace(addr("10.255.0.1")) || s.InSpace(addr("11.0.0.1")) {
		t.Error("Self, Attachments or InSpace")
	}
	if seal, ok := s.Seal(2); !ok || seal != tables.SealAuth {
		t.Error("Seal of vn2")
	}
	if _, ok := s.Seal(3); ok {
		t.Error("Seal of a VN that is not there")
	}
	if s.PathMTU(2) != 1400 || s.PathMTU(3) != MinMTU {
		t.Error("PathMTU")
	}
	next := s.WithLinks(map[tables.RouterID]int{2: 1, 3: 1 << 20}, nil)
	if next.PathMTU(2) != 640 || next.PathMTU(3) != 65575 || s.PathMTU(2) != 1400 {
		t.Error("WithLinks")
	}
}
