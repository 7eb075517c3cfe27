package sip

import (
	"bytes"
	"unsafe"
)

// brief takes a 2xx to a request of which only the status is waited for
// (OutRequest.Brief): nearly all responses that a presence server gets are such. False: it
// is none, or there is any doubt, and it has to be parsed.
func (t *clientTable) brief(s *Stack, b []byte) bool {
	status, via, method, ok := briefly(b)
	if !ok {
		return false
	}
	id, ok := branchID(via.Branch)
	if !ok {
		return false
	}
	tx := t.get(id)
	if tx == nil || !tx.brief || tx.method != method {
		return false
	}
	tx.mu.Lock()
	if tx.over || tx.id != id || !tx.ours(&via) {
		tx.mu.Unlock()
		return false
	}
	s.count.responses.Add(1)
	tx.finish(&briefs[status-200], nil)
	return true
}

// briefs are all there is to say.
var briefs = func() (all [100]Message) {
	for i := range all {
		all[i].Status, all[i].response = 200+i, true
	}
	return all
}()

// briefly reads what finds the request of a 2xx: the topmost Via and the method of the
// CSeq (RFC 3261 §17.1.3). ok is false unless the head is whole and its lines up to these two
// plain. The strings are b's: they are gone when the reader goes on.
func briefly(b []byte) (status int, via Via, method string, ok bool) {
	const start = "SIP/2.0 2"
	if len(b) < len(start)+3 || len(b) > MaxHead || string(b[:len(start)]) != start || !isDigit(b[9]) || !isDigit(b[10]) || b[11] != ' ' {
		return 0, via, "", false
	}
	status = 200 + int(b[9]-'0')*10 + int(b[10]-'0')
	if !bytes.Contains(b, []byte("\r\n\r\n")) {
		return 0, via, "", false
	}
	text := unsafe.String(&b[0], len(b))
	found := false
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 1 || b[i-1] != '\r' {
			return 0, via, "", false
		}
		if b, text = b[i+1:], text[i+1:]; b[0] == '\r' || isBlank(b[0]) {
			return 0, via, "", false // the end, or a line that goes on
		}
		end := bytes.IndexByte(b, '\r')
		colon := bytes.IndexByte(b[:end], ':')
		if colon < 1 {
			return 0, via, "", false
		}
		value := trimBlank(text[colon+1 : end])
		if next := b[end:]; len(next) < 3 || next[1] != '\n' || isBlank(next[2]) {
			return 0, via, "", false
		}
		switch LookupHeader(text[:colon]) {
		case HVia:
			if !found {
				if via, _, found = parseVia(value); !found {
					return 0, via, "", false
				}
			}
		case HCSeq:
			n := 0
			for n < len(value) && isDigit(value[n]) {
				n++
			}
			if _, ok := parseUint(value[:n], 1<<32-1); !ok || n == len(value) || !isBlank(value[n]) {
				return 0, via, "", false
			}
			if method = trimBlank(value[n:]); found {
				return status, via, method, isToken(method)
			}
			return 0, via, "", false // CSeq before Via: seldom
		}
	}
}
