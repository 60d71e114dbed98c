package sim

import "time"

// What memberlist, serf and package gossip do, as mesh/gossip/config.go sets them.
const (
	probeInterval   = int64(time.Second)
	probeTimeout    = int64(800 * time.Millisecond)
	gossipInterval  = int64(200 * time.Millisecond)
	gossipNodes     = 3
	indirectChecks  = 3
	retransmitMult  = 4
	suspicionMult   = 4
	suspicionMax    = 6
	awarenessMost   = 7
	toTheDead       = int64(30 * time.Second)
	reconnectEvery  = int64(30 * time.Second)
	exchangeFirst   = int64(10 * time.Second)
	exchangeMin     = int64(30 * time.Second)
	exchangePer     = int64(5 * time.Second) // a member
	leaveTakes      = int64(3 * time.Second)
	streamPatience  = int64(10 * time.Second) // until a stream to nobody is given up
	packetMax       = 7900
	compoundHead    = 2
	compoundPart    = 2
	userHead        = 2 // memberlist's type and ours
	rumoursInPacket = 64
	misfitsMax      = 32
	rumoursMax      = 4096
)

// The sizes of messages in bytes, as package gossip encodes those of members with names of ten letters.
const (
	pingBytes     = 91
	ackBytes      = 168 // with serf's coordinate and our root
	bareAckBytes  = 22  // at second hand: without
	indirectBytes = 129
	nackBytes     = 11
	aliveBytes    = 160 // with the tags
	accuseBytes   = 47
	checkBytes    = 5   // memberlist's checksum of a packet
	memberBytes   = 250 // one member in a state exchange
	rumourHead    = 60  // of a rumour, before its body
)

// The times of links, as package transport and package node have them.
const (
	idleProbeLeast = int64(10 * time.Second)
	idleProbeMost  = int64(25 * time.Second)
	idleDead       = int64(8 * time.Second)
	activeQuiet    = int64(250 * time.Millisecond)
	activeDead     = int64(2 * time.Second)
	clientsMax     = 1000
	recordAfter    = int64(300 * time.Millisecond)
	recordEvery    = int64(10 * time.Second)
	recordBurst    = 4
	storeTakes     = int64(10 * time.Millisecond) // verified, written, installed
	shortLen       = 8
	queuesWanted   = 2
)

// What links cost, in bytes with the headers of IPv4 and UDP, as production was seen to send: 50 idle VRs in virtual time.
const (
	headerBytesIP  = 28
	handshakeBytes = 1660 // both messages, the half of each side
	linkProbeBytes = 178  // a probe and the answer to one, each period of probes
	pathMTUBytes   = 2000 // the search for the path MTU on a new link, each side
	rekeyEvery     = int64(3 * time.Minute)
	linkLife       = int64(5 * time.Minute) // an idle link is closed after it
	relayBytes     = 40                     // what the hop through a queue-VR adds
	attachBytes    = 90
)

// inlineMax is mesh.InlineBytesMax.
const inlineMax = 1 << 10

// The sizes of documents in bytes, signatures included.
const (
	linkRecordBytes = 420
	headerBytes     = 700
	manifestFixed   = 300
	manifestEach    = 44 // one VR with a host in the VN
	fragmentBytes   = 460
	revocationBytes = 360
)
