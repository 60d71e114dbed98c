package secure

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"
)

// A rate allows one event per interval in the long run, and burst at once.
type rate struct {
	interval time.Duration
	burst    int64
}

// Buckets of one limiter. Memory is 8 bytes a bucket and never grows. Prefixes that fall into one
// bucket share it: the hash has a random key, so nobody can choose whom to share with.
const (
	hostBuckets = 1 << 13
	netBuckets  = 1 << 11
)

// A limiter bounds events per source prefix: the host (an IPv4 address; an IPv6 /64, which one
// machine has to itself) and the network around it (/24, /48), so that one machine cannot use up its network's
// share. Any number of goroutines may use it.
type limiter struct {
	key       [2]uint64
	start     time.Time
	host, net rate
	hosts     [hostBuckets]atomic.Int64
	nets      [netBuckets]atomic.Int64
}

// allow takes one event of the source address at now, and reports whether it is within the rates.
func (l *limiter) allow(now time.Time, from netip.Addr) bool {
	a := from.As16()
	hi, lo := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:])
	var netHi, netLo uint64
	if from.Unmap().Is4() {
		netHi, netLo = hi, lo&^0xff
	} else {
		lo = 1 // no IPv4-mapped address has this form
		netHi, netLo = hi&^0xffff, 2
	}
	t := int64(now.Sub(l.start))
	// The host first: a host over its own rate must not use up the network's.
	return take(&l.hosts[sipHash(l.key, hi, lo)%hostBuckets], t, l.host) &&
		take(&l.nets[sipHash(l.key, netHi, netLo)%netBuckets], t, l.net)
}

// take is the generic cell rate algorithm (ITU-T I.371): the bucket holds the time at which it will be
// empty again, so that one compare-and-swap is the whole update.
func take(bucket *atomic.Int64, now int64, r rate) bool {
	for {
		old := bucket.Load()
		at := max(old, now)
		if at-now > int64(r.interval)*(r.burst-1) {
			return false
		}
		if bucket.CompareAndSwap(old, at+int64(r.interval)) {
			return true
		}
	}
}

// sipHash returns SipHash-2-4 of the 16 bytes of a and b (Aumasson and Bernstein, 2012).
func sipHash(key [2]uint64, a, b uint64) uint64 {
	v0, v1 := key[0]^0x736f6d6570736575, key[1]^0x646f72616e646f6d
	v2, v3 := key[0]^0x6c7967656e657261, key[1]^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	for _, m := range [3]uint64{a, b, 16 << 56} {
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
