package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/lab"
)

// A bencher holds the flags of `vine bench`.
type bencher struct {
	regimes         []bench.Regime
	measures, peers []string
	builds          []build
	seconds         float64
	rounds          int
	quick, markdown bool
	plot, from      string
	tables          []string
	wait            time.Duration
}

// A build is another build of vine to compare with.
type build struct{ name, program string }

func newBenchCommand(e *Env) *cobra.Command {
	var b bencher
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure ViNe beside the kernel and other tunnels (Linux, root)",
		Long: `bench builds two sites of network namespaces, host - router - wire - router - host, once for every
party: the kernel's forwarding, this vine, and each of the peers that is installed. It measures between the
hosts, which run nothing of any party. All parties are measured in turn, in every round anew, so that what
else the machine does meets all of them; medians of the rounds are compared, and what is a ratio is taken
within a round. Nothing leaves this machine, and nothing is left on it.

A run counts as disturbed when other programs, or the host of a virtual machine, had more than 5 % of the
processors meanwhile. For figures to publish, have the machine for yourself, or give it time (--wait).

Regimes of the wires (--regimes, default unlimited,nic,gigabit):
` + regimesHelp() + `
Measures (--measures, default all):
` + measuresHelp() + `
Peers (--peers, default those that are installed; none):
` + peersHelp() + `They are looked for in the PATH and where go install puts programs. Every flow runs "reno".

Tables and figures of the dissertation (--table):
` + tablesHelp() + `
It needs iproute2, ethtool, iperf3, ping and, for loss, nft. Interrupted, it prints what it has.`,
		Example: `  vine bench --quick                                      a first impression, in half a minute
  vine bench --rounds 5 --seconds 10 --json > run.json    the whole, in hours
  vine bench --from run.json --plot run.svg
  vine bench --regimes nic --measures tcp-1,udp-64 --peers wireguard-go --plot run.svg
  vine bench --table 4-1,4-6
  vine bench --peers none --build old=/tmp/vine-of-yesterday --measures tcp-1,udp-64,rtt-idle`,
		Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error { return b.run(c.Context(), e, c.Flags()) },
	}
	f := c.Flags()
	list(f, &b.regimes, "regimes", "`NAMES` of regimes", parseOf("regime", bench.Regimes))
	list(f, &b.measures, "measures", "`NAMES` of measures", parseOf("measure", measureOptions()))
	list(f, &b.peers, "peers", "`NAMES` of peers, or none", parseOf("peer", append(peerNames(), "none")))
	list(f, &b.builds, "build", "`NAME=PROGRAM`: another build of vine to compare with", parseBuild)
	f.Float64Var(&b.seconds, "seconds", 5, "how long one run lasts")
	f.IntVar(&b.rounds, "rounds", 5, "how often everything is measured")
	f.DurationVar(&b.wait, "wait", 0, "how long, in all, to wait for other programs to be quiet, and to make disturbed runs again")
	f.BoolVar(&b.quick, "quick", false, "one round of one second, of few measures in one regime, unless said otherwise")
	f.BoolVar(&b.markdown, "markdown", false, "print Markdown")
	list(f, &b.tables, "table", "`NUMBERS` of tables and figures of the dissertation to measure again, instead", parseOf("table", tableNames()))
	f.StringVar(&b.from, "from", "", "measure nothing: show what an earlier run has printed with --json into `FILE`")
	f.StringVar(&b.plot, "plot", "", "draw the figures into an SVG `FILE`")
	return c
}

// quickMeasures and quickRegimes are what --quick does.
var (
	quickMeasures = []string{"tcp-1", "udp-64", "rtt-idle"}
	quickRegimes  = []bench.Regime{bench.NIC}
	usualRegimes  = []bench.Regime{bench.Unlimited, bench.NIC, bench.Gigabit}
)

func regimesHelp() (text string) {
	for _, r := range bench.Regimes {
		text += fmt.Sprintf("  %-12s  %s\n", r, r.What())
	}
	return text
}

func measuresHelp() (text string) {
	for _, m := range bench.Measures {
		if m.Option() == m.Name {
			text += fmt.Sprintf("  %-13s  %s\n", m.Name, m.What)
		}
	}
	return text
}

// measureOptions returns the words that choose measures.
func measureOptions() (names []string) {
	for _, m := range bench.Measures {
		if !slices.Contains(names, m.Option()) {
			names = append(names, m.Option())
		}
	}
	return names
}

func peersHelp() (text string) {
	for _, p := range lab.Known {
		text += fmt.Sprintf("  %-12s  %s\n", p.Name, p.Get)
	}
	return text
}

func peerNames() (names []string) {
	for _, p := range lab.Known {
		names = append(names, p.Name)
	}
	return names
}

// parseOf returns a parser of a word out of some.
func parseOf[T ~string](what string, known []T) func(string) (T, error) {
	return func(text string) (T, error) {
		if !slices.Contains(known, T(text)) {
			return "", fmt.Errorf("there is no %s %q: %v", what, text, known)
		}
		return T(text), nil
	}
}

