package xmpp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"pharos/markup"
	"pharos/memnet"
)

// Whatever comes in, before and after authentication, the stream ends, and
// what we have sent till then are well-formed streams.
func FuzzHandle(f *testing.F) {
	f.Add([]byte("<presence/>"+closeTag), true)
	f.Add([]byte(hello+"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), false)
	f.Add([]byte(hello+strings.Repeat("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>"+b64("n,,n=juliet,r=abc")+"</auth>"+
		"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"+b64("c=biws,r=abc,p=")+"</response>", 3)), false)
	f.Add([]byte("<stream:error/>"), true)
	f.Add([]byte("<m xmlns:a='b' a:c='d'><a:e/></m>"), true)
	f.Fuzz(func(t *testing.T, in []byte, authenticated bool) {
		a, _ := testAcceptor()
		client, server := memnet.Pipe(1 << 20)
		go a.Handle(context.Background(), server, Insecure)
		if authenticated {
			in = append([]byte(hello+plainAuth+hello), in...)
		}
		go func() {
			_, _ = client.Write(in)
			_ = client.CloseWrite()
		}()
		out, err := io.ReadAll(client)
		client.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, stream := range bytes.Split(out, []byte("<?xml version='1.0'?>"))[1:] {
			d := xml.NewDecoder(bytes.NewReader(stream))
			for err = nil; err == nil; {
				_, err = d.Token()
			}
			var syntax *xml.SyntaxError
			if err != io.EOF && !(errors.As(err, &syntax) && syntax.Msg == "unexpected EOF") {
				t.Fatalf("%q was answered by %q: %v", in, out, err)
			}
		}
	})
}

// The frame reader survives anything and holds no more than it may.
func FuzzWebSocket(f *testing.F) {
	for _, s := range []string{wsOpen, wsClose, ""} {
		f.Add(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(s)))))
	}
	f.Add([]byte{0x01, 0x81, 0, 0, 0, 0, 'x', 0x80, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0})
	f.Add([]byte{0x89, 0x84, 1, 2, 3, 4, 5, 6, 7, 8, 0x88, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		a, _ := testAcceptor()
		a.init()
		client, server := memnet.Pipe(1 << 20)
		defer client.Close()
		s := a.newStream(server, Insecure)
		w := &webSocket{s: s, in: bufio.NewReader(bytes.NewReader(in)), o: markup.Options{MaxBytes: 1000, MaxDepth: 8, MaxAttrs: 8, MaxNodes: 64}}
		s.ws, s.wire = w, w
		for {
			el, err := w.next()
			if len(w.message) > 1000 {
				t.Fatalf("%d bytes held", len(w.message))
			}
			if err != nil {
				return
			}
			if el.Source() == "" {
				t.Fatal("an element of nothing")
			}
		}
	})
}
