package policy

import (
	"strings"
	"testing"

	"pharos/markup"
)

func TestAnchors(t *testing.T) {
	const doc = `<rl:resource-lists xmlns:rl="urn:ietf:params:xml:ns:resource-lists" xmlns:x="urn:x">
<rl:list name="a/b]c"><rl:entry uri="sip:bob@example.com"/><rl:entry uri="tel:+1"/><x:entry uri="sip:x@example.com"/></rl:list>
<rl:list name="two" x:kind="k"><rl:list name="in"><rl:entry uri="pres:carol@example.org"/></rl:list><rl:entry uri="sip:dave@sub.example.org"/></rl:list>
<rl:list name="refers">
  <rl:external anchor="http://xcap.example.com/resource-lists/users/alice@example.com/index/~~/resource-lists/list%5b@name='in'%5d"/>
  <rl:external anchor="/root/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list[@name=%22two%22]"/>
  <rl:entry-ref ref="resource-lists/users/sip%3Aalice%40example.com/index/~~/resource-lists/list%5b1%5d/entry%5b@uri=%22sip:bob@example.com%22%5d"/>
  <rl:entry-ref ref="resource-lists/users/sip:eve@example.net/index/~~/resource-lists/list/entry"/>
</rl:list>
<rl:list name="loop"><rl:external anchor="resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list[@name='loop']"/></rl:list>
</rl:resource-lists>`
	root, err := markup.Parse([]byte(doc), markup.File)
	if err != nil {
		t.Fatal(err)
	}
	const own = "http://xcap.example.com/xcap/resource-lists/users/sip:alice@example.com/index"
	for uri, want := range map[string]string{
		own: "bob@example.com carol@example.org dave@sub.example.org",
		own + `/~~/resource-lists/list%5B@name=%22a/b%5Dc%22%5D`:                                  "bob@example.com",
		own + `/~~/resource-lists/list%5B@name=%22two%22%5D`:                                      "carol@example.org dave@sub.example.org",
		own + `/~~/resource-lists/list[@name='two']`:                                              "carol@example.org dave@sub.example.org",
		own + `/~~/resource-lists/list%5B2%5D/list`:                                               "carol@example.org",
		own + `/~~/*/*%5B2%5D%5B@name=%22two%22%5D/*%5B1%5D`:                                      "carol@example.org",
		own + `/~~/*/*%5B2%5D%5B@name=%22one%22%5D`:                                               "",
		own + `/~~/resource-lists/list%5B9%5D`:                                                    "",
		own + `/~~/resource-lists/list%5B0%5D`:                                                    "",
		own + `/~~/resource-lists/list%5B`:                                                        "",
		own + `/~~/resource-lists/list%5B@name%5D`:                                                "",
		own + `/~~/r:resource-lists/r:list%5B1%5D?xmlns(r=urn:ietf:params:xml:ns:resource-lists)`: "bob@example.com",
		own + `/~~/r:resource-lists/r:list%5B@y:kind=%22k%22%5D?xmlns(r=urn:ietf:params:xml:ns:resource-lists)xmlns(y=urn:x)`: "carol@example.org dave@sub.example.org",
		own + `/~~/r:resource-lists/r:list%5B1%5D`:                                            "",
		own + `/~~/resource-lists/list%5B@name=%22refers%22%5D`:                               "carol@example.org dave@sub.example.org bob@example.com",
		own + `/~~/resource-lists/list%5B@name=%22loop%22%5D`:                                 "",
		"resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list[1]":          "bob@example.com",
		"/resource-lists/users/alice%40example.com/index/~~/resource-lists/list[1]":           "bob@example.com",
		"http://x/resource-lists/users/sip:eve@example.net/index/~~/resource-lists/list[1]":   "",
		"http://x/resource-lists/users/sip:alice@example.com/other/~~/resource-lists/list[1]": "",
		"http://x/pres-rules/users/sip:alice@example.com/index":                               "",
		"": "", "%": "", "http://[": "", own + "/~~/%": "", own + "/~~/": "bob@example.com carol@example.org dave@sub.example.org",
	} {
		a := anchors{user: alice, docs: map[string]*markup.Element{"index": root, "other": nil}}
		var got []string
		for _, m := range a.members(uri) {
			got = append(got, m.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}
