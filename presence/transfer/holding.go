package transfer

import "pharos/presence"

// AppendHolding appends a whole presentity.
func AppendHolding(b []byte, h *presence.Holding) []byte { panic("contract") }

// Holding is a whole presentity; nil after an error.
func (r *Reader) Holding() *presence.Holding { panic("contract") }
