package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"pharos/bench/client"
)

// A history of reads and writes of registers (documents by XCAP, names in rosters), all
// through random servers, must be one that a single register could have given: porcupine
// looks for an order.
type history struct {
	turn sync.RWMutex // is held for reading during each operation
	mu   sync.Mutex
	ops  []porcupine.Operation
	n    int
}

// retryAfter is how long a client waits that was told to come again, as the server asks for.
const retryAfter = 2 * time.Second

// access is an operation on a register; a read has write false. The output is what was read.
type access struct {
	key   string
	write bool
	value string
}

// register is porcupine's model; what was never written reads as "".
var register = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range all {
			k := o.Input.(access).key
			by[k] = append(by[k], o)
		}
		var out [][]porcupine.Operation
		for _, ops := range by {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in := input.(access)
		if in.write {
			return true, in.value
		}
		return output.(string) == state.(string), state
	},
	DescribeOperation: func(input, output any) string {
		in := input.(access)
		if in.write {
			return "write " + in.value
		}
		return fmt.Sprint("read ", output)
	},
}

// add notes an operation. One of which nobody knows whether it took place (known false) counts
// as if it might take place at any time after its call; a read of that kind says nothing.
func (h *history) add(process int, in access, out string, from, to time.Time, known bool) {
	if !known && !in.write {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	op := porcupine.Operation{ClientId: process, Input: in, Output: out, Call: from.UnixNano(), Return: to.UnixNano()}
	if !known {
		h.n++
		op.ClientId, op.Return = 1000+h.n, 1<<62 // it may come about for ever
	}
	h.ops = append(h.ops, op)
}

// check looks for an order; it may take long, and gives up then.
func (h *history) check(within time.Duration) (ok, sure bool, n int) {
	h.mu.Lock()
	ops := append([]porcupine.Operation(nil), h.ops...)
	h.mu.Unlock()
	r := porcupine.CheckOperationsTimeout(register, ops, within)
	return r == porcupine.Ok, r != porcupine.Unknown, len(ops)
}

// begin starts a new history with what is there now, when nothing is under way: so that one fault's
// operations of which nobody knows the outcome do not make the next one's undecidable.
func (h *history) begin(now func() map[string]string) {
	h.turn.Lock()
	defer h.turn.Unlock()
	values := now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = nil
	at := time.Now().UnixNano()
	for key, v := range values {
		h.ops = append(h.ops, porcupine.Operation{ClientId: 999, Input: access{key: key, write: true, value: v}, Output: "", Call: at - 1, Return: at})
	}
}

// documents are clients of one user's document, at random servers, until ctx ends.
func (h *history) documents(ctx context.Context, process int, user string, nodes []netip.AddrPort) {
	hc := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := 0; ctx.Err() == nil; i++ {
		at := nodes[rand.IntN(len(nodes))]
		url := documentURL(at, user)
		in := access{key: "doc " + user, write: rand.IntN(2) == 0, value: fmt.Sprintf("c%d-%d", process, i)}
		h.turn.RLock()
		from := time.Now()
		out, known := "", false
		if in.write {
			status, _ := client.XCAP(ctx, hc, "PUT", url, user, password, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="`+in.value+`"/></resource-lists>`)
			known = status/100 == 2 // a refusal for now is not told from what may have had an effect: it costs the checker a little
		} else {
			out, known = readDocument(ctx, hc, url, user)
		}
		h.add(process, in, out, from, time.Now(), known)
		h.turn.RUnlock()
		if !known {
			sleep(ctx, retryAfter)
		}
		sleep(ctx, time.Duration(50+rand.IntN(300))*time.Millisecond)
	}
}

func documentURL(at netip.AddrPort, user string) string {
	return "http://" + at.String() + "/xcap/resource-lists/users/sip:" + user + "@" + domain + "/index"
}

// readDocument is the name of the list in a user's document; known is false when nobody could say.
func readDocument(ctx context.Context, hc *http.Client, url, user string) (name string, known bool) {
	status, body := client.XCAP(ctx, hc, "GET", url, user, password, "")
	if status != http.StatusOK {
		return "", status == http.StatusNotFound
	}
	if _, rest, ok := strings.Cut(body, `name="`); ok {
		name, _, _ = strings.Cut(rest, `"`)
	}
	return name, true
}

// rosterRegister is the contact whose name is read and set.
const rosterRegister = "register@" + domain

// rosters are reads and sets of one roster name over a chat client, until ctx ends.
func (h *history) rosters(ctx context.Context, process int, c *chat) {
	jid := rosterRegister
	for i := 0; ctx.Err() == nil; i++ {
		in := access{key: "roster " + c.user, write: rand.IntN(2) == 0, value: fmt.Sprintf("c%d-%d", process, i)}
		h.turn.RLock()
		from := time.Now()
		out, known := "", false
		if in.write {
			e := c.query("set", "<query xmlns='"+client.NSRoster+"'><item jid='"+jid+"' name='"+in.value+"'/></query>", 3*time.Second)
			known = e != nil && e.Attr("type") == "result" // an error may be of a commit whose outcome is not known
		} else {
			out, known = readRoster(c, jid)
		}
		h.add(process, in, out, from, time.Now(), known)
		h.turn.RUnlock()
		if !known {
			sleep(ctx, retryAfter)
		}
		sleep(ctx, time.Duration(50+rand.IntN(300))*time.Millisecond)
	}
}

// readRoster is the name of a contact in the roster; known is false when nobody could say.
func readRoster(c *chat, jid string) (name string, known bool) {
	e := c.query("get", "<query xmlns='"+client.NSRoster+"'/>", 3*time.Second)
	if e == nil || e.Attr("type") != "result" {
		return "", false
	}
	for it := range e.Child(client.NSRoster, "query").Children() {
		if it.Attr("jid") == jid {
			name = it.Attr("name")
		}
	}
	return name, true
}
