package presence

import "time"

// Document is the presence data model (RFC 4479), neutral of syntax.
type Document struct {
	Tuples  []Tuple
	Persons []Person // RFC 4479 §3.2: one in a composed document
	Devices []Device
	Notes   []Note
	Extra   []Fragment // children of <presence> that we do not know
}

// Basic is the basic status of RFC 3863 §4.1.4.
type Basic uint8

const (
	Unstated Basic = iota
	Open
	Closed
)

// Tuple is a service (RFC 3863 §4.1.2, RFC 4479 §3.1).
type Tuple struct {
	ID        string
	Basic     Basic
	Contact   string // URI, "" for none
	Priority  int    // of the contact, in thousandths 0..1000; -1 for none
	DeviceIDs []string
	Rich      Rich // RPID elements of the tuple
	Notes     []Note
	Timestamp time.Time
	Status    []Fragment // unknown children of <status>
	Extra     []Fragment // unknown children of <tuple>
}

// Person is the presentity as a human (RFC 4479 §3.2).
type Person struct {
	ID        string
	Rich      Rich
	Notes     []Note
	Timestamp time.Time
	Extra     []Fragment
}

// Device is RFC 4479 §3.3.
type Device struct {
	ID        string
	DeviceID  string
	Rich      Rich
	Notes     []Note
	Timestamp time.Time
	Extra     []Fragment
}

// Note is human text with its language tag ("" for none).
type Note struct{ Lang, Text string }

// Fragment is well-formed XML that we carry and do not interpret. It stands
// alone: every prefix in it is declared in it.
type Fragment struct {
	Space, Local string // of its root
	XML          string
}

// Rich holds the RPID elements (RFC 4480 §3) of a tuple, person or device.
// CIPID (RFC 4482), capabilities (RFC 5196) and timed status (RFC 4481) are
// kept as fragments under Extra, with named accessors in package pidf.
type Rich struct {
	Activities   *Values // nil: element absent; empty: present without a value
	Mood         *Values
	PlaceIs      *Values // audio, video, text as "audio:noisy"
	PlaceType    *Values
	Privacy      *Values
	Relationship *Values
	ServiceClass *Values
	Class        string
	Sphere       string
	StatusIcon   string
	TimeOffset   string // minutes from UTC, as written
	UserInput    UserInput
	Frames       []Frame // of Sphere, StatusIcon and TimeOffset, where they have one
}

// Frame is the time frame of an RPID element that is a plain value here, with
// its other attributes, all as written (RFC 4480 §3.1).
type Frame struct {
	Element     string // "sphere", "status-icon", "time-offset"
	From, Until string
	ID          string
	Description string // of a time offset
}

// Values is an RPID enumeration element: its values by local name, free text
// under Other, its notes, and its time frame as written (RFC 4480 §3.1).
type Values struct {
	Names       []string
	Other       []string
	Notes       []Note
	ID          string
	From, Until string
	Extra       []Fragment
}

// UserInput is RFC 4480 §3.15.
type UserInput struct {
	State         string // "", active, idle
	LastInput     string // as written
	IdleThreshold string // seconds, as written
	ID            string
}
