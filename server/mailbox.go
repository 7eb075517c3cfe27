package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/store"
)

// mailbox keeps messages for those who are away, in the store.
type mailbox struct {
	st  *store.Store
	max int // per user
}

func (m mailbox) Put(ctx context.Context, msg *engine.Message) error {
	blob, err := json.Marshal(msg)
	if err != nil {
		return fmt.Errorf("server: mailbox: %w", err)
	}
	err = m.st.PutOffline(ctx, msg.To, blob, m.max)
	if errors.Is(err, store.ErrFull) {
		return engine.ErrMailboxFull
	}
	return err
}

func (m mailbox) Take(ctx context.Context, to presence.Entity) ([]*engine.Message, func() error, error) {
	rows, err := m.st.Offline(ctx, to)
	if err != nil || len(rows) == 0 {
		return nil, func() error { return nil }, err
	}
	var (
		ms  []*engine.Message
		ids []int64
	)
	for _, r := range rows {
		msg := new(engine.Message)
		if err := json.Unmarshal(r.Blob, msg); err != nil {
			return nil, nil, fmt.Errorf("server: mailbox: message %d of %s: %w", r.ID, to, err)
		}
		ids = append(ids, r.ID)
		if msg.Expires.IsZero() || msg.Expires.After(time.Now()) { // RFC 3428 §7: else it is dropped unseen
			ms = append(ms, msg)
		}
	}
	if len(ms) == 0 {
		return nil, func() error { return nil }, m.st.RemoveOffline(ctx, to, ids)
	}
	return ms, func() error { return m.st.RemoveOffline(context.WithoutCancel(ctx), to, ids) }, nil
}
