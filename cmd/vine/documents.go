package main

import (
	"fmt"
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
	var documents []*tables.Document
	for _, b := range raw {
		if d, err := tables.ParseDocument(b); err == nil {
			documents = append(documents, d)
		}
	}
	store := tables.NewStore(tables.Hash{})
	store.Load(now, documents) // what is not acceptable is not current
	if store.FederationID().IsZero() {
		return nil, fmt.Errorf("%s: %w", dir, node.ErrNotEnrolled)
	}
	return store.Snapshot(), nil
}
