package simple

import (
	"errors"
	"math"
	"sync"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/rlmi"
	"pharos/xdm"
)

// A listing is a list subscription: a dialog whose watcher is told the state of
// the members of a list (RFC 4662). The subscription of the dialog is one of the
// watcher to his own presentity, which makes it durable and lets it expire; the
// members are watched inside the server, by subscriptions that have no dialog and
// die with the process (virtual subscriptions, RFC 4662 §2). Members decide about
// them as about any other of the same watcher.
type listing struct {
	edge   *Edge
	dialog *dialog
	owner  presence.Entity // of the list, and the watcher
	key    string          // presence.Watch.Package of the members
	sub    string          // ID of the subscriptions to members

	mu      sync.Mutex
	source  listSource
	list    resourceList
	waiting int         // members whose first answer has not come
	held    bool        // the dialog waits for the list
	patient *time.Timer // ends that
	soon    *time.Timer // tells what has gathered
	again   *time.Timer // loads once more
	check   *time.Timer // looks at refusals once more
	told    time.Time
	loading bool
	stale   bool // to be loaded again when it has been loaded
	over    bool
}

const (
	// listWindow is how long changes of members gather after a NOTIFY before the
	// next one. The first change after a pause is told at once.
	listWindow = 250 * time.Millisecond
	// listPatience is how long the answer to a SUBSCRIBE may wait for the state of
	// members. Who has not been heard of by then is told without an instance.
	listPatience = 2 * time.Second
	// listAgain is the pause before a list that could not be loaded, or a member
	// that could not be watched, is tried again; and before members who refused are
	// asked again when their policy has changed, since that is yet to be loaded.
	listAgain = 500 * time.Millisecond
	// listLoaders is the number of lists that are loaded at one time.
	listLoaders = 4
)

// listTable finds listings by the tag of their dialog, and loads them.
type listTable struct {
	mu      sync.Mutex
	byID    map[string]*listing
	byOwner map[presence.Entity]int
	refused map[presence.Entity]map[*listing]bool // lists with members that said no
	queue   []*listing
	loaders int
	closed  bool
	loads   sync.WaitGroup
}

func (t *listTable) init() {
	t.byID = make(map[string]*listing)
	t.byOwner = make(map[presence.Entity]int)
	t.refused = make(map[presence.Entity]map[*listing]bool)
}

func (t *listTable) get(id string) *listing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// count is the number of lists that a user is subscribed to.
func (t *listTable) count(owner presence.Entity) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byOwner[owner]
}

// load queues a listing for one of the loaders, which live while there is work.
func (t *listTable) load(l *listing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.queue = append(t.queue, l)
	if t.loaders < listLoaders {
		t.loaders++
		t.loads.Go(t.run)
	}
}

func (t *listTable) run() {
	for {
		t.mu.Lock()
		if len(t.queue) == 0 || t.closed {
			t.queue = nil
			t.loaders--
			t.mu.Unlock()
			return
		}
		l := t.queue[0]
		t.queue = t.queue[1:]
		t.mu.Unlock()
		l.load()
	}
}

// close ends what waits for its time, and waits for what is being loaded.
func (t *listTable) close() {
	t.mu.Lock()
	t.closed = true
	var all []*listing
	for _, l := range t.byID {
		all = append(all, l)
	}
	t.mu.Unlock()
	for _, l := range all {
		l.mu.Lock()
		l.end()
		l.mu.Unlock()
	}
	t.loads.Wait()
}

// beginList is eventPackage.begin of lists.
func beginList(e *Edge, d *dialog) {
	l := &listing{edge: e, dialog: d, owner: d.watcher, key: d.pkg.members.key, sub: d.id + memberSuffix}
	if e.bindings.shared {
		l.sub += newID()[:13]
	}
	l.list.ordered = d.pkg.members.ordered
	d.mu.Lock()
	s := d.load()
	l.source = s.listSource()
	d.mu.Unlock()
	e.lists.mu.Lock()
	e.lists.byID[d.id] = l
	e.lists.byOwner[l.owner]++
	e.lists.mu.Unlock()
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	if ended {
		endList(e, d)
		return
	}
	l.reload(true)
}

