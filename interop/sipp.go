package interop

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Sipp is a run of one of the scenarios in sipp/. Its transcript is what the
// scenario logs; Messages holds every SIP message that it sent and took.
type Sipp struct {
	*Process
	Messages *Transcript
	Port     string // where it listens, when the key port said so

	logs *Transcript
	errs string
}

// Keys are the words that a scenario leaves open.
type Keys map[string]string

// Sipp runs a scenario as u over the transport (udp or tcp; udp6, tcp6) until
// it is through. The key UNTIL is the regular expression on which the watcher
// leaves.
func (s *Server) Sipp(scenario string, u User, transport string, keys Keys) (*Sipp, error) {
	bin, err := Find("sipp")
	if err != nil {
		return nil, err
	}
	b, err := scripts.ReadFile("sipp/" + scenario + ".xml")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.Dir, "sipp-"+scenario+"-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, scenario+".xml")
	until := keys["UNTIL"]
	if until != "" {
		until += "|"
	}
	until += "Subscription-State: terminated"
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), `"UNTIL"`, `"`+html.EscapeString(until)+`"`)), 0o600); err != nil {
		return nil, err
	}
	local := "127.0.0.1"
	if strings.HasSuffix(transport, "6") {
		local = "[::1]"
	}
	args := []string{s.Addr("sip+" + transport), "-sf", path, "-m", "1", "-i", local, "-nostdin",
		"-t", transport[:1] + "1", "-s", u.Name, "-au", u.Name, "-ap", u.Password,
		"-key", "from", u.Address(), "-key", "domain", Domain,
		"-trace_logs", "-log_file", "/dev/fd/3", "-trace_msg", "-message_file", "/dev/fd/4",
		"-trace_err", "-error_file", filepath.Join(dir, "errors")}
	for k, v := range map[string]string{"expires": "600", "more": "", "event": "presence", "accept": "application/pidf+xml"} {
		if _, set := keys[k]; !set {
			args = append(args, "-key", k, v)
		}
	}
	for k, v := range keys {
		switch k {
		case "UNTIL":
		case "port":
			args = append(args, "-p", v)
		default:
			args = append(args, "-key", k, v)
		}
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	run := &Sipp{Messages: newTranscript(), Port: keys["port"], logs: newTranscript(), errs: filepath.Join(dir, "errors")}
	for _, t := range []*Transcript{run.logs, run.Messages} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer w.Close() // the child has its own
		cmd.ExtraFiles = append(cmd.ExtraFiles, w)
		go func() { t.follow(r); r.Close() }()
	}
	if run.Process, err = start("sipp "+scenario+" "+u.Name, cmd); err != nil {
		return nil, err
	}
	return run, nil
}

// Log waits for a line that the scenario logs.
func (r *Sipp) Log(within time.Duration, pattern string) ([]string, error) {
	m, err := r.logs.Expect(within, pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", r.Name, err, r.trouble())
	}
	return m, nil
}

// Message waits for a text in the SIP messages.
func (r *Sipp) Message(within time.Duration, pattern string) ([]string, error) {
	m, err := r.Messages.Expect(within, pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", r.Name, err, r.trouble())
	}
	return m, nil
}

// Done waits until the scenario went through as written.
func (r *Sipp) Done(within time.Duration) error {
	if err := r.Process.Wait(within); err != nil {
		if len(r.Process.Text()) > 0 {
			r.Process.Forget()
		}
		return fmt.Errorf("%w%s", err, r.trouble())
	}
	return nil
}

// trouble is what sipp says of its failure, and the messages.
func (r *Sipp) trouble() string {
	b, _ := os.ReadFile(r.errs)
	if len(b) > 2000 {
		b = b[:2000]
	}
	return fmt.Sprintf("\nerrors:\n%s\nmessages:\n%s", b, r.Messages.Unread())
}
