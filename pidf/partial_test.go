package pidf

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/patch"
	"pharos/presence"
)

const fullExample = `<?xml version="1.0" encoding="UTF-8"?>
<p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:someone@example.com" version="567">
 <tuple id="cg231jcr"><status><basic>open</basic></status><contact priority="1.0">im:someone@example.com</contact></tuple>
 <tuple id="r1230d"><status><basic>closed</basic></status><r:class>x</r:class></tuple>
 <note xml:lang="en">Full state presence document</note>
</p:pidf-full>`

const diffExample = `<p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:someone@example.com" version="568">
 <p:add sel="*/note" pos="before"><tuple id="ert4773"><status><basic>open</basic></status></tuple>
 </p:add>
 <p:replace sel="*/tuple[@id='r1230d']/status/basic/text()">open</p:replace>
 <p:remove sel="*/tuple[@id='r1230d']/r:class"/>
 <p:replace sel="*/tuple[@id='cg231jcr']/contact/@priority">0.7</p:replace>
</p:pidf-diff>`

// The examples of RFC 5262 §4 and RFC 5264: full state, then a change.
func TestEdit(t *testing.T) {
	full, err := Edit(nil, []byte(fullExample))
	if err != nil {
		t.Fatal(err)
	}
	doc, entity, err := Parse(full)
	if err != nil || entity != "pres:someone@example.com" || len(doc.Tuples) != 2 || len(doc.Notes) != 1 {
		t.Fatalf("%v\n%s", err, full)
	}
	if bytes.Contains(full, []byte("version=\"567\"")) || bytes.Contains(full, []byte("version='567'")) {
		t.Errorf("the version is still there: %s", full)
	}
	now, err := Edit(full, []byte(diffExample))
	if err != nil {
		t.Fatal(err)
	}
	doc, _, err = Parse(now)
	if err != nil {
		t.Fatalf("%v\n%s", err, now)
	}
	if len(doc.Tuples) != 3 || doc.Tuples[1].Basic != presence.Open || doc.Tuples[1].Rich.Class != "" || doc.Tuples[0].Priority != 700 || doc.Tuples[2].ID != "ert4773" {
		t.Errorf("%+v", doc.Tuples)
	}
}

func TestEditRefuses(t *testing.T) {
	full, err := Edit(nil, []byte(fullExample))
	if err != nil {
		t.Fatal(err)
	}
	var bad *Error
	var misfit *patch.Error
	if _, err := Edit(nil, []byte(diffExample)); !errors.As(err, &bad) || bad.Kind != Invalid {
		t.Error("a change of nothing:", err)
	}
	if _, err := Edit(full, []byte("<presence xmlns='urn:ietf:params:xml:ns:pidf'/>")); !errors.As(err, &bad) || bad.Kind != Foreign {
		t.Error("another document:", err)
	}
	if _, err := Edit(full, []byte("<pidf-diff")); !errors.As(err, &bad) || bad.Kind != Malformed {
		t.Error("not well-formed:", err)
	}
	if _, err := Edit(full, []byte(strings.Replace(diffExample, "r1230d", "none", 1))); !errors.As(err, &misfit) {
		t.Error("no such tuple:", err)
	}
}

// A root whose default namespace is another's keeps its meaning.
func TestEditKeepsNamespaces(t *testing.T) {
	for _, doc := range []string{
		`<pidf-full xmlns="urn:ietf:params:xml:ns:pidf-diff" entity="sip:a@b.org" version="1"><tuple xmlns="urn:ietf:params:xml:ns:pidf" id="a"><status><basic>open</basic></status></tuple></pidf-full>`,
		`<pidf-full xmlns="urn:ietf:params:xml:ns:pidf-diff" xmlns:q="urn:ietf:params:xml:ns:pidf" entity="sip:a@b.org" version="1"><q:tuple id="a"><q:status><q:basic>open</q:basic></q:status></q:tuple></pidf-full>`,
	} {
		full, err := Edit(nil, []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if d, _, err := Parse(full); err != nil || len(d.Tuples) != 1 || d.Tuples[0].Basic != presence.Open {
			t.Errorf("%v\n%s", err, full)
		}
	}
}

// What a watcher makes of full state and changes is what the presentity says.
func TestPartialFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) []byte {
			d := &presence.Document{Persons: []presence.Person{{ID: "person"}}}
			for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 4, rapid.ID[string]).Draw(t, name) {
				tu := presence.Tuple{ID: id, Priority: rapid.IntRange(-1, 1000).Draw(t, "priority"), Basic: presence.Basic(rapid.IntRange(1, 2).Draw(t, "basic"))}
				if note := rapid.SampledFrom([]string{"", "here", "a < b & c"}).Draw(t, "note"); note != "" {
					tu.Notes = []presence.Note{{Text: note}}
				}
				d.Tuples = append(d.Tuples, tu)
			}
			if rapid.Bool().Draw(t, "mood") {
				d.Persons[0].Rich.Mood = &presence.Values{Names: []string{"happy"}}
			}
			return Append(nil, "sip:alice@example.com", d)
		}
		was, now := draw("was"), draw("now")
		full, err := Full(was, 1)
		if err != nil {
			t.Fatal(err)
		}
		have, err := Edit(nil, full)
		if err != nil {
			t.Fatal(err)
		}
		next, err := Partial(was, now, 2)
		if errors.Is(err, patch.ErrTooFar) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if have, err = Edit(have, next); err != nil {
			t.Fatalf("%v\n%s\n%s", err, was, next)
		}
		a, _, errA := Parse(have)
		b, _, errB := Parse(now)
		if errA != nil || errB != nil || string(Append(nil, "x", a)) != string(Append(nil, "x", b)) {
			t.Fatalf("%v %v\n was %s\ndiff %s\n got %s\nwant %s", errA, errB, was, next, have, now)
		}
	})
}

func FuzzEdit(f *testing.F) {
	f.Add(fullExample, diffExample)
	f.Fuzz(func(t *testing.T, was, diff string) {
		have, err := Edit(nil, []byte(was))
		if err != nil {
			return
		}
		if _, err := markup.Parse(have, markup.File); err != nil {
			t.Fatalf("%v\n%s", err, have)
		}
		if now, err := Edit(have, []byte(diff)); err == nil {
			if _, err := markup.Parse(now, markup.File); err != nil {
				t.Fatalf("%v\n%s", err, now)
			}
		}
	})
}
