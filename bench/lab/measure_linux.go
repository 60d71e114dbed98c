package lab

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/netns"
)

// iperfPort is where the far host's iperf3 listens.
const iperfPort = 5201

// reno is the congestion control of every flow, for a machine's default may be one that waits for timers more than
// for the path.
const reno = "reno"

// measure does one run at the sites and fills the sample.
func (r *runner) measure(ctx context.Context, s *sites, m bench.Measure, sample *bench.Sample) (err error) {
	sample.Values = map[string]float64{}
	if m.Size == 0 && m.Kind != bench.TCP {
		m.Size = s.mtu
	}
	if m.Topology == bench.Lossy {
		if err := s.lose(m.Loss); err != nil {
			return err
		}
		defer func() {
			if stopped := s.lose(0); err == nil {
				err = stopped
			}
		}()
	}
	routers := []*netns.Process{s.near.process, s.far.process}
	for _, p := range routers {
		if p != nil {
			forgetPeak(p.PID())
		}
	}
	switch m.Kind {
	case bench.TCP:
		sample.Load, err = during(func() error { return r.tcp(ctx, s, m, sample) })
	case bench.Ping:
		sample.Load, err = during(func() error { return r.ping(ctx, s, m, sample) })
	case bench.UDP:
		sample.Load, err = r.udp(ctx, s, m, sample)
	}
	if err != nil {
		return err
	}
	sample.Disturbed = sample.Load.Disturbed()
	// What others had is known to a tick and more: where it was most of the time, what is left says nothing.
	ours := sample.Load.Busy - sample.Load.Foreign
	if bytes := sample.Values["bytes"]; m.Name == "tcp-1" && bytes > 0 && ours > 0 {
		sample.Values["cpu"] = ours / (bytes / 1e9)
	}
	if m.Kind != bench.Ping {
		for _, p := range routers {
			if p != nil {
				sample.Values["memory"] = max(sample.Values["memory"], peak(p.PID()))
			}
		}
	}
	return nil
}

// during calls f and returns who had the machine meanwhile.
func during(f func() error) (bench.Load, error) {
	before, err := snapshot()
	if err != nil {
		return bench.Load{}, err
	}
	if err := f(); err != nil {
		return bench.Load{}, err
	}
	after, err := snapshot()
	return bench.LoadBetween(before, after, os.Getpid()), err
}

// flow starts an iperf3 client at the near host and a server for it at the far one. What the client prints is for
// bench.ParseIperf.
func (s *sites) flow(ctx context.Context, length time.Duration, words ...string) (client, server *netns.Process, err error) {
	server, err = s.far.host.Start("iperf3", "-s", "-1", "-p", fmt.Sprint(iperfPort))
	if err != nil {
		return nil, nil, err
	}
	if err := awaitFile(ctx, "iperf3 to listen", func() error { return listens(server.PID(), iperfPort) }); err != nil {
		server.Kill()
		return nil, nil, fmt.Errorf("%w\n%s", err, tail(server.Output()))
	}
	client, err = s.near.host.Start(append(s.iperf(length), words...)...)
	if err != nil {
		server.Kill()
	}
	return client, server, err
}

// iperf returns the words that run the client. It knows whole seconds only; more are no harm.
func (s *sites) iperf(length time.Duration) []string {
	return []string{"iperf3", "-J", "-c", s.target.String(), "-p", fmt.Sprint(iperfPort), "-C", reno, "-t", fmt.Sprint(math.Ceil(length.Seconds())), "--connect-timeout", "5000"}
}

// listens fails until somebody listens at a TCP port in the namespace of a process.
func listens(pid, port int) error {
	for _, name := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "net", name))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			const listen = "0A"
			f := strings.Fields(line)
			if len(f) > 3 && f[3] == listen && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return nil
			}
		}
	}
	return fmt.Errorf("nobody listens at port %d", port)
}

// ended waits for programs to end, which they must some time after limit.
func ended(ctx context.Context, limit time.Duration, programs ...*netns.Process) error {
	const slack = 15 * time.Second
	late := time.After(limit + slack)
	for _, p := range programs {
		select {
		case <-p.Done():
		case <-ctx.Done():
			p.Kill()
			return ctx.Err()
		case <-late:
			p.Kill()
			return fmt.Errorf("it has not ended %v after its time\n%s", slack, tail(p.Output()))
		}
	}
	return nil
}

// tcp measures a TCP flow or several.
func (r *runner) tcp(ctx context.Context, s *sites, m bench.Measure, sample *bench.Sample) error {
	words := []string{"-P", fmt.Sprint(m.Flows)}
	if m.Reverse {
		words = append(words, "-R")
	}
	if m.Write > 0 {
		words = append(words, "-l", fmt.Sprint(m.Write))
	}
	sample.Command = strings.Join(append(s.iperf(r.options.Length), words...), " ")
	client, server, err := s.flow(ctx, r.options.Length, words...)
	if err != nil {
		return err
	}
	defer server.Kill()
	if err := ended(ctx, r.options.Length, client); err != nil {
		return err
	}
	f, err := bench.ParseIperf(client.Output())
	if err != nil {
		return err
	}
	sample.Values[m.Name] = f.Mbits
	sample.Values["bytes"] = f.Bytes
	sample.Values["retransmits"] = float64(f.Retransmits)
	return nil
}