func parseBuild(text string) (b build, err error) {
	name, program, ok := strings.Cut(text, "=")
	if !ok || checkName("build", name) != nil || program == "" {
		return b, fmt.Errorf("%q is not NAME=PROGRAM, such as old=/tmp/vine", text)
	}
	if info, err := os.Stat(program); err != nil {
		return b, err
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return b, fmt.Errorf("%s is not a program", program)
	}
	return build{name, absolute(program)}, nil
}

// options returns what to measure, and the programs of our parties by their names.
func (b *bencher) options(f *pflag.FlagSet) (o bench.Options, builds map[string]string, err error) {
	o = bench.Options{Regimes: b.regimes, Measures: b.measures, Rounds: b.rounds, Wait: b.wait}
	if b.seconds > math.MaxInt64/float64(time.Second) || math.IsNaN(b.seconds) {
		return o, nil, usage("--seconds %v is no length", b.seconds)
	}
	if b.quick && !f.Changed("seconds") {
		b.seconds = 1
	}
	if b.quick && !f.Changed("rounds") {
		o.Rounds = 1
	}
	o.Length = time.Duration(b.seconds * float64(time.Second))
	if len(o.Regimes) == 0 {
		o.Regimes = usualRegimes
		if b.quick {
			o.Regimes = quickRegimes
		}
	}
	if len(o.Measures) == 0 {
		o.Measures = measureOptions()
		if b.quick {
			o.Measures = quickMeasures
		}
	}
	self, err := os.Executable()
	if err != nil {
		return o, nil, err
	}
	o.Parties, builds = []string{bench.Kernel, bench.Vine}, map[string]string{bench.Vine: self}
	for _, other := range b.builds {
		name := bench.Vine + ":" + other.name
		o.Parties = append(o.Parties, name)
		builds[name] = other.program
	}
	return o, builds, nil
}

func (b *bencher) run(ctx context.Context, e *Env, f *pflag.FlagSet) error {
	// A terminal that is closed, or `| head`, ends it like Ctrl-C: there is something to take down.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if b.from != "" {
		report, err := readReport(b.from)
		if err != nil {
			return err
		}
		return b.print(e, report)
	}
	o, builds, err := b.options(f)
	if err != nil {
		return err
	}
	if len(b.tables) > 0 {
		if len(b.regimes)+len(b.measures)+len(b.peers)+len(b.builds) > 0 || b.plot != "" {
			return usage("--table says itself what is measured, and is not drawn")
		}
		if err := o.Check(); err != nil {
			return usage("%w", err)
		}
		return b.reproduce(ctx, e, o, builds)
	}
	var absent []string
	switch {
	case len(b.peers) == 0:
		var installed []string
		installed, absent = lab.Peers()
		o.Parties = append(o.Parties, installed...)
	case slices.Contains(b.peers, "none"):
		if len(b.peers) > 1 {
			return usage("--peers none goes with no other")
		}
	default:
		o.Parties = append(o.Parties, b.peers...)
	}
	if err := o.Check(); err != nil {
		return usage("%w", err)
	}
	stages := bench.Plan(o)
	if err := benchFault(lab.Check(stages)); err != nil {
		return err
	}
	report, err := lab.Run(ctx, o, stages, builds, func(line string) { e.say("%s", line) })
	if len(report.Samples) == 0 && err != nil {
		return benchFault(err)
	}
	report.Command = strings.Join(append([]string{"vine"}, e.Args...), " ")
	report.Missing = append(absent, report.Missing...)
	if err := b.print(e, report); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if _, failed := report.Disturbed(); failed > 0 || len(report.Missing) > len(absent) {
		return errors.New("not everything could be measured: see above")
	}
	return nil
}

// readReport reads what print has printed with --json.
func readReport(path string) (r bench.Report, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	var saved struct {
		Report *bench.Report `json:"report"`
	}
	if err := json.Unmarshal(text, &saved); err != nil || saved.Report == nil {
		return r, fmt.Errorf("%s is not what `vine bench --json` prints: %v", path, err)
	}
	return *saved.Report, nil
}

// print prints the report in the form asked for, and draws it.
func (b *bencher) print(e *Env, r bench.Report) error {
	if b.plot != "" {
		if err := os.WriteFile(b.plot, []byte(r.Plot()), 0o644); err != nil {
			return err
		}
	}
	if e.json {
		return e.printJSON(document{"report": r, "summary": r.Summary(), "goals": r.Judge()})
	}
	text := r.Text()
	if b.markdown {
		text = r.Markdown()
	}
	_, err := fmt.Fprint(e.Stdout, text)
	return err
}

// benchFault gives an error of package lab its exit code and a hint.
func benchFault(err error) error {
	switch {
	case errors.Is(err, lab.ErrNotRoot):
		return &fault{err, exitNotPermitted, "run it with sudo; it makes network namespaces of its own and touches nothing else"}
	case errors.Is(err, lab.ErrMissing):
		return hinted(err, "install what is named; `vine bench --help` says what is needed for what")
	}
	return err
}
