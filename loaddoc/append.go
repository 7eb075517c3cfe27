package loaddoc

import (
	"strconv"

	"pharos/markup"
)

// Append writes a document. Servers and users come in the order in which they are.
func Append(dst []byte, d *Document) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<presence xmlns="`+pidfSpace+`" xmlns:lc="`+Space+`"`...)
	dst = markup.AppendAttr(dst, "entity", d.Entity)
	dst = append(dst, ">\n"...)
	if d.Basic != "" {
		dst = append(dst, `<tuple id="service"><status><basic>`...)
		dst = markup.AppendText(dst, d.Basic)
		dst = append(dst, "</basic></status></tuple>\n"...)
	}
	if d.Note != "" {
		dst = append(dst, "<note>"...)
		dst = markup.AppendText(dst, d.Note)
		dst = append(dst, "</note>\n"...)
	}
	state := "full"
	if d.Partial {
		state = "partial"
	}
	dst = append(dst, `<lc:load-info version="`...)
	dst = strconv.AppendUint(dst, d.Version, 10)
	dst = append(dst, `" state="`+state+`">`+"\n"...)
	for i := range d.Servers {
		dst = d.Servers[i].appendLoad(dst)
	}
	dst = append(dst, "</lc:load-info>\n"...)
	if !d.Partial || d.Listed {
		dst = append(dst, "<lc:server-list>"...)
		for _, uri := range d.Addable {
			dst = append(dst, "<lc:server>"...)
			dst = markup.AppendText(dst, uri)
			dst = append(dst, "</lc:server>"...)
		}
		dst = append(dst, "</lc:server-list>\n"...)
	}
	dst = appendCount(dst, "server-count", d.Count)
	dst = append(dst, '\n')
	for i := range d.Servers {
		if s := &d.Servers[i]; !s.Gone {
			dst = s.appendUsers(dst)
		}
	}
	dst = appendCount(dst, "total-user-count", d.Users)
	return append(dst, "\n</presence>\n"...)
}

func appendCount(dst []byte, name string, n int) []byte {
	dst = append(dst, "<lc:"+name+">"...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, "</lc:"+name+">"...)
}

func appendLevel(dst []byte, name string, level float64) []byte {
	dst = append(dst, "<lc:"+name+">"...)
	dst = strconv.AppendFloat(dst, level, 'f', -1, 64)
	return append(dst, "</lc:"+name+">"...)
}

func (s *Server) appendLoad(dst []byte) []byte {
	dst = append(dst, "<lc:load"...)
	dst = markup.AppendAttr(dst, "svr-id", s.ID)
	if s.Gone {
		return append(dst, ` state="gone"/>`+"\n"...)
	}
	if s.URI != "" {
		dst = markup.AppendAttr(dst, "uri", s.URI)
	}
	if s.State != "" {
		dst = markup.AppendAttr(dst, "state", s.State)
	}
	dst = append(dst, '>')
	dst = appendLevel(dst, "load-level", s.Level)
	dst = appendLevel(dst, "max-load-level", s.Max)
	return append(dst, "</lc:load>\n"...)
}

func (s *Server) appendUsers(dst []byte) []byte {
	dst = append(dst, "<lc:user-list"...)
	dst = markup.AppendAttr(dst, "server-id", s.ID)
	dst = append(dst, '>')
	dst = appendCount(dst, "user-count", s.Count)
	for i := range s.Users {
		dst = append(dst, '\n')
		dst = s.Users[i].append(dst)
	}
	return append(dst, "</lc:user-list>\n"...)
}

func (u *User) append(dst []byte) []byte {
	dst = append(dst, "<lc:user"...)
	dst = markup.AppendAttr(dst, "user-id", u.ID)
	if u.Gone {
		return append(dst, ` state="gone"/>`...)
	}
	dst = append(dst, '>')
	if u.XMPP {
		dst = append(dst, "<lc:protocol>xmpp</lc:protocol>"...)
	}
	if u.SIP {
		dst = append(dst, "<lc:protocol>sip</lc:protocol>"...)
	}
	dst = appendCount(dst, "resource-count", u.Resources)
	if u.Presence != "" {
		dst = append(dst, "<lc:presence-info>"...)
		dst = append(dst, u.Presence...)
		dst = append(dst, "</lc:presence-info>"...)
	}
	return append(dst, "</lc:user>"...)
}

// size is about what u takes in a document.
func (u *User) size() int { return 220 + len(u.ID) + len(u.Presence) }
