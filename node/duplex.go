package node

import (
	"errors"
	"net"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A duplexLane is the receive lane of a datagram socket and the send lanes of devices in one goroutine, which takes turns
// and waits for all of them at once. A packet that it writes to a device often makes its host send the next one within the
// same system call; the lane then reads that without anybody having been woken for it. In two goroutines the same work takes
// a fifth more of the processors.
//
// There may be several, each with a socket of its own and a queue of its own of each device. They have the number of their lane of
// sessions, and share nothing that they write to while packets flow (docs/adr/0027-several-lanes.md).
type duplexLane struct {
	n       *Node
	number  int
	set     *poll.Set
	socket  pollableSocket
	receive *receiveLane
	send    []*sendLane
	err     error
}

// A pollableSocket is a socket behind one descriptor.
type pollableSocket interface {
	underlay.Socket
	FD() *poll.FD
}

// newDuplexLanes returns a lane for each socket, with all attachments whose device lets it; and the indexes of the other
// ones. It returns none if there is nothing to wait for together, or the system has no way to.
func newDuplexLanes(n *Node) (lanes []*duplexLane, others []int) {
	var pollable []int
	for at, a := range n.attachments {
		if _, can := a.current().(capture.Pollable); can {
			pollable = append(pollable, at)
		} else {
			others = append(others, at)
		}
	}
	if len(pollable) > 0 {
		err := errNotPollable
		for number, socket := range append([]underlay.Socket{n.socket}, n.more...) {
			var l *duplexLane
			if l, err = newDuplexLane(n, number, socket, pollable); err != nil {
				break
			}
			lanes = append(lanes, l)
		}
		if err == nil {
			return lanes, others
		}
		if err != errNotPollable {
			n.log.Warn("packets are carried by a goroutine for each way", "err", err)
		}
		for _, l := range lanes {
			l.set.Close()
		}
	}
	others = others[:0]
	for at := range n.attachments {
		others = append(others, at)
	}
	return nil, others
}

// errNotPollable says that a socket has no descriptor to wait for.
var errNotPollable = errors.New("the socket cannot be waited for together with others")

func newDuplexLane(n *Node, number int, socket underlay.Socket, attachments []int) (*duplexLane, error) {
	s, ok := socket.(pollableSocket)
	if !ok {
		return nil, errNotPollable
	}
	l := &duplexLane{n: n, number: number, socket: s}
	for _, at := range attachments {
		l.send = append(l.send, newQueueLane(n, at, number))
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	l.receive = newSocketLane(n, s)
	return l, nil
}

// open makes the set of what the lane waits for.
func (l *duplexLane) open() (err error) {
	members := []*poll.FD{l.socket.FD()}
	for _, s := range l.send {
		if s.device != nil {
			members = append(members, s.device.(capture.Pollable).FD())
		}
	}
	if l.set, err = poll.NewSet(members...); err != nil {
		return err
	}
	if l.number > 0 { // it may have no queue now: Replace wakes it
		l.n.waits[l.number].Store(l.set)
	}
	return nil
}

// run carries packets until the socket is closed, or a device is and was not replaced.
func (l *duplexLane) run() error {
	for {
		var err error
		if !l.renew() { // else Replace has not seen the set
			err = l.set.Each(l.turns)
		} else {
			err = net.ErrClosed
		}
		l.set.Close()
		if err == nil {
			err = l.err
		}
		for errors.Is(err, net.ErrClosed) {
			l.renew()
			if err = l.open(); errors.Is(err, net.ErrClosed) && !l.renew() {
				return nil // else it was replaced once more
			}
		}
		if err != nil {
			return err
		}
		l.err = nil
	}
}

// renew goes on with the devices that have replaced the lane's. It reports whether one has.
func (l *duplexLane) renew() bool {
	replaced := false
	for _, s := range l.send {
		replaced = s.renew() || replaced
	}
	return replaced
}

// turns carries packets until there are none. It reports true when it cannot go on.
func (l *duplexLane) turns() bool {
	for moved := true; moved && l.err == nil; {
		var n int
		n, l.err = l.receive.turn(l.socket)
		moved = n > 0
		for _, s := range l.send {
			if l.err != nil {
				break
			}
			n, l.err = s.turn()
			moved = moved || n > 0
		}
	}
	return l.err != nil
}

// turn carries what waits in the device, at most a batch.
func (l *sendLane) turn() (int, error) {
	if l.device == nil {
		return 0, nil
	}
	count, err := l.device.(capture.Pollable).TryReadBatch(l.in, l.packets)
	if count > 0 {
		l.step(count)
	}
	return count, err
}

// turn takes what waits in the socket: a batch, or more when that ends in the middle of a run.
func (l *receiveLane) turn(socket underlay.Socket) (int, error) {
	count, err := socket.TryReadBatch(l.in)
	if count > 0 {
		l.finish(socket, count)
	}
	return count, err
}
