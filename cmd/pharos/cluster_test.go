package main

import (
	"strings"
	"testing"
	"time"

	"pharos/server"
)

func TestWriteCluster(t *testing.T) {
	var b strings.Builder
	st := server.ClusterStatus{Node: "n1", Epoch: 3, State: "active", LeaseLeft: 2.04, Homes: 7, Redirects: map[string]uint64{"redirected": 4, "followed": 3}}
	st.Nodes = append(st.Nodes, server.ClusterNode{Name: "n1", State: "active", Leader: true, Level: 12.34, Max: 100, Users: 11, LeaseLeft: 2.04, Version: "1", SIP: "sip:192.0.2.1:5060"})
	st.Nodes = append(st.Nodes, server.ClusterNode{Name: "n2", State: "active", Reached: true, RTT: 0.25, LeaseLeft: 1})
	st.Nodes = append(st.Nodes, server.ClusterNode{Name: "n3", State: "dead", XMPP: "192.0.2.3:5222"})
	st.Nodes = append(st.Nodes, server.ClusterNode{Name: "n4", State: "draining", Reached: true, LeaseLeft: 1})
	st.Leader, st.Counts.Moved, st.Counts.Came, st.Counts.Inherited = "n1", 5, 6, 8
	writeCluster(&b, &st)
	const want = `SERVER  STATE    LEVEL  MAX  USERS  LEASE  REACHED  VERSION  ADDRESS
n1*     active   12.3   100  11     2.0 s  here     1        sip:192.0.2.1:5060
n2      active   0.0    0    0      1.0 s  0.2 ms            
n3      dead     -      0    -      -      no                192.0.2.3:5222
n4      drained  0.0    0    0      1.0 s  yes               
* leads
n1: takes part as active
n1: 7 users at home here, 5 moved away, 6 come, 8 taken over from servers that have gone
clients whose user lives elsewhere: 4 redirected, 3 of them followed, 0 served here
`
	if b.String() != want {
		t.Errorf("have\n%s\nwant\n%s", b.String(), want)
	}
	for _, c := range []struct {
		st   server.ClusterStatus
		want []string
	}{
		{server.ClusterStatus{Node: "n1"}, []string{"nobody does at present", "n1: takes part as"}},
		{server.ClusterStatus{Node: "n1", State: "draining", Condition: server.Condition{Is: "valid", Since: time.Now().Add(-90 * time.Second)}},
			[]string{"n1: takes part as draining, since ", "(1m30s)"}},
		{server.ClusterStatus{Node: "n1", Condition: server.Condition{Is: "waiting", Why: "another has its name"}},
			[]string{"n1: waits, and does not take part yet: another has its name"}},
		{server.ClusterStatus{Node: "n1", Condition: server.Condition{Is: "stepped down"}}, []string{"n1: has stepped down, and waits"}},
		{server.ClusterStatus{Node: "n1", Condition: server.Condition{Is: "still"}, Database: &server.Health{
			Kind: "PostgreSQL", Place: "db:5432/pharos", Since: time.Now(), Error: "it does not answer"}},
			[]string{"n1: stands still", "database: PostgreSQL, db:5432/pharos, AWAY, since ", "(0s): it does not answer"}},
	} {
		b.Reset()
		writeCluster(&b, &c.st)
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in\n%s", want, b.String())
			}
		}
	}
}
