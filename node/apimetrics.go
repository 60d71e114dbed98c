package node

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/node/control"
)

// Metrics implements control.Router.
func (a api) Metrics(ctx context.Context) ([]control.Metric, error) {
	s, err := a.Status(ctx)
	if err != nil {
		return nil, err
	}
	links, err := a.Links(ctx)
	if err != nil {
		return nil, err
	}
	drain, err := a.Drained(ctx)
	if err != nil {
		return nil, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	events, watching, slow := a.n.events.Counts()
	var list []control.Metric
	add := func(kind, name, help string, value float64, labels ...string) {
		m := control.Metric{Name: name, Help: help, Type: kind, Labels: map[string]string{}, Value: value}
		for i := 0; i+1 < len(labels); i += 2 {
			m.Labels[labels[i]] = labels[i+1]
		}
		list = append(list, m)
	}
	add(control.Gauge, "vine_info", "Always 1; the labels say which VR this is.", 1, "name", s.Name, "site", s.Site, "kind", s.Kind, "software", s.Software)
	add(control.Gauge, "vine_start_time_seconds", "When the VR was started, Unix time.", float64(s.Started.UnixMilli())/1000)
	add(control.Counter, "vine_packets_sent_total", "Data packets sealed and sent.", float64(s.Packets.Sent))
	add(control.Counter, "vine_packets_received_total", "Data packets opened and delivered.", float64(s.Packets.Received))
	add(control.Counter, "vine_packets_local_total", "Packets from one attachment of this VR to another.", float64(s.Packets.Local))
	add(control.Counter, "vine_packets_relayed_total", "Data packets relayed for limited VRs.", float64(drain.Relayed))
	for _, reason := range slices.Sorted(maps.Keys(s.Packets.Drops)) {
		add(control.Counter, "vine_drops_total", "Packets and datagrams dropped, by reason.", float64(s.Packets.Drops[reason]), "reason", reason)
	}
	add(control.Gauge, "vine_members", "VRs believed alive, with this one.", float64(s.Members))
	add(control.Gauge, "vine_links", "Links in use.", float64(s.Links))
	add(control.Gauge, "vine_clients", "Limited VRs attached to this one.", float64(s.Clients))
	add(control.Gauge, "vine_vns", "VNs installed.", float64(s.VNs))
	add(control.Gauge, "vine_documents", "Documents held.", float64(s.Documents))
	add(control.Gauge, "vine_problems", "What an operator should look at.", float64(len(s.Problems)))
	add(control.Gauge, "vine_trust_stale", "1 while no authority has signed a current head.", one(s.TrustStale))
	for _, l := range links {
		if l.State != "up" {
			continue
		}
		peer := []string{"peer", l.Peer, "path", l.Path}
		add(control.Gauge, "vine_link_rtt_seconds", "Round trip time of a link; 0: not measured.", l.RTT, peer...)
		add(control.Gauge, "vine_link_loss_ratio", "Share of packets of a link lost lately.", l.Loss, peer...)
		add(control.Gauge, "vine_link_rate_bits", "What a link was measured to carry, bits per second; 0: unknown.", float64(l.Rate), peer...)
		add(control.Gauge, "vine_link_used_bits", "What flows over a link now, bits per second.", float64(l.Used), peer...)
		add(control.Gauge, "vine_link_mtu_bytes", "Largest packet of a host that goes whole over a link.", float64(l.MTU), peer...)
	}
	add(control.Counter, "vine_events_total", "Events published.", float64(events))
	add(control.Gauge, "vine_event_streams", "Who watches events now.", float64(watching))
	add(control.Counter, "vine_event_streams_dropped_total", "Streams of events ended because their reader was too slow.", float64(slow))
	add(control.Gauge, "vine_goroutines", "Goroutines of the process.", float64(s.Goroutines))
	add(control.Gauge, "vine_descriptors", "Open descriptors of the process; 0 where the system does not say.", float64(s.Descriptors))
	add(control.Gauge, "vine_heap_bytes", "Memory in use on the heap.", float64(memory.HeapAlloc))
	add(control.Counter, "vine_allocated_bytes_total", "Memory allocated on the heap since the start.", float64(memory.TotalAlloc))
	add(control.Gauge, "vine_uptime_seconds", "Since the start.", time.Since(s.Started).Seconds())
	slices.SortStableFunc(list, func(a, b control.Metric) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
