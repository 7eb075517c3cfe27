// Command demo starts a Pharos on free ports and lets programs that others
// wrote play a story through it: a SIP phone and a chat client see each other, and then share one buddy
// list and one set of rules with XCAP. Each step is printed with who did what, what the other saw, and how long
// that took. The exit status is 1 when a step is not seen.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"pharos/interop"
)

func main() {
	bin := flag.String("pharos", "", "the server's binary; none: it is built")
	keep := flag.Bool("keep", false, "keep the temporary folder, with the server's log")
	flag.Parse()
	if err := run(*bin, *keep); err != nil {
		fmt.Fprintf(os.Stderr, "\n%s\n%v\n\nThe story broke off.\n", red("✗ not seen"), err)
		os.Exit(1)
	}
}

// cast is everybody on stage.
type cast struct {
	server            *interop.Server
	alice, bob, carol interop.User
	dora, erik, frank interop.User // of the second act
	versions          map[string]string
}

func run(bin string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "pharos-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if keep {
			fmt.Println("kept:", dir)
		} else {
			os.RemoveAll(dir)
		}
	}()
	versions, err := installed()
	if err != nil {
		return fmt.Errorf("%w (make demo does it for you)", err)
	}
	if bin == "" {
		if bin, err = interop.Build(dir, false); err != nil {
			return err
		}
	}
	s, err := interop.StartServer(bin, dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	if keep {
		defer func() { _ = os.WriteFile(filepath.Join(dir, "pharos.log"), []byte(s.Text()), 0o600) }()
	}
	users, err := s.AddUsers("alice", "bob", "carol", "dora", "erik", "frank")
	if err != nil {
		return err
	}
	c := &cast{server: s, alice: users["alice"], bob: users["bob"], carol: users["carol"],
		dora: users["dora"], erik: users["erik"], frank: users["frank"], versions: versions}
	c.introduce()
	st := &story{}
	if err := c.play(st); err != nil {
		return err
	}
	c.introduceLists()
	if err := c.lists(st); err != nil {
		return err
	}
	st.summary()
	return nil
}

// installed finds the programs and their versions.
func installed() (map[string]string, error) {
	v := map[string]string{}
	sipp, err := interop.Find("sipp")
	if err != nil {
		return nil, err
	}
	out, _ := exec.Command(sipp, "-v").CombinedOutput()
	m := regexp.MustCompile(`SIPp v([\d.]+)`).FindSubmatch(out)
	if m == nil {
		return nil, errors.New("sipp does not say its version")
	}
	v["sipp"] = "sipp " + string(m[1])
	if v["baresip"], err = interop.BaresipVersion(); err != nil {
		return nil, err
	}
	if v["curl"], err = interop.CurlVersion(); err != nil {
		return nil, err
	}
	v["slixmpp"], err = interop.SlixmppVersion()
	return v, err
}

func (c *cast) introduce() {
	s := c.server
	fmt.Printf("\n%s\n\n", bold("Pharos: a SIP phone and a chat client see each other"))
	fmt.Printf("A fresh server on 127.0.0.1: SIP %s/udp and %s/tcp, XMPP %s. On stage are programs that we did not write:\n\n",
		s.Port("sip+udp"), s.Port("sip+tcp"), s.Port("xmpp"))
	onStage([][3]string{
		{"alice", c.versions["sipp"], "a desk phone, SIP over UDP; later also a chat client, " + c.versions["slixmpp"]},
		{"bob", c.versions["slixmpp"], "a chat client, XMPP over TLS"},
		{"carol", c.versions["baresip"], "a softphone, SIP over TCP"},
	})
	fmt.Println("\nTimes are from the act to the sighting, starting a program included.")
}

func (c *cast) introduceLists() {
	fmt.Printf("\n%s\n\n", bold("One buddy list and one set of rules, for XCAP, SIP and XMPP"))
	fmt.Printf("XCAP is at https://localhost:%s/xcap. New on stage:\n\n", c.server.Port("https"))
	onStage([][3]string{
		{"dora", c.versions["slixmpp"], "a chat client; her documents are put and read by " + c.versions["curl"]},
		{"erik", c.versions["sipp"], "a desk phone with a list and a lamp"},
		{"frank", c.versions["baresip"], "a softphone"},
	})
}

func onStage(cast [][3]string) {
	for _, l := range cast {
		fmt.Printf("  %-7s%-16s%s\n", l[0], l[1], l[2])
	}
}