// refreshList is eventPackage.refresh: the list is read anew, and those who
// refused are asked again, before the full state is told that follows.
func refreshList(e *Edge, d *dialog) {
	l := e.lists.get(d.id)
	if l == nil {
		return
	}
	d.mu.Lock()
	s := d.load()
	source := s.listSource()
	d.mu.Unlock()
	l.mu.Lock()
	l.source = source
	l.mu.Unlock()
	l.reload(true)
}

// touchList is eventPackage.touch: a document of the owner's has changed.
func touchList(e *Edge, d *dialog) {
	if l := e.lists.get(d.id); l != nil {
		l.reload(false)
	}
}

// endList is eventPackage.end. d.mu may be held.
func endList(e *Edge, d *dialog) {
	t := &e.lists
	t.mu.Lock()
	l := t.byID[d.id]
	if l != nil {
		delete(t.byID, d.id)
		if t.byOwner[l.owner]--; t.byOwner[l.owner] <= 0 {
			delete(t.byOwner, l.owner)
		}
	}
	t.mu.Unlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	l.end()
	members := l.list.members
	l.list = resourceList{}
	l.mu.Unlock()
	for who, m := range members {
		t.refuse(who, l, false)
		l.unwatch(m)
	}
}

// end stops all timers. l.mu is held.
func (l *listing) end() {
	l.over = true
	for _, t := range [...]*time.Timer{l.patient, l.soon, l.again, l.check} {
		if t != nil {
			t.Stop()
		}
	}
}

// reload reads the list and watches whom it names. With hold the dialog is told
// nothing before the members' states have come.
func (l *listing) reload(hold bool) {
	if hold {
		l.dialog.mu.Lock()
		l.dialog.held = true
		l.dialog.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	if hold && !l.held {
		l.held = true
		l.patient = time.AfterFunc(listPatience, l.release)
	}
	if l.loading {
		l.stale = true
		return
	}
	l.loading = true
	l.edge.lists.load(l)
}

// later has the list loaded again after a pause. l.mu is held.
func (l *listing) later() {
	if l.again != nil || l.over {
		return
	}
	l.again = time.AfterFunc(listAgain, func() {
		l.mu.Lock()
		l.again = nil
		l.mu.Unlock()
		l.reload(false)
	})
}

// load is the work of a loader.
func (l *listing) load() {
	l.mu.Lock()
	source := l.source
	l.mu.Unlock()
	names, entries, err := l.edge.resolve(l.owner, source)
	if errors.Is(err, errNoList) {
		l.gone()
		return
	}
	if err != nil {
		l.edge.log.Warn("simple: list not loaded", "list", source.uri, "owner", l.owner.String(), "err", err)
	}

	l.mu.Lock()
	l.loading = false
	if l.over {
		l.mu.Unlock()
		return
	}
	if l.stale {
		l.stale, l.loading = false, true
		l.mu.Unlock()
		l.edge.lists.load(l)
		return
	}
	if err != nil {
		l.later()
		l.mu.Unlock()
		return
	}
	_, gone := l.list.set(names, entries)
	var ask []*member
	for _, m := range l.list.members {
		// Those who are new, who could not be watched, or whose subscription has
		// ended.
		if !m.asked && (m.state == 0 || m.state == presence.Terminated) {
			m.asked = true
			ask = append(ask, m)
		}
	}
	l.waiting += len(ask)
	for _, m := range gone {
		l.edge.lists.refuse(m.entity, l, false)
		if m.asked {
			l.waiting--
		}
	}
	news, done := l.gather()
	l.mu.Unlock()
	for _, m := range gone {
		l.unwatch(m)
	}
	for _, m := range ask {
		l.watch(m)
	}
	l.proceed(news, done)
}

// gone ends the subscription, since there is no such list any more.
func (l *listing) gone() {
	l.mu.Lock()
	l.loading = false
	over := l.over
	l.mu.Unlock()
	l.release()
	if over {
		return
	}
	in := presence.Unwatch{ID: l.dialog.id, Reason: presence.NoResource} // RFC 6665 §4.1.3
	if err := l.edge.engine.Submit(l.owner, in, nil); err != nil {
		l.mu.Lock()
		l.later()
		l.mu.Unlock()
	}
}

// gather reports, when something has become known, what is to be done about it:
// the dialog is to be told, or need not wait any longer. l.mu is held.
func (l *listing) gather() (tell, release bool) {
	if l.held {
		return false, l.waiting == 0 && !l.loading
	}
	if l.over || !l.list.pending() {
		return false, false
	}
	wait := listWindow - time.Since(l.told)
	if l.waiting > 0 {
		wait = max(wait, listWindow) // new members' states are about to come
	}
	if wait <= 0 {
		if l.soon != nil {
			l.soon.Stop()
			l.soon = nil
		}
		return true, false
	}
	if l.soon != nil {
		return false, false
	}
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		l.mu.Lock()
		now := l.soon == t && !l.over
		if now {
			l.soon = nil
		}
		l.mu.Unlock()
		if now {
			l.edge.retell(l.dialog)
		}
	})
	l.soon = t
	return false, false
}

