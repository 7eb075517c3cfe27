package engine

import "time"

// deadlines is a heap of residents by the time at which they want to be looked
// at again. The time is a lower bound: a refresh, which moves a deadline
// away, leaves the heap alone, and the early look finds nothing to do.
type deadlines []*resident

// want has r looked at by t; a zero t is never.
func (d *deadlines) want(r *resident, t time.Time) {
	if t.IsZero() || r.pos >= 0 && !t.Before(r.at) {
		return
	}
	r.at = t
	if r.pos < 0 {
		r.pos = len(*d)
		*d = append(*d, r)
	}
	d.up(r.pos)
}

func (d *deadlines) remove(r *resident) {
	i := r.pos
	if i < 0 {
		return
	}
	last := len(*d) - 1
	d.swap(i, last)
	(*d)[last] = nil
	*d = (*d)[:last]
	if i < last {
		d.up(i)
		d.down(i)
	}
	r.pos = -1
}

func (d deadlines) swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].pos, d[j].pos = i, j
}

func (d deadlines) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !d[i].at.Before(d[p].at) {
			return
		}
		d.swap(i, p)
		i = p
	}
}

func (d deadlines) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(d) {
			return
		}
		if c+1 < len(d) && d[c+1].at.Before(d[c].at) {
			c++
		}
		if !d[c].at.Before(d[i].at) {
			return
		}
		d.swap(i, c)
		i = c
	}
}
