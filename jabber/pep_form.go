package jabber

import (
	"slices"
	"strconv"
	"strings"

	"pharos/markup"
)

// pubsubError is the answer to a pubsub request that cannot be served: a
// condition of RFC 6120 §8.3.3 with one of XEP-0060's own.
type pubsubError struct {
	condition string
	app       string // element of pubsub#errors, "" for none
	feature   string // of <unsupported/>
}

func (e *pubsubError) Error() string { return "jabber: pubsub: " + e.condition + " " + e.app }

// appXML is the application-specific condition.
func (e *pubsubError) appXML() string {
	if e.app == "" {
		return ""
	}
	b := append([]byte("<"), e.app...)
	b = append(b, " xmlns='"+nsPubSubErrors+"'"...)
	return string(append(attr(b, "feature", e.feature), "/>"...))
}

func unsupported(feature string) *pubsubError {
	return &pubsubError{condition: "feature-not-implemented", app: "unsupported", feature: feature}
}

var (
	errNoNode       = &pubsubError{condition: "item-not-found"}
	errNodeExists   = &pubsubError{condition: "conflict"}
	errNodeID       = &pubsubError{condition: "bad-request", app: "nodeid-required"}
	errNoInstant    = &pubsubError{condition: "not-acceptable", app: "nodeid-required"}
	errItemID       = &pubsubError{condition: "bad-request", app: "item-required"}
	errPayload      = &pubsubError{condition: "bad-request", app: "invalid-payload"}
	errNeedsPayload = &pubsubError{condition: "bad-request", app: "payload-required"}
	errTooBig       = &pubsubError{condition: "not-acceptable", app: "payload-too-big"}
	errTooManyNodes = &pubsubError{condition: "not-allowed", app: "max-nodes-exceeded"}
	errNodeFull     = &pubsubError{condition: "resource-constraint"}
	errPrecondition = &pubsubError{condition: "conflict", app: "precondition-not-met"}
	errAccessModel  = &pubsubError{condition: "not-acceptable", app: "unsupported-access-model"}
	errBadForm      = &pubsubError{condition: "bad-request", app: "invalid-options"}
	errConfig       = &pubsubError{condition: "not-acceptable"}
	errNotOwner     = &pubsubError{condition: "forbidden"}
	errClosed       = &pubsubError{condition: "not-allowed", app: "closed-node"}
	errNoPresence   = &pubsubError{condition: "not-authorized", app: "presence-subscription-required"}
	errPlain        = &pubsubError{condition: "bad-request"}
)

// field of a data form that was submitted.
type field struct {
	name   string
	values []string
}

// readForm reads a submitted form of a FORM_TYPE (XEP-0004, XEP-0068); a field comes once.
func readForm(x *markup.Element, formType string) ([]field, *pubsubError) {
	if x == nil || x.Attr("type") != "submit" {
		return nil, errBadForm
	}
	var fs []field
	typed := false
	for c := range x.Children() {
		if !c.Is(nsData, "field") {
			continue
		}
		f := field{name: c.Attr("var")}
		for v := range c.Children() {
			if v.Is(nsData, "value") && len(f.values) < MaxForm {
				f.values = append(f.values, strings.TrimSpace(v.Text()))
			}
		}
		if f.name == "FORM_TYPE" {
			if len(f.values) != 1 || f.values[0] != formType {
				return nil, errBadForm
			}
			typed = true
			continue
		}
		if len(fs) == MaxForm || slices.ContainsFunc(fs, func(o field) bool { return o.name == f.name }) {
			return nil, errBadForm
		}
		fs = append(fs, f)
	}
	if !typed && len(fs) > 0 {
		return nil, errBadForm
	}
	return fs, nil
}

// setting is one field of the configuration (XEP-0060 §16.4.4).
type setting struct {
	name, kind, label string
	options           []string
	get               func(c *nodeConfig) string
	// set returns nil when the value is taken; unfit for one that is no value
	// of the field, other errors for one that this server cannot serve.
	set func(c *nodeConfig, v string) *pubsubError
}

var errUnfit = &pubsubError{condition: "bad-request", app: "invalid-options"}

// fixed is a field with one value, which clients may ask for.
func fixed(name, kind, label, value string) setting {
	return setting{name: name, kind: kind, label: label,
		get: func(*nodeConfig) string { return value },
		set: func(_ *nodeConfig, v string) *pubsubError {
			if kind == "boolean" {
				b, ok := boolean(v)
				if !ok {
					return errUnfit
				}
				v = bit(b)
			}
			if v != value {
				return errConfig
			}
			return nil
		},
	}
}

func toggle(name, label string, of func(*nodeConfig) *bool) setting {
	return setting{name: name, kind: "boolean", label: label,
		get: func(c *nodeConfig) string { return bit(*of(c)) },
		set: func(c *nodeConfig, v string) *pubsubError {
			b, ok := boolean(v)
			if !ok {
				return errUnfit
			}
			*of(c) = b
			return nil
		},
	}
}

