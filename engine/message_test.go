package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pharos/presence"
)

// box is a Mailbox.
type box struct {
	ms  []*Message
	err error
}

func (b *box) Put(ctx context.Context, m *Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.err == nil {
		b.ms = append(b.ms, m)
	}
	return b.err
}

func (b *box) List(context.Context, presence.Entity) (list []Stored, err error) {
	for i, m := range b.ms {
		list = append(list, Stored{m, int64(i + 1)})
	}
	return list, b.err
}

func (b *box) Remove(_ context.Context, _ presence.Entity, numbers []int64) error {
	kept := b.ms[:0:0]
	for i, m := range b.ms {
		if !slices.Contains(numbers, int64(i+1)) {
			kept = append(kept, m)
		}
	}
	b.ms = kept
	return b.err
}

func always(*Message) bool { return true }

// TestSend goes through the delivery rules of RFC 6121 §8.5 over two edges.
func TestSend(t *testing.T) {
	resource := func(r string) func(*Message) bool {
		return func(m *Message) bool { return m.ToResource == "" || m.ToResource == r }
	}
	tests := []struct {
		name      string
		m         Message
		sip, xmpp func(*Message) bool
		box       error
		atSIP     int
		atXMPP    int
		stored    bool
		err       error
	}{
		{"both worlds", Message{Type: "chat"}, always, always, nil, 1, 1, false, nil},
		{"one world", Message{Type: "chat"}, nil, always, nil, 0, 1, false, nil},
		{"nobody there", Message{Type: "chat"}, nil, nil, nil, 0, 0, true, nil},
		{"normal, nobody there", Message{}, nil, nil, nil, 0, 0, true, nil},
		{"full mailbox", Message{}, nil, nil, ErrMailboxFull, 0, 0, false, ErrMailboxFull},
		{"not to be kept", Message{Type: "chat", NoStore: true, From: user("dave")}, nil, nil, nil, 0, 0, false, ErrUndeliverable},
		{"not to be kept, of a stranger", Message{Type: "chat", NoStore: true}, nil, nil, nil, 0, 0, false, nil},
		{"not to be kept, of a stranger, there", Message{Type: "chat", NoStore: true}, always, nil, nil, 1, 0, false, nil},
		{"not to be kept, politely blocked, there", Message{Type: "chat", NoStore: true, From: user("erin")}, always, always, nil, 0, 0, false, ErrUndeliverable},
		{"full address, politely blocked, there", Message{Type: "chat", ToResource: "pad", From: user("erin")}, always, always, nil, 1, 1, false, nil},
		{"headline, nobody there", Message{Type: "headline"}, nil, nil, nil, 0, 0, false, nil},
		{"error, nobody there", Message{Type: "error"}, nil, nil, nil, 0, 0, false, nil},
		{"groupchat, nobody there", Message{Type: "groupchat"}, nil, nil, nil, 0, 0, false, ErrUndeliverable},
		{"full address, there", Message{Type: "chat", ToResource: "pad"}, always, resource("pad"), nil, 0, 1, false, nil},
		{"full address, another resource there", Message{Type: "chat", ToResource: "gone"}, nil, resource("pad"), nil, 0, 1, false, nil},
		{"full address of a SIP device", Message{Type: "chat", ToResource: "tuple"}, always, resource("pad"), nil, 1, 1, false, nil},
		{"full address, nobody", Message{Type: "chat", ToResource: "gone"}, nil, nil, nil, 0, 0, true, nil},
		{"full address, headline", Message{Type: "headline", ToResource: "gone"}, always, resource("pad"), nil, 0, 0, false, nil},
		{"full address, groupchat", Message{Type: "groupchat", ToResource: "gone"}, always, resource("pad"), nil, 0, 0, false, ErrUndeliverable},
		{"blocked", Message{Type: "chat", From: carol}, always, always, nil, 0, 0, false, ErrUndeliverable},
		{"blocked error", Message{Type: "error", From: carol}, always, always, nil, 0, 0, false, nil},
		{"from himself", Message{Type: "chat", From: bob}, always, nil, nil, 1, 0, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pol := &rules{}
			// A default of block is about presence: alice, of whom no rule speaks, may write.
			pol.set(bob, presence.Block, map[presence.Entity]presence.Handling{
				carol: presence.Block, user("dave"): presence.Allow, user("erin"): presence.PoliteBlock})
			mail := &box{err: tt.box}
			e := New(Config{Mailbox: mail, Policies: pol})
			sip, xmpp := &phone{takes: tt.sip}, &phone{takes: tt.xmpp}
			e.Register("sip", sip)
			e.Register("xmpp", xmpp)
			m := tt.m
			if m.From.User == "" {
				m.From = alice
			}
			m.To, m.Edge = bob, "xmpp"
			stored, err := e.Send(t.Context(), &m)
			if stored != tt.stored || !errors.Is(err, tt.err) {
				t.Errorf("stored %v, %v", stored, err)
			}
			if len(sip.messages) != tt.atSIP || len(xmpp.messages) != tt.atXMPP {
				t.Errorf("%d at SIP, %d at XMPP", len(sip.messages), len(xmpp.messages))
			}
			if stored != (len(mail.ms) == 1) {
				t.Errorf("%d in the mailbox", len(mail.ms))
			}
		})
	}
}

