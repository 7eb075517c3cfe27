package server

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

// front is the page at the root of the http listeners: HTML for browsers, text for others. It tells
// strangers no more than where clients are to connect.
func (s *Server) front(w http.ResponseWriter, r *http.Request) {
	f := frontPage{Version: s.Version, XMPP: socketURL(r, "/xmpp"), SIP: socketURL(r, "/sip"), XCAP: s.xcapRoot(r), TLS: r.TLS != nil}
	w.Header().Set("Vary", "Accept")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "Pharos %s, presence for SIP and XMPP.\n\nXMPP WebSocket: %s\nSIP WebSocket:  %s\nXCAP root:      %s\n", f.Version, f.XMPP, f.SIP, f.XCAP)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = frontHTML.Execute(w, f) // the connection's end is the client's matter
}

type frontPage struct {
	Version, XMPP, SIP, XCAP string
	TLS                      bool // then the browser has accepted the certificate
}

var frontHTML = template.Must(template.New("front").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pharos</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em; color: #222; background: #fff }
th { text-align: left; font-weight: normal; padding: .2em 2em .2em 0; vertical-align: top }
td { padding: .2em 0 }
code { overflow-wrap: anywhere }
</style>
<h1>Pharos</h1>
<p>This server carries the presence of people with SIP phones and XMPP chat clients. Its version is {{.Version}}.</p>
<table>
<tr><th>Chat clients in web pages<td><code>{{.XMPP}}</code>
<tr><th>SIP phones in web pages<td><code>{{.SIP}}</code>
<tr><th>Buddy lists and rules (XCAP root)<td><code>{{.XCAP}}</code>
</table>
{{if .TLS}}<p>Since you see this page, your browser accepts the server's certificate: web pages can connect from it now.</p>
{{end}}<p>What can be read: <a href="{{.XCAP}}xcap-caps/global/index">what the XCAP server knows</a> (with a user's password),
<a href="/.well-known/host-meta.json">where chat clients connect</a>, <a href="/metrics">metrics</a> (from addresses that the operator allows).</p>
</html>
`))
