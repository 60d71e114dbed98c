package node

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
)

// Bundle implements control.Bundles.
func (a api) Bundle(context.Context) ([][]byte, error) {
	list := [][]byte{}
	for d := range a.view().Documents() {
		list = append(list, d.Bytes())
	}
	return list, nil
}

const (
	// importBatch is how many documents the control loop takes at a time: links have to be answered meanwhile.
	importBatch = 64
	// reasonsMax is how many refusals are told.
	reasonsMax = 8
)

// Import implements control.Bundles. Signatures are checked here, on the caller's goroutine.
func (a api) Import(ctx context.Context, bundle []byte) (control.Imported, error) {
	out := control.Imported{Reasons: []string{}}
	raw, err := state.ParseBundle(bundle)
	if err != nil {
		return out, fmt.Errorf("%w: this is no bundle, or a damaged one", control.ErrRefused)
	}
	refuse := func(err error) {
		if out.Refused++; len(out.Reasons) < reasonsMax {
			out.Reasons = append(out.Reasons, err.Error())
		}
	}
	var documents []*tables.Document
	for _, b := range raw {
		d, err := tables.ParseDocument(b)
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case err != nil:
			refuse(err)
		default:
			documents = append(documents, d)
		}
	}
	tables.SortForLoad(documents)
	for len(documents) > 0 {
		n := min(importBatch, len(documents))
		if err := a.importSome(ctx, documents[:n], &out, refuse); err != nil {
			return out, err
		}
		documents = documents[n:]
	}
	return out, nil
}

// importSome has the control loop take documents, and waits until those that it keeps are on disk.
func (a api) importSome(ctx context.Context, documents []*tables.Document, out *control.Imported, refuse func(error)) error {
	type outcome struct {
		kept, known int
		refused     []error
		stored      []chan error
	}
	result := make(chan outcome, 1)
	err := a.n.call(ctx, func(now time.Time, l *loop) {
		var o outcome
		var waits []tables.DocKey
		for _, d := range documents {
			switch got, err := l.store.Put(now, d, tables.FromNetwork); {
			case err != nil:
				o.refused = append(o.refused, err)
			case got == tables.Kept:
				o.kept++
				waits = append(waits, d.Key())
			case got == tables.Same: // which may still be on its way to the disk
				o.known++
				waits = append(waits, d.Key())
			default:
				o.known++
			}
		}
		l.takeChanges(now)
		for _, key := range waits {
			stored := make(chan error, 1)
			l.backlog.whenStored(key, func(err error) {
				if err != nil {
					err = l.diskTrouble(err)
				}
				stored <- err
			})
			o.stored = append(o.stored, stored)
		}
		result <- o
	})
	if err != nil {
		return err
	}
	o := <-result
	for _, stored := range o.stored {
		select {
		case err := <-stored:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-a.n.done:
			return net.ErrClosed
		}
	}
	out.Kept, out.Known = out.Kept+o.kept, out.Known+o.known
	for _, err := range o.refused {
		refuse(err)
	}
	return nil
}
