package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pharos/store"
)

// listenControl opens the socket that the commands use. Its folder is readable
// by the owner only, which is the authentication. In a network of its own there is none.
func (s *Server) listenControl(ctx context.Context, g *errgroup.Group, stop func()) error {
	if s.Network != nil {
		return nil
	}
	path := SocketPath(s.Data)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("server: %w", err) // of a killed process; the store's lock says that it is gone
	}
	ln, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EINVAL) { // longer than sun_path of unix(7)
		return fmt.Errorf("server: the path %s is too long for a socket: choose a data folder with a shorter path", path)
	}
	if err != nil {
		return fmt.Errorf("server: control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return fmt.Errorf("server: control socket: %w", err)
	}
	s.mu.Lock()
	s.open = append(s.open, open{uri: "unix:" + path, close: ln.Close})
	s.mu.Unlock()
	h := &http.Server{Handler: s.control(), ReadHeaderTimeout: 10 * time.Second}
	s.starter(ctx, g, stop)("control socket", func() error { return h.Serve(ln) })
	return nil
}

// control is the API of the commands: JSON over HTTP on the socket.
func (s *Server) control() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Status(r.Context()), nil) })
	m.HandleFunc("GET /why", func(w http.ResponseWriter, r *http.Request) {
		why, err := s.Why(r.Context(), r.FormValue("watcher"), r.FormValue("presentity"))
		answer(w, why, err)
	})
	m.HandleFunc("GET /watch", s.controlWatch)
	m.HandleFunc("POST /backup", s.controlBackup)
	s.controlCluster(m)
	// curl --unix-socket DATA/pharos.sock http://x/debug/pprof/profile?seconds=10
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	m.HandleFunc("GET /users", func(w http.ResponseWriter, r *http.Request) {
		body := &begun{to: w}
		enc := json.NewEncoder(body)
		err := s.admin.List(r.Context(), func(u User) error { return enc.Encode(u) })
		switch {
		case err != nil && !body.yes:
			answer(w, nil, err)
		case err != nil:
			_ = enc.Encode(failure{errorText(err)}) // the last line, so that nobody takes it for the whole
		}
	})
	change := func(fn func(ctx context.Context, addr, password string) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var in credentials
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
				answer(w, nil, err)
				return
			}
			answer(w, struct{}{}, fn(r.Context(), in.Address, in.Password))
		}
	}
	m.HandleFunc("POST /users/add", change(s.admin.Add))
	m.HandleFunc("POST /users/password", change(s.admin.Password))
	m.HandleFunc("POST /users/remove", change(func(ctx context.Context, addr, _ string) error { return s.admin.Remove(ctx, addr) }))
	m.HandleFunc("POST /users/import", func(w http.ResponseWriter, r *http.Request) {
		dry, _ := strconv.ParseBool(r.FormValue("dry-run"))
		stream := newLines(w)
		im, err := s.admin.Import(r.Context(), r.Body, dry, stream.progress)
		_ = stream.send(importEnd{im, errorText(err)}) // the command has gone: nobody to tell
	})
	return m
}

type credentials struct{ Address, Password string }

// importEnd is the last line of an import's answer.
type importEnd struct {
	Import
	Error string `json:"error,omitempty"`
}

// errorText is an error for the people at the command.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return store.Trouble(err).Error()
}

// failure is the answer when something has failed, or its last line.
type failure struct {
	Error string `json:"error"`
}

func (s *Server) controlWatch(w http.ResponseWriter, r *http.Request) {
	u, err := s.admin.Address(r.FormValue("user"))
	if err != nil {
		answer(w, nil, err)
		return
	}
	if _, err := s.store.Account(r.Context(), u); err != nil {
		answer(w, nil, fmt.Errorf("%s: %w", u, noAccount(err)))
		return
	}
	stream := newLines(w)
	if err := s.watch.follow(r.Context(), u, func(s Seen) error { return stream.send(s) }); err != nil && r.Context().Err() == nil {
		s.Log.Warn("watch", "entity", u.String(), "err", err)
	}
}

// lines sends one JSON value a line, flushed.
type lines struct {
	enc *json.Encoder
	rc  *http.ResponseController
}

func newLines(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // documents are XML
	return lines{enc, http.NewResponseController(w)}
}

func (l lines) send(v any) error {
	if err := l.enc.Encode(v); err != nil {
		return err
	}
	return l.rc.Flush()
}

// progress is send for an import, which goes on when the command has gone.
func (l lines) progress(im Import) { _ = l.send(im) }

// answer writes a value, or an error with its words; the command prints them.
func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = failure{errorText(err)}
	}
	_ = json.NewEncoder(w).Encode(v) // the command has gone: nobody to tell
}

// Client reaches a running server over its socket.
type Client struct {
	http     http.Client
	patience time.Duration // until an answer begins
}

// clientPatience is more than a server needs for any question: those that ask other servers, or a
// database that does not answer, are bounded by ten seconds.
const clientPatience = 15 * time.Second

// ErrSilent: the server takes connections and does not answer.
var ErrSilent = errors.New("the server does not answer: its process is stopped, or hangs")

// ErrNotRunning: nobody answers on the socket.
var ErrNotRunning = errors.New("no server is running on data folder")

// Dial makes a client; ErrNotRunning when there is no server.
func Dial(data string) (*Client, error) {
	path := SocketPath(data)
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%s: permission denied: run this as the user that the server runs as", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: start it, or name its folder with --data", ErrNotRunning, data)
	}
	conn.Close()
	return &Client{patience: clientPatience, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// Get asks for path, such as "/status", and decodes the answer into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, func(d *json.Decoder) error { return d.Decode(out) })
}

// Do has path, such as "/cluster/drain?node=n1", done.
func (c *Client) Do(ctx context.Context, path string) error {
	var none struct{}
	return c.do(ctx, http.MethodPost, path, nil, func(d *json.Decoder) error { return d.Decode(&none) })
}

// Lines asks for path and calls fn for each line of the answer.
func (c *Client) Lines(ctx context.Context, method, path string, body io.Reader, fn func(json.RawMessage) error) error {
	if body != nil { // an answer comes when it was read
		silent := *c
		silent.patience = 0
		c = &silent
	}
	return c.do(ctx, method, path, body, func(d *json.Decoder) error {
		for {
			var line json.RawMessage
			if err := d.Decode(&line); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := fn(line); err != nil {
				return err
			}
		}
	})
}

// Post sends credentials to path.
func (c *Client) Post(ctx context.Context, path, address, password string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(json.NewEncoder(w).Encode(credentials{address, password})) }()
	var none struct{}
	return c.do(ctx, http.MethodPost, path, r, func(d *json.Decoder) error { return d.Decode(&none) })
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, read func(*json.Decoder) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.patience > 0 {
		t := time.AfterFunc(c.patience, func() { cancel(ErrSilent) })
		defer t.Stop()
		then := read
		read = func(d *json.Decoder) error { t.Stop(); return then(d) }
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://pharos"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrSilent) {
			return ErrSilent
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its address is of no use to people
		}
		return broken(err)
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if err := d.Decode(&e); err != nil || e.Error == "" {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return errors.New(e.Error)
	}
	return broken(read(d))
}

// broken says in words that the answer ended before its end.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return errors.New("the server has stopped before the end of its answer")
	}
	return err
}
