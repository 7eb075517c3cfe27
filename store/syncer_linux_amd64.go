package store

// Numbers of calls.
const (
	sysIOSetup, sysIODestroy, sysIOGetEvents, sysIOSubmit = 206, 207, 208, 209

	sysEventFD = 290 // eventfd2
)
