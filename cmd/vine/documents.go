package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
)

// loadView returns what the state directory's documents say now. It is node.ErrNotEnrolled when they
// name no federation.
func loadView(dir string, now time.Time) (*tables.View, error) {
	raw, err := state.Read(dir)
	if err != nil {
		return nil, err
	}
	return viewOf(raw, dir, now)
}

// viewOf returns what documents from a place say now.
func viewOf(raw [][]byte, place string, now time.Time) (*tables.View, error) {
	var documents []*tables.Document
	for _, b := range raw {
		if d, err := tables.ParseDocument(b); err == nil {
			documents = append(documents, d)
		}
	}
	store := tables.NewStore(tables.Hash{})
	store.Load(now, documents, tables.FromDisk) // what is not acceptable is not current
	if store.FederationID().IsZero() {
		return nil, fmt.Errorf("%s: %w", place, node.ErrNotEnrolled)
	}
	return store.Snapshot(), nil
}

// signingView returns the documents that say who may sign, as this machine's state directory has
// them, or, where that belongs to no VR, as the VR at the control socket has them.
func (e *Env) signingView(ctx context.Context, dir string) (*tables.View, error) {
	view, err := loadView(dir, e.Now())
	if !errors.Is(err, node.ErrNotEnrolled) && !errors.Is(err, fs.ErrPermission) {
		return view, err
	}
	c, cerr := e.client()
	if cerr != nil {
		return nil, err
	}
	raw, cerr := c.Documents(ctx)
	if cerr != nil {
		return nil, err
	}
	return viewOf(raw, "the VR's answer", e.Now())
}
