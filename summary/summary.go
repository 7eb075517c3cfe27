// Package summary reads and writes message summaries (RFC 3842 §5): what waits
// in a mailbox.
package summary

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Type is the media type (RFC 3842 §3.5).
const Type = "application/simple-message-summary"

// Bounds on one summary.
const (
	MaxBytes = 16 << 10 // octets
	MaxLines = 256      // lines
)

// Errors. They come wrapped with what is wrong.
var (
	ErrMalformed = errors.New("summary: malformed message summary")
	ErrTooBig    = errors.New("summary: the message summary is too big")
)

// Class is a message-context-class (RFC 3458 §6.2), in the order of RFC 3842 §5.2.
type Class uint8

const (
	Voice Class = iota
	Fax
	Pager
	Multimedia
	Text
	None
	classes
)

var names = [classes]string{"Voice-Message", "Fax-Message", "Pager-Message", "Multimedia-Message", "Text-Message", "None"}

// String is the name of the summary line.
func (c Class) String() string {
	if c < classes {
		return names[c]
	}
	return ""
}

// Count of messages of one class. Each is at most 2^32-1 (RFC 3842 §3.5).
type Count struct {
	New, Old             uint32
	UrgentNew, UrgentOld uint32 // among them
	Urgent               bool   // the urgent ones are told
	Told                 bool   // the class has a line
}

// Summary is what a body says.
type Summary struct {
	Waiting bool
	Account string // Message-Account, a URI; "" when it is not told
	Counts  [classes]Count
}

// Parse reads a body. Names are compared without regard to case (RFC 3261 §7.3.1);
// lines that are not known are ignored, and so are the headers of single messages that
// may follow after a blank line. The error is one of the above.
func Parse(text string) (*Summary, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d octets", ErrTooBig, MaxBytes)
	}
	s := &Summary{}
	status := false
	for n := 0; text != ""; n++ {
		if n == MaxLines {
			return nil, fmt.Errorf("%w: more than %d lines", ErrTooBig, MaxLines)
		}
		line, rest, _ := strings.Cut(text, "\n")
		line = strings.TrimRight(line, "\r \t")
		text = rest
		if line == "" {
			break // RFC 3842 §3.5: what follows is for the first notification after a message has come
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%w: line %d has no colon", ErrMalformed, n+1)
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }) {
			return nil, fmt.Errorf("%w: line %d has a control character", ErrMalformed, n+1)
		}
		if !status { // RFC 3842 §5.2: the status line comes first
			if !strings.EqualFold(name, "Messages-Waiting") {
				return nil, fmt.Errorf("%w: it does not begin with Messages-Waiting", ErrMalformed)
			}
			switch {
			case strings.EqualFold(value, "yes"):
				s.Waiting = true
			case !strings.EqualFold(value, "no"):
				return nil, fmt.Errorf("%w: Messages-Waiting is neither yes nor no", ErrMalformed)
			}
			status = true
			continue
		}
		if strings.EqualFold(name, "Message-Account") {
			s.Account = value
			continue
		}
		for c := range classes {
			if strings.EqualFold(name, names[c]) {
				if err := s.Counts[c].read(value); err != nil {
					return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, names[c], err)
				}
			}
		}
	}
	if !status {
		return nil, fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	return s, nil
}

// read reads "2/8 (0/2)".
func (c *Count) read(v string) (err error) {
	all, urgent, has := strings.Cut(v, "(")
	c.Told, c.Urgent = true, has
	if c.New, c.Old, err = pair(all); err == nil && has {
		urgent, ok := strings.CutSuffix(strings.TrimSpace(urgent), ")")
		if !ok {
			return errors.New("the bracket is not closed")
		}
		c.UrgentNew, c.UrgentOld, err = pair(urgent)
	}
	return err
}

func pair(v string) (x, y uint32, err error) {
	a, b, ok := strings.Cut(v, "/")
	if !ok {
		return 0, 0, errors.New("no slash between new and old")
	}
	if x, err = number(a); err == nil {
		y, err = number(b)
	}
	return x, y, err
}

// number reads a count; one that is too large is 2^32-1 (RFC 3842 §3.5).
func number(v string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return ^uint32(0), nil
	}
	return uint32(n), err
}

// Append writes a body.
func Append(dst []byte, s *Summary) []byte {
	dst = append(dst, "Messages-Waiting: "...)
	if s.Waiting {
		dst = append(dst, "yes\r\n"...)
	} else {
		dst = append(dst, "no\r\n"...)
	}
	if s.Account != "" {
		dst = append(dst, "Message-Account: "...)
		dst = append(dst, s.Account...)
		dst = append(dst, '\r', '\n')
	}
	for i := range s.Counts {
		c := &s.Counts[i]
		if !c.Told {
			continue
		}
		dst = append(dst, names[i]...)
		dst = append(dst, ':', ' ')
		dst = appendPair(dst, c.New, c.Old)
		if c.Urgent {
			dst = appendPair(append(dst, ' ', '('), c.UrgentNew, c.UrgentOld)
			dst = append(dst, ')')
		}
		dst = append(dst, '\r', '\n')
	}
	return dst
}

func appendPair(dst []byte, x, y uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(x), 10)
	dst = append(dst, '/')
	return strconv.AppendUint(dst, uint64(y), 10)
}

// Merge makes one summary of those of several mailboxes: messages wait if they do
// in one, and the counts are added up (RFC 3842 §3.10). An account is told where
// there is only one.
func Merge(all []*Summary) *Summary {
	if len(all) == 1 {
		return all[0]
	}
	m := &Summary{}
	for i, s := range all {
		m.Waiting = m.Waiting || s.Waiting
		switch {
		case i == 0:
			m.Account = s.Account
		case m.Account != s.Account:
			m.Account = ""
		}
		for c := range s.Counts {
			m.Counts[c].add(&s.Counts[c])
		}
	}
	return m
}

func (c *Count) add(o *Count) {
	c.New, c.Old = sum(c.New, o.New), sum(c.Old, o.Old)
	c.UrgentNew, c.UrgentOld = sum(c.UrgentNew, o.UrgentNew), sum(c.UrgentOld, o.UrgentOld)
	c.Urgent, c.Told = c.Urgent || o.Urgent, c.Told || o.Told
}

// sum stops at the largest number that a line may hold.
func sum(a, b uint32) uint32 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint32(0)
}
