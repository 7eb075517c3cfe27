package server

import (
	"bytes"
	"context"
	"errors"
	"time"

	"pharos/engine"
	"pharos/pidf"
	"pharos/presence"
	"pharos/xdm"
)

// permanentWithin bounds how long a PUT of permanent presence waits for the
// presentity to have taken it.
const permanentWithin = 5 * time.Second

// permanentID is the source that a user's pidf-manipulation document is: RFC 4827
// §3 knows one document per user, which is one more input to composition.
var permanentID = presence.SourceID{Kind: presence.Permanent, Key: xdm.Index}

// permanentChanged has the presentity follow its pidf-manipulation document.
func (s *Server) permanentChanged(c *xdm.Change) {
	if c.Remote {
		return // its own node has published it
	}
	for _, d := range c.Documents {
		n := xdm.Name{AUID: xdm.Manipulation, User: c.User, Path: xdm.Index}
		switch {
		case c.User.User == "":
		case d.After != nil && d.After.Name == n:
			s.setPermanent(context.Background(), c.User, d.After.Body)
		case d.Before != nil && d.Before.Name == n && d.After == nil:
			s.setPermanent(context.Background(), c.User, nil)
		}
	}
}

// setPermanent publishes the permanent presence of a user, or with nil takes it back.
func (s *Server) setPermanent(ctx context.Context, u presence.Entity, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, permanentWithin)
	defer cancel()
	var in presence.Input = presence.Retract{ID: permanentID}
	if body != nil {
		doc, _, err := pidf.Parse(body)
		if err != nil {
			// It is kept as its writer left it, but says nothing that anybody could be told.
			s.Log.Warn("permanent presence cannot be read", "entity", u.String(), "err", err)
		} else {
			in = presence.Publish{ID: permanentID, Doc: doc, Native: presence.Payload{Type: pidf.Type, Bytes: body}, From: "xcap"}
		}
	}
	for {
		_, err := s.engine.Step(ctx, u, in)
		if err == nil {
			return
		}
		t := time.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		if t.Stop(); ctx.Err() != nil || !errors.Is(err, engine.ErrOverload) {
			s.Log.Error("permanent presence not taken; a restart will", "entity", u.String(), "err", err)
			return
		}
	}
}

// followPermanent brings what was saved of permanent presence in line with the
// documents, after a process that died between writing one and the other. restored is
// what the engine was given.
func (s *Server) followPermanent(ctx context.Context, restored map[presence.Entity][]byte) error {
	holders, err := s.store.Holders(ctx, xdm.Manipulation, xdm.Index)
	if err != nil {
		return err
	}
	for _, u := range holders {
		if u.User == "" {
			continue
		}
		doc, err := s.store.Document(ctx, u, xdm.Manipulation, xdm.Index)
		if err != nil {
			return err
		}
		if have, ok := restored[u]; !ok || !bytes.Equal(have, doc.Body) {
			s.setPermanent(ctx, u, doc.Body)
		}
		delete(restored, u)
	}
	for u := range restored {
		s.setPermanent(ctx, u, nil)
	}
	return nil
}
