// stanza, over WebSocket.
import { createRequire } from "node:module";
import { obey, say } from "./leash.mjs";

const require = createRequire(import.meta.url);
const XMPP = require("stanza");

await obey(async (s) => {
  const x = XMPP.createClient({
    jid: `${s.user}@${s.domain}`, resource: s.resource, password: s.password,
    transports: { websocket: s.service, bosh: false },
  });
  say("started", { version: require("stanza/package.json").version });
  x.on("session:started", async () => {
    await x.getRoster();
    await x.enableCarbons();
    x.sendPresence();
    say("ready", { jid: x.jid });
  });
  x.on("auth:failed", () => say("failed_auth"));
  x.on("disconnected", () => say("disconnected"));
  x.on("stream:error", (e) => say("error", { condition: e.condition, text: e.text }));
  x.on("presence", (p) => say("presence", { from: p.from, bare: p.from?.split("/")[0], type: p.type ?? "available", show: p.show, status: p.status }));
  x.on("message", (m) => say("message", { from: m.from, bare: m.from?.split("/")[0], type: m.type, body: m.body, delayed: m.delay ? true : undefined }));
  x.on("stream:management:resumed", () => say("resumed"));
  x.connect();
  return {
    presence: (c) => void x.sendPresence({ show: c.show, status: c.status }),
    subscribe: (c) => void x.subscribe(c.to),
    subscribed: (c) => void x.acceptSubscription(c.to),
    message: (c) => void x.sendMessage({ to: c.to, type: "chat", body: c.body }),
    roster: async () => ({ items: (await x.getRoster()).items.map((i) => `${i.jid} ${i.subscription}`) }),
    ping: async (c) => {
      await x.ping(c.to);
      return {};
    },
    disco: async (c) => ({ features: (await x.getDiscoInfo(c.to)).features }),
    sm: async () => ({ enabled: x.sm.started, id: x.sm.id }),
    quit: async () => {
      const gone = new Promise((done) => x.once("disconnected", done));
      x.disconnect();
      await gone;
      process.exit(0);
    },
  };
});
