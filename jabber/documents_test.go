package jabber

import (
	"errors"
	"strings"

	"pharos/xdm"
)

// xcapLine is what an XCAP client does.
//
//	xcap alice puts pres-rules             the block
//	xcap alice edits pres-rules OLD to NEW OLD must be there
//	xcap alice deletes pres-rules
//	xcap alice has pres-rules [not] TEXT
func (s *script) xcapLine(text string, l scriptLine) {
	user, rest, _ := strings.Cut(text, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	auid, rest, _ := strings.Cut(rest, " ")
	n := xdm.Name{AUID: auid, User: entity(user), Path: xdm.Index}
	write := func(fn func(old string) string) {
		_, _, err := s.documents.Update(s.ctx, n, func(old *xdm.Document) ([]byte, error) {
			was := ""
			if old != nil {
				was = string(old.Body)
			}
			if now := fn(was); now != "" {
				return []byte(now), nil
			}
			return nil, nil
		})
		if err != nil {
			s.errorf("%v", err)
		}
	}
	settle()
	switch verb {
	case "puts":
		write(func(string) string { return l.block })
	case "deletes":
		write(func(string) string { return "" })
	case "edits":
		from, to, ok := strings.Cut(rest+" ", " to ")
		write(func(old string) string {
			if !ok || !strings.Contains(old, from) {
				s.errorf("no %q in\n%s", from, old)
			}
			return strings.Replace(old, from, strings.TrimSuffix(to, " "), 1)
		})
	case "has":
		doc, err := s.documents.Get(s.ctx, n)
		if err != nil && !errors.Is(err, xdm.ErrNotFound) {
			s.errorf("%v", err)
		}
		without, not := strings.CutPrefix(rest, "not ")
		if strings.Contains(string(doc.Body), without) == not {
			s.errorf("%s has\n%s", user, doc.Body)
		}
	default:
		s.errorf("what is %q?", l.text)
	}
}
