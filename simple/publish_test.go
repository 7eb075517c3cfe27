package simple

import (
	"strings"
	"testing"
	"time"

	"pharos/pidf"
	"pharos/sip"
)

// RFC 3903 §6.
func TestPublish(t *testing.T) {
	const event = "Event: presence\r\n"
	body := doc("alice", "open", "x")
	for _, c := range []struct {
		name   string
		o      out
		status int
		want   string
	}{
		{"initial", out{lines: event, body: body, ctype: pidf.Type}, 200, "Expires: 3600"},
		{"Expires", out{lines: event + "Expires: 60\r\n", body: body, ctype: pidf.Type}, 200, "Expires: 60"},
		{"longest", out{lines: event + "Expires: 4294967295\r\n", body: body, ctype: pidf.Type}, 200, "Expires: 86400"},
		{"too brief", out{lines: event + "Expires: 4\r\n", body: body, ctype: pidf.Type}, 423, "Min-Expires: 5"},
		{"bad Expires", out{lines: event + "Expires: -1\r\n", body: body, ctype: pidf.Type}, 400, ""},
		{"gone at once", out{lines: event + "Expires: 0\r\n", body: body, ctype: pidf.Type}, 200, "Expires: 0"},
		{"no Event", out{body: body, ctype: pidf.Type}, 489, "Allow-Events: presence"},
		{"other Event", out{lines: "Event: conference\r\n", body: body, ctype: pidf.Type}, 489, "Allow-Events: presence"},
		{"Event that takes none", out{lines: "Event: presence.winfo\r\n", body: body, ctype: pidf.Type}, 489, "Allow-Events: presence, dialog, message-summary"},
		{"document of another Event", out{lines: "Event: dialog\r\n", body: body, ctype: pidf.Type}, 415, "Accept: application/dialog-info+xml"},
		{"no body", out{lines: event}, 400, ""},
		{"unknown tag", out{lines: event + "SIP-If-Match: x\r\n"}, 412, ""},
		{"unknown tag with body", out{lines: event + "SIP-If-Match: x\r\n", body: body, ctype: pidf.Type}, 412, ""},
		{"unknown tag, removed", out{lines: event + "SIP-If-Match: x\r\nExpires: 0\r\n"}, 412, ""},
		{"no type", out{lines: event, body: body}, 415, "Accept: application/pidf+xml"},
		{"other type", out{lines: event, body: body, ctype: "text/plain"}, 415, "Accept: application/pidf+xml"},
		{"type with parameters", out{lines: event, body: body, ctype: "Application/PIDF+xml;charset=UTF-8"}, 200, ""},
		{"compressed", out{lines: event + "Content-Encoding: deflate\r\n", body: body, ctype: pidf.Type}, 415, "Accept-Encoding: identity"},
		{"not XML", out{lines: event, body: "hello", ctype: pidf.Type}, 400, "Warning: 399 192.0.2.1:5060 \"pidf:"},
		{"not closed", out{lines: event, body: body[:len(body)-5], ctype: pidf.Type}, 400, "Bad Document: "},
		{"not PIDF", out{lines: event, body: "<html/>", ctype: pidf.Type}, 415, "Accept: application/pidf+xml"},
		{"DTD", out{lines: event, body: `<!DOCTYPE presence [<!ENTITY a "b">]>` + body, ctype: pidf.Type}, 400, ""},
		{"too large", out{lines: event, body: strings.Replace(body, "x", strings.Repeat("x", 20000), 1), ctype: pidf.Type}, 413, ""},
		// Whose it is the request-URI says.
		{"other entity", out{lines: event, body: strings.Replace(body, "pres:alice@example.com", "sip:alice@192.0.2.1:5060", 1), ctype: pidf.Type}, 200, ""},
		{"unknown user", out{to: "nobody", lines: event, body: body, ctype: pidf.Type}, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				alice := w.phone("alice", "192.0.2.10:5060")
				c.o.method = "PUBLISH"
				m := alice.want(c.status, c.o)
				if !strings.Contains(string(m.Append(nil)), c.want) {
					t.Errorf("no %q in\n%s", c.want, m.Append(nil))
				}
				if (get(m, sip.HSIPETag) != "") != (c.status == 200) {
					t.Errorf("SIP-ETag %q with %d", get(m, sip.HSIPETag), m.Status)
				}
			})
		})
	}
}

