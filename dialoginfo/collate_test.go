package dialoginfo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// published reads "id/call-id state" documents, each a second after the one before.
func published(t interface {
	Helper()
	Fatal(args ...any)
}, docs ...string) (ps []Published) {
	t.Helper()
	at := time.Unix(1000, 0)
	for _, text := range docs {
		var b strings.Builder
		for _, f := range strings.Split(text, ",") {
			name, state, ok := strings.Cut(strings.TrimSpace(f), " ")
			if !ok {
				continue
			}
			id, call, has := strings.Cut(name, "/")
			fmt.Fprintf(&b, `<dialog id="%s"`, id)
			if has {
				fmt.Fprintf(&b, ` call-id="%s"`, call)
			}
			fmt.Fprintf(&b, `><state>%s</state></dialog>`, state)
		}
		info, err := Parse([]byte(doc(`version="0" state="full"`, b.String())))
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, Published{info, at})
		at = at.Add(time.Second)
	}
	return ps
}

func words(ds []Dialog) string {
	var ws []string
	for _, d := range ds {
		name := d.ID
		if d.CallID != "" {
			name += "/" + d.CallID
		}
		ws = append(ws, name+" "+d.State.String())
	}
	return strings.Join(ws, ", ")
}

func TestCollate(t *testing.T) {
	for _, c := range []struct {
		name string
		docs []string
		want string
	}{
		{"nobody", nil, ""},
		{"one", []string{"a early, b confirmed"}, "a early, b confirmed"},
		{"one that repeats itself", []string{"a early, b early, a confirmed"}, "a confirmed, b early"},
		{"two calls", []string{"a/x early", "b/y confirmed"}, "a/x early, b/y confirmed"},
		{"the last word", []string{"a/x early", "a/x confirmed"}, "a/x confirmed"},
		{"the end is the end", []string{"a/x terminated", "a/x early"}, "a/x terminated"},
		{"the end that came last", []string{"a/x confirmed", "a/x terminated"}, "a/x terminated"},
		{"one id, two calls", []string{"a/x early", "a/y confirmed"}, "a/x early, a-2/y confirmed"},
		{"one id, no Call-ID", []string{"100 confirmed", "100 terminated"}, "100 confirmed, 100-2 terminated"},
		{"an id that looks renamed", []string{"a/x early, a-2/z early", "a/y confirmed"}, "a/x early, a-2/z early, a-3/y confirmed"},
		{"a fork", []string{"a/x terminated, b/x confirmed"}, "a/x terminated, b/x confirmed"},
	} {
		ds := Collate(published(t, c.docs...))
		if got := words(ds); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		again, err := Parse((&Info{Dialogs: ds}).Bytes())
		if err != nil || words(again.Dialogs) != c.want {
			t.Errorf("%s: written as %s, %v", c.name, words(again.Dialogs), err)
		}
	}
}

// A publication that is older counts less, in whatever order they stand.
func TestCollateByTime(t *testing.T) {
	ps := published(t, "a/x confirmed", "a/x early")
	ps[0].At, ps[1].At = ps[1].At, ps[0].At
	if got := words(Collate(ps)); got != "a/x confirmed" {
		t.Errorf("got %s", got)
	}
}

// Ids are unique, no call is lost, and no dialog that anybody saw the end of lives.
func TestCollateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var docs []string
		calls, over := map[string]bool{}, map[string]bool{}
		for range rapid.IntRange(0, 5).Draw(t, "publications") {
			var ds []string
			seen := map[string]bool{}
			for range rapid.IntRange(0, 3).Draw(t, "dialogs") {
				id := rapid.SampledFrom([]string{"a", "b", "a-2"}).Draw(t, "id")
				if seen[id] {
					continue
				}
				seen[id] = true
				name := id + "/" + rapid.SampledFrom([]string{"x", "y"}).Draw(t, "call")
				state := rapid.SampledFrom(states[1:]).Draw(t, "state")
				ds = append(ds, name+" "+state)
				calls[name] = true
				over[name] = over[name] || state == "terminated"
			}
			docs = append(docs, strings.Join(ds, ","))
		}
		ids := map[string]bool{}
		ds := Collate(published(t, docs...))
		for _, d := range ds {
			if ids[d.ID] {
				t.Fatalf("id %s twice: %s", d.ID, words(ds))
			}
			ids[d.ID] = true
		}
		if len(ds) != len(calls) {
			t.Fatalf("%d dialogs of %d: %s", len(ds), len(calls), words(ds))
		}
		ended := 0
		for _, o := range over {
			if o {
				ended++
			}
		}
		if n := len(Alive(ds)); n != len(calls)-ended {
			t.Fatalf("%d live, want %d: %s", n, len(calls)-ended, words(ds))
		}
	})
}

func TestUpdate(t *testing.T) {
	before := published(t, "a early, b confirmed, c terminated")[0].Info
	partial := published(t, "a confirmed, d trying")[0].Info
	partial.Partial, partial.Version = true, 4
	if u := partial.Update(before); words(u.Dialogs) != "a confirmed, b confirmed, d trying" || u.Partial || u.Version != 4 {
		t.Errorf("got %s", words(u.Dialogs))
	}
	if u := partial.Update(nil); words(u.Dialogs) != "a confirmed, d trying" {
		t.Errorf("got %s", words(u.Dialogs))
	}
	partial.Partial = false
	if u := partial.Update(before); words(u.Dialogs) != "a confirmed, d trying" {
		t.Errorf("got %s", words(u.Dialogs))
	}
	if words(before.Dialogs) != "a early, b confirmed, c terminated" {
		t.Error("the former document was changed")
	}
}
