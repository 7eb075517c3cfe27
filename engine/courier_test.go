package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// TestFarSend: any node takes a message, the owner decides, the sessions' nodes deliver, and
// the sender hears what comes of it.
func TestFarSend(t *testing.T) {
	type at struct{ node, edge string }
	tests := []struct {
		name     string
		m        Message
		takes    []at // who takes it
		reached  []at // where sessions are said to be
		stored   bool
		err      error
		received map[at]int
	}{
		{"nobody", Message{Type: "chat"}, nil, nil, true, nil, nil},
		{"at the owner", Message{Type: "chat"}, []at{{"a", "sip"}}, nil, false, nil, map[at]int{{"a", "sip"}: 1}},
		{"elsewhere", Message{Type: "chat"}, []at{{"b", "xmpp"}, {"c", "xmpp"}}, []at{{"b", "xmpp"}, {"c", "xmpp"}}, false, nil, map[at]int{{"b", "xmpp"}: 1, {"c", "xmpp"}: 1}},
		{"one of two", Message{Type: "chat"}, []at{{"c", "xmpp"}}, []at{{"b", "xmpp"}, {"c", "xmpp"}}, false, nil, map[at]int{{"c", "xmpp"}: 1}},
		{"only where sessions are", Message{Type: "chat"}, []at{{"c", "xmpp"}}, []at{{"b", "xmpp"}}, true, nil, nil},
		{"a resource elsewhere", Message{Type: "chat", ToResource: "pad", Edge: "xmpp"}, []at{{"b", "xmpp"}, {"a", "sip"}}, []at{{"b", "xmpp"}}, false, nil, map[at]int{{"b", "xmpp"}: 1}},
		{"headline", Message{Type: "headline"}, nil, nil, false, nil, nil},
		{"groupchat", Message{Type: "groupchat"}, nil, nil, false, ErrUndeliverable, nil},
		{"blocked", Message{Type: "chat", From: carol}, []at{{"a", "sip"}}, nil, false, ErrUndeliverable, nil},
	}
	for _, tt := range tests {
		for _, from := range []string{"a", "b", "c"} {
			t.Run(tt.name+" from "+from, func(t *testing.T) {
				inTown(t, func(w *town) {
					w.delay = func(string, string) time.Duration { return time.Millisecond }
					w.pols.set(bob, presence.Allow, map[presence.Entity]presence.Handling{carol: presence.Block})
					w.nodes["a"].must(bob, presence.Touch{Package: "x"})
					edge := func(x at) *desk {
						if x.edge == "sip" {
							return w.nodes[x.node].sip
						}
						return w.nodes[x.node].xmpp
					}
					for _, x := range tt.takes {
						edge(x).takes = func(m *Message) bool { return m.ToResource == "" || m.ToResource == "pad" }
					}
					for _, x := range tt.reached {
						w.nodes[x.node].must(bob, presence.Watch{ID: x.node + x.edge, Watcher: bob, Package: presence.Reach, Private: true, Via: presence.Via{Edge: x.edge}})
					}
					m := tt.m
					m.To, m.Body, m.Native = bob, "hello", presence.Payload{Type: "t", Bytes: []byte("<x/>")}
					if m.From == (presence.Entity{}) {
						m.From = alice
					}
					stored, err := w.nodes[from].Send(context.Background(), &m)
					if stored != tt.stored || !errors.Is(err, tt.err) {
						t.Errorf("%v, %v", stored, err)
					}
					for _, n := range w.nodes {
						for name, d := range map[string]*desk{"sip": n.sip, "xmpp": n.xmpp} {
							if len(d.messages) != tt.received[at{n.name, name}] {
								t.Errorf("%s at %s got %d", name, n.name, len(d.messages))
							}
							for _, g := range d.messages {
								if g.Body != "hello" || string(g.Native.Bytes) != "<x/>" || g.From != m.From {
									t.Errorf("got %+v", g)
								}
							}
						}
						if want := tt.stored && n.name == "a"; (len(n.box.ms) == 1) != want {
							t.Errorf("%s stores %d", n.name, len(n.box.ms))
						}
					}
				})
			})
		}
	}
}

// TestFarUndelivered: what comes back is stored once, when the last has given it back, by the owner
// or, when that has gone, where it was.
func TestFarUndelivered(t *testing.T) {
	for _, owner := range []bool{true, false} {
		t.Run(fmt.Sprint("owner ", owner), func(t *testing.T) {
			inTown(t, func(w *town) {
				a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
				a.must(bob, presence.Touch{Package: "x"})
				for _, n := range []*townNode{b, c} {
					n.xmpp.takes = always
					n.must(bob, presence.Watch{ID: n.name, Watcher: bob, Package: presence.Reach, Private: true, Via: presence.Via{Edge: "xmpp"}})
				}
				if stored, err := c.Send(context.Background(), &Message{From: alice, To: bob, Type: "chat", Body: "hello"}); stored || err != nil {
					t.Fatal(stored, err)
				}
				again := *b.xmpp.messages[0] // as edges do
				b.Undelivered(&again)
				time.Sleep(time.Second)
				synctest.Wait()
				if n := len(a.box.ms) + len(b.box.ms) + len(c.box.ms); n != 0 {
					t.Errorf("%d stored while another device has it", n)
				}
				want := a
				if !owner {
					w.kill("a", "b", time.Second)
					want = c
				}
				c.Undelivered(c.xmpp.messages[0])
				time.Sleep(time.Second)
				synctest.Wait()
				for _, n := range w.nodes {
					if got := len(n.box.ms); got != 0 && n != want || got != 1 && n == want {
						t.Errorf("%s has stored %d", n.name, got)
					}
				}
			})
		})
	}
}

// TestInstant: every field of a message arrives.
func TestInstant(t *testing.T) {
	m := &Message{}
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch x := f.Addr().Interface().(type) {
		case *string:
			*x = v.Type().Field(i).Name
		case *bool:
			*x = true
		case *presence.Entity:
			*x = presence.Entity{User: v.Type().Field(i).Name, Domain: "d"}
		case *time.Time:
			*x = time.Unix(int64(i), 5).UTC()
		case *presence.Payload:
			*x = presence.Payload{Type: "t", Bytes: []byte("<x/>")}
		default:
			t.Fatalf("how is %s filled?", v.Type().Field(i).Name)
		}
	}
	r, err := transfer.Open(appendInstant(transfer.Begin(nil), m))
	if err != nil {
		t.Fatal(err)
	}
	if got := readMessage(r); r.Err() != nil || r.More() || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v", got, r.Err())
	}
}
