package presence

// Bounds of one presentity. Beyond them Step answers ErrTooMany.
const (
	// MaxSources of one event package live at once: devices of one user.
	MaxSources = 50
	// MaxExtended sources of kind Extended live at once, beside the others.
	MaxExtended = 32
	// MaxPackages beside presence, of one presentity.
	MaxPackages = 32
	// MaxSubscriptions to one presentity.
	MaxSubscriptions = 10_000
	// MaxPerWatcher subscriptions of one watcher to one presentity: his devices,
	// and what phones that lost their dialogs left behind.
	MaxPerWatcher = 100
	// MaxDirected watchers that one source shows itself to (RFC 6121 §4.6),
	// and MaxDirectedAll those of all sources together.
	MaxDirected    = 256
	MaxDirectedAll = 1024
)
