package simple

import (
	"errors"
	"time"

	"pharos/presence"
	"pharos/summary"
)

// summaryPackage is RFC 3842: what waits in a user's mailbox, told to the user by
// whoever keeps the mailbox.
var summaryPackage = &eventPackage{
	name:    "message-summary",
	key:     "message-summary",
	def:     time.Hour, // RFC 3842 §3.4
	private: true,
	bodies:  []bodyType{{name: summary.Type, view: renderSummary}},
	publish: &publishing{
		def:    time.Hour,
		types:  []string{summary.Type},
		others: true,
		read:   readSummary,
		revive: func([]byte) (*presence.Document, error) { return nil, nil },
	},
}

// renderSummary writes what the user's mailboxes say; without any, nothing waits.
func renderSummary(v *presence.View) []byte {
	return v.Render(summary.Type, func(v *presence.View) []byte {
		all := make([]*summary.Summary, 0, len(v.Sources))
		for _, s := range v.Sources {
			if m, err := summary.Parse(string(s.Native.Bytes)); err == nil {
				all = append(all, m)
			}
		}
		return summary.Append(nil, summary.Merge(all))
	})
}

func readSummary(r *request, p *publication, next func()) {
	_, err := summary.Parse(string(p.body))
	switch {
	case errors.Is(err, summary.ErrTooBig):
		r.reply(413, "", r.edge.warning(nil, r.flow, err.Error()))
	case err != nil:
		r.badDocument(err.Error(), err)
	default:
		p.native = presence.Payload{Type: p.mediaType, Bytes: p.body}
		next()
	}
}
