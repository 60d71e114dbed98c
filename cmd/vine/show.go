package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// documentFileMax is above the largest document there is.
const documentFileMax = 1 << 20

func newShowCommand(e *Env) *cobra.Command {
	var state bool
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a signed document, or those that this machine holds",
		Long: `Shows a signed document readable: its kind, key, version and hash, who signed it and whether each
signature is good, and what it says. "-" reads standard input. That a signature is good says nothing
of whether the signer may sign; a VR checks that before it keeps a document.

With --state it lists the documents in the state directory, all or those of one kind. It changes
nothing there, and a VR may be running on it.`,
		Example: `  vine show enrolment.vine
  vine show --json - < enrolment.vine
  vine show --state
  vine show --state enrolment --json`,
		Args: func(c *cobra.Command, args []string) error {
			if state {
				return takes("[KIND]")(c, args)
			}
			return takes("FILE")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if state {
				return e.showState(args)
			}
			return e.showFile(c.Context(), args[0])
		},
	}
	c.Flags().BoolVar(&state, "state", false, "list the documents in the state directory")
	return c
}

func (e *Env) showFile(ctx context.Context, path string) error {
	raw, err := e.readDocumentFile(ctx, path)
	if err != nil {
		return err
	}
	s, err := describe(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if e.json {
		err = e.printJSON(document{"document": s.json()})
	} else {
		err = e.printShown(s)
	}
	if err == nil && s.problem != nil {
		err = fmt.Errorf("%s: %w", path, s.problem)
	}
	return err
}

func (e *Env) readDocumentFile(ctx context.Context, path string) ([]byte, error) {
	in := e.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := unless(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(in, documentFileMax+1)) })
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(raw) > documentFileMax {
		return nil, fmt.Errorf("%s is longer than %d bytes, and no document is", path, documentFileMax)
	}
	return raw, nil
}

// A shown is a document for people. It may be one that nobody would accept: problem says why.
type shown struct {
	envelope tables.Envelope
	hash     tables.Hash
	body     any // a body by pointer; nil if it cannot be read
	args     any // of a request, by pointer, if its operation is known
	key      string
	version  uint64
	good     []bool // by signature
	problem  error
}

// describe takes a document apart. It fails only on what has not even the form of one.
func describe(raw []byte) (shown, error) {
	env, rest, err := tables.ParseEnvelope(raw)
	if err != nil {
		return shown{}, err
	}
	if len(rest) > 0 {
		return shown{}, fmt.Errorf("%d bytes follow the document", len(rest))
	}
	s := shown{envelope: env, hash: tables.BodyHash(env.Kind, env.Body)}
	signed := tables.AppendPreAuth(nil, env.Kind, env.Body)
	for _, sig := range env.Signatures {
		s.good = append(s.good, tables.Verify(sig.Key, signed, sig.Signature[:]))
	}
	if d, err := env.Document(); err != nil {
		s.problem = err
	} else {
		s.key, s.version = d.Key().ID, d.Version()
	}
	body, err := newBody(env.Kind)
	if err == nil && tables.DecodeArgs(env.Body, body) == nil {
		s.body = body
	}
	if r, ok := s.body.(*tables.Request); ok {
		s.args = requestArgs(*r)
	}
	return s, nil
}

// requestArgs returns the arguments of a request, nil if the operation or they are not known.
func requestArgs(r tables.Request) any {
	args := map[string]any{
		policy.OpJoin: &policy.JoinArgs{}, policy.OpAdmit: &policy.AdmitArgs{}, policy.OpRefuse: &policy.RefuseArgs{},
		policy.OpVNCreate: &policy.VNCreateArgs{}, policy.OpVNJoin: &policy.VNHostsArgs{},
		policy.OpVNLeave: &policy.VNHostsArgs{}, policy.OpVNShutdown: &policy.VNArgs{}, policy.OpRevoke: &policy.RevokeArgs{},
	}[r.Op]
	if args == nil || tables.DecodeArgs(r.Args, args) != nil {
		return nil
	}
	return args
}

func (s shown) json() fields {
	var signatures []fields
	for i, sig := range s.envelope.Signatures {
		signatures = append(signatures, fields{
			{"key", hex.EncodeToString(sig.Key[:])}, {"fingerprint", sig.Key.Fingerprint()}, {"good", s.good[i]},
		})
	}
	f := fields{
		{"kind", s.envelope.Kind.String()}, {"key", s.key}, {"version", s.version},
		{"hash", hex.EncodeToString(s.hash[:])}, {"signatures", signatures},
		{"valid", s.problem == nil}, {"body", bodyJSON(s.body)},
	}
	if s.args != nil {
		f = append(f, field{"arguments", bodyJSON(s.args)})
	}
	if s.problem != nil {
		f = append(f, field{"problem", s.problem.Error()})
	}
	return f
}

func bodyJSON(body any) any {
	if body == nil {
		return nil
	}
	return toJSON(reflect.ValueOf(body).Elem())
}

func (s shown) signers() string {
	var texts []string
	for i, sig := range s.envelope.Signatures {
		text := sig.Key.Fingerprint()
		if !s.good[i] {
			text += " (BAD)"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func (e *Env) printShown(s shown) error {
	rows := []string{
		"kind", s.envelope.Kind.String(), "key", s.key, "version", strconv.FormatUint(s.version, 10),
		"hash", hex.EncodeToString(s.hash[:]),
	}
	for i, sig := range s.envelope.Signatures {
		verdict := "good"
		if !s.good[i] {
			verdict = "BAD"
		}
		rows = append(rows, "signature", sig.Key.Fingerprint()+" "+verdict)
	}
	if err := e.pairs(rows...); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		value any
	}{{"body", s.body}, {"arguments", s.args}} {
		if part.value == nil {
			continue
		}
		text, err := json.MarshalIndent(bodyJSON(part.value), "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(e.Stdout, "%s %s\n", part.name, text)
	}
	return nil
}

func (e *Env) showState(args []string) error {
	var only tables.Kind
	if len(args) > 0 {
		k, err := parseKind(args[0])
		if err != nil {
			return err
		}
		only = k
	}
	c, err := e.loadConfig()
	if err != nil {
		return err
	}
	view, err := loadView(c.State, e.Now())
	if err != nil {
		return err
	}
	list := []fields{}
	var rows [][]string
	var failed error
	for d := range view.Documents() {
		if only != 0 && d.Kind() != only {
			continue
		}
		s, err := describe(d.Bytes())
		failed = errors.Join(failed, err)
		list = append(list, s.json())
		rows = append(rows, []string{
			d.Kind().String(), d.Key().ID, strconv.FormatUint(d.Version(), 10), hex.EncodeToString(s.hash[:4]), s.signers(),
		})
	}
	switch {
	case failed != nil:
		return failed
	case e.json:
		return e.printJSON(document{"federation_id": view.FederationID().String(), "documents": list})
	case len(rows) == 0:
		e.say("no documents of this kind")
		return nil
	}
	return e.table([]string{"KIND", "KEY", "VERSION", "HASH", "SIGNED BY"}, rows)
}
