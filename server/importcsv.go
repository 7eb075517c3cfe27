package server

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"strings"

	"pharos/presence"
	"pharos/store"
	"pharos/xmpp"
)

// readCSV reads lines user@domain,password; # begins a comment line. After a line
// "user,contact,name,groups" the lines are contacts, with the groups separated by
// semicolons; after "user,rule,address" they are rules: allow or block. A line
// "user,password" leads back.
func (m *material) readCSV(where string, b []byte) {
	rd := csv.NewReader(bytes.NewReader(b))
	rd.FieldsPerRecord, rd.Comment, rd.TrimLeadingSpace = -1, '#', true
	read, fields := m.csvUser, 2
	for {
		rec, err := rd.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			m.problem("%s%v", where, err)
			return
		}
		line, _ := rd.FieldPos(0)
		at := where + "line " + strconv.Itoa(line)
		switch strings.ToLower(strings.Join(rec, ",")) {
		case "user,password":
			read, fields = m.csvUser, 2
			continue
		case "user,contact,name,groups":
			read, fields = m.csvContact, 4
			continue
		case "user,rule,address":
			read, fields = m.csvRule, 3
			continue
		}
		if len(rec) > fields || len(rec) < 2 || rec[1] == "" {
			m.problem("%s: want %s", at, csvForms[fields])
			continue
		}
		read(at, append(rec, "", "")[:max(fields, 3)])
	}
}

var csvForms = map[int]string{2: "user@domain,password", 3: "user@domain,allow|block,address", 4: "user@domain,contact@domain,name,group;group"}

func (m *material) csvUser(at string, rec []string) {
	if n := m.user(rec[0], at); n != nil {
		m.account(n, typed(rec[0]), rec[1], nil, at)
	}
}

func (m *material) csvContact(at string, rec []string) {
	n := m.user(rec[0], at)
	who, ok := m.address(at, rec[1])
	if n == nil || !ok {
		return
	}
	it := store.Item{Contact: who, Name: rec[2], Visible: true}
	for _, g := range strings.Split(rec[3], ";") {
		if g = strings.TrimSpace(g); g != "" {
			it.Groups = append(it.Groups, g)
		}
	}
	n.contact(it)
}

func (m *material) csvRule(at string, rec []string) {
	n := m.user(rec[0], at)
	if n == nil {
		return
	}
	switch rec[1] {
	case "allow":
		if who, ok := m.address(at, rec[2]); ok {
			n.contact(store.Item{Contact: who, Approved: true})
		}
	case "block":
		j, err := xmpp.ParseJID(withoutScheme(rec[2]))
		if err != nil || j.Resource != "" {
			m.problem("%s: %q is not an address or domain", at, rec[2])
			return
		}
		n.blocks = append(n.blocks, j.String())
	default:
		m.problem("%s: want allow or block, not %q", at, rec[1])
	}
}

// address reads somebody's address, of any domain.
func (m *material) address(at, s string) (presence.Entity, bool) {
	j, err := xmpp.ParseJID(withoutScheme(s))
	if err != nil || j.Local == "" || j.Resource != "" {
		m.problem("%s: %q is not of the form user@domain", at, s)
		return presence.Entity{}, false
	}
	return presence.Entity{User: j.Local, Domain: j.Domain}, true
}
