package xdm

import (
	"context"

	"pharos/presence"
	"pharos/store"
)

// UpdateItems is store.UpdateItems, with the documents of the users changed in the same commit.
func (d *Documents) UpdateItems(ctx context.Context, cs []store.ItemChange) error {
	users := make([]presence.Entity, 0, len(cs))
	for i := range cs {
		users = append(users, cs[i].User)
	}
	release, err := d.enter(ctx, users...)
	if err != nil {
		return err
	}
	defer release()
	return d.c.Store.UpdateItems(ctx, cs)
}

// SetBlocks is store.SetBlocks, with the pres-rules document changed in the same commit.
func (d *Documents) SetBlocks(ctx context.Context, u presence.Entity, add, remove []string, all bool) error {
	release, err := d.enter(ctx, u)
	if err != nil {
		return err
	}
	defer release()
	return d.c.Store.SetBlocks(ctx, u, add, remove, all)
}
