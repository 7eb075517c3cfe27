package balance

import (
	"maps"
	"testing"
)

func TestShares(t *testing.T) {
	node := func(name string, s State, level, limit float64) Node {
		return Node{Name: name, State: s, Level: level, Max: limit}
	}
	for _, c := range []struct {
		name  string
		nodes []Node
		want  map[string]int
	}{
		{"nobody", nil, map[string]int{}},
		{"by room", []Node{node("a", Active, 50, 100), node("b", Active, 0, 100)}, map[string]int{"a": 501, "b": 1001}},
		{"all full", []Node{node("a", Active, 100, 100), node("b", Active, 120, 100)}, map[string]int{"a": 1, "b": 1}},
		{"one is full", []Node{node("a", Active, 120, 100), node("b", Active, 90, 100)}, map[string]int{"a": 1, "b": 1001}},
		{"active ones only", []Node{node("a", Active, 0, 100), node("b", Draining, 0, 100), node("c", Standby, 0, 100)}, map[string]int{"a": 1001, "b": 0, "c": 0}},
		{"none is active", []Node{node("b", Draining, 9, 100), node("c", Standby, 0, 100)}, map[string]int{"b": 1, "c": 1}},
	} {
		if got := Shares(c.nodes); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestFullness(t *testing.T) {
	full := Node{Name: "a", State: Active, Level: 120, Max: 100}
	room := Node{Name: "b", State: Active, Level: 10, Max: 100}
	if f := Fullness([]Node{full, room}); f != 0 {
		t.Errorf("with room elsewhere %v", f)
	}
	drains := room
	drains.State = Draining
	if f := Fullness([]Node{full, drains}); f != Pressure(120, 100) {
		t.Errorf("where nobody else takes users %v", f)
	}
}
