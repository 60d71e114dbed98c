package main

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/internal/durable"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// offline are the flags of the commands that decide on a machine without a network.
type offline struct {
	key, passphrase, admit string
}

func (o *offline) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.key, "key", "", "`FILE` with the authority key")
	c.Flags().StringVar(&o.passphrase, "passphrase-file", "", "`FILE` with the passphrase of a sealed key (default: ask)")
	c.Flags().StringVar(&o.admit, "auto-admit", "invite", "who joins without a person's word: `WHO` is open, invite or never")
}

// A desktop is where an authority works: its key, what it knows, and what it has signed before.
type desktop struct {
	policy.Authority
	private ed25519.PrivateKey
	store   *tables.Store
	signed  string // FILE with what the key has signed here
}

// open reads what a VR has exported, together with what the key has signed on this machine: so it goes on from there, also if the
// export is older than that.
func (o *offline) open(c *cobra.Command, e *Env, file string) (*desktop, error) {
	switch {
	case o.key == "":
		return nil, usage("say with --key which authority key decides")
	case !slices.Contains([]string{"open", "invite", "never"}, o.admit):
		return nil, usage("--auto-admit %q is none of open, invite and never", o.admit)
	}
	private, err := e.readKey(c.Context(), o.key, o.passphrase)
	if err != nil {
		return nil, err
	}
	d := &desktop{private: private, Authority: policy.Authority{Key: tables.PublicOf(private), AutoAdmit: o.admit}, signed: o.key + ".signed"}
	if d.store, err = loadBundles(e.Now(), file, d.signed); err != nil {
		return nil, err
	}
	if !d.store.Authority(d.Key, e.Now()) {
		return nil, fmt.Errorf("%s: this key is no authority of the federation, or not any more", o.key)
	}
	return d, nil
}

func newAuthorityPendingCommand(e *Env) *cobra.Command {
	var o offline
	c := &cobra.Command{
		Use:   "pending FILE",
		Short: "Show what was asked for, and what would be decided",
		Long: `Shows every request in an exported file that has no answer yet: who asks for what, and how "vine authority sign" would
answer it. It signs nothing and writes nothing.`,
		Example: "  vine authority pending asked.vine --key authority.key",
		Args:    takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := o.open(c, e, args[0])
			if err != nil {
				return err
			}
			var answers []policy.Answer
			d.work(e.Now(), nil, nil, func(a policy.Answer) { answers = append(answers, a) })
			return e.printAnswers(d.store.Snapshot(), answers, "nothing waits for an answer")
		},
	}
	o.flags(c)
	return c
}

func newAuthoritySignCommand(e *Env) *cobra.Command {
	var o offline
	var out string
	var only, refuse []string
	c := &cobra.Command{
		Use:   "sign FILE --out FILE",
		Short: "Decide what was asked for, and sign it",
		Long: `Decides every request in an exported file as an authority inside a VR would, signs what follows, renews what is due, and
writes it into a file for "vine authority import". With --only it answers those requests and no others; with --refuse it
refuses one, with a reason that its user is shown.

What the key has signed is kept in a file beside it, KEY.signed. Keep both together: signing with the key but without that
file, or from a copy of it that is older, can sign two things for one version. VRs then keep the first and raise an alarm.`,
		Example: `  vine authority sign asked.vine --key authority.key --out signed.vine
  vine authority sign asked.vine --key authority.key --refuse 3f9a01c2d4e5f607="ask at room 214" --out signed.vine`,
		Args: takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return usage("give --out FILE")
			}
			d, err := o.open(c, e, args[0])
			if err != nil {
				return err
			}
			chosen, reasons := map[tables.Hash]bool{}, map[tables.Hash]string{}
			for _, text := range only {
				id, err := findRequest(d.store.Snapshot(), text)
				if err != nil {
					return err
				}
				chosen[id] = true
			}
			for _, text := range refuse {
				name, reason, ok := strings.Cut(text, "=")
				if !ok || reason == "" {
					return usage("--refuse %q is not REQUEST=REASON", text)
				}
				id, err := findRequest(d.store.Snapshot(), name)
				if err != nil {
					return err
				}
				chosen[id], reasons[id] = true, reason
			}
			if len(only) == 0 {
				chosen = nil
			}
			if _, err := os.Stat(out); err == nil {
				return fmt.Errorf("%s exists; it is not replaced", out)
			}
			var answers []policy.Answer
			if err := d.work(e.Now(), chosen, reasons, func(a policy.Answer) { answers = append(answers, a) }); err != nil {
				return err
			}
			if err := d.write(durable.OS, args[0], out); err != nil {
				return err
			}
			e.say("what is signed is in %s: give it to any VR with vine authority import", out)
			return e.printAnswers(d.store.Snapshot(), answers, "no request was answered")
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet")
	c.Flags().StringSliceVar(&only, "only", nil, "`REQUEST` to answer; all others are left (can be given several times)")
	c.Flags().StringArrayVar(&refuse, "refuse", nil, "`REQUEST=REASON` to refuse a request (can be given several times)")
	return c
}

