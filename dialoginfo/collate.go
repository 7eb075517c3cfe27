package dialoginfo

import (
	"strconv"
	"time"
)

// Published is one publisher's document, and when it was sent.
type Published struct {
	Info *Info
	At   time.Time
}

// Collate makes one list of dialogs out of what several publishers say of one
// user (RFC 4235 §3.11), in their order. The rule:
//
//   - A dialog that more than one publication names, by id and Call-ID, is one
//     dialog. If any of them says that it has terminated it has: there is no way
//     back in the state machine (RFC 4235 §3.7.1), so that what comes late, or was
//     left behind by a publisher that lost its entity-tag, does not light a lamp
//     again. Else the last word counts.
//   - Other dialogs with the same id are different ones: those of later publications
//     get another id (RFC 4235 §4.1.1 has ids unique).
//
// Whoever does not tell the Call-ID of a dialog can only be taken at his last word.
func Collate(ps []Published) []Dialog {
	if len(ps) == 1 {
		return latest(ps[0].Info.Dialogs)
	}
	var all []Dialog
	var at []time.Time
	for _, p := range ps {
	next:
		for _, d := range latest(p.Info.Dialogs) {
			for i := range all {
				if d.CallID == "" || !all[i].Same(&d) {
					continue
				}
				if all[i].State == Terminated || d.State != Terminated && p.At.Before(at[i]) {
					continue next
				}
				all[i], at[i] = d, p.At
				continue next
			}
			all, at = append(all, d), append(at, p.At)
		}
	}
	taken := make(map[string]bool, len(all))
	for i := range all {
		id := all[i].ID
		for n := 2; taken[id]; n++ {
			id = all[i].ID + "-" + strconv.Itoa(n)
		}
		if id != all[i].ID {
			all[i] = all[i].WithID(id)
		}
		taken[id] = true
	}
	return all
}

// latest leaves of dialogs that one document names twice the last.
func latest(ds []Dialog) []Dialog {
	if len(ds) < 2 {
		return ds
	}
	at := make(map[string]int, len(ds))
	kept := make([]Dialog, 0, len(ds))
	for _, d := range ds {
		if i, ok := at[d.ID]; ok {
			kept[i] = d
			continue
		}
		at[d.ID] = len(kept)
		kept = append(kept, d)
	}
	return kept
}

// Same tells whether both are about one dialog: by id, and Call-ID where both say it.
func (d *Dialog) Same(o *Dialog) bool {
	return d.ID == o.ID && (d.CallID == o.CallID || d.CallID == "" || o.CallID == "")
}

// Update applies a document to what its publisher said before (RFC 4235 §4.3):
// a partial one changes and adds dialogs, a full one replaces all. Those that had
// terminated before are left out.
func (i *Info) Update(before *Info) *Info {
	u := &Info{Version: i.Version, Entity: i.Entity, Dialogs: i.Dialogs}
	if i.Partial && before != nil {
		u.Dialogs = latest(append(Alive(before.Dialogs), i.Dialogs...))
	}
	return u
}

// OnThePhone tells whether a dialog is confirmed.
func OnThePhone(ds []Dialog) bool {
	for i := range ds {
		if ds[i].State == Confirmed {
			return true
		}
	}
	return false
}

// Alive leaves out those that have terminated.
func Alive(ds []Dialog) []Dialog {
	kept := make([]Dialog, 0, len(ds))
	for i := range ds {
		if ds[i].State != Terminated {
			kept = append(kept, ds[i])
		}
	}
	return kept
}
