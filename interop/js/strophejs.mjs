// strophe.js in a browser, over WebSocket.
import { $iq, $msg, $pres, Strophe } from "/node_modules/strophe.js/dist/strophe.esm.js";
import { obey, say } from "/js/leash.mjs";

await obey(async (s) => {
  const c = new Strophe.Connection(s.service);
  say("started", { version: Strophe.VERSION });
  const bare = (a) => Strophe.getBareJidFromJid(a);
  const text = (el, name) => el.getElementsByTagName(name)[0]?.textContent;
  c.connect(`${s.user}@${s.domain}/${s.resource}`, s.password, (status, condition) => {
    if (status === Strophe.Status.CONNECTED) {
      c.addHandler((p) => {
        const from = p.getAttribute("from");
        say("presence", { from, bare: bare(from), type: p.getAttribute("type") ?? "available", show: text(p, "show"), status: text(p, "status") });
        return true;
      }, null, "presence");
      c.addHandler((m) => {
        const from = m.getAttribute("from");
        say("message", { from, bare: bare(from), type: m.getAttribute("type"), body: text(m, "body") });
        return true;
      }, null, "message");
      c.send($pres());
      say("ready", { jid: c.jid });
    } else if (status === Strophe.Status.DISCONNECTED) say("disconnected", { condition });
    else if (status === Strophe.Status.AUTHFAIL || status === Strophe.Status.CONNFAIL) say("failed", { what: "login", condition });
  });
  const iq = (stanza) => new Promise((done, fail) => c.sendIQ(stanza, done, fail, 10000));
  return {
    presence: (x) => {
      const p = $pres();
      if (x.show) p.c("show").t(x.show).up();
      if (x.status) p.c("status").t(x.status).up();
      c.send(p);
    },
    subscribe: (x) => void c.send($pres({ to: x.to, type: "subscribe" })),
    subscribed: (x) => void c.send($pres({ to: x.to, type: "subscribed" })),
    message: (x) => void c.send($msg({ to: x.to, type: "chat" }).c("body").t(x.body)),
    ping: async (x) => {
      await iq($iq({ type: "get", to: x.to }).c("ping", { xmlns: "urn:xmpp:ping" }));
      return {};
    },
    roster: async () => {
      const r = await iq($iq({ type: "get" }).c("query", { xmlns: "jabber:iq:roster" }));
      return { items: [...r.getElementsByTagName("item")].map((i) => `${i.getAttribute("jid")} ${i.getAttribute("subscription")}`) };
    },
    quit: () => void c.disconnect("bye"),
  };
});