// udp searches for the highest rate of UDP packets with little loss. Each trial is what Wait calls a run: one that others
// disturbed is made again. It returns who had the machine during the trials that count.
func (r *runner) udp(ctx context.Context, s *sites, m bench.Measure, sample *bench.Sample) (load bench.Load, err error) {
	sample.Command = fmt.Sprintf("sendmmsg of UDP packets of %d bytes", m.Size)
	b, err := newBlaster(s.near.host, s.far.host, s.target, m.Size, m.Fragment)
	if err != nil {
		return load, err
	}
	defer b.close()
	const guess = 40_000
	search := bench.NewSearch(guess, false)
	if earlier := r.best(*sample); earlier > 0 {
		search = bench.NewSearch(earlier, true)
	}
	length := bench.TrialLength(r.options.Length)
	for {
		rate, more := search.Next()
		if !more {
			break
		}
		var t bench.Trial
		meanwhile, err := during(func() (err error) {
			t, err = b.try(rate, length)
			return err
		})
		switch {
		case err != nil:
			return load, err
		case ctx.Err() != nil:
			return load, ctx.Err()
		case meanwhile.Disturbed() && r.waited < r.options.Wait:
			r.waited += length
			if err := r.awaitQuiet(ctx); err != nil {
				return load, err
			}
			continue
		}
		search.Handle(t)
		load = load.Add(meanwhile)
	}
	rate, bound := search.Result()
	if rate == 0 {
		return load, fmt.Errorf("no rate without loss of more than %.1f %%", 100*bench.LossMax)
	}
	sample.Values[m.Name], sample.Values[m.Name+"-size"] = rate, float64(m.Size)
	if bound {
		sample.Values["sender_bound"] = 1
	}
	return load, nil
}

// best returns the highest rate that an earlier round has found for the same.
func (r *runner) best(of bench.Sample) (rate float64) {
	for _, s := range r.report.Samples {
		if s.Regime == of.Regime && s.Measure == of.Measure && s.Party == of.Party {
			rate = max(rate, s.Values[of.Measure])
		}
	}
	return rate
}

// pingInterval is the pause between two pings.
const pingInterval = 10 * time.Millisecond

// lostPing is what a ping counts as that is not answered: ping waits that long.
const lostPing = time.Second

// ping measures round trips, beside a flow if the measure says so.
func (r *runner) ping(ctx context.Context, s *sites, m bench.Measure, sample *bench.Sample) error {
	length := r.options.Length
	if m.Loaded {
		const lead = 500 * time.Millisecond // before the first ping, and after the last
		client, server, err := s.flow(ctx, length+2*lead)
		if err != nil {
			return err
		}
		defer server.Kill()
		defer client.Kill()
		select {
		case <-client.Done():
			return fmt.Errorf("the flow has ended: %s", tail(client.Output()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lead):
		}
		defer func() { sample.Command += " beside " + strings.Join(s.iperf(length+2*lead), " ") }()
	}
	words := []string{"ping", "-n", "-c", fmt.Sprint(int(length / pingInterval)), "-i", fmt.Sprint(pingInterval.Seconds()),
		"-s", fmt.Sprint(m.Size - headers), "-W", fmt.Sprint(lostPing.Seconds()), s.target.String()}
	sample.Command = strings.Join(words, " ")
	p, err := s.near.host.Start(words...)
	if err != nil {
		return err
	}
	if err := ended(ctx, length, p); err != nil {
		return err
	}
	trips, sent, err := bench.ParsePing(p.Output())
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(p.Output()))
	}
	var ms []float64
	for _, d := range trips {
		ms = append(ms, d.Seconds()*1000)
	}
	for range sent - len(trips) {
		ms = append(ms, lostPing.Seconds()*1000)
	}
	sample.Values[m.Name+"-p50"] = bench.Quantile(ms, 0.5)
	sample.Values[m.Name+"-p99"] = bench.Quantile(ms, 0.99)
	sample.Values["lost"] = float64(sent - len(trips))
	return nil
}

// missing returns the programs that the stages' runs need and that are not there.
func missing(stages []bench.Stage) (list []string) {
	need := map[string]string{"ip": "iproute2", "tc": "iproute2", "ethtool": "ethtool", "ping": "iputils-ping"}
	for _, s := range stages {
		for _, r := range s.Runs {
			if r.Measure.Kind == bench.TCP || r.Measure.Loaded {
				need["iperf3"] = "iperf3"
			}
			if r.Measure.Topology == bench.Lossy || r.Measure.Topology == bench.Streamed {
				need["nft"] = "nftables"
			}
		}
	}
	for _, program := range slices.Sorted(maps.Keys(need)) {
		if _, err := exec.LookPath(program); err != nil {
			list = append(list, fmt.Sprintf("%s (apt install %s)", program, need[program]))
		}
	}
	return list
}
