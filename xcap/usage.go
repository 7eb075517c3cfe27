package xcap

import (
	"slices"
	"sync"

	"pharos/markup"
	"pharos/schema"
	"pharos/xdm"
)

// Usage is an application usage (RFC 4825 §5). To add one, write it in a file of
// its own and name it in the table.
type Usage struct {
	AUID      string
	Space     string   // default document namespace (§5.2)
	Type      string   // MIME type of its documents
	Spaces    []string // namespaces that the server supports by it, for xcap-caps
	Grammar   *schema.Grammar
	Only      string                // the only document that may be; "": any
	Directory func(dir string) bool // which directories there are; nil: the home directory only

	// Name maps names that clients use to the one that is stored; nil: as it is.
	Name func(n xdm.Name) xdm.Name
	// Check finds what is wrong beyond the schema, as a *failure (§5.3).
	Check func(r *request, root *markup.Element, body []byte) error
	// Generate makes the documents of a user, for a usage that stores none: it is read only.
	Generate func(r *request) (xdm.Document, error)
	// Global makes the documents of the global tree; nil: there is none.
	Global func(r *request) (xdm.Document, error)
	// Reads tells whether somebody else than the owner may read a document (§5.7).
	Reads func(r *request) (bool, error)
	// Serial makes changes one after another, server-wide, for constraints that span users.
	Serial *sync.Mutex
}

// usages is the table.
var usages = []*Usage{
	caps, resourceLists, rlsServices, presRules, omaPresRules, manipulation, presContent, directory, watchers, userProfile,
}

func (e *Edge) add(u *Usage) {
	e.usages[u.AUID] = u
	i, _ := slices.BinarySearch(e.names, u.AUID)
	e.names = slices.Insert(e.names, i, u.AUID)
}
