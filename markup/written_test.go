package markup

import "testing"

func TestWritten(t *testing.T) {
	const src = "<p:a xmlns:p = 'u'\n\tx=\"/>'\" p:y='' />"
	e, err := Parse([]byte(src), File)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range e.Written() {
		got = append(got, w.Name, src[w.Start:w.End], src[w.Value[0]:w.Value[1]])
	}
	want := []string{"xmlns:p", " xmlns:p = 'u'", "u", "x", "\n\tx=\"/>'\"", "/>'", "p:y", " p:y=''", ""}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %q, want %q", i, got[i], want[i])
		}
	}
	if ws := (&Element{Local: "a", Attrs: []Attr{{Local: "x"}}}).Written(); ws != nil {
		t.Errorf("made by hand, written %v", ws)
	}
}
