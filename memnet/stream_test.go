package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A write goes on when there is room; what was written before the end is read.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(4)
		written := make(chan error)
		go func() {
			_, err := a.Write([]byte("0123456789"))
			a.CloseWrite()
			written <- err
		}()
		synctest.Wait()
		select {
		case <-written:
			t.Error("written beyond the room")
		default:
		}
		var all strings.Builder
		go func() { written <- func() error { _, err := io.Copy(&all, b); return err }() }()
		if err := errors.Join(<-written, <-written); err != nil || all.String() != "0123456789" {
			t.Errorf("%q, %v", all.String(), err)
		}
		if _, err := a.Write([]byte("x")); err != net.ErrClosed {
			t.Errorf("after CloseWrite: %v", err)
		}
		if _, err := b.Write([]byte("back")); err != nil {
			t.Errorf("the other way: %v", err)
		}
		a.Close()
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("to who has closed: %v", err)
		}
	})
}

func TestSetRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetRoom(1)
		l := n.MustListen(here)
		defer l.Close()
		c := dial(t, n, there, here)
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if k, err := c.Write([]byte("xy")); k != 1 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v", k, err)
		}
		c.Close()
	})
}

// A deadline ends what waits already, may be moved, and does not last.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(1)
		defer a.Close()
		start, ended := time.Now(), make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			ended <- err
		}()
		synctest.Wait()
		a.SetDeadline(start.Add(time.Hour))
		a.SetDeadline(start.Add(time.Second))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing: %v", err)
		}
		a.SetDeadline(time.Time{})
		if _, err := a.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if k, err := b.Read(make([]byte, 4)); k != 1 || err != nil {
			t.Errorf("%d, %v", k, err)
		}
		go func() {
			_, err := b.Read(make([]byte, 1))
			ended <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-ended; err != net.ErrClosed {
			t.Errorf("who reads when it is closed: %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the other side: %v", err)
		}
	})
}
