// Package policy compiles what a user has said - roster approvals, blocks and,
// later, pres-rules - into the one presence.Policy that decides for every watcher.
package policy

import (
	"context"

	"pharos/presence"
	"pharos/store"
)

// Loader implements engine.Policies over the store.
type Loader struct {
	Store   *store.Store
	Default presence.Handling // for watchers nobody has spoken of
}

func (l *Loader) Policy(ctx context.Context, e presence.Entity) (*presence.Policy, error) {
	panic("contract")
}
