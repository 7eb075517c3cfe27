// Package crowd gives back the room that a crowd has taken: Go's maps keep it for as long as they live.
package crowd

// least is the size up to which a map's room is not worth looking at.
const least = 64

// Left is what m is to be replaced by after a deletion: itself, or a copy, where it has had more than four times of what is in it now. most
// is kept by the caller, and zero at first: the most that was in it. A copy costs what a quarter of the deletions since cost together, or less.
func Left[M ~map[K]V, K comparable, V any](m M, most *int) M {
	n := len(m)
	if n >= *most {
		*most = n + 1 // that was deleted just now
		return m
	}
	if *most <= least || n > *most/4 {
		return m
	}
	*most = n
	fresh := make(M, n)
	for k, v := range m {
		fresh[k] = v
	}
	return fresh
}
