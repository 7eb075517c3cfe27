package sip

import "testing"

func TestEvent(t *testing.T) {
	e, ok, err := parsed(t, "o: presence.winfo ; id = 7;x").Event()
	want(t, "ok", ok && err == nil, true)
	want(t, "package", e.Package, "presence.winfo")
	want(t, "id", e.ID, "7")
	want(t, "param", e.Params.Has("x"), true)
	want(t, "same", e.Same(Event{Package: "presence.winfo", ID: "7"}), true)
	want(t, "other id", e.Same(Event{Package: "presence.winfo"}), false)
	want(t, "other case", e.Same(Event{Package: "Presence.winfo", ID: "7"}), false)
	want(t, "written", string(AppendEvent(nil, e)), "Event: presence.winfo;id=7\r\n")
	_, ok, err = parsed(t).Event()
	want(t, "absent", !ok && err == nil, true)
	for _, s := range []string{"", "a b", "presence;", "presence, dialog", ";id=1", "presence;id="} {
		_, ok, err = parsed(t, "Event: "+s).Event()
		want(t, s, ok && err == ErrHeader, true)
	}
}

func TestSubscriptionState(t *testing.T) {
	for _, c := range []struct {
		line string
		want SubscriptionState
	}{
		{"active;expires=600", SubscriptionState{State: "active", Expires: 600, HasExpires: true}},
		{"active;expires=0", SubscriptionState{State: "active", HasExpires: true}},
		{"pending", SubscriptionState{State: "pending"}},
		{"terminated;reason=probation;retry-after=30", SubscriptionState{State: "terminated", Reason: "probation", RetryAfter: 30, HasRetryAfter: true}},
		{"terminated;reason=noresource", SubscriptionState{State: "terminated", Reason: "noresource"}},
	} {
		s, ok, err := parsed(t, "Subscription-State: "+c.line).SubscriptionState()
		want(t, c.line, ok && err == nil && s == c.want, true)
		want(t, c.line, string(AppendSubscriptionState(nil, s)), "Subscription-State: "+c.line+"\r\n")
	}
	s, _, _ := parsed(t, "Subscription-State: Terminated ; Reason=TimeOut;expires=x").SubscriptionState()
	want(t, "case", s, SubscriptionState{State: "terminated", Reason: "timeout"})
	_, ok, err := parsed(t).SubscriptionState()
	want(t, "absent", !ok && err == nil, true)
	_, ok, err = parsed(t, "Subscription-State: a b").SubscriptionState()
	want(t, "malformed", ok && err == ErrHeader, true)
}
