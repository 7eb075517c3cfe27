package cluster

import (
	_ "github.com/nats-io/nats-server/v2/server" // contract: embedded bus
	_ "github.com/nats-io/nats.go"
)
