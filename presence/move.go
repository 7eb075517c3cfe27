package presence

// Reach is a private event package without state of its own: its subscriptions say at
// which nodes a user has sessions, for what is addressed to all of them.
const Reach = "pharos.reach"

// Holding is everything a presentity holds, for its way to another node. Views that
// watchers were shown are in it as far as later differences depend on them.
type Holding struct {
	Entity Entity
	// contract: filled by whoever builds Export, Assume and package transfer.
}

// Export is the whole state of a presentity. It shares sources and documents, which
// never change.
func (p *Presentity) Export() *Holding { panic("contract") }
