package transport

import (
	"time"

	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
)

// Bounds of what a Links holds. Each bound drops or refuses the newcomer and leaves what is
// there alone, so that pressure from outside cannot evict a working link.
const (
	// linksMax bounds links and dials. 16,384 is beyond the 10,000 VRs that the design aims at,
	// and only enrolled peers get one.
	linksMax = 16384
	// joinsMax bounds join conversations: people join rarely, and each holds a stream budget.
	joinsMax = 64
	// joinsNetMax bounds the conversations that one network (joinNet) dialled, so that one host, or
	// one with many addresses, leaves room for others.
	joinsNetMax = 4
	// joinQuiet ends a conversation whose newcomer has sent no stream bytes: one that wants to join
	// sends its request some round trips after the hello.
	joinQuiet = 10 * time.Second
	// joinLife ends a join conversation: a join takes a few round trips and a document transfer.
	joinLife = 60 * time.Second
	// joinStreamBytesMax bounds the bytes that the streams of one join conversation may carry,
	// both ways together: a request of 8 KiB, and the federation's root and enrolments back.
	joinStreamBytesMax = 256 << 10
	// handshakesMax bounds handshakes under way, either side, so that a flood of first messages
	// that pass the gate holds less than a megabyte.
	handshakesMax = 256
	// streamsMax bounds the streams of one connection; gossip uses a handful at a time.
	streamsMax = 64
	// streamsAllMax bounds the streams of all connections: 1,024 with two full windows each
	// are 128 MiB at the very worst.
	streamsAllMax = 1024
	// ackSpansMax bounds the gaps told in one acknowledgement: RFC 2018 fits three or four.
	ackSpansMax = 4
	// lingerMax bounds the remembered ends of closed streams of one connection.
	lingerMax = 128
	// spansMax bounds the gaps that one stream's receiver keeps, so that a peer that sends every
	// second byte cannot make each insertion slow.
	spansMax = 32
	// sessionsMax bounds the sessions of one link whose keys still open packets: the one in use,
	// one before it, one not yet confirmed, and one spare for a peer that restarts just then.
	sessionsMax = 4
	// channelsMax bounds the VNs of one peer: 1,024 indexes of 8 bytes are eight datagrams.
	channelsMax = 1024
	// helloBytesMax bounds Config.Hello: 864 bytes beside what we add, so that the messages fit
	// in datagramBytesMax. The enrolment and the link record of a VR have some 630 together, of one with every address, queue-VR and
	// stream endpoint that a record can name 821 (TestHelloFits in node).
	helloBytesMax = secure.HelloMax - helloFixedLen
)

// Sizes on the wire.
const (
	// datagramBytesMax bounds every datagram of this package but probes of the path MTU.
	datagramBytesMax = frame.MessageMax
	// segmentBytes is the data of one full stream segment: what datagramBytesMax leaves beside
	// the control header, the tag, and the heads of a data, an open and an acknowledgement frame.
	segmentBytes = datagramBytesMax - 100
	// streamWindow is the receive window and the send buffer of a stream: 64 KiB carry
	// 5 Mbit/s at 100 ms, plenty for documents, and bound what a peer can make us hold.
	streamWindow = 64 << 10
	// cwndMax bounds the congestion window; the receive window holds it anyway.
	cwndMax = 2 * streamWindow
	// paceBurst is how many segments may go at once: the initial window of RFC 6928.
	paceBurst = 10
)

// Timers of handshakes.
const (
	// initRetryMin is the first retransmission interval of a first message. It doubles to
	// initRetryMax, each with up to a quarter of jitter so that crowds do not beat together.
	initRetryMin = 250 * time.Millisecond
	initRetryMax = 5 * time.Second
	// initRetryWanted caps the interval while data waits for the link, so that a peer that comes
	// back is found within a second.
	initRetryWanted = 600 * time.Millisecond
	// initLife is how long one first message is repeated; then a new one is made.
	initLife = 10 * time.Second
	// pendLife is how long a session that a peer initiated waits for the peer's first packet.
	pendLife = 15 * time.Second
	// dialInterest is how long a Dial, a data or a stream hint keeps us dialling a peer that does not answer.
	dialInterest = 30 * time.Second
	// crossedAfter is how long after a change of sessions packets in the one before are no news: see crossed.
	crossedAfter = time.Second

	// retireAfter is how long the keys of a replaced session still open packets: the datagrams
	// in flight are older than any path's delay by then. At least 10 s.
	retireAfter = 15 * time.Second
)

// Timers of liveness. A dead path is noticed at most probeIdleMax + activeDead after the last
// packet when idle, and activeDead after the first unanswered data when active.
const (
	// probeIdleMin and probeIdleMax bound the random interval of probes on an idle link. Below
	// 30 s keeps most NAT bindings open.
	probeIdleMin = 10 * time.Second
	probeIdleMax = 25 * time.Second
	// probeActive is the interval of probes while data was sent and nothing came back, or a
	// probe is unanswered.
	probeActive = 250 * time.Millisecond
	// activeDead is how long probes go unanswered before the link is down: eight probes, so that
	// 30 % loss each way kills a good link once in 200 such episodes and 5 % never.
	activeDead = 2 * time.Second
	// probeSuspect is the interval of probes on an idle link that left one unanswered, and
	// idleDead how long until it is down: nothing waits for it, so there is no hurry.
	probeSuspect = time.Second
	idleDead     = 8 * time.Second
	// silentProbes is how many probes in a row go unanswered, while data waits, before Silent is told: some 0.75 s after the
	// data, three probes. By chance that is one in 8 such episodes at 30 % loss each way, and one in 1,000 at 5 %.
	silentProbes = 3
	// activeQuiet is how long after the last authentic packet sent data counts as unanswered.
	activeQuiet = 250 * time.Millisecond
	// flowQuiet is how long after the last packet of a peer whose data came we ask whether there is more that a
	// translator keeps from us: twice activeQuiet, since a peer that misses us has asked before.
	flowQuiet = 500 * time.Millisecond
	// idleClose ends a link without data, streams or a pin.
	idleClose = 5 * time.Minute
)

