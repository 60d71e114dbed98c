//go:build linux

package raw

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where fields are in an Ethernet frame, as a packet socket's filter sees it.
const (
	kindAt = 12
	dst4At = 14 + 16
	dst6At = 14 + 24
)

// filter returns the program that lets IP packets pass that came in for this machine, by one of the interfaces, without a tag
// of a virtual LAN, which another interface has, and that go to a prefix of the space.
func filter(indexes []int, space []netip.Prefix) ([]unix.SockFilter, error) {
	const hostPacket = 0 // PACKET_HOST
	pass, drop := bpf.RetConstant{Val: 1 << 18}, bpf.RetConstant{Val: 0}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: hostPacket, SkipTrue: 1},
		drop,
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		drop,
	}
	if len(indexes) > 1 {
		program = append(program, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
		for i, index := range indexes {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: uint8(len(indexes) - i)})
		}
		program = append(program, drop)
	}
	for _, p := range space {
		kind, at := uint32(unix.ETH_P_IP), uint32(dst4At)
		if p.Addr().Is6() {
			kind, at = unix.ETH_P_IPV6, dst6At
		}
		words := wordsOf(p)
		skip := uint8(3*len(words) + 1) // to behind this prefix
		program = append(program, bpf.LoadAbsolute{Off: kindAt, Size: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: kind, SkipFalse: skip})
		for i, w := range words {
			skip -= 3
			program = append(program,
				bpf.LoadAbsolute{Off: at + uint32(4*i), Size: 4},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: w.mask},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: w.value, SkipFalse: skip})
		}
		program = append(program, pass)
	}
	program = append(program, drop)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	list := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return list, nil
}

// A word is four bytes of an address, and which of its bits count.
type word struct{ value, mask uint32 }

// wordsOf returns the words of a prefix that count, one at least.
func wordsOf(p netip.Prefix) (list []word) {
	b := p.Masked().Addr().AsSlice()
	for bits := p.Bits(); bits > 0 || list == nil; bits -= 32 {
		mask := ^uint32(0)
		if bits < 32 {
			mask <<= 32 - bits
		}
		list = append(list, word{binary.BigEndian.Uint32(b), mask})
		b = b[4:]
	}
	return list
}