// work decides and signs into the store. With chosen it answers only those requests; reasons has those that it refuses. tell gets
// every answer.
func (d *desktop) work(now time.Time, chosen map[tables.Hash]bool, reasons map[tables.Hash]string, tell func(policy.Answer)) (err error) {
	left := policy.Decision{State: "left"}
	decide := func(id tables.Hash, r tables.Request) policy.Decision {
		if reason, refused := reasons[id]; refused {
			return policy.Refuse(reason)
		}
		if chosen != nil && !chosen[id] {
			return left
		}
		return d.Decide(now, d.store.Snapshot(), id, r)
	}
	d.Work(now, d.store.Snapshot, decide, func(bodies []tables.Body, answer *policy.Answer) bool {
		if answer != nil && answer.State == left.State || err != nil {
			return false
		}
		var documents []*tables.Document
		for _, b := range bodies {
			document, serr := tables.Sign(b, d.private)
			if serr != nil {
				err = serr
				return false
			}
			documents = append(documents, document)
		}
		for _, document := range documents {
			if outcome, perr := d.store.Put(now, document, tables.FromDisk); outcome != tables.Kept && outcome != tables.Same {
				err = fmt.Errorf("%s is %s: %w", document.Key(), outcome, perr)
				return false
			}
		}
		if answer != nil {
			tell(*answer)
		}
		return true
	})
	return err
}

// write keeps what the key has signed, durably, and then writes what the file asked lacks of it to out.
func (d *desktop) write(fs durable.FS, asked, out string) error {
	raw, err := readBundleFile(asked)
	if err != nil {
		return err
	}
	had, _ := state.ParseBundle(raw)
	known := map[string]bool{}
	for _, b := range had {
		known[string(b)] = true
	}
	var signed, news [][]byte
	for document := range d.store.Snapshot().Documents() {
		if root, ok := document.Body().(tables.Root); ok && root.Version == 1 {
			signed = append(signed, document.Bytes()) // says of which federation the file is
		}
		if !document.SignedBy(d.Key) {
			continue
		}
		signed = append(signed, document.Bytes())
		if !known[string(document.Bytes())] {
			news = append(news, document.Bytes())
		}
	}
	if err := durable.Replace(fs, d.signed, state.AppendBundle(nil, signed), 0o600); err != nil {
		return err
	}
	return writeNewOn(fs, out, state.AppendBundle(nil, news), 0o644)
}

// printAnswers prints what was decided about requests.
func (e *Env) printAnswers(v *tables.View, answers []policy.Answer, none string) error {
	type row struct {
		Request string    `json:"request"`
		Op      string    `json:"op"`
		About   string    `json:"about"`
		User    string    `json:"user"`
		Asked   time.Time `json:"asked"`
		State   string    `json:"state"`
		Reason  string    `json:"reason"`
		Result  string    `json:"result"`
	}
	rows := []row{}
	var cells [][]string
	for _, a := range answers {
		user := a.Asked.User.Fingerprint()
		for _, g := range v.AllGrants() {
			if g.User == a.Asked.User {
				user = g.Name
			}
		}
		r := row{requestName(a.Request), a.Asked.Op, policy.About(a.Asked), user, time.Unix(a.Asked.Issued, 0).UTC(), a.State, a.Reason, a.Result}
		rows = append(rows, r)
		cells = append(cells, []string{r.Request, r.Op, r.About, r.User, r.Asked.Format(time.RFC3339), r.State, r.Reason + r.Result})
	}
	if e.json {
		return e.printJSON(document{"answers": rows})
	}
	if len(rows) == 0 {
		e.say("%s", none)
		return nil
	}
	return e.table([]string{"REQUEST", "OPERATION", "ABOUT", "USER", "ASKED", "ANSWER", "REASON OR RESULT"}, cells)
}