var settings = []setting{
	{name: "pubsub#access_model", kind: "list-single", label: "Who may subscribe and retrieve items",
		options: []string{string(accessPresence), string(accessOpen), string(accessWhitelist)},
		get:     func(c *nodeConfig) string { return string(c.Access) },
		set: func(c *nodeConfig, v string) *pubsubError {
			switch a := access(v); a {
			case accessPresence, accessOpen, accessWhitelist:
				c.Access = a
			case "roster", "authorize":
				return errAccessModel
			default:
				return errUnfit
			}
			return nil
		}},
	{name: "pubsub#max_items", kind: "text-single", label: "Items to keep",
		get: func(c *nodeConfig) string { return strconv.Itoa(c.Max) },
		set: func(c *nodeConfig, v string) *pubsubError {
			if v == "max" {
				c.Max = MaxPEPItems
				return nil
			}
			n, err := strconv.ParseUint(v, 10, 31)
			if err != nil {
				return errUnfit
			}
			if n < 1 || n > MaxPEPItems {
				return errConfig
			}
			c.Max = int(n)
			return nil
		}},
	toggle("pubsub#persist_items", "Keep items", func(c *nodeConfig) *bool { return &c.Persist }),
	toggle("pubsub#notify_retract", "Notify of retracted items", func(c *nodeConfig) *bool { return &c.Retract }),
	{name: "pubsub#send_last_published_item", kind: "list-single", label: "When to send the last item",
		options: []string{lastNever, lastOnSub, lastOnPresence},
		get:     func(c *nodeConfig) string { return c.Last },
		set: func(c *nodeConfig, v string) *pubsubError {
			if v != lastNever && v != lastOnSub && v != lastOnPresence {
				return errUnfit
			}
			c.Last = v
			return nil
		}},
	fixed("pubsub#deliver_notifications", "boolean", "Deliver notifications", "1"),
	fixed("pubsub#deliver_payloads", "boolean", "Deliver payloads", "1"),
	fixed("pubsub#notify_config", "boolean", "Notify of changed configuration", "0"),
	fixed("pubsub#notify_delete", "boolean", "Notify of deletion", "1"),
	fixed("pubsub#publish_model", "list-single", "Who may publish", "publishers"),
	fixed("pubsub#node_type", "list-single", "Type of node", "leaf"),
}

// configure applies fields; fields without a meaning here are refused, since what
// they ask for would not be done (XEP-0060 §7.1.5, §8.2.4).
func (c *nodeConfig) configure(fs []field) *pubsubError {
next:
	for _, f := range fs {
		for i := range settings {
			st := &settings[i]
			if st.name != f.name {
				continue
			}
			if len(f.values) != 1 {
				return errUnfit
			}
			if err := st.set(c, f.values[0]); err != nil {
				return err
			}
			continue next
		}
		switch f.name {
		case "pubsub#title", "pubsub#description", "pubsub#type", "pubsub#language", "pubsub#max_payload_size", "pubsub#itemreply":
			continue // say nothing about who gets what
		}
		return errConfig
	}
	return nil
}

// appendConfigForm writes the configuration of a node (XEP-0060 §8.2.1).
func appendConfigForm(b []byte, c *nodeConfig) []byte {
	b = append(b, "<x xmlns='"+nsData+"' type='form'><field var='FORM_TYPE' type='hidden'><value>"+nsNodeConfig+"</value></field>"...)
	for i := range settings {
		st := &settings[i]
		b = markup.AppendAttr(append(b, "<field"...), "var", st.name)
		b = markup.AppendAttr(b, "type", st.kind)
		b = markup.AppendAttr(b, "label", st.label)
		b = append(b, "><value>"...)
		value := st.get(c)
		b = append(markup.AppendText(b, value), "</value>"...)
		options := st.options
		if options == nil && st.kind == "list-single" {
			options = []string{value}
		}
		for _, o := range options {
			b = append(markup.AppendText(append(b, "<option><value>"...), o), "</value></option>"...)
		}
		b = append(b, "</field>"...)
	}
	return append(b, "</x>"...)
}

// appendMetaData writes what disco#info tells of a node (XEP-0060 §5.4).
func appendMetaData(b []byte, n *node) []byte {
	b = append(b, "<x xmlns='"+nsData+"' type='result'><field var='FORM_TYPE' type='hidden'><value>"+nsMetaData+"</value></field>"...)
	for _, f := range [...]struct{ name, value string }{
		{"pubsub#access_model", string(n.Config.Access)}, {"pubsub#max_items", strconv.Itoa(n.Config.Max)},
		{"pubsub#num_items", strconv.Itoa(len(n.Items))},
	} {
		b = append(markup.AppendAttr(append(b, "<field"...), "var", f.name), "><value>"...)
		b = append(markup.AppendText(b, f.value), "</value></field>"...)
	}
	return append(b, "</x>"...)
}

// boolean reads XEP-0004 §3.3's.
func boolean(v string) (is, ok bool) {
	switch v {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
