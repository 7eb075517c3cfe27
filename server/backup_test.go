package server

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What does not come whole, or is something else, leaves no file that looks like a backup.
func TestBackupNotWhole(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"stopped in between": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat("x", 100_000))
			panic(http.ErrAbortHandler)
		}, "the server has stopped"},
		"refused":        {func(w http.ResponseWriter, _ *http.Request) { answer(w, nil, os.ErrDeadlineExceeded) }, "timeout"},
		"something else": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, "not a whole backup"},
		"older server":   {http.NotFound, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			data, out := t.TempDir(), filepath.Join(t.TempDir(), "b")
			ln, err := net.Listen("unix", SocketPath(data))
			if err != nil {
				t.Fatal(err)
			}
			h := &http.Server{Handler: c.answer}
			done := make(chan error)
			go func() { done <- h.Serve(ln) }()
			_, err = Backup(t.Context(), "", data, out, "test", func(CopyProgress) {})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if list, _ := filepath.Glob(out + "*"); len(list) > 0 {
				t.Errorf("there is %v", list)
			}
			h.Close()
			<-done
		})
	}
}
