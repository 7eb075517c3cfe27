package server

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// What is opened, started and kept shows.
func TestProcessNow(t *testing.T) {
	// What earlier tests have closed may still be ending.
	for last, same := 0, 0; same < 10; time.Sleep(10 * time.Millisecond) {
		if n := runtime.NumGoroutine(); n == last {
			same++
		} else {
			last, same = n, 0
		}
	}
	before := processNow()
	if before.Goroutines < 1 || before.HeapBytes == 0 || before.StackBytes == 0 {
		t.Fatalf("%+v", before)
	}
	const more = 50
	stop := make(chan struct{})
	defer close(stop)
	for range more {
		go func() { <-stop }()
	}
	kept := make([]byte, 64<<20)
	runtime.GC()
	after := processNow()
	if d := after.Goroutines - before.Goroutines; d < more {
		t.Errorf("%d goroutines more, not %d", d, more)
	}
	if after.HeapLive < uint64(len(kept)) {
		t.Errorf("%d octets live, with %d kept", after.HeapLive, len(kept))
	}
	runtime.KeepAlive(kept)
	if runtime.GOOS != "linux" {
		return
	}
	files := make([]*os.File, more)
	for i := range files {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	if d := processNow().Descriptors - after.Descriptors; d < more {
		t.Errorf("%d descriptors more, not %d", d, more)
	}
	if after.Resident == 0 {
		t.Error("nothing resident")
	}
}
