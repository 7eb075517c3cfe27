package presence

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Transform is the set of permissions of RFC 5025 §3.3 that one class of watchers
// has. The zero value shows no service, person or device, so that watchers are told
// "closed"; nil shows everything.
type Transform struct {
	Devices, Persons, Services Selection
	Attributes                 map[string]bool  // permissions that are booleans (§3.3.2), by their names in Attributes
	AllAttributes              bool             // provide-all-attributes (§3.3.2.15)
	UserInput                  UserInputLevel   // §3.3.2.12
	Unknown                    map[Unknown]bool // provide-unknown-attribute (§3.3.2.14)
}

// Attributes are the names of the boolean permissions of RFC 5025 §3.3.2.1 to
// §3.3.2.13: that of the element which each lets through.
var Attributes = [...]string{"activities", "class", "deviceID", "mood", "note", "place-is", "place-type",
	"privacy", "relationship", "sphere", "status-icon", "time-offset"}

// Unknown names an element that we do not interpret.
type Unknown struct{ Space, Local string }

// UserInputLevel is provide-user-input (RFC 5025 §3.3.2.12), in its order.
type UserInputLevel uint8

const (
	NoUserInput UserInputLevel = iota
	BareUserInput
	ThresholdUserInput
	FullUserInput
)

// Selection is provide-devices, provide-persons or provide-services (RFC 5025
// §3.3.1): all, or those that one of the values names.
type Selection struct {
	All           bool     `json:",omitempty"`
	Class         []string `json:",omitempty"`
	OccurrenceID  []string `json:",omitempty"` // of persons and devices: their id; of services the tuple's id
	DeviceID      []string `json:",omitempty"` // devices
	ServiceURI    []string `json:",omitempty"` // services: the whole contact
	ServiceScheme []string `json:",omitempty"` // services: the contact's scheme
	ServiceID     []string `json:",omitempty"` // services: OMA's service-id in their service-description
}

// permissions is a Transform in its one form, from which its name is made.
type permissions struct {
	Devices    Selection      `json:",omitzero"`
	Persons    Selection      `json:",omitzero"`
	Services   Selection      `json:",omitzero"`
	All        bool           `json:",omitempty"` // attributes
	Attributes []string       `json:",omitempty"`
	UserInput  UserInputLevel `json:",omitempty"`
	Unknown    []Unknown      `json:",omitempty"`
}

// IsZero tells that nothing is selected.
func (s Selection) IsZero() bool {
	return !s.All && len(s.Class)+len(s.OccurrenceID)+len(s.DeviceID)+len(s.ServiceURI)+len(s.ServiceScheme)+len(s.ServiceID) == 0
}

// Name is the canonical name: equal sets of permissions have equal names, also
// when they were written differently. "" is that of everything.
func (t *Transform) Name() string {
	if t == nil {
		return ""
	}
	c := permissions{Devices: t.Devices.canonical(), Persons: t.Persons.canonical(), Services: t.Services.canonical(), All: t.AllAttributes}
	switch {
	case !c.All:
		for _, a := range Attributes {
			if t.Attributes[a] {
				c.Attributes = append(c.Attributes, a)
			}
		}
		c.UserInput = min(t.UserInput, FullUserInput)
		for u, yes := range t.Unknown {
			if yes {
				c.Unknown = append(c.Unknown, u)
			}
		}
		slices.SortFunc(c.Unknown, func(a, b Unknown) int {
			if n := strings.Compare(a.Space, b.Space); n != 0 {
				return n
			}
			return strings.Compare(a.Local, b.Local)
		})
	case c.Devices.All && c.Persons.All && c.Services.All:
		return ""
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "{}" // cannot be, and would show nothing
	}
	return string(b)
}

func (s Selection) canonical() Selection {
	if s.All {
		return Selection{All: true}
	}
	if s.IsZero() {
		return s
	}
	each := func(vs []string) []string { return slices.Compact(slices.Sorted(slices.Values(vs))) }
	return Selection{Class: each(s.Class), OccurrenceID: each(s.OccurrenceID), DeviceID: each(s.DeviceID),
		ServiceURI: each(s.ServiceURI), ServiceScheme: each(s.ServiceScheme), ServiceID: each(s.ServiceID)}
}

// named is the Transform of a name other than "". What cannot be read permits
// nothing.
func named(name string) *Transform {
	var c permissions
	if json.Unmarshal([]byte(name), &c) != nil {
		return &Transform{}
	}
	t := &Transform{Devices: c.Devices, Persons: c.Persons, Services: c.Services, AllAttributes: c.All, UserInput: c.UserInput}
	for _, a := range c.Attributes {
		set(&t.Attributes, a)
	}
	for _, u := range c.Unknown {
		set(&t.Unknown, u)
	}
	return t
}

func set[K comparable](m *map[K]bool, k K) {
	if *m == nil {
		*m = map[K]bool{}
	}
	(*m)[k] = true
}

