package presence

// column is one event package of a presentity: its sources, its watchers, and
// its own version.
type column struct {
	pkg     string // "": presence
	private bool   // for the presentity itself
	version uint64 // rises by one with each change
	touched uint64 // changes among those that no source shows
	sources []*live
	groups  []*group
	views   []*View // of the present version, by class, made when first needed
}

// presencePackage is the name of the package that we write as "".
const presencePackage = "presence"

// packageName is how a package is written in all that leaves the domain.
func packageName(s string) string {
	if s == presencePackage {
		return ""
	}
	return s
}

// column finds a package; nil when nothing of it was ever held.
func (p *Presentity) column(pkg string) *column {
	if pkg == "" || pkg == presencePackage {
		return &p.presence
	}
	for _, c := range p.others {
		if c.pkg == pkg {
			return c
		}
	}
	return nil
}

// need is column, which is made where it is missing.
func (p *Presentity) need(pkg string) *column {
	if c := p.column(pkg); c != nil {
		return c
	}
	c := &column{pkg: pkg}
	p.others = append(p.others, c)
	if pkg == WatcherInfo {
		c.private = true
		p.winfo = &winfo{column: c, missed: true}
	}
	return c
}

// room tells whether need may be called.
func (p *Presentity) room(pkg string) bool {
	return len(p.others) < MaxPackages || p.column(pkg) != nil
}

// eachColumn calls fn for presence first, then for the others as they came.
func (p *Presentity) eachColumn(fn func(*column)) {
	fn(&p.presence)
	for _, c := range p.others {
		fn(c)
	}
}

// next begins a new version.
func (c *column) next() {
	c.version++
	c.forget()
}

// forget drops the views, so that they are made anew.
func (c *column) forget() {
	clear(c.views)
	c.views = c.views[:0]
}
