package simple

import (
	"strings"
	"sync/atomic"
	"time"

	"pharos/presence"
)

// counters are what Stats reads.
type counters struct {
	requests, challenges, forbidden   atomic.Uint64
	notices, notifies, failures, lost atomic.Uint64
	messages                          atomic.Uint64
	answers                           [7]atomic.Uint64 // by class
}

func (c *counters) answered(status int) {
	if i := status / 100; i < len(c.answers) {
		c.answers[i].Add(1)
	}
}

// Stats are counts for status and metrics.
type Stats struct {
	Requests   uint64    `json:"requests"`         // taken from the stack
	Answers    [7]uint64 `json:"answers_by_class"` // final answers by class: Answers[2] are the 2xx
	Challenges uint64    `json:"challenges"`       // 401 among them
	Forbidden  uint64    `json:"forbidden"`        // wrong credentials, or somebody else's name in From

	Notices  uint64 `json:"notices"`  // things to be told to a dialog
	Notifies uint64 `json:"notifies"` // NOTIFYs sent; less than Notices where a newer state won
	Failures uint64 `json:"failures"` // NOTIFYs that were refused or not answered
	Lost     uint64 `json:"lost"`     // subscriptions ended because of that
	Messages uint64 `json:"messages"` // MESSAGEs sent

	Dialogs  int            `json:"dialogs"`
	Packages map[string]int `json:"dialogs_by_package"` // without those that have none
	Waiting  int            `json:"waiting"`            // dialogs with a NOTIFY that waits to be sent
	Troubled int            `json:"troubled"`           // dialogs whose watcher was not reached, and those without a way to it
	Users    int            `json:"users"`              // with bindings
	Bindings int            `json:"bindings"`
}

// Stats returns the counts as they are now.
func (e *Edge) Stats() Stats {
	c := &e.count
	s := Stats{
		Requests: c.requests.Load(), Challenges: c.challenges.Load(), Forbidden: c.forbidden.Load(),
		Notices: c.notices.Load(), Notifies: c.notifies.Load(), Failures: c.failures.Load(),
		Lost: c.lost.Load(), Messages: c.messages.Load(), Packages: make(map[string]int),
	}
	s.Dialogs = e.dialogs.count(s.Packages)
	for i := range s.Answers {
		s.Answers[i] = c.answers[i].Load()
	}
	s.Users, s.Bindings = e.bindings.count()
	e.out.mu.Lock()
	s.Waiting = len(e.out.waiting)
	e.out.mu.Unlock()
	e.dialogs.mu.Lock()
	for _, ds := range e.dialogs.troubled {
		s.Troubled += len(ds)
	}
	e.dialogs.mu.Unlock()
	return s
}

// DialogInfo describes the SIP side of a subscription for people.
type DialogInfo struct {
	Sub                 string // our tag, and the subscription's ID
	Presentity, Watcher presence.Entity
	List                string // URI of the list that a member is watched for; else empty
	CallID, RemoteTag   string
	Target              string // where NOTIFYs are addressed to
	Route               string // route set
	Event               string // value of the header field, with the parameters that count
	Agent               string // User-Agent
	Transport           string // of the flow; empty when there is none any more
	Remote              string // address of the flow

	CSeq     uint32    // of the last NOTIFY
	Sent     time.Time // of the last NOTIFY; zero: none in this process
	Code     int       // its answer; 408: none came; 503: could not be sent; 0: none yet
	Version  uint64    // of the view that was last confirmed
	Accept   string    // media type of the bodies
	InFlight bool      // an answer is being waited for
	Pending  bool      // something newer waits
	Failures int       // in a row
	Retrying bool      // waiting before the next attempt
	Stranded bool      // the connection has ended and nothing else leads there
}

// Describe returns what is known of a subscription's dialog; of that to a member
// of a list, of the list's.
func (e *Edge) Describe(sub string) (DialogInfo, bool) {
	sub, _, member := strings.Cut(sub, memberSuffix)
	d := e.dialogs.get(sub)
	if d == nil {
		return DialogInfo{}, false
	}
	list := ""
	if l := e.lists.get(sub); l != nil && member {
		list = l.uri()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.load()
	i := DialogInfo{
		Sub: d.id, Presentity: d.presentity, Watcher: d.watcher, List: list,
		CallID: s.part[partCallID], RemoteTag: s.part[partRemoteTag],
		Target: s.part[partTarget], Route: s.part[partRoutes], Event: s.part[partEvent] + s.part[partParams], Agent: s.part[partAgent],
		CSeq: d.cseq, Code: int(d.code), Version: d.version,
		Accept:   d.pkg.body(s.part[partAccept]).name,
		InFlight: d.busy, Pending: d.next.state != 0,
		Failures: int(d.fails), Retrying: d.retry != nil, Stranded: d.stranded,
	}
	if d.sent != 0 {
		i.Sent = time.Unix(0, d.sent)
	}
	if d.flow != nil && d.flow.Alive() {
		i.Transport, i.Remote = d.flow.Transport(), d.flow.RemoteAddr().String()
	}
	return i, true
}

// BindingInfo describes a registered contact for people.
type BindingInfo struct {
	Contact, Instance, Path, Agent string
	RegID                          uint32
	Q                              int // thousandths
	Expires, Updated               time.Time
	Transport, Remote              string // of its flow; empty when there is none any more
}

// Bindings returns the live bindings of a user, best q first.
func (e *Edge) Bindings(u presence.Entity) []BindingInfo {
	var is []BindingInfo
	for _, b := range e.bindings.get(u, time.Now()) {
		i := BindingInfo{
			Contact: b.contact, Instance: b.instance, Path: b.path, Agent: b.agent,
			RegID: b.regID, Q: b.q(), Expires: b.expires, Updated: b.updated,
		}
		if f := e.flowOf(b); f != nil {
			i.Transport, i.Remote = f.Transport(), f.RemoteAddr().String()
		}
		is = append(is, i)
	}
	return is
}