// TestUndelivered: a message waits in the mailbox only if every edge that had
// taken it gave it back, even while Send still asks.
func TestUndelivered(t *testing.T) {
	tests := []struct {
		name      string
		sip, xmpp string // no, keeps, returns, at once
		stored    int
	}{
		{"one gave it back", "keeps", "returns", 0},
		{"both gave it back", "returns", "returns", 1},
		{"the only one gave it back", "no", "returns", 1},
		{"the first gave it back at once", "at once", "keeps", 0},
		{"both at once", "at once", "at once", 1},
		{"at once and later", "at once", "returns", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				mail := &box{}
				inHouse(t, Config{Mailbox: mail}, nil, func(h *house) {
					behave := func(how string) func(*Message) bool {
						return func(m *Message) bool {
							if how == "at once" {
								h.Undelivered(m)
							}
							return how != "no"
						}
					}
					h.sip.takes, h.xmpp.takes = behave(tt.sip), behave(tt.xmpp)
					if _, err := h.Send(t.Context(), &Message{From: alice, To: bob, Type: "chat"}); err != nil {
						t.Fatal(err)
					}
					if tt.sip == "returns" {
						h.Undelivered(h.sip.messages[0])
					}
					if tt.xmpp == "returns" {
						h.Undelivered(h.xmpp.messages[0])
					}
					synctest.Wait()
					if len(mail.ms) != tt.stored {
						t.Errorf("stored %d times", len(mail.ms))
					}
				})
			})
		})
	}
}

// TestStored: messages wait until they are removed, each by itself.
func TestStored(t *testing.T) {
	mail := &box{ms: []*Message{{To: bob, Type: "chat", ID: "a"}, {To: bob, Type: "chat", ID: "b"}}}
	e := New(Config{Mailbox: mail})
	for range 2 {
		if ms, err := e.Stored(t.Context(), bob); err != nil || len(ms) != 2 || ms[0].ID != "a" {
			t.Fatal(ms, err)
		}
	}
	if err := e.RemoveStored(t.Context(), bob, 1); err != nil || len(mail.ms) != 1 || mail.ms[0].ID != "b" {
		t.Errorf("left: %v, %v", mail.ms, err)
	}
	if err := e.RemoveStored(t.Context(), bob); err != nil || len(mail.ms) != 1 {
		t.Errorf("left: %v, %v", mail.ms, err)
	}
	e = New(Config{}) // stores nothing
	if ms, err := e.Stored(t.Context(), bob); err != nil || len(ms) != 0 || e.RemoveStored(t.Context(), bob, 1) != nil {
		t.Error(ms, err)
	}
}

// TestUndeliveredAtTheEnd: an edge that closes after the engine gives back what
// its phones had not answered; that is stored too.
func TestUndeliveredAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		mail := &box{}
		inHouse(t, Config{Mailbox: mail}, nil, func(h *house) {
			h.sip.takes = always
			if _, err := h.Send(t.Context(), &Message{From: alice, To: bob, Type: "chat"}); err != nil {
				t.Fatal(err)
			}
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h.Undelivered(h.sip.messages[0])
			h.Settle()
			if len(mail.ms) != 1 {
				t.Errorf("stored %d times", len(mail.ms))
			}
		})
	})
}
