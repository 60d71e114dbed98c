package underlay

import "time"

// Limits are those of a Streams. Tests change them before Run.
type Limits struct {
	Streams, Strangers, PerNet, QueueBytes *int
	QueueTime, StrangerTime                *time.Duration
}

// Limits returns the limits, for tests.
func (s *Streams) Limits() Limits {
	l := &s.limits
	return Limits{&l.streams, &l.strangers, &l.perNet, &l.queueBytes, &l.queueTime, &l.strangerTime}
}

// What the limits are, for tests.
const (
	StreamsMax      = streamsMax
	StrangersMax    = strangersMax
	StrangersPerNet = strangersPerNet
	QueueBytesMax   = queueBytesMax
	HeaderBytesMax  = headerBytesMax
	StreamPath      = streamPath

	StrangerDatagramMax = strangerDatagramMax
)
