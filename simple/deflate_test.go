package simple

import (
	"bytes"
	"compress/flate"
	"errors"
	"strings"
	"testing"

	"pharos/sip"
)

func TestInflate(t *testing.T) {
	text := strings.Repeat("<entry uri=\"sip:bob@example.com\"/>", 100)
	var raw bytes.Buffer
	w, err := flate.NewWriter(&raw, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	for name, coded := range map[string]string{"zlib": string(deflate([]byte(text))), "bare": raw.String()} {
		if b, err := inflate(coded, len(text)); err != nil || string(b) != text {
			t.Errorf("%s: %d octets, %v", name, len(b), err)
		}
		if _, err := inflate(coded, len(text)-1); !errors.Is(err, errTooLarge) {
			t.Errorf("%s, one octet too many: %v", name, err)
		}
		if _, err := inflate(coded[:len(coded)-3], len(text)); !errors.Is(err, errCoding) && name == "zlib" {
			t.Errorf("%s, cut off: %v", name, err)
		}
	}
	for _, bad := range []string{"", "x", "\x78", "\x78\x9c", "<xml/>", "\x78\x9c\xff\xff\xff\xff"} {
		if _, err := inflate(bad, 100); !errors.Is(err, errCoding) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// What grows a thousandfold costs no more than the bound.
	bomb := string(deflate(make([]byte, 50<<20)))
	if n := testing.AllocsPerRun(1, func() { _, err = inflate(bomb, 1<<16) }); n > 100 || !errors.Is(err, errTooLarge) {
		t.Errorf("%v allocations, %v", n, err)
	}
}

func TestInflates(t *testing.T) {
	for line, want := range map[string]bool{
		"": false, "Accept-Encoding: deflate\r\n": true, "Accept-Encoding: gzip, Deflate;q=0.5\r\n": true,
		"Accept-Encoding: gzip\r\nAccept-Encoding: deflate\r\n": true,
		"Accept-Encoding: deflate;q=0.0\r\n":                    false, "Accept-Encoding: identity\r\n": false, "Accept-Encoding:\r\n": false,
	} {
		msg, err := sip.Parse([]byte("SUBSCRIBE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 SUBSCRIBE\r\n" + line + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if inflates(msg) != want {
			t.Errorf("%q: %v", line, !want)
		}
	}
}

func FuzzInflate(f *testing.F) {
	f.Add(string(deflate([]byte("<resource-lists/>"))))
	f.Add("x")
	f.Fuzz(func(t *testing.T, coded string) {
		if b, err := inflate(coded, 4096); err == nil && len(b) > 4096 {
			t.Fatalf("%d octets", len(b))
		}
	})
}
