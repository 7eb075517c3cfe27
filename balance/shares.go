package balance

// Shares of what somebody leaves behind, by the room that the active nodes have; without any
// active node all of them get the same. The nodes are those that are alive.
func Shares(nodes []Node) map[string]int {
	heirs := make(map[string]int, len(nodes))
	most, active := 0.0, false
	for i := range nodes {
		heirs[nodes[i].Name] = 0
		if n := &nodes[i]; n.State == Active {
			active = true
			most = max(most, n.Max-n.Level)
		}
	}
	for i := range nodes {
		switch n := &nodes[i]; {
		case !active:
			heirs[n.Name] = 1
		case n.State == Active:
			heirs[n.Name] = 1
			if most > 0 {
				heirs[n.Name] += int(1000 * max(0, n.Max-n.Level) / most)
			}
		}
	}
	return heirs
}

// Fullness is Pressure for the service as a whole: only when all active nodes together are above
// their maximum are newcomers refused, since else there is room elsewhere.
func Fullness(nodes []Node) float64 {
	level, limit := 0.0, 0.0
	for i := range nodes {
		if n := &nodes[i]; n.State == Active {
			level, limit = level+n.Level, limit+n.Max
		}
	}
	return Pressure(level, limit)
}
