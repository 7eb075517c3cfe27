package server

import (
	"fmt"
	"strings"
	"time"

	"pharos/config"
	"pharos/jabber"
	"pharos/presence"
	"pharos/redirect"
	"pharos/simple"
)

// topicRedirects is for redirect.Event.
const topicRedirects = 'r'

// newRedirects decides who is sent to the server of his own.
func newRedirects(c *config.Cluster, tell func(redirect.Event)) (*redirect.Redirects, error) {
	set := redirect.Settings{Self: c.Node, Try: c.RedirectXMPP, Learn: c.Learn, Tell: tell}
	for _, text := range c.RedirectSIP {
		rule, err := redirect.ParseRule(text)
		if err != nil {
			return nil, fmt.Errorf("server: cluster.redirect_sip: %w", err)
		}
		set.SIP = append(set.SIP, rule)
	}
	return redirect.New(set), nil
}

// useRedirects makes them, and has the other servers' heard.
func (s *Server) useRedirects() (err error) {
	s.redirects, err = newRedirects(&s.Config.Cluster, func(e redirect.Event) {
		if err := s.node.Tell(topicRedirects, e.Append(nil)); err != nil {
			s.Log.Debug("a redirect is not told to the other servers", "err", err)
		}
	})
	if err != nil {
		return err
	}
	s.node.Topic(topicRedirects, func(_ string, b []byte) {
		if e, ok := redirect.ParseEvent(b); ok {
			s.redirects.Heard(time.Now(), e)
		}
	}, func(string) {}) // what was missed is learned another time
	return nil
}

// redirected counts for the status.
func (s *Server) redirected() map[string]uint64 {
	if s.redirects == nil {
		return nil
	}
	c := s.redirects.Counts()
	return map[string]uint64{"redirected": c.Redirected, "followed": c.Followed, "served": c.Served}
}

// member finds where a node is reached.
func (s *Server) member(name string) (m clusterMember, ok bool) {
	for _, m := range s.node.Members() {
		if m.Name == name {
			return m, true
		}
	}
	return m, false
}

// moved has clients of users who have moved go to their new server, those that follow.
func (s *Server) moved(of []presence.Entity, to string) {
	s.loads.background(func() {
		for _, u := range of {
			s.jabber.Moved(u, to)
		}
	})
}

func (s *Server) simpleRedirect() *simple.Redirect {
	if s.node == nil {
		return nil
	}
	return &simple.Redirect{
		Clients: s.redirects, Owner: s.node.Owner, Locate: s.node.Locate,
		Address: func(node string) string {
			m, _ := s.member(node)
			return m.Address.SIP
		},
	}
}

func (s *Server) jabberRedirect() *jabber.Redirect {
	if s.node == nil {
		return nil
	}
	return &jabber.Redirect{
		Clients: s.redirects, Owner: s.node.Owner, Locate: s.node.Locate,
		Host: func(node string) string {
			m, _ := s.member(node)
			return m.Address.XMPP
		},
		Web: func(node string) string {
			m, _ := s.member(node)
			at, secure := strings.CutPrefix(m.Address.HTTP, "https://")
			if !secure || at == "" {
				return ""
			}
			return "wss://" + at + "/xmpp" // RFC 7395; where routes has it
		},
	}
}
