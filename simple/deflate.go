package simple

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"sync"

	"pharos/sip"
)

// Errors of inflate.
var (
	errTooLarge = errors.New("simple: decoded body is too large")
	errCoding   = errors.New("simple: body is not what its Content-Encoding says")
)

// inflate undoes the coding deflate, which is the format of RFC 1950 (RFC 2616
// §3.5); the bare RFC 1951 stream that some take for it is taken too. What is
// longer than max octets is given up there.
func inflate(body string, max int) ([]byte, error) {
	var r io.ReadCloser
	if len(body) >= 2 && body[0]&0x0F == 8 && (uint(body[0])<<8|uint(body[1]))%31 == 0 { // RFC 1950 §2.2
		z, err := zlib.NewReader(strings.NewReader(body))
		if err != nil {
			return nil, errCoding
		}
		r = z
	} else {
		r = flate.NewReader(strings.NewReader(body))
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	switch {
	case err != nil:
		return nil, errCoding
	case len(b) > max:
		return nil, errTooLarge
	}
	return b, nil
}

// deflaters are kept: one takes about a megabyte. The best speed takes half the time
// of the default and leaves a tenth more (BenchmarkList).
var deflaters = sync.Pool{New: func() any {
	w, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		panic(err)
	}
	return w
}}

// deflate is the coding of the same name.
func deflate(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body)/4 + 64)
	z := deflaters.Get().(*zlib.Writer)
	z.Reset(&out)
	_, _ = z.Write(body) // a Buffer takes everything
	_ = z.Close()
	deflaters.Put(z)
	return out.Bytes()
}

// inflates reports whether the peer undoes the coding deflate. Without
// Accept-Encoding it does not: that stands for identity (RFC 3261 §20.2).
func inflates(msg *sip.Message) bool {
	for v := range msg.All(sip.HAcceptEncoding) {
		name, params, _ := strings.Cut(v, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "deflate") {
			continue
		}
		q, has := sip.Params(";" + params).Get("q")
		return !has || strings.Trim(q, "0.") != ""
	}
	return false
}
