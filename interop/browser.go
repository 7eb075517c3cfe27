package interop

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Browser opens a page with js/SCRIPT.mjs, which drives a node package in a
// headless Chromium, as u, and waits until it is ready. service is the address
// of a WebSocket.
func (s *Server) Browser(script, pkg string, u User, resource, service string) (*Client, error) {
	if _, err := NodePackage(pkg); err != nil {
		return nil, err
	}
	p, err := s.chromium(pkg+" "+u.Name, "<script type=module src=/js/"+script+".mjs></script>")
	if err != nil {
		return nil, err
	}
	return introduce(p, u, resource, service, 30*time.Second)
}

// chromium opens a page with this body. Lines typed to the process reach the
// page as server-sent events; what it posts stands in the transcript, between
// Chromium's own words.
func (s *Server) chromium(name, body string) (*Process, error) {
	bin, err := Find("chromium")
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp(s.Dir, "chromium-")
	if err != nil {
		return nil, err
	}
	// The certificate is our own: that Chromium takes none but known ones is
	// not what is tested.
	cmd := exec.Command(bin, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--ignore-certificate-errors", "--user-data-dir="+profile, "http://"+ln.Addr().String()+"/")
	cmd.Dir = profile
	// Chromium's helpers hold its output open after its end: they are not
	// read, but for its errors.
	p := &Process{Transcript: newTranscript(), Name: name, cmd: cmd, done: make(chan struct{})}
	commands, in := io.Pipe()
	p.in = in
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><meta charset=utf-8><title>%s</title><body>%s", name, body)
	})
	files := http.FileServer(http.Dir(Dir()))
	m.Handle("GET /node_modules/", files)
	m.HandleFunc("GET /js/{file}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("file") == "leash.mjs" { // the browser's way to the same
			r.URL.Path = "/js/leash-browser.mjs"
		}
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		http.ServeFile(w, r, filepath.Join(Dir(), filepath.FromSlash(r.URL.Path)))
	})
	m.HandleFunc("POST /said", func(w http.ResponseWriter, r *http.Request) {
		line, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			_, _ = p.Write(append(line, '\n'))
		}
	})
	m.HandleFunc("GET /commands", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for lines := bufio.NewScanner(commands); lines.Scan(); {
			fmt.Fprintf(w, "data: %s\n\n", lines.Text())
			w.(http.Flusher).Flush()
		}
	})
	web := &http.Server{Handler: m}
	go web.Serve(ln) //nolint:errcheck // ends with Close
	if err := p.run(); err != nil {
		web.Close()
		return nil, err
	}
	go func() {
		<-p.done
		in.Close()
		web.Close()
		p.end()
	}()
	return p, nil
}
