package simple

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"pharos/presence"
)

var aliceAt = presence.Entity{User: "alice", Domain: "example.com"}

func someBinding(contact string) *binding {
	return &binding{contact: contact, params: ";q=0.5", instance: "<urn:uuid:1>", regID: 1, callID: "c@x", cseq: 7, path: "<sip:p;lr>",
		token: "u.a.b", agent: "phone", node: "n2", expires: time.Unix(100, 0), updated: time.Unix(50, 0)}
}

// What one node asks is what the other reads, and nothing shorter is.
func TestNodeCall(t *testing.T) {
	b := someBinding("sip:alice@192.0.2.1")
	c := change{add: []*binding{b}, remove: []*binding{someBinding("sip:x")}, all: true, callID: "c", cseq: 9}
	for _, tc := range []struct {
		wire []byte
		want nodeCall
	}{
		{appendRegister(nil, aliceAt, &c), nodeCall{op: callRegister, user: aliceAt, change: c}},
		{appendClosed(nil, aliceAt, b), nodeCall{op: callClosed, user: aliceAt, binding: b}},
		{appendRemoved(nil, aliceAt), nodeCall{op: callRemoved, user: aliceAt}},
		{appendFind(nil, aliceAt, "tag"), nodeCall{op: callFind, user: aliceAt, sub: "tag"}},
		{appendDrop(nil, "tag", 3000), nodeCall{op: callDrop, sub: "tag", ceiling: 3000}},
		{appendSend(nil, b, []byte("To: x\r\n"), []byte("hi")), nodeCall{op: callSend, binding: b, header: []byte("To: x\r\n"), body: []byte("hi")}},
	} {
		got, err := decodeCall(tc.wire)
		if err != nil || !reflect.DeepEqual(*got, tc.want) {
			t.Errorf("%c: %+v, %v", tc.want.op, got, err)
		}
		for n := range tc.wire {
			if got, err := decodeCall(tc.wire[:n]); err == nil {
				t.Errorf("%c: %d of %d bytes are %+v", tc.want.op, n, len(tc.wire), got)
			}
		}
		if _, err := decodeCall(append(tc.wire, 0)); err == nil {
			t.Errorf("%c: one byte more is read", tc.want.op)
		}
	}
	for _, g := range []registration{{bindings: []*binding{b, b}}, {status: 500, reason: "CSeq"}, {err: errNotOwner}} {
		got := decodeRegistration(appendRegistration(nil, g))
		if g.err != nil && got.err != nil && g.err.Error() == got.err.Error() {
			continue
		}
		if !reflect.DeepEqual(got, g) {
			t.Errorf("%+v became %+v", g, got)
		}
	}
	for _, b := range [][]byte{nil, {0}, {1}, {1, 0}} {
		if g := decodeRegistration(b); g.err == nil {
			t.Errorf("%v is %+v", b, g)
		}
	}
	sub := &presence.Subscription{ID: "tag", Watcher: aliceAt, Via: presence.Via{Node: "n1", Edge: Name}, Package: "dialog", Opaque: []byte("state")}
	for _, until := range []int64{0, 1_800_000_000} {
		if until > 0 {
			sub.Expires = time.Unix(until, 0)
		}
		wire := appendFound(nil, sub)
		if got, err := decodeFound(wire); err != nil || !reflect.DeepEqual(got, sub) {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := decodeFound(wire[:len(wire)-len(binary.AppendUvarint(nil, uint64(until)))]); err != nil || got == nil || !got.Expires.IsZero() {
			t.Errorf("of an earlier version: %+v, %v", got, err)
		}
	}
	if got, err := decodeFound(appendFound(nil, nil)); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range [][]byte{nil, {0}, {1, 1}} {
		if got, err := decodeFound(b); err == nil {
			t.Errorf("%v is %+v", b, got)
		}
	}
	if s, err := decodeStatus(appendStatus(nil, 202, nil)); s != 202 || err != nil {
		t.Errorf("%d, %v", s, err)
	}
	if _, err := decodeStatus(appendStatus(nil, 0, errors.New("no"))); err == nil || err.Error() != "no" {
		t.Error(err)
	}
	if _, err := decodeStatus(nil); err == nil {
		t.Error("nothing is a status")
	}
}

// Bindings that a version without nodes has saved are read.
func TestBindingsWithoutNode(t *testing.T) {
	b := someBinding("sip:alice@192.0.2.1")
	b.node = ""
	wire := appendBindings(nil, []*binding{b})
	wire = wire[:len(wire)-1] // the empty node's length
	wire[0] = nodelessVersion
	if bs, err := decodeBindings(wire); err != nil || len(bs) != 1 || !reflect.DeepEqual(bs[0], b) {
		t.Errorf("%+v, %v", bs, err)
	}
}
