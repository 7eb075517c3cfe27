package dialoginfo

import (
	"errors"
	"strings"
	"testing"
)

// sample is RFC 4235 §4.2, with the entity that it forgets.
const sample = `<?xml version="1.0" encoding="UTF-8"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"
             xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
             xsi:schemaLocation="urn:ietf:params:xml:ns:dialog-info"
             version="1" state="full" entity="sip:alice@example.com">
   <dialog id="123456">
     <state>confirmed</state>
     <duration>274</duration>
     <local>
      <identity display="Alice">sip:alice@example.com</identity>
      <target uri="sip:alice@pc33.example.com">
         <param pname="isfocus" pval="true"/>
         <param pname="class" pval="personal"/>
      </target>
     </local>
     <remote>
        <identity display="Bob">sip:bob@example.org</identity>
        <target uri="sip:bobster@phone21.example.org"/>
     </remote>
  </dialog>
</dialog-info>`

func doc(attrs, dialogs string) string {
	return `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" ` + attrs + `>` + dialogs + `</dialog-info>`
}

func parse(t *testing.T, text string) *Info {
	t.Helper()
	info, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestParseSample(t *testing.T) {
	info := parse(t, sample)
	if info.Version != 1 || info.Partial || info.Entity != "sip:alice@example.com" || len(info.Dialogs) != 1 {
		t.Fatalf("got %+v", info)
	}
	d := info.Dialogs[0]
	if d.ID != "123456" || d.State != Confirmed || d.RemoteTarget != "sip:bobster@phone21.example.org" || d.Sessions {
		t.Errorf("got %+v", d)
	}
	// All that is in the element is carried as it came.
	if from := strings.Index(sample, "<dialog "); d.XML() != sample[from:strings.Index(sample, "</dialog>")+len("</dialog>")] {
		t.Errorf("carried %s", d.XML())
	}
	again := parse(t, string(info.Bytes()))
	if again.Dialogs[0].XML() != d.XML() || again.Version != 1 || again.Entity != info.Entity {
		t.Errorf("written %s", info.Bytes())
	}
}

// Prefixes and declarations of the publisher keep their meaning in our document.
func TestParsePrefixed(t *testing.T) {
	info := parse(t, `<d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info" xmlns:x="urn:x" version="0" state="partial">`+
		`<d:dialog id="a" call-id="c&quot;1" local-tag="l" remote-tag="r" direction="recipient">`+
		`<d:state event="rejected" code="486">terminated</d:state><x:more x:of="it"/></d:dialog></d:dialog-info>`)
	d := info.Dialogs[0]
	if !info.Partial || d.CallID != `c"1` || d.LocalTag != "l" || d.RemoteTag != "r" || d.Direction != "recipient" ||
		d.State != Terminated || d.Event != "rejected" || d.Code != "486" {
		t.Errorf("got %+v", d)
	}
	again := parse(t, string((&Info{Dialogs: info.Dialogs}).Bytes()))
	if again.Dialogs[0].State != Terminated || !strings.Contains(again.Dialogs[0].XML(), `x:of='it'`) {
		t.Errorf("written %s", again.Dialogs[0].XML())
	}
}

func TestParseErrors(t *testing.T) {
	state := `<state>early</state>`
	for _, c := range []struct {
		name, doc string
		err       error
	}{
		{"no XML", "hello", ErrMalformed},
		{"other root", `<presence xmlns="urn:ietf:params:xml:ns:pidf"/>`, ErrForeign},
		{"other namespace", `<dialog-info/>`, ErrForeign},
		{"DTD", `<!DOCTYPE a><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"/>`, ErrMalformed},
		{"version", doc(`version="-1"`, ""), ErrMalformed},
		{"large version", doc(`version="4294967296"`, ""), ErrMalformed},
		{"state of the document", doc(`state="half"`, ""), ErrMalformed},
		{"no id", doc("", `<dialog>`+state+`</dialog>`), ErrMalformed},
		{"no state", doc("", `<dialog id="a"/>`), ErrMalformed},
		{"empty state", doc("", `<dialog id="a"><state/></dialog>`), ErrMalformed},
		{"unknown state", doc("", `<dialog id="a"><state>held</state></dialog>`), ErrMalformed},
		{"many dialogs", doc("", strings.Repeat(`<dialog id="a">`+state+`</dialog>`, MaxDialogs+1)), ErrTooBig},
		{"large", doc("", strings.Repeat(" ", MaxBytes)), ErrTooBig},
		{"many nodes", doc("", strings.Repeat("<a/>", MaxNodes+1)), ErrTooBig},
	} {
		if _, err := Parse([]byte(c.doc)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	if _, err := Parse([]byte(doc("", strings.Repeat(`<dialog id="a">`+state+`</dialog>`, MaxDialogs)))); err != nil {
		t.Error(err)
	}
}

func TestSessions(t *testing.T) {
	info := parse(t, doc("", `<dialog id="a"><state>confirmed</state><local><session-description type="application/sdp">v=0</session-description></local>`+
		`<remote><identity>sip:bob@example.org</identity><session-description type="application/sdp">v=1</session-description></remote></dialog>`))
	d := info.Dialogs[0]
	if !d.Sessions {
		t.Fatal("no session description seen")
	}
	without := d.WithoutSessions()
	if strings.Contains(without.XML(), "session-description") || !strings.Contains(without.XML(), "sip:bob@example.org") || without.Sessions {
		t.Errorf("got %s", without.XML())
	}
	if !strings.Contains(d.XML(), "v=1") {
		t.Error("the original was changed")
	}
	if b := doc("", without.XML()); parse(t, b).Dialogs[0].Sessions {
		t.Error("still there")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(doc(`version="3" state="partial"`, `<dialog id="a" call-id="x"><state>early</state><local><session-description type="t">v</session-description></local></dialog>`)))
	f.Add([]byte(`<d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info"><d:dialog id="1"><d:state>trying</d:state></d:dialog></d:dialog-info>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Parse(b)
		if err != nil {
			return
		}
		for i := range info.Dialogs {
			d := info.Dialogs[i].WithoutSessions()
			info.Dialogs[i] = d.WithID("new")
		}
		text := info.Bytes()
		if len(text) > MaxBytes {
			return
		}
		again, err := Parse(text)
		if err != nil {
			if errors.Is(err, ErrTooBig) {
				return // declarations have to be written anew
			}
			t.Fatalf("%v\n%s", err, text)
		}
		if len(again.Dialogs) != len(info.Dialogs) || again.Version != info.Version {
			t.Fatalf("%d dialogs became %d\n%s", len(info.Dialogs), len(again.Dialogs), text)
		}
		for i, d := range again.Dialogs {
			o := info.Dialogs[i]
			if d.ID != "new" || d.State != o.State || d.CallID != o.CallID || d.RemoteTarget != o.RemoteTarget || d.Sessions {
				t.Fatalf("%+v became %+v", o, d)
			}
		}
	})
}
