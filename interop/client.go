package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Fields are parts of a JSON object.
type Fields map[string]any

// Client is a program around somebody's client library that obeys commands,
// one JSON object a line, and tells what happens to it in the same way.
type Client struct {
	*Process
	User User
}

// Do gives the client a command.
func (c *Client) Do(what string, args Fields) error {
	cmd := Fields{"do": what}
	for k, v := range args {
		cmd[k] = v
	}
	b, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	return c.Type(string(b))
}

// Event waits for an event that has all the wanted fields; a field wanted as
// nil must be absent. It returns the whole event.
func (c *Client) Event(within time.Duration, want Fields) (Fields, error) {
	return c.event(within, want, nil)
}

func (c *Client) event(within time.Duration, want Fields, mark *int) (Fields, error) {
	w, _ := json.Marshal(want)
	var got Fields
	_, err := c.wait(within, string(w), mark, func(unread []byte) ([]string, int) {
		for at := 0; ; {
			n := bytes.IndexByte(unread[at:], '\n')
			if n < 0 {
				return nil, 0
			}
			line := unread[at : at+n]
			at += n + 1
			var e Fields
			if json.Unmarshal(line, &e) == nil && e.has(want) {
				got = e
				return []string{string(line)}, at
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return got, nil
}

func (f Fields) has(want Fields) bool {
	for k, v := range want {
		if v == nil {
			if f[k] != nil {
				return false
			}
			continue
		}
		if f[k] == nil || fmt.Sprint(f[k]) != fmt.Sprint(v) {
			return false
		}
	}
	return true
}

// Ask gives a command and waits for its result. Events that come before the
// result are left for Event.
func (c *Client) Ask(what string, args Fields) (Fields, error) {
	mark := c.here()
	if err := c.Do(what, args); err != nil {
		return nil, err
	}
	return c.event(10*time.Second, Fields{"event": "done", "what": what}, mark)
}

// Quit closes the stream in order and waits for the end.
func (c *Client) Quit() error {
	if err := c.Do("quit", nil); err != nil {
		return err
	}
	return c.Process.Wait(10 * time.Second)
}