// Bounds and timers of the ways of a link.
const (
	// waysMax bounds the ways that were offered: eight endpoints and eight relays.
	waysMax = 16
	// candidatesMax bounds the addresses of one link that nobody offered and that are being validated: a
	// peer has one new address at a time, and a second keeps a forger from hiding it.
	candidatesMax = 2
	// dialOthersMax bounds the relays and stream connections that one first message is sent over.
	dialOthersMax = 4
	// dialDirectMax is how many endpoints one first message is sent to at once: one of each family.
	dialDirectMax = 2
	// unansweredTries is how many copies of a first message go unanswered before other paths are
	// looked for: 250 and 500 ms, a bit over three quarters of a second.
	unansweredTries = 2
	// wayRetryMin and wayRetryMax bound the pause before a standby that did not answer is asked again:
	// soon enough for a translator that was restarted, too rare to matter.
	wayRetryMin = 15 * time.Second
	wayRetryMax = 10 * time.Minute
	// wayForget is how long after its last answer a standby that does not answer any more counts as
	// validated: two idle probes.
	wayForget = 2 * probeIdleMax
	// freshAnswers are the answers of a way that follow each other by freshRetry when it is new, so that the
	// least round trip of a standby is known within seconds; then it is asked as seldom as an idle link.
	freshAnswers = 5
	freshRetry   = time.Second
	// chooseEvery is how often the leader looks at its choice.
	chooseEvery = time.Second
	// useRetry repeats a use frame that is not acknowledged, up to useRetryMax apart: a peer that never will may
	// believe that it leads.
	useRetry    = 200 * time.Millisecond
	useRetryMax = 10 * time.Second
	// obeyPause is the least time between two moves that the leader asks for: a move has all that lanes read
	// made anew. What comes sooner is repeated.
	obeyPause = useRetry / 2
	// askEvery and askBurst bound the frames of a peer that have the control loop do more than answer: attach, poll,
	// dial back, candidates, observed. A queue-VR may be polled 50 times a second.
	askEvery = 10 * time.Millisecond
	askBurst = 64
	// tellRetryMin and tellRetryMax bound the pause between two tellings of our candidates, while the
	// link has no direct way; tellPause keeps two routers from answering each other without end.
	tellRetryMin = 2 * time.Second
	tellRetryMax = 2 * time.Minute
	tellPause    = time.Second
	// listPause is the least time between two lists of candidates of a peer that are taken.
	listPause = tellPause / 4
	// busyFor is how long after its last data a link counts as busy.
	busyFor = 10 * time.Second
	// gaugeEvery is how long at least after a measurement of a way that carries data the next one is drawn,
	// and gaugeSpread from how long a span: on average there are four in a second.
	gaugeEvery  = 150 * time.Millisecond
	gaugeSpread = 200 * time.Millisecond
	// directionBy is how many times more than the other a direction of a way must carry so that the choice
	// goes by it: a download has 30 to 60 times more than its acknowledgements, and two calls are alike.
	directionBy = 2
	// lossSeconds is how far back, and lossLeast of how many packets at least, the loss of what comes counts.
	lossSeconds = 5
	lossLeast   = 20
	// swallowPackets and swallowAfter are how much data, and for how long, arrives of nothing before the way is
	// left: at 30 % loss that is once in 15,000 tries by chance. After swallowMoves ways in a row none is left, until
	// data arrives. A way that swallowed data is not chosen for shunMin, and twice as long each time.
	swallowPackets = 8
	swallowAfter   = 500 * time.Millisecond
	swallowMoves   = 4
	shunMin        = time.Minute
	// trainPatience is how long the report of a train is waited for, trainQuiet how long its receiver
	// waits for the next datagram: 64 of them take 66 ms at 8 Mb/s.
	trainPatience = 3 * time.Second
	trainQuiet    = 300 * time.Millisecond
	// suspectMin is the least time that an answer may take before other ways are asked: the control
	// loops of both sides have work to do.
	suspectMin = 50 * time.Millisecond
	// exploreLoss is the share of lost packets from which standbys of a direct way are asked too.
	exploreLoss = 0.02
)

// Timers of path validation.
const (
	// challengeRetry repeats an unanswered path challenge.
	challengeRetry = 300 * time.Millisecond
	// challengeTries bounds the challenges to one address; then it is forgotten.
	challengeTries = 6
	// amplification bounds the bytes to an address that has proved nothing: at most three times
	// what came from it (RFC 9000, Section 8.1).
	amplification = 3
)

// Timers of channels and streams.
const (
	// announceRetry repeats an unacknowledged channel announcement.
	announceRetry = 250 * time.Millisecond
	// announceRetryMax is where the repetition slows down to.
	announceRetryMax = 2 * time.Second
	// rtoMin and rtoMax bound a stream's retransmission timer. RFC 6298 asks for a second at
	// least and 60 at most; we begin like most stacks at 200 ms, and stay at 1.5 s, since a link
	// whose probes fail for two seconds is closed anyway.
	rtoMin = 200 * time.Millisecond
	rtoMax = 1500 * time.Millisecond
	// ackDelay is how long an acknowledgement waits for company (RFC 5681 allows 500 ms).
	ackDelay = 20 * time.Millisecond
	// streamIdle ends a stream that made no progress: nobody holds our memory with a byte a minute.
	streamIdle = 30 * time.Second
	// linger is how long the end of a closed stream is still acknowledged.
	linger = 5 * time.Second
)
