package xdm

import (
	"context"

	"pharos/presence"
	"pharos/store"
)

// All calls fn with every document of an application usage, whosever it is. It is
// for what spans users; see store.EveryDocument for what it costs.
func (d *Documents) All(ctx context.Context, auid string, fn func(Document) error) error {
	return d.c.Store.EveryDocument(ctx, auid, func(u presence.Entity, s store.Document) error {
		return fn(*named(Name{auid, u, s.Path}, &s))
	})
}
