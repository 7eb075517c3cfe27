// @xmpp/client, over TCP (xmpp://) or WebSocket (wss://) as the service says.
import { createRequire } from "node:module";
import { client, xml } from "@xmpp/client";
import { obey, say } from "./leash.mjs";


globalThis.WebSocket ??= (await import("ws")).default; // node 20 has none of its own

const version = createRequire(import.meta.url)("@xmpp/client/package.json").version;

await obey(async (s) => {
  const x = client({ service: s.service, domain: s.domain, resource: s.resource, username: s.user, password: s.password });
  say("started", { version });
  x.on("error", (e) => say("error", { condition: e.condition, text: String(e.message) }));
  x.on("offline", () => say("offline"));
  x.on("disconnect", () => say("disconnected"));
  x.on("online", (address) => {
    say("online", { jid: String(address) });
    x.send(xml("presence")).then(() => say("ready", { jid: String(address) }));
  });
  x.streamManagement.on("resumed", () => say("resumed"));
  x.on("stanza", (el) => {
    const from = el.attrs.from ?? "";
    if (el.is("presence")) {
      say("presence", { from, bare: from.split("/")[0], type: el.attrs.type ?? "available", show: el.getChildText("show"), status: el.getChildText("status") });
    } else if (el.is("message")) {
      say("message", { from, bare: from.split("/")[0], type: el.attrs.type, body: el.getChildText("body"), delayed: el.getChild("delay") ? true : undefined });
    }
  });
  x.start().catch((e) => say("failed", { what: "login", condition: e.condition, text: String(e.message) }));
  return {
    presence: (c) => void x.send(xml("presence", {}, c.show && xml("show", {}, c.show), c.status && xml("status", {}, c.status))),
    subscribe: (c) => void x.send(xml("presence", { to: c.to, type: "subscribe" })),
    subscribed: (c) => void x.send(xml("presence", { to: c.to, type: "subscribed" })),
    message: (c) => void x.send(xml("message", { to: c.to, type: "chat" }, xml("body", {}, c.body))),
    roster: async () => {
      const q = await x.iqCaller.get(xml("query", "jabber:iq:roster"));
      return { items: q.getChildren("item").map((i) => `${i.attrs.jid} ${i.attrs.subscription}`) };
    },
    ping: async (c) => {
      await x.iqCaller.request(xml("iq", { type: "get", to: c.to }, xml("ping", "urn:xmpp:ping")));
      return {};
    },
    sm: async () => ({ enabled: x.streamManagement.enabled, id: x.streamManagement.id }),
    drop: () => void (x.socket.destroy ? x.socket.destroy() : x.socket.socket?.terminate?.() ?? x.socket.end()),
    quit: async () => {
      await x.stop();
      process.exit(0);
    },
  };
});
