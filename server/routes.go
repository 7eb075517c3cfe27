package server

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pharos/cluster"
	"pharos/config"
)

// routes is what the http listeners serve.
func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.Handle("/sip", s.fromOrigin(asksToUpgrade("SIP phones", "sip", s.sip.WebSocket())))
	secure, plain := s.xmpp.WebSocket(true), s.xmpp.WebSocket(false)
	m.Handle("/xmpp", s.fromOrigin(asksToUpgrade("chat clients", "xmpp", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			secure.ServeHTTP(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	}))))
	m.HandleFunc("GET /.well-known/host-meta", hostMetaXML)
	m.HandleFunc("GET /.well-known/host-meta.json", hostMetaJSON)
	m.Handle("GET /metrics", s.metrics())
	m.HandleFunc("GET /{$}", s.front)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Before the mux, which would clean selectors that hold "//".
		if s.xcap.Owns(r.URL.EscapedPath()) {
			s.xcap.ServeHTTP(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// fromOrigin refuses pages of origins that are not listed (RFC 6455 §10.2).
// Clients that are no browser send no Origin.
func (s *Server) fromOrigin(h http.Handler) http.Handler {
	allowed := s.Config.HTTP.Origins
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := r.Header.Get("Origin")
		if o != "" && !slices.Contains(allowed, "*") && !slices.Contains(allowed, o) {
			http.Error(w, "this origin is not in http.origins", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// asksToUpgrade tells who asks for no WebSocket, such as a person with a browser, that there is nothing else here.
func asksToUpgrade(who, subprotocol string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket") // RFC 9110 §15.5.22
			http.Error(w, "Here "+who+" in web pages connect by WebSocket, with the subprotocol "+subprotocol+". There is no page to be seen; / says more.", http.StatusUpgradeRequired)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// socketURL is the WebSocket's address as this client reached us.
func socketURL(r *http.Request, path string) string {
	u := url.URL{Scheme: "ws", Host: r.Host, Path: path}
	if r.TLS != nil {
		u.Scheme = "wss"
	}
	return u.String()
}

// relWebSocket is the link relation of RFC 7395 §4, found by XEP-0156.
const relWebSocket = "urn:xmpp:alt-connections:websocket"

type hostMetaLink struct {
	Rel  string `json:"rel" xml:"rel,attr"`
	Href string `json:"href" xml:"href,attr"`
}

type hostMeta struct {
	XMLName xml.Name       `json:"-" xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
	Links   []hostMetaLink `json:"links" xml:"Link"`
}

func links(w http.ResponseWriter, r *http.Request) hostMeta {
	w.Header().Set("Access-Control-Allow-Origin", "*") // XEP-0156 §3.2: pages of any origin read it
	return hostMeta{Links: []hostMetaLink{{relWebSocket, socketURL(r, "/xmpp")}}}
}

func hostMetaXML(w http.ResponseWriter, r *http.Request) {
	meta := links(w, r)
	w.Header().Set("Content-Type", "application/xrd+xml; charset=utf-8")
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(meta)
}

func hostMetaJSON(w http.ResponseWriter, r *http.Request) {
	meta := links(w, r)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(meta)
}

// metrics gives the parts' counters to Prometheus, to the addresses of
// http.metrics only.
func (s *Server) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, m := range s.counters() {
		opts := prometheus.Opts{Namespace: "pharos", Name: m.name, Help: m.help}
		if m.gauge {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), m.value))
		} else {
			reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), m.value))
		}
	}
	h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	allowed, err := config.Prefixes(s.Config.HTTP.Metrics)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remote, perr := netip.ParseAddrPort(r.RemoteAddr)
		ok := err == nil && perr == nil && slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(remote.Addr().Unmap()) })
		if !ok {
			http.Error(w, "this address is not in http.metrics", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// metric is one figure that is read when asked for.
type metric struct {
	name, help string
	gauge      bool
	value      func() float64
}

func (s *Server) counters() []metric {
	list := []metric{
		{"presentities", "Presentities in memory.", true, func() float64 { return float64(s.engine.Stats().Presentities) }},
		{"sources", "Publications and sessions that make up presence.", true, func() float64 { return float64(s.engine.Stats().Sources) }},
		{"subscriptions", "Living subscriptions of both protocols.", true, func() float64 { return float64(s.engine.Stats().Subscriptions) }},
		{"subscriptions_pending", "Subscriptions that wait for the user's word.", true, func() float64 { return float64(s.engine.Stats().Pending) }},
		{"steps_total", "Inputs that presentities have taken.", false, func() float64 { return float64(s.engine.Stats().Steps) }},
		{"notices_total", "Watchers told.", false, func() float64 { return float64(s.engine.Stats().Notices) }},
		{"saves_total", "Records made durable.", false, func() float64 { return float64(s.engine.Stats().Saves) }},
		{"overloads_total", "Inputs refused because a queue was full.", false, func() float64 { return float64(s.engine.Stats().Overloads) }},
		{"sip_requests_total", "SIP requests taken.", false, func() float64 { return float64(s.simple.Stats().Requests) }},
		{"sip_notifies_total", "NOTIFYs sent.", false, func() float64 { return float64(s.simple.Stats().Notifies) }},
		{"sip_notify_failures_total", "NOTIFYs refused or not answered.", false, func() float64 { return float64(s.simple.Stats().Failures) }},
		{"sip_subscriptions_lost_total", "Subscriptions ended because their watcher did not answer.", false, func() float64 { return float64(s.simple.Stats().Lost) }},
		{"sip_bindings", "Registered contacts.", true, func() float64 { return float64(s.simple.Stats().Bindings) }},
		{"xmpp_sessions", "XMPP sessions, hibernating ones included.", true, func() float64 { n, _ := s.jabber.Count(); return float64(n) }},
		{"xmpp_hibernating", "XMPP sessions that wait to be resumed.", true, func() float64 { _, n := s.jabber.Count(); return float64(n) }},
		{"queued", "Inputs waiting.", true, func() float64 { return float64(s.engine.Stats().Queued) }},
		{"database_up", "1 when the database answers.", true, func() float64 { return one(s.store.Health(context.Background()).OK) }},
	}
	if s.node == nil {
		return list
	}
	status := func(of func(*ClusterStatus) float64) func() float64 {
		return func() float64 { st := s.node.Status(); return of(&st) }
	}
	return append(list,
		metric{"cluster_takes_part", "1 when this server has a lease and acts for users.", true, func() float64 { return one(s.node.Valid()) }},
		metric{"cluster_leads", "1 when this server leads.", true, func() float64 { _, leads := s.node.Leading(); return one(leads) }},
		metric{"cluster_servers_active", "Servers that take users, as this one sees it.", true, status(func(st *ClusterStatus) (n float64) {
			for i := range st.Nodes {
				if m := &st.Nodes[i]; m.State == cluster.Active && m.LeaseLeft > 0 {
					n++
				}
			}
			return n
		})},
		metric{"cluster_homes", "Users who are at home here.", true, func() float64 { return float64(s.node.Homes()) }},
		metric{"cluster_level", "Level of this server, of which its maximum is reckoned.", true, func() float64 { level, _ := s.load(); return level }},
		metric{"cluster_moved_total", "Users handed over to other servers.", false, status(func(st *ClusterStatus) float64 { return float64(st.Counts.Moved) })},
		metric{"cluster_came_total", "Users taken from other servers.", false, status(func(st *ClusterStatus) float64 { return float64(st.Counts.Came) })},
		metric{"cluster_inherited_total", "Users taken over from servers that have gone.", false, status(func(st *ClusterStatus) float64 { return float64(st.Counts.Inherited) })},
		metric{"cluster_stepped_down_total", "Times that this server had to stop taking part.", false, status(func(st *ClusterStatus) float64 { return float64(st.Counts.Eras) })},
	)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
