package soak

import (
	"fmt"

	"pharos/bench"
)

// circle is how many users know each other, all of them: two have a chat client, two a phone, and the fifth has both
// under one address.
const circle = 5

// contacts are whom a user watches, by index.
func contacts(i, n int) (list []int) {
	first := i / circle * circle
	for j := first; j < min(first+circle, n); j++ {
		if j != i {
			list = append(list, j)
		}
	}
	return list
}

func name(i int) string { return fmt.Sprintf("u%d", i) }

func hasChat(i int) bool  { return i%circle < 2 || i%circle == 4 }
func hasPhone(i int) bool { return i%circle >= 2 }

// population is everybody, with rosters for all: phones watch by SUBSCRIBE, and are let in by the roster.
func population(n int) *bench.Crowd {
	p := &bench.Crowd{}
	for i := range n {
		p.Add(name(i))
		for _, j := range contacts(i, n) {
			if j < i {
				p.Acquaint(name(j), name(i))
			}
		}
	}
	return p
}
