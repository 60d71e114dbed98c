package bench

// Sizes of equation 4-1 and 4-2 of the dissertation, in bytes.
const (
	mtu           = 1500
	ipHeader      = 20
	udpHeader     = 8
	tcpHeader     = 32 // with timestamps
	ethernet      = 38 // header 14, checksum 4, gap 12, preamble 8
	ethernetLeast = 84 // of a whole frame
	lineMbits     = 1000
)

// OursOverhead is what a data datagram adds to a packet over IPv4: header and tag of 32 bytes (docs/wire.md), UDP and IP.
const OursOverhead = ipHeader + udpHeader + 32

// Ceiling is equation 4-1 of the dissertation: what an application gets at most of a gigabit Ethernet, in Mb/s, when
// every packet has so many bytes of overhead and is as large as still fits. Transport is the length of the transport's
// header.
func Ceiling(transport, overhead int) float64 {
	return lineMbits * float64(mtu-ipHeader-transport-overhead) / (mtu + ethernet)
}

// CeilingFragmented is equation 4-2: the same when packets are as large as without overhead, so that each goes out as
// two IP fragments.
func CeilingFragmented(transport, overhead int) float64 {
	second := 0
	if overhead > 0 {
		second = max(ethernetLeast, ethernet+ipHeader+overhead)
	}
	return lineMbits * float64(mtu-ipHeader-transport) / float64(mtu+ethernet+second)
}
