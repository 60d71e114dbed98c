package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// queuePriority is before anything else of netfilter looks at a packet, also before fragments are put together
// (NF_IP_PRI_CONNTRACK_DEFRAG, -400) and flows are remembered.
const queuePriority = -450

// table returns the nftables table that is the queueing. Its name follows from all that is in it: another queueing of the same
// interface has another.
func (q queueing) table() *nftables.Table {
	h := fnv.New32a()
	fmt.Fprintf(h, "%+v", q)
	t := &nftables.Table{Name: fmt.Sprintf("vine-%08x", h.Sum32()), Family: nftables.TableFamilyIPv4}
	if q.IPv6 {
		t.Family = nftables.TableFamilyIPv6
	}
	return t
}

// make puts the queueing in force, in one step, if it is not: somebody may have flushed all rules. A kernel whose nftables have
// no queues of their own may have those of iptables.
func (q queueing) make() error {
	present, err := q.present()
	if err != nil || present {
		return err
	}
	err = q.load(func(number uint16) expr.Any { return &expr.Queue{Num: number} })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		err = q.load(func(number uint16) expr.Any {
			info := xt.Unknown(binary.NativeEndian.AppendUint64(nil, 0)) // struct xt_NFQ_info, aligned as the kernel wants it
			binary.NativeEndian.PutUint16(info, number)
			return &expr.Target{Name: "NFQUEUE", Info: &info}
		})
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("queue packets from %s: %w: the kernel has no netfilter queues: load a module (modprobe nft_queue), or capture in another way", q.Interface, err)
	}
	if err != nil {
		return fmt.Errorf("queue packets from %s: %w", q.Interface, explain(err, q.Interface))
	}
	return nil
}

func (q queueing) present() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, err
	}
	_, err = c.ListTableOfFamily(q.table().Name, q.table().Family)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for nftables table %s: %w", q.table().Name, explain(err, q.Interface))
	}
	return true, nil
}

func (q queueing) load(queue func(number uint16) expr.Any) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := q.table()
	c.AddTable(t)
	chain := c.AddChain(&nftables.Chain{
		Name: "taken", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(queuePriority),
	})
	for text := range strings.SplitSeq(q.Space, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		match := q.match(prefix)
		tcp := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			queue(q.Queue),
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(match[:len(match):len(match)], tcp...)})
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(match[:len(match):len(match)], queue(q.Queue+1))})
	}
	return c.Flush()
}

// match matches packets from the interface to the prefix.
func (q queueing) match(prefix netip.Prefix) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, q.Interface)
	offset, length := uint32(16), uint32(4) // of the destination
	if q.IPv6 {
		offset, length = 24, 16
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: length,
			Mask: net.CIDRMask(prefix.Bits(), int(length)*8), Xor: make([]byte, length),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: prefix.Masked().Addr().AsSlice()},
	}
}

// remove takes it out of force. One that is not there needs none.
func (q queueing) remove() error {
	c, err := nftables.New()
	if err == nil {
		c.DelTable(q.table())
		err = c.Flush()
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("stop queueing packets from %s: %w", q.Interface, explain(err, q.Interface))
	}
	return nil
}
