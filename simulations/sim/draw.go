package sim

import (
	"math/bits"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// A source draws random integers: SplitMix64 (Steele, Lea and Flood, 2014).
type source struct{ state uint64 }

func (s *source) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	return finish(s.state)
}

// finish is the finaliser of SplitMix64: every bit of the result depends on every bit of x.
func finish(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below draws from 0 to n-1. n is at most 2^32, so the bias is below 2^-32.
func (s *source) below(n int64) int64 {
	if n <= 1 {
		return 0
	}
	hi, _ := bits.Mul64(s.next(), uint64(n))
	return int64(hi)
}

// hits draws whether something of probability p happens.
func (s *source) hits(p scenario.PPM) bool {
	return p > 0 && (p >= 1e6 || s.below(1e6) < int64(p))
}

// one is 1 in the fixed point of this file: 32 bits behind the point.
const one = 1 << 32

// log2 returns the logarithm of x, at least 1, in 2^-32.
func log2(x uint64) int64 {
	n := 63 - bits.LeadingZeros64(x)
	m := x << (63 - n) << 1 // the mantissa without its leading one
	i := m >> 56
	frac := int64(m << 8 >> 32) // of the step, in 2^-32
	return int64(n)<<32 + log2Table[i] + (log2Table[i+1]-log2Table[i])*(frac>>4)>>28
}

// exp2of returns n*2^x for x in 2^-32, at most limit.
func exp2of(n, x, limit int64) int64 {
	whole, part := x>>32, uint64(x)&(one-1)
	i := part >> 24
	m := exp2Table[i] + (exp2Table[i+1]-exp2Table[i])*int64(part&(1<<24-1))>>24
	hi, lo := bits.Mul64(uint64(n), uint64(m))
	// n*m is in 2^-32; shift by whole-32.
	switch shift := whole - 32; {
	case shift <= -128:
		return 0
	case shift <= -64:
		hi, lo = 0, hi>>(-shift-64)
	case shift < 0:
		hi, lo = hi>>-shift, lo>>-shift|hi<<(64+shift)
	case shift >= 64 || hi != 0 || bits.LeadingZeros64(lo) <= int(shift):
		return limit
	default:
		lo <<= shift
	}
	if hi != 0 || lo > uint64(limit) {
		return limit
	}
	return int64(lo)
}

// surprise draws -log2(u) for u uniform in (0, 1], in 2^-32: exponential with median 1.
func (s *source) surprise() int64 {
	u := s.next()
	if u == 0 {
		u = 1
	}
	return 64<<32 - log2(u)
}

// normal draws a standard normal variable in 2^-32.
func (s *source) normal() int64 { return normalOf(s.next()) }

// normalOf turns uniform bits into a standard normal variable in 2^-32: one bit is the sign, the rest is how far
// out in the tail it lies.
func normalOf(bits uint64) int64 {
	tail := max(bits>>1, 1)  // uniform in (0, 2^63): half the probability of a side
	t := 63<<32 - log2(tail) // -log2 of the side's probability, from 0
	i := t >> 29             // eighths
	part := t & (1<<29 - 1)  // of an eighth, in 2^-29
	i = min(i, int64(len(normalTable)-2))
	z := normalTable[i] + (normalTable[i+1]-normalTable[i])*(part>>1)>>28
	if bits&1 == 1 {
		return -z
	}
	return z
}

// drawMost bounds what is drawn: 300 years would overflow.
const drawMost = int64(1) << 57

// exponential draws a duration of the given median.
func (s *source) exponential(median int64) int64 { return mulFixed(median, s.surprise()) }

// weibull draws a duration of the given median and shape in thousandths: median*(-log2 u)^(1/shape).
func (s *source) weibull(median, shape int64) int64 {
	l := s.surprise()
	if l < 1 {
		l = 1
	}
	return exp2of(median, scaleFixed(log2(uint64(l))-32<<32, 1000, shape), drawMost)
}

// pareto draws a duration of the given median and shape in thousandths: median*(2u)^(-1/shape).
func (s *source) pareto(median, shape int64) int64 {
	return exp2of(median, scaleFixed(s.surprise()-one, 1000, shape), drawMost)
}

// log2e is the logarithm of e to base 2 in 2^-32.
const log2e = 6196328019

// lognormal makes a duration of the given median of a standard normal variable; sigma is in thousandths.
func lognormal(median, sigma, z int64) int64 {
	return exp2of(median, scaleFixed(mulFixed(z, log2e), sigma, 1000), drawMost)
}

// mulFixed returns a*b, b in 2^-32.
func mulFixed(a, b int64) int64 {
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(uint64(abs(a)), uint64(abs(b)))
	var r int64
	if hi >= 1<<31 {
		r = drawMost
	} else {
		r = int64(hi<<32 | lo>>32)
	}
	if neg {
		return -r
	}
	return r
}

// scaleFixed returns x*num/den without overflow.
func scaleFixed(x, num, den int64) int64 {
	hi, lo := bits.Mul64(uint64(abs(x)), uint64(num))
	if hi >= uint64(den) {
		hi = uint64(den) - 1
	}
	q, _ := bits.Div64(hi, lo, uint64(den))
	r := int64(min(q, uint64(drawMost)<<5))
	if x < 0 {
		return -r
	}
	return r
}

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

// sqrt returns the integer square root of x below 2^62.
func sqrt(x uint64) uint64 {
	if x < 1<<16 {
		r := uint64(0)
		for bit := uint64(128); bit > 0; bit /= 2 {
			if (r+bit)*(r+bit) <= x {
				r += bit
			}
		}
		return r
	}
	// The root of the first 16 bits has eight right ones; each step of Newton's doubles them.
	shift := (bits.Len64(x) - 15) / 2 * 2
	r := (sqrt(x>>shift&0xffff) + 1) << (shift / 2)
	for {
		n := (r + x/r) / 2
		if n >= r {
			return r
		}
		r = n
	}
}

// A portable gives math/rand bits of which its IntN(n), for n up to 128, makes the same number on machines
// of 32 and of 64 bits: it takes another way there, and the two differ in which draws are rejected. So
// draws that either would reject, for any such n, do not leave here.
type portable struct{ s *source }

// Uint64 implements rand.Source.
func (p portable) Uint64() uint64 {
	for {
		x := p.s.next()
		high, low := uint32(x>>32), x&(1<<14-1)
		good := true
		for n := uint32(3); n <= 128; n++ {
			if high*n < 128 {
				good = false
				break
			}
		}
		if good {
			return uint64(high)<<32 | low
		}
	}
}
