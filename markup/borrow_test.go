package markup

import (
	"strings"
	"sync"
	"testing"
)

// TestBorrow: a borrowed tree is the one that Parse makes, whatever trees were
// read with the same memory before, and its strings outlive it.
func TestBorrow(t *testing.T) {
	documents := []string{
		`<a/>`,
		`<a xmlns="urn:x" b="1"><c d:e="2" xmlns:d="urn:y">text &amp; more</c><!-- no --><c/>tail</a>`,
		`<a>` + strings.Repeat(`<b c="d">e</b>`, 300) + `</a>`,
		`<a><b></a>`,
		``,
		`<?xml version="1.0"?><x:a xmlns:x="urn:z"><x:b/></x:a>`,
	}
	o := Options{Document: true}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 40 {
				d := documents[i%len(documents)]
				want, wantErr := Parse([]byte(d), o)
				tree, err := Borrow(d, o)
				if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
					t.Errorf("%q: %v, Parse says %v", d, err, wantErr)
				}
				if err != nil {
					continue
				}
				root := tree.Root()
				if got, want := string(root.Append(nil, "")), string(want.Append(nil, "")); got != want || root.Source() != d[root.Start:root.End] {
					t.Errorf("%q: read as %s, Parse reads %s", d, got, want)
				}
				var texts []string
				for c := range root.Children() {
					texts = append(texts, c.Space, c.Local, c.Text())
					for _, a := range c.Attrs {
						texts = append(texts, a.Space, a.Local, a.Value)
					}
				}
				text := strings.Join(texts, "|")
				tree.Release()
				if again, err := Borrow(`<q r="s"><t>u</t></q>`, o); err != nil {
					t.Error(err)
				} else {
					again.Release()
				}
				if strings.Join(texts, "|") != text {
					t.Errorf("%q: strings changed after Release", d)
				}
			}
		})
	}
	wg.Wait()
	if _, err := Borrow(strings.Repeat("x", 11), Options{MaxBytes: 10}); err == nil {
		t.Error("more bytes than allowed were taken")
	}
	Tree{}.Release()
}

func BenchmarkBorrow(b *testing.B) {
	d := `<a xmlns="urn:x">` + strings.Repeat(`<b c="d"><e>f</e></b>`, 10) + `</a>`
	b.SetBytes(int64(len(d)))
	b.ReportAllocs()
	for b.Loop() {
		t, err := Borrow(d, Options{Document: true})
		if err != nil {
			b.Fatal(err)
		}
		t.Release()
	}
}

// TestNextTree: a stream read with borrowed memory is the one that Next reads.
func TestNextTree(t *testing.T) {
	for _, in := range []string{
		`<s:s xmlns='c' xmlns:s='st'><a x='1' s:y='2'>t&amp;<b xmlns='d'/>u</a> <s:q/><a>` + strings.Repeat("<b c='d'>e</b>", 300) + `</a></s:s>`,
		`<s xmlns='c'><a><b></a></s>`,
		`<s xmlns='c'><a/><x:a/>`,
		`<s xmlns='c'><a/>`,
		`<s xmlns='c'><a/></s>`,
	} {
		one, two := NewScanner(strings.NewReader(in), Options{}), NewScanner(strings.NewReader(in), Options{})
		one.Header()
		two.Header()
		for {
			el, err := one.Next()
			tree, treeErr := two.NextTree()
			if (err == nil) != (treeErr == nil) || err != nil && err.Error() != treeErr.Error() {
				t.Errorf("%q: %v, Next says %v", in, treeErr, err)
			}
			if err != nil || treeErr != nil {
				break
			}
			if got, want := string(tree.Root().Append(nil, "")), string(el.Append(nil, "")); got != want || tree.Root().Source() != el.Source() {
				t.Errorf("%q: read as %s, Next reads %s", in, got, want)
			}
			tree.Release()
		}
	}
}
