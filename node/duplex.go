package node

import (
	"errors"
	"net"

	"github.com/vine-mesh/vine/internal/poll"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A duplexLane is the receive lane of the datagram socket and the send lanes of devices in one goroutine, which takes turns
// and waits for all of them at once. A packet that it writes to a device often makes its host send the next one within the
// same system call; the lane then reads that without anybody having been woken for it. In two goroutines the same work takes
// a fifth more of the processors.
type duplexLane struct {
	n       *Node
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

// newDuplexLane returns the lane of the socket and of all attachments whose device lets it; and the indexes of the other
// ones. It returns nil if there is nothing to wait for together, or the system has no way to.
func newDuplexLane(n *Node) (lane *duplexLane, others []int) {
	socket, ok := n.socket.(pollableSocket)
	l := &duplexLane{n: n, socket: socket}
	for at, a := range n.attachments {
		if _, can := a.current().(capture.Pollable); !ok || !can {
			others = append(others, at)
			continue
		}
		l.send = append(l.send, newSendLane(n, at))
	}
	if len(l.send) > 0 {
		err := l.open()
		if err == nil {
			l.receive = newSocketLane(n, socket)
			return l, others
		}
		n.log.Warn("packets are carried by a goroutine for each way", "err", err)
	}
	others = others[:0]
	for at := range n.attachments {
		others = append(others, at)
	}
	return nil, others
}

// open makes the set of what the lane waits for.
func (l *duplexLane) open() (err error) {
	members := []*poll.FD{l.socket.FD()}
	for _, s := range l.send {
		members = append(members, s.device.(capture.Pollable).FD())
	}
	l.set, err = poll.NewSet(members...)
	return err
}

// run carries packets until the socket is closed, or a device is and was not replaced.
func (l *duplexLane) run() error {
	for {
		err := l.set.Each(l.turns)
		l.set.Close()
		if err == nil {
			err = l.err
		}
		for errors.Is(err, net.ErrClosed) {
			replaced := false
			for _, s := range l.send {
				replaced = s.renew() || replaced
			}
			if !replaced {
				return nil
			}
			err = l.open() // fails if it is all over, or replaced once more
		}
		if err != nil {
			return err
		}
		l.err = nil
	}
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
