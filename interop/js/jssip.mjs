// JsSIP, over WebSocket.
import { createRequire } from "node:module";
import { obey, say } from "./leash.mjs";

const require = createRequire(import.meta.url);
globalThis.WebSocket ??= require("ws"); // node 20 has none of its own
const JsSIP = require("jssip");

await obey(async (s) => {
  const address = `sip:${s.user}@${s.domain}`;
  const ua = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(s.service)], uri: address, password: s.password, register_expires: 600,
  });
  say("started", { version: JsSIP.version });
  ua.on("registered", () => say("ready", { jid: address }));
  ua.on("unregistered", () => say("unregistered"));
  ua.on("registrationFailed", (e) => say("failed", { what: "register", text: e.cause }));
  ua.on("disconnected", () => say("disconnected"));
  ua.on("newMessage", ({ originator, message, request }) => {
    if (originator === "remote") say("message", { bare: request.from.uri.toAor().slice(4), body: request.body });
  });
  ua.start();
  let watch;
  return {
    watch: (c) => {
      watch = ua.subscribe(`sip:${c.to}`, "presence", "application/pidf+xml", { expires: 600, contentType: "application/pidf+xml" });
      watch.on("notify", (last, request, body) => say("notify", { state: request.getHeader("Subscription-State"), seq: request.cseq, body }));
      watch.on("terminated", (code, reason) => say("terminated", { code, reason }));
      watch.subscribe();
    },
    unwatch: () => void watch.terminate(),
    message: (c) =>
      new Promise((done, fail) =>
        ua.sendMessage(`sip:${c.to}`, c.body, {
          eventHandlers: { succeeded: () => done({}), failed: (e) => fail(new Error(e.cause)) },
        })),
    quit: () => {
      ua.on("disconnected", () => process.exit(0));
      ua.stop();
    },
  };
});
