package gossip

import "math"

// An intent announces that a member joins or leaves.
type intent struct {
	time  uint64
	node  []byte
	prune bool
}

func parseIntent(b []byte) (m intent, err error) {
	r := reader{b}
	err = r.fields(func(name string) (bool, error) {
		var err error
		switch name {
		case "LTime":
			m.time, err = r.uint(math.MaxUint64)
		case "Node":
			m.node, err = r.raw(nameMax)
		case "Prune":
			m.prune, err = r.bool()
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

func appendIntent(b []byte, typ byte, m intent) []byte {
	b = appendMap(append(b, typ), 2)
	b = appendUint(appendRaw(b, "LTime"), m.time)
	return appendRaw(appendRaw(b, "Node"), m.node)
}

// A query asks every member, or those that the filters choose.
type query struct {
	time       uint64
	id         uint32
	addr       []byte
	port       uint16
	sourceNode []byte
	filters    [][]byte
	flags      uint32
	timeout    uint64
	name       []byte
	payload    []byte
}

func parseQuery(b []byte) (m query, err error) {
	r := reader{b}
	err = r.fields(func(name string) (bool, error) {
		var err error
		var n uint64
		switch name {
		case "LTime":
			m.time, err = r.uint(math.MaxUint64)
		case "ID":
			n, err = r.uint(math.MaxUint32)
			m.id = uint32(n)
		case "Addr":
			m.addr, err = r.raw(16)
		case "Port":
			n, err = r.uint(math.MaxUint16)
			m.port = uint16(n)
		case "SourceNode":
			m.sourceNode, err = r.raw(nameMax)
		case "Filters":
			m.filters, err = r.raws(queryFiltersMax, querySizeMax)
		case "Flags":
			n, err = r.uint(3) // ack, no broadcast
			m.flags = uint32(n)
		case "Timeout":
			m.timeout, err = r.uint(uint64(queryTimeoutMax))
		case "Name":
			m.name, err = r.raw(queryNameMax)
		case "Payload":
			m.payload, err = r.raw(querySizeMax)
		default:
			return false, nil // among them the relay factor: answers are not multiplied
		}
		return true, err
	})
	return m, err
}

// raws takes an array of at most n strings.
func (r *reader) raws(n, max int) ([][]byte, error) {
	l, err := r.arrayLen()
	if err != nil {
		return nil, err
	}
	if l > n {
		return nil, errEncoding
	}
	var all [][]byte
	for range l {
		v, err := r.raw(max)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func appendQuery(b []byte, m query) []byte {
	b = appendMap(append(b, serfQuery), 10)
	b = appendUint(appendRaw(b, "LTime"), m.time)
	b = appendUint(appendRaw(b, "ID"), uint64(m.id))
	b = appendRaw(appendRaw(b, "Addr"), m.addr)
	b = appendUint(appendRaw(b, "Port"), uint64(m.port))
	b = appendRaw(appendRaw(b, "SourceNode"), m.sourceNode)
	b = appendArray(appendRaw(b, "Filters"), len(m.filters))
	for _, f := range m.filters {
		b = appendRaw(b, f)
	}
	b = appendUint(appendRaw(b, "Flags"), uint64(m.flags))
	b = appendUint(appendRaw(b, "Timeout"), m.timeout)
	b = appendRaw(appendRaw(b, "Name"), m.name)
	return appendRaw(appendRaw(b, "Payload"), m.payload)
}

// A response answers a query.
type response struct {
	time    uint64
	id      uint32
	from    []byte
	flags   uint32
	payload []byte
}

func parseResponse(b []byte) (m response, err error) {
	r := reader{b}
	err = r.fields(func(name string) (bool, error) {
		var err error
		var n uint64
		switch name {
		case "LTime":
			m.time, err = r.uint(math.MaxUint64)
		case "ID":
			n, err = r.uint(math.MaxUint32)
			m.id = uint32(n)
		case "From":
			m.from, err = r.raw(nameMax)
		case "Flags":
			n, err = r.uint(3)
			m.flags = uint32(n)
		case "Payload":
			m.payload, err = r.raw(querySizeMax)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

func appendResponse(b []byte, m response) []byte {
	b = appendMap(append(b, serfQueryResponse), 5)
	b = appendUint(appendRaw(b, "LTime"), m.time)
	b = appendUint(appendRaw(b, "ID"), uint64(m.id))
	b = appendRaw(appendRaw(b, "From"), m.from)
	b = appendUint(appendRaw(b, "Flags"), uint64(m.flags))
	return appendRaw(appendRaw(b, "Payload"), m.payload)
}

// A pushPull is what is read of serf's part of a state exchange.
type pushPull struct {
	time      uint64
	queryTime uint64
	status    uint64 // the speaker's own status time
	hasStatus bool
}

// parsePushPull reads serf's push/pull message, type byte first, for the status of speaker.
func parsePushPull(b []byte, speaker string) (m pushPull, err error) {
	if len(b) == 0 || b[0] != serfPushPull {
		return m, errEncoding
	}
	r := reader{b[1:]}
	err = r.fields(func(name string) (bool, error) {
		var err error
		switch name {
		case "LTime":
			m.time, err = r.uint(math.MaxUint64)
		case "QueryLTime":
			m.queryTime, err = r.uint(math.MaxUint64)
		case "StatusLTimes":
			var n int
			if n, err = r.mapLen(); err != nil {
				return true, err
			}
			for range n {
				key, err := r.raw(nameMax)
				if err != nil {
					return true, err
				}
				time, err := r.uint(math.MaxUint64)
				if err != nil {
					return true, err
				}
				if string(key) == speaker {
					m.status, m.hasStatus = time, true
				}
			}
		default:
			return false, nil // left members, events
		}
		return true, err
	})
	return m, err
}

func appendPushPull(b []byte, m pushPull, speaker string) []byte {
	b = appendMap(append(b, serfPushPull), 3)
	b = appendUint(appendRaw(b, "LTime"), m.time)
	b = appendUint(appendRaw(b, "QueryLTime"), m.queryTime)
	b = appendRaw(b, "StatusLTimes")
	if !m.hasStatus {
		return appendMap(b, 0)
	}
	b = appendRaw(appendMap(b, 1), speaker)
	return appendUint(b, m.status)
}
