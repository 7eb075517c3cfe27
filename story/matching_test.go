package story

import (
	"strings"
	"testing"
)

// A story that does not hold must not pass.
func TestMatch(t *testing.T) {
	got := []event{
		{words: []string{"NOTIFY", "of=alice", "active", "open", "note=desk"}},
		{words: []string{"PUBLISH", "200"}, quiet: true},
		{words: []string{"NOTIFY", "of=alice", "active", "closed"}},
	}
	if wrong := match("bob", []event{{words: []string{"NOTIFY", "wrong-event", "open"}}}, []line{{words: []string{"bob:", "NOTIFY", "open"}}}, false); len(wrong) != 1 {
		t.Errorf("a breach of RFC 6665 was taken: %q", wrong)
	}
	for _, c := range []struct {
		name     string
		want     []string
		anyOrder bool
		wrong    int
	}{
		{"all", []string{"NOTIFY open", "NOTIFY closed"}, false, 0},
		{"with the quiet one", []string{"NOTIFY open", "PUBLISH 200", "NOTIFY closed"}, false, 0},
		{"wrong order", []string{"NOTIFY closed", "NOTIFY open"}, false, 2},
		{"any order", []string{"NOTIFY closed", "NOTIFY open"}, true, 0},
		{"one too many", []string{"NOTIFY open"}, false, 1},
		{"silence", nil, false, 2},
		{"never came", []string{"NOTIFY open", "NOTIFY closed", "NOTIFY closed"}, true, 1},
		{"another word", []string{"NOTIFY open note=lunch", "NOTIFY closed"}, false, 4},
		{"a word that must not be", []string{"NOTIFY open !note", "NOTIFY closed"}, false, 4},
		{"perhaps, and it came", []string{"perhaps NOTIFY open", "NOTIFY closed"}, false, 0},
		{"perhaps, and it did not", []string{"NOTIFY open", "perhaps NOTIFY open", "NOTIFY closed"}, false, 0},
		{"perhaps is no licence", []string{"perhaps NOTIFY open", "NOTIFY open"}, false, 2},
		{"perhaps in any order", []string{"NOTIFY closed", "NOTIFY open", "perhaps NOTIFY open"}, true, 0},
		{"also, in the same", []string{"NOTIFY open", "also NOTIFY note=desk", "NOTIFY closed"}, false, 0},
		{"also, in the next", []string{"NOTIFY open", "also NOTIFY closed"}, false, 0},
		{"also, and it never came", []string{"NOTIFY open", "NOTIFY closed", "also NOTIFY note=lunch"}, false, 1},
		{"no such word", []string{"NOTIFY open !activity", "NOTIFY closed !note"}, false, 0},
	} {
		var want []line
		for _, w := range c.want {
			want = append(want, line{text: w, words: append([]string{"bob:"}, strings.Fields(w)...)})
		}
		if wrong := match("bob", got, want, c.anyOrder); len(wrong) != c.wrong {
			t.Errorf("%s: %d wrong, want %d: %s", c.name, len(wrong), c.wrong, strings.Join(wrong, "; "))
		}
	}
}

func TestParseScript(t *testing.T) {
	s, err := parseScript("x.txt", "# point\nactors a sip b/pad xmpp\n\na publishes open note=\"at my desk\"\na refreshes\n\tb/pad: presence\n\nafter 1m\n\tany order\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.blocks) != 2 || len(s.blocks[0].actions) != 2 || len(s.blocks[0].expected) != 1 || !s.blocks[1].anyOrder {
		t.Errorf("%+v", s.blocks)
	}
	if w := s.blocks[0].actions[0].words; len(w) != 4 || w[3] != "note=at my desk" {
		t.Errorf("%q", w)
	}
	for name, bad := range map[string]string{
		"no point":           "actors a sip\na publishes open\n",
		"no actors":          "# p\na publishes open\n",
		"nothing happens":    "# p\nactors a sip\n",
		"odd actors":         "# p\nactors a\na publishes open\n",
		"unknown world":      "# p\nactors a irc\na publishes open\n",
		"expectation first":  "# p\nactors a sip\n\ta: NOTIFY\n",
		"expectation of who": "# p\nactors a sip\na publishes open\n\tNOTIFY open\n",
		"open quote":         "# p\nactors a sip\na publishes open note=\"x\n",
	} {
		if _, err := parseScript("x.txt", bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
