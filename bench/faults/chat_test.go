package faults

import (
	"fmt"
	"net/netip"
	"testing"

	"pharos/markup"
)

// TestChatOfManyResources: what a chat client shows of a contact is what all of his resources say.
func TestChatOfManyResources(t *testing.T) {
	o := newOracle()
	c := newChat(t.Context(), o, "bob", netip.Addr{}, nil, 0, []string{"alice"}, false)
	o.stands("bob", "alice", true)
	for i, step := range []struct {
		says     int  // alice
		away     bool // or she does
		resource string
		n        int // what the resource says; 0: that it is unavailable
		right    bool
	}{
		{says: 1, resource: "/old", n: 1, right: true},
		{says: 2, resource: "/old", n: 1, right: false},
		{says: 2, resource: "/new", n: 2, right: true},
		// The publication that nobody refreshes expires.
		{says: 2, resource: "/old", right: true},
		{says: 3, resource: "/old", right: false},
		{says: 3, resource: "/new", n: 3, right: true},
		{says: 3, resource: "/old", n: 1, right: true},
		{away: true, resource: "/new", right: false},
		{away: true, resource: "/old", right: true},
		{says: 4, resource: "/a", n: 4, right: true},
		{says: 4, resource: "/b", n: 4, right: true},
		{away: true, resource: "", right: true},
	} {
		o.says("alice", step.says, step.away)
		attr, content := " type='unavailable'", ""
		if step.n > 0 {
			attr, content = "", fmt.Sprintf("<status>n%d</status>", step.n)
		}
		e, err := markup.Parse(fmt.Appendf(nil, "<presence xmlns='jabber:client' from='alice@example.com%s'%s>%s</presence>", step.resource, attr, content), markup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c.take(e)
		if w := o.wrong(); (len(w) == 0) != step.right {
			t.Errorf("step %d, %+v: wrong %q\n%s", i, step, w, o.account(pair{"bob", "alice"}))
		}
	}
}
