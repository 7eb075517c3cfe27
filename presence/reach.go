package presence

// Reach is a private event package without state of its own: its subscriptions say at
// which nodes a user has sessions, for what is addressed to all of them. Nobody is told
// anything of it: no notice, no watcher change, no view is ever made.
const Reach = "pharos.reach"

// silent tells that there are no notices of the package.
func (c *column) silent() bool { return c.pkg == Reach }

// Reached is where the subscriptions of Reach are, in the order in which they came
// unless some have gone.
func (p *Presentity) Reached() []Via { return p.Vias(Reach) }

// Vias is where the subscriptions of a package are.
func (p *Presentity) Vias(pkg string) (vias []Via) {
	c := p.column(packageName(pkg))
	if c == nil {
		return nil
	}
	for _, s := range p.subs.list {
		if s.group.column == c {
			vias = append(vias, s.Via)
		}
	}
	return vias
}
