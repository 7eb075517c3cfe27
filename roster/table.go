package roster

// name is one of the nine states of RFC 6121 §A.1.
type name uint8

const (
	none name = iota
	noneOut
	noneIn
	noneOutIn
	to
	toIn
	from
	fromOut
	both
)

// cell is one line of a table of appendix A.
type cell struct {
	pass bool // outbound: route; inbound: deliver
	next name
}

const (
	pass = true  // MUST
	drop = false // MUST NOT
)

// outbound is RFC 6121 §A.2: "None" and so on, ROUTE?, NEW STATE. Where
// "subscribed" is dropped in a state without "from" it is a pre-approval.
var outbound = [...][9]cell{
	Subscribe: {
		none:      {pass, noneOut},
		noneOut:   {pass, noneOut},
		noneIn:    {pass, noneOutIn},
		noneOutIn: {pass, noneOutIn},
		to:        {pass, to},
		toIn:      {pass, toIn},
		from:      {pass, fromOut},
		fromOut:   {pass, fromOut},
		both:      {pass, both},
	},
	Unsubscribe: {
		none:      {pass, none},
		noneOut:   {pass, none},
		noneIn:    {pass, noneIn},
		noneOutIn: {pass, noneIn},
		to:        {pass, none},
		toIn:      {pass, noneIn},
		from:      {pass, from},
		fromOut:   {pass, from},
		both:      {pass, from},
	},
	Subscribed: {
		none:      {drop, none},
		noneOut:   {drop, noneOut},
		noneIn:    {pass, from},
		noneOutIn: {pass, fromOut},
		to:        {drop, to},
		toIn:      {pass, both},
		from:      {drop, from},
		fromOut:   {drop, fromOut},
		both:      {drop, both},
	},
	Unsubscribed: {
		none:      {drop, none},
		noneOut:   {drop, noneOut},
		noneIn:    {pass, none},
		noneOutIn: {pass, noneOut},
		to:        {drop, to},
		toIn:      {pass, to},
		from:      {pass, none},
		fromOut:   {pass, noneOut},
		both:      {pass, to},
	},
}

// inbound is RFC 6121 §A.3: DELIVER?, NEW STATE. Without pre-approval.
var inbound = [...][9]cell{
	Subscribe: {
		none:      {pass, noneIn},
		noneOut:   {pass, noneOutIn},
		noneIn:    {drop, noneIn},
		noneOutIn: {drop, noneOutIn},
		to:        {pass, toIn},
		toIn:      {drop, toIn},
		from:      {drop, from},
		fromOut:   {drop, fromOut},
		both:      {drop, both},
	},
	Unsubscribe: {
		none:      {drop, none},
		noneOut:   {drop, noneOut},
		noneIn:    {pass, none},
		noneOutIn: {pass, noneOut},
		to:        {drop, to},
		toIn:      {pass, to},
		from:      {pass, none},
		fromOut:   {pass, noneOut},
		both:      {pass, to},
	},
	Subscribed: {
		none:      {drop, none},
		noneOut:   {pass, to},
		noneIn:    {drop, noneIn},
		noneOutIn: {pass, toIn},
		to:        {drop, to},
		toIn:      {drop, toIn},
		from:      {drop, from},
		fromOut:   {pass, both},
		both:      {drop, both},
	},
	Unsubscribed: {
		none:      {drop, none},
		noneOut:   {pass, none},
		noneIn:    {drop, noneIn},
		noneOutIn: {pass, noneIn},
		to:        {pass, none},
		toIn:      {pass, noneIn},
		from:      {drop, from},
		fromOut:   {pass, from},
		both:      {pass, from},
	},
}

var states = [9]State{
	none:      {},
	noneOut:   {Ask: true},
	noneIn:    {PendingIn: true},
	noneOutIn: {Ask: true, PendingIn: true},
	to:        {To: true},
	toIn:      {To: true, PendingIn: true},
	from:      {From: true},
	fromOut:   {From: true, Ask: true},
	both:      {To: true, From: true},
}

func (n name) state(approved bool) State {
	s := states[n]
	s.Approved = approved
	return s
}

func (s State) name() name {
	switch {
	case s.To && s.From:
		return both
	case s.To && s.PendingIn:
		return toIn
	case s.To:
		return to
	case s.From && s.Ask:
		return fromOut
	case s.From:
		return from
	case s.Ask && s.PendingIn:
		return noneOutIn
	case s.Ask:
		return noneOut
	case s.PendingIn:
		return noneIn
	}
	return none
}
