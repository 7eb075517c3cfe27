package transfer

import "pharos/presence"

// AppendExplanation appends an explanation, with what Near says.
func AppendExplanation(b []byte, x *presence.Explanation) []byte { panic("contract") }

// Explanation is an explanation.
func (r *Reader) Explanation() presence.Explanation { panic("contract") }