// Union is what either permits (RFC 4745 §10.2).
func (t *Transform) Union(o *Transform) *Transform {
	if t == nil || o == nil {
		return nil
	}
	u := &Transform{
		Devices: t.Devices.union(o.Devices), Persons: t.Persons.union(o.Persons), Services: t.Services.union(o.Services),
		AllAttributes: t.AllAttributes || o.AllAttributes, UserInput: max(t.UserInput, o.UserInput),
	}
	for _, m := range [...]*Transform{t, o} {
		for a, yes := range maps.All(m.Attributes) {
			if yes {
				set(&u.Attributes, a)
			}
		}
		for k, yes := range maps.All(m.Unknown) {
			if yes {
				set(&u.Unknown, k)
			}
		}
	}
	return u
}

func (s Selection) union(o Selection) Selection {
	if s.All || o.All {
		return Selection{All: true}
	}
	return Selection{Class: slices.Concat(s.Class, o.Class), OccurrenceID: slices.Concat(s.OccurrenceID, o.OccurrenceID),
		DeviceID: slices.Concat(s.DeviceID, o.DeviceID), ServiceURI: slices.Concat(s.ServiceURI, o.ServiceURI),
		ServiceScheme: slices.Concat(s.ServiceScheme, o.ServiceScheme), ServiceID: slices.Concat(s.ServiceID, o.ServiceID)}.canonical()
}

// Transform is what a Class with this Shown may see; nil is everything. Every
// name that a decision has ever borne is known, also one of another policy, since
// it says itself what it permits.
func (p *Policy) Transform(shown string) *Transform {
	if shown == "" {
		return nil
	}
	if p == nil {
		return named(shown)
	}
	p.made.mu.Lock()
	defer p.made.mu.Unlock()
	return p.made.transform(shown)
}

// transforms remembers what was made of names and of their unions, which are
// made when a decision needs them. Both can be made again at any time, so they are
// forgotten when there are too many.
type transforms struct {
	mu     sync.Mutex
	byName map[string]*Transform
	unions map[string]string // names by the places of the united ones
}

// maxMade bounds what one policy remembers; so many different sets of rules have
// to match its watchers before anything is made twice.
const maxMade = 256

func (m *transforms) transform(name string) *Transform {
	if t, ok := m.byName[name]; ok {
		return t
	}
	if m.byName == nil || len(m.byName) >= maxMade {
		m.byName = map[string]*Transform{}
	}
	t := named(name)
	m.byName[name] = t
	return t
}

// union is the name of the union of those of names that sets, in order, points at.
func (m *transforms) union(names []string, sets []int32) string {
	var room [64]byte
	key := room[:0]
	for _, s := range sets {
		key = append(key, byte(s>>16), byte(s>>8), byte(s))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if name, ok := m.unions[string(key)]; ok {
		return name
	}
	t := m.transform(names[sets[0]])
	for _, s := range sets[1:] {
		t = t.Union(m.transform(names[s]))
	}
	if m.unions == nil || len(m.unions) >= maxMade {
		m.unions = map[string]string{}
	}
	name := t.Name()
	m.unions[string(key)] = name
	return name
}

// Hides says in words, for people, what of a document the class is not shown; nil
// where it is shown everything.
func (c Class) Hides() []string {
	switch {
	case c.Handling == PoliteBlock:
		return []string{"everything: to it the user is not available"}
	case c.Handling != Allow:
		return []string{"everything"}
	case c.Shown == "":
		return nil
	}
	t := named(c.Shown)
	var hidden []string
	for _, e := range [...]struct {
		what string
		s    Selection
	}{{"services", t.Services}, {"persons", t.Persons}, {"devices", t.Devices}} {
		if but := e.s.words(); but != "" {
			hidden = append(hidden, e.what+" other than "+but)
		} else if !e.s.All {
			hidden = append(hidden, "all "+e.what)
		}
	}
	if t.AllAttributes {
		return hidden
	}
	for _, a := range Attributes {
		if !t.Attributes[a] {
			hidden = append(hidden, a)
		}
	}
	switch t.UserInput {
	case NoUserInput:
		hidden = append(hidden, "user-input")
	case BareUserInput:
		hidden = append(hidden, "times of user-input")
	case ThresholdUserInput:
		hidden = append(hidden, "last-input of user-input")
	}
	elements := "extensions"
	var known []string
	for u := range t.Unknown {
		known = append(known, u.Local)
	}
	if slices.Sort(known); len(known) > 0 {
		elements += " other than " + strings.Join(known, ", ")
	}
	return append(hidden, elements)
}

// words lists what is selected where that is not all.
func (s Selection) words() string {
	if s.All {
		return ""
	}
	var ws []string
	for _, v := range [...]struct {
		what string
		of   []string
	}{{"class", s.Class}, {"id", s.OccurrenceID}, {"deviceID", s.DeviceID}, {"", s.ServiceURI}, {"scheme", s.ServiceScheme}, {"service", s.ServiceID}} {
		for _, value := range v.of {
			ws = append(ws, strings.TrimSpace(v.what+" "+value))
		}
	}
	return strings.Join(ws, ", ")
}
