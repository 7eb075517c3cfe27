package sip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParts(t *testing.T) {
	part := func(head, body string) string { return "--b\r\n" + head + "\r\n" + body + "\r\n" }
	const (
		pidf  = "Content-Type: application/pidf+xml\r\n"
		plain = "Content-Type: Text/Plain; charset=utf-8\r\n"
	)
	nest := func(n int) (head, body string) {
		head, body = plain, "x"
		for i := range n {
			b := fmt.Sprint("n", i)
			head, body = "Content-Type: multipart/mixed;boundary="+b+"\r\n", "--"+b+"\r\n"+head+"\r\n"+body+"\r\n--"+b+"--\r\n"
		}
		return head, body
	}
	deepHead, deep := nest(MaxPartDepth)
	deeperHead, deeper := nest(MaxPartDepth + 1)
	for _, c := range []struct {
		name, head, body string
		want             string // type disposition optional encoded alternative body, in lines
		err              error
	}{
		{"none", "", "", "", nil},
		{"one", plain, "hi", "text/plain render false false 0 hi", nil},
		{"no type", "", "hi", "/ render false false 0 hi", nil},
		{"bad type", "Content-Type: text\r\n", "hi", "", ErrHeader},
		{"disposition", plain + "Content-Disposition: Icon ; Handling=Optional\r\n", "hi", "text/plain icon true false 0 hi", nil},
		{"required", plain + "Content-Disposition: icon;handling=required\r\n", "hi", "text/plain icon false false 0 hi", nil},
		{"encoded", plain + "Content-Encoding: gzip\r\n", "hi", "text/plain render false true 0 hi", nil},
		{"identity", plain + "e: IDENTITY\r\n", "hi", "text/plain render false false 0 hi", nil},
		{"base64", plain + "Content-Transfer-Encoding: BASE64\r\n", "aGk=", "text/plain render false true 0 aGk=", nil},
		{"encoded multipart", "Content-Type: multipart/mixed;boundary=b\r\nContent-Encoding: gzip\r\n", "hi", "multipart/mixed render false true 0 hi", nil},
		{"mixed", "Content-Type: multipart/mixed; boundary=\"b\"\r\n",
			"preamble\r\n" + part(pidf, "<p/>") + part(plain+"Content-Disposition: render;handling=optional\r\n", "a\r\nb") + "--b--\r\nepilogue",
			"application/pidf+xml render false false 0 <p/>\ntext/plain render true false 0 a\r\nb", nil},
		{"alternative", "Content-Type: multipart/alternative;boundary=b\r\nContent-Disposition: render;handling=optional\r\n",
			part(plain, "a") + part(pidf, "b") + "--b--", "text/plain render true false 1 a\napplication/pidf+xml render true false 1 b", nil},
		{"related", "Content-Type: multipart/related;boundary=b\r\n", part(pidf, "a") + "--b--\r\n", "application/pidf+xml render false false 0 a", nil},
		{"without end", "Content-Type: multipart/mixed;boundary=b\r\n", part(pidf, "a"), "", ErrBody},
		{"without part", "Content-Type: multipart/mixed;boundary=b\r\n", "--b--\r\n", "", ErrBody},
		{"without boundary", "Content-Type: multipart/mixed\r\n", part(pidf, "a") + "--b--", "", ErrBody},
		{"other boundary", "Content-Type: multipart/mixed;boundary=c\r\n", part(pidf, "a") + "--b--", "", ErrBody},
		{"many", "Content-Type: multipart/mixed;boundary=b\r\n", strings.Repeat(part(plain, "a"), MaxParts+1) + "--b--", "", ErrBody},
		{"deep", deepHead, deep, "text/plain render false false 0 x", nil},
		{"deeper", deeperHead, deeper, "", ErrBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte("MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n" +
				"Call-ID: x\r\nCSeq: 1 MESSAGE\r\n" + c.head + "\r\n" + c.body))
			if err != nil {
				t.Fatal(err)
			}
			parts, err := m.Parts()
			if !errors.Is(err, c.err) || err != nil && c.err == nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			var got []string
			for _, p := range parts {
				got = append(got, fmt.Sprint(p.Type, " ", p.Disposition, " ", p.Optional, " ", p.Encoded, " ", p.Alternative, " ", p.Body))
			}
			if s := strings.Join(got, "\n"); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
}
