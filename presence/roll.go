package presence

// Here tells what a presentity has, for those who run the service: whether there are
// XMPP sessions and SIP publications or dialogs, how many presence resources are
// registered, and whether it is open (RFC 3863 §4.1.4). It says less than any view, and is
// for nobody else.
func (p *Presentity) Here() (xmpp, sip, open bool, resources int) {
	sources, subscriptions, _ := p.Size()
	for _, l := range p.presence.sources {
		switch l.cur.ID.Kind {
		case Session:
			xmpp = true
		case Publication:
			sip = true
		}
		if l.cur.Doc == nil {
			continue
		}
		for i := range l.cur.Doc.Tuples {
			open = open || l.cur.Doc.Tuples[i].Basic == Open
		}
	}
	return xmpp, sip, open, sources + subscriptions
}