// Initial, refresh, modify, remove: a new entity-tag each time, and the old one
// no longer counts (RFC 3903 §4).
func TestPublicationLife(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.subscribe("alice", 3000)
		bob.one()
		tags := map[string]bool{}
		publish := func(tag, body string, expires string) string {
			o := out{method: "PUBLISH", lines: "Event: presence\r\nExpires: " + expires + "\r\n", body: body, ctype: pidf.Type}
			if tag != "" {
				o.lines += "SIP-If-Match: " + tag + "\r\n"
			}
			tag = get(alice.want(200, o), sip.HSIPETag)
			if tags[tag] {
				t.Errorf("entity-tag %q again", tag)
			}
			tags[tag] = true
			return tag
		}
		first := publish("", doc("alice", "open", "one"), "100")
		bob.one()
		time.Sleep(90 * time.Second)
		second := publish(first, "", "100") // refresh
		bob.none()
		alice.want(412, out{method: "PUBLISH", lines: "Event: presence\r\nSIP-If-Match: " + first + "\r\n"})
		time.Sleep(90 * time.Second)
		third := publish(second, doc("alice", "open", "two"), "100") // modify
		if n := bob.one(); !strings.Contains(n.Body, "two") {
			t.Errorf("modified:\n%s", n.Body)
		}
		// A second publication: both are seen, in one composed document.
		other := publish("", doc("alice", "closed", "desk"), "1000")
		if n := bob.one(); !strings.Contains(n.Body, "two") || !strings.Contains(n.Body, "desk") || strings.Count(n.Body, "<tuple") != 2 {
			t.Errorf("both:\n%s", n.Body)
		}
		publish(third, "", "0") // remove
		if n := bob.one(); n.Body != strings.Replace(doc("alice", "closed", "desk"), "pres:", "sip:", 1) {
			t.Errorf("one left:\n%s", n.Body)
		}
		// Linphone removes without Content-Length.
		m := alice.want(200, out{method: "PUBLISH", lines: "Event: presence\r\nExpires: 0\r\nSIP-If-Match: " + other + "\r\n",
			raw: func(m string) string { return strings.Replace(m, "Content-Length: 0\r\n", "", 1) }})
		if get(m, sip.HExpires) != "0" {
			t.Errorf("Expires %q", get(m, sip.HExpires))
		}
		if n := bob.one(); !strings.Contains(n.Body, ">closed<") || strings.Contains(n.Body, "desk") {
			t.Errorf("none left:\n%s", n.Body)
		}

		// Expiry, to the second.
		publish("", doc("alice", "open", "soon"), "30")
		bob.one()
		time.Sleep(29 * time.Second)
		bob.none()
		time.Sleep(2 * time.Second)
		if n := bob.one(); !strings.Contains(n.Body, ">closed<") {
			t.Errorf("expired:\n%s", n.Body)
		}
	})
}

// baresip publishes the same twice before it has the first answer, and takes
// back the last only.
func TestPublishedTwice(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		alice.agent = "baresip v1.0.0 (x86_64/linux)"
		first := alice.publish("open", "x", "")
		last := alice.publish("open", "x", "")
		if first == last {
			t.Error("one entity-tag for two publications")
		}
		alice.want(412, out{method: "PUBLISH", lines: "Event: presence\r\nSIP-If-Match: " + first + "\r\n"})
		alice.want(200, out{method: "PUBLISH", lines: "Event: presence\r\nExpires: 0\r\nSIP-If-Match: " + last + "\r\n"})
		alice.subscribe("alice", 0)
		if m := alice.one(); strings.Contains(m.Body, "open") {
			t.Errorf("a publication is left:\n%s", m.Append(nil))
		}
		// Others may publish the same as often as they like.
		alice.agent = "sipp"
		first, last = alice.publish("open", "x", ""), alice.publish("open", "x", "")
		for _, tag := range []string{first, last} {
			alice.want(200, out{method: "PUBLISH", lines: "Event: presence\r\nExpires: 0\r\nSIP-If-Match: " + tag + "\r\n"})
		}
	})
}
