package sip

// Accept answers an INVITE with a 2xx and sends it again, over any transport, until
// its ACK has come (RFC 3261 §13.3.1.4): then acked is called with nil, or with
// ErrTimeout after 32 seconds, when the caller should end the dialog with BYE. Without a
// tag in r one is made. Where there is a final response already (487 after a CANCEL),
// acked gets ErrEnded. It is called once, unless the stack is closed first, on a goroutine of
// the stack, and must not block.
func (tx *ServerTx) Accept(r Response, acked func(error)) {
	if tx.invite == nil || r.Status/100 != 2 {
		tx.Respond(r)
		go acked(ErrRequest)
		return
	}
	if r.ToTag == "" {
		r.ToTag = tx.key.tag()
	}
	local := tx.req.To().Tag() // of a re-INVITE
	if local == "" {
		local = r.ToTag
	}
	sh, i := tx.shard, tx.invite
	sh.mu.Lock()
	if tx.settled {
		sh.mu.Unlock()
		go acked(ErrEnded)
		return
	}
	i.awaiting = sh.table.ackKey(tx.req, local)
	i.acked = acked
	if sh.accepted == nil {
		sh.accepted = make(map[txKey]*ServerTx)
	}
	sh.accepted[i.awaiting] = tx
	sh.mu.Unlock()
	tx.Respond(r)
	// A CANCEL may have been faster.
	sh.mu.Lock()
	if i.state != inviteAccepted && i.acked != nil {
		i.established()
		sh.mu.Unlock()
		go acked(ErrEnded)
		return
	}
	sh.mu.Unlock()
}

// established ends the waiting for an ACK; what it returns is to be called, once.
// The shard is locked.
func (i *inviteServer) established() (acked func(error)) {
	acked, i.acked = i.acked, nil
	if acked != nil {
		delete(i.tx.shard.accepted, i.awaiting)
	}
	return acked
}

// ackKey is what the ACK to a 2xx has in common with its INVITE: the dialog and the
// number, for its branch is another (RFC 3261 §13.2.2.4).
func (t *serverTable) ackKey(m *Message, toTag string) txKey {
	var room [256]byte
	b := room[:0]
	for _, part := range [...]string{m.CallID(), m.From().Tag(), toTag} {
		b = append(b, part...)
		b = append(b, 0)
	}
	return t.hash(append(b, byte(m.CSeq()), byte(m.CSeq()>>8), byte(m.CSeq()>>16), byte(m.CSeq()>>24)))
}

// ack takes an ACK that belongs to no transaction by its branch. The shard is locked,
// and unlocked here.
func (sh *serverShard) ack(m *Message) {
	var acked func(error)
	if len(sh.accepted) > 0 {
		if tx := sh.accepted[sh.table.ackKey(m, m.To().Tag())]; tx != nil {
			acked = tx.invite.established()
		}
	}
	sh.mu.Unlock()
	if acked != nil {
		acked(nil)
	}
}
