package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"pharos/cluster"
	"pharos/store"
)

// errAlone: a command for several servers.
var errAlone = errors.New("this server is alone: cluster.node is not set in its configuration")

// Node is this server as one of several; nil: it is alone.
func (s *Server) Node() *cluster.Node { return s.node }

// clusterStatus is the node's, with how the database is.
func (s *Server) clusterStatus(h store.Health) ClusterStatus {
	st := s.node.Status()
	st.Database = &h
	return st
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// controlCluster adds what 'pharos cluster' asks for.
func (s *Server) controlCluster(m *http.ServeMux) {
	m.HandleFunc("GET /cluster", func(w http.ResponseWriter, r *http.Request) {
		if s.node == nil {
			answer(w, nil, errAlone)
			return
		}
		answer(w, s.clusterStatus(s.store.Health(r.Context())), nil)
	})
	change := func(do func(node string, r *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			err := errAlone
			if s.node != nil {
				if c := s.node.Condition(); c.Is == cluster.IsWaiting || c.Is == cluster.IsDown {
					answer(w, nil, fmt.Errorf("%s %s%s: ask another server, or wait", s.node.Self(), c.Words(""), because(c.Why)))
					return
				}
				node := r.FormValue("node")
				if node == "" {
					node = s.node.Self()
				}
				err = do(node, r)
			}
			answer(w, struct{}{}, err)
		}
	}
	m.HandleFunc("POST /cluster/drain", change(func(node string, _ *http.Request) error { return s.node.SetState(node, cluster.Draining) }))
	m.HandleFunc("POST /cluster/undrain", change(func(node string, _ *http.Request) error { return s.node.SetState(node, cluster.Active) }))
	m.HandleFunc("POST /cluster/max", change(func(node string, r *http.Request) error {
		level, err := strconv.ParseFloat(r.FormValue("level"), 64)
		if err != nil || level <= 0 {
			return errors.New("the maximum level is a number above 0")
		}
		return s.node.SetMax(node, level)
	}))
}
