package xcap

import (
	"fmt"

	"pharos/markup"
	"pharos/policy"
	"pharos/xdm"
)

// Valid looks at a document that does not come by HTTP (an import): schema,
// uniqueness, and whether rules can be followed; not what needs other documents. It returns
// the name under which it is to be stored.
func Valid(n xdm.Name, body []byte) (xdm.Name, error) {
	var u *Usage
	for _, o := range usages {
		if o.AUID == n.AUID && o.Generate == nil {
			u = o
		}
	}
	if u == nil {
		return n, fmt.Errorf("the application usage %q keeps no documents", n.AUID)
	}
	if u.Name != nil {
		n = u.Name(n)
	}
	if u.Only != "" && n.Path != u.Only {
		return n, fmt.Errorf("the only document of %s is called %s", u.AUID, u.Only)
	}
	o := markup.File
	o.MaxBytes = max(len(body), 1)
	root, err := markup.Parse(body, o)
	if err != nil {
		return n, err
	}
	if u.Grammar != nil {
		if err := u.Grammar.Check(root, body); err != nil {
			return n, err
		}
		if twice := u.Grammar.Duplicates(root); len(twice) > 0 {
			return n, fmt.Errorf("%d values are not unique where they have to be", len(twice))
		}
	}
	if n.AUID == xdm.PresRules {
		_, err = policy.Parse(root, body, nil)
	}
	return n, err
}
