package store

// Numbers of calls.
const (
	sysIOSetup, sysIODestroy, sysIOGetEvents, sysIOSubmit = 0, 1, 4, 2

	sysEventFD = 19 // eventfd2
)
