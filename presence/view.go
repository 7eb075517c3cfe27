package presence

// View is what one class of watchers may see of one presentity at one version.
// It is immutable and shared by all watchers of the class.
type View struct {
	Presentity Entity
	Version    uint64    // rises by one with each change of the composition
	Sources    []*Source // visible sources, in a stable order; pointer-equal when unchanged
	Doc        *Document // composed

	rendered renderings // caches bytes per format, see Render
}

// Render returns the bytes of this view in a format, made by make at the first
// call and shared afterwards. Safe for concurrent use; the bytes must not be changed.
func (v *View) Render(format string, make func(*View) []byte) []byte { panic("contract") }

// Changes compares what a watcher was shown (prev, may be nil) with v by source:
// gone sources, and new or changed ones. Both slices are shared: do not change them.
func (v *View) Changes(prev *View) (gone, changed []*Source) { panic("contract") }

type renderings struct{}
