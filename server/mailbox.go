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

func (m mailbox) List(ctx context.Context, of presence.Entity) ([]engine.Stored, error) {
	rows, err := m.st.Offline(ctx, of)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var (
		list    []engine.Stored
		expired []int64
	)
	for _, r := range rows {
		msg := new(engine.Message)
		if err := json.Unmarshal(r.Blob, msg); err != nil {
			return nil, fmt.Errorf("server: mailbox: message %d of %s: %w", r.ID, of, err)
		}
		if !msg.Expires.IsZero() && !msg.Expires.After(time.Now()) {
			expired = append(expired, r.ID) // RFC 3428 §7: it is dropped unseen
			continue
		}
		list = append(list, engine.Stored{Message: msg, Number: r.ID})
	}
	return list, m.Remove(ctx, of, expired)
}

// Remove is not given up when who has asked goes: the device has the messages.
func (m mailbox) Remove(ctx context.Context, of presence.Entity, numbers []int64) error {
	if len(numbers) == 0 {
		return nil
	}
	return m.st.RemoveOffline(context.WithoutCancel(ctx), of, numbers)
}