// proceed does what gather has said, without locks.
func (l *listing) proceed(tell, release bool) {
	if release {
		l.release()
	} else if tell {
		l.edge.retell(l.dialog)
	}
}

// release lets the dialog go on.
func (l *listing) release() {
	l.mu.Lock()
	was := l.held
	l.held = false
	if l.patient != nil {
		l.patient.Stop()
	}
	l.mu.Unlock()
	if !was {
		return
	}
	d := l.dialog
	d.mu.Lock()
	d.held = false
	ready := d.ready()
	d.mu.Unlock()
	if ready {
		l.edge.out.add([]*dialog{d})
	}
}

// memberSuffix follows the dialog's tag in the ID of the subscriptions to members:
// the tag alone is taken, where the owner is a member of the list. Of several nodes the dialog may have
// gone to another, whose subscriptions are not to be ended by the one that lets go: so each listing has
// a name of its own behind it.
const memberSuffix = "/list"

// uri is what was subscribed to.
func (l *listing) uri() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.uri
}

// watch subscribes to a member.
func (l *listing) watch(m *member) {
	for l.edge.engine.Depth() > 0.5 && !l.edge.lists.isClosed() {
		time.Sleep(20 * time.Millisecond) // after a restart, lest clients get 503
	}
	l.edge.accounts.Exists(m.entity, func(exists bool, err error) {
		switch {
		case err != nil:
			l.failed(m, err)
		case !exists:
			l.take(m.entity, presence.Terminated, presence.NoResource, nil)
		default:
			in := presence.Watch{ID: l.sub, Watcher: l.owner, Package: l.key,
				Via: presence.Via{Edge: Name, Handle: l.dialog.id}}
			err := l.edge.engine.Submit(m.entity, in, func(_ presence.Outcome, err error) {
				if err != nil {
					l.failed(m, err) // else a notice follows
				}
			})
			if err != nil {
				l.failed(m, err)
			}
		}
	})
}

func (t *listTable) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// failed notes that a member could not be watched.
func (l *listing) failed(m *member, err error) {
	l.mu.Lock()
	if l.list.members[m.entity] != m || !m.asked {
		l.mu.Unlock()
		return
	}
	m.asked = false
	l.waiting--
	if errors.Is(err, presence.ErrTooMany) {
		// Somebody else's bound; it may pass.
		l.list.note(m, presence.Terminated, presence.Giveup, nil)
	} else if !errors.Is(err, engine.ErrStopped) {
		l.later()
	}
	tell, release := l.gather()
	l.mu.Unlock()
	l.proceed(tell, release)
}

func (l *listing) unwatch(m *member) {
	if m.state == presence.Terminated && !m.asked {
		return
	}
	// When this is not taken, the next notice finds nobody and does the same.
	_ = l.edge.engine.Submit(m.entity, presence.Unwatch{ID: l.sub, Reason: presence.Timeout, Silent: true}, nil)
}

// noteMember takes what the engine tells a listing of one of its members.
func (e *Edge) noteMember(n *presence.Notice, t *presence.Target) {
	l := e.lists.get(t.Handle)
	if (l == nil || l.sub != t.Sub || !l.take(n.Presentity, n.State, n.Reason, n.View)) && n.State != presence.Terminated {
		e.forget(n.Presentity, t.Sub)
	}
}

// take notes the state of a member; false when it is none.
func (l *listing) take(who presence.Entity, state presence.State, reason presence.Reason, view *presence.View) bool {
	l.mu.Lock()
	m := l.list.members[who]
	if m == nil || l.over {
		l.mu.Unlock()
		return false
	}
	l.list.note(m, state, reason, view)
	if m.asked {
		m.asked = false
		l.waiting--
	}
	l.edge.lists.refuse(who, l, state == presence.Terminated) // while who is a member
	if state == presence.Terminated && reason == presence.Rejected {
		l.doubt(m)
	}
	tell, release := l.gather()
	l.mu.Unlock()
	l.proceed(tell, release)
	return true
}

// refuse notes whether a member has said no to a list.
func (t *listTable) refuse(who presence.Entity, l *listing, no bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ls := t.refused[who]
	if no && t.byID[l.dialog.id] == l {
		if ls == nil {
			ls = make(map[*listing]bool)
			t.refused[who] = ls
		}
		ls[l] = true
		return
	}
	if delete(ls, l); len(ls) == 0 {
		delete(t.refused, who)
	}
}

// decided: the policy of somebody has changed, or is about to. Lists that he has
// refused ask him again.
func (t *listTable) decided(who presence.Entity) {
	t.mu.Lock()
	ls := t.refused[who]
	delete(t.refused, who)
	t.mu.Unlock()
	for l := range ls {
		l.mu.Lock()
		l.later()
		l.mu.Unlock()
	}
}

// documentsChanged hears of each commit of a user's documents. It tells the user's
// own lists by the presentity, which may be another node's; who has made the change has told it.
func (e *Edge) documentsChanged(c *xdm.Change) {
	if c.Missed() {
		e.documentsMissed(c.User)
		return
	}
	if c.Policy {
		e.lists.decided(c.User)
	}
	if c.Remote {
		return
	}
	for _, d := range c.Documents {
		n := d.After
		if n == nil {
			n = d.Before
		}
		if n.AUID != xdm.ResourceLists && n.AUID != xdm.RLSServices {
			continue
		}
		e.touchLists(c.User)
		return
	}
}

// touchLists has the lists of a user told by the presentity.
func (e *Edge) touchLists(owner presence.Entity) {
	for _, p := range packages {
		if p.members == nil {
			continue
		}
		if err := e.engine.Submit(owner, presence.Touch{Package: p.key}, nil); err != nil {
			e.log.Warn("simple: lists are not told of a change", "owner", owner.String(), "err", err)
		}
	}
}

// nameFriends is for Linphone. Of a list that is kept here it makes friends only
// out of resources with names. Of its own list it knows the names, and crashes at one
// of a friend that its user has removed meanwhile.
func nameFriends(news []told, own bool) {
	for i := range news {
		switch t := &news[i]; {
		case own:
			t.names = nil
		case len(t.names) == 0 && t.member.entity.User != "":
			t.names = []rlmi.Name{{Text: t.member.entity.User}}
		}
	}
}

// tellList writes the body of a NOTIFY to a list's watcher.
func tellList(t *telling) content {
	d := t.dialog
	c := content{header: "Require: eventlist\r\n"} // RFC 4662 §4.1
	l := t.edge.lists.get(d.id)
	if l == nil {
		c.nothing = true
		return c
	}
	l.mu.Lock()
	// RFC 4662 §5.2: full in the first NOTIFY and in each that follows a SUBSCRIBE;
	// and when it is not known whether the last one has arrived.
	news, full := l.list.take(t.must || t.before == nil)
	if len(news) == 0 && !full && !t.must {
		l.mu.Unlock()
		c.nothing = true
		return c
	}
	l.told = time.Now()
	names, source := l.list.names, l.source
	l.mu.Unlock()
	if source.friends {
		nameFriends(news, source.xml != "")
	}

	max, rows := maxListStream, math.MaxInt
	if t.overUDP() && !source.deflate {
		max, rows = maxListDatagram, maxListRows
	}
	unique := "." + newID() + "@" + l.owner.Domain
	m := &rlmi.Body{Boundary: newID(), Root: "list" + unique, Bare: source.friends}
	doc := &rlmi.List{URI: source.uri, Version: t.version, Full: full, Names: names}
	base := d.pkg.members
	body, left := listBody(m, doc, news, base.bodies[0].name, func(x told) []byte { return memberBody(t, base, &x) }, unique, max, rows)
	c.mediaType, c.body = m.ContentType(), body
	if source.deflate && len(body) > minDeflate {
		c.header += "Content-Encoding: deflate\r\n"
		c.body = deflate(body)
	}
	if len(left) > 0 {
		l.mu.Lock()
		for _, x := range left {
			l.list.putBack(x)
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	pending := l.list.pending()
	l.mu.Unlock()
	if pending && !t.final {
		t.edge.retell(d) // goes when this one has been answered
	}
	return c
}
