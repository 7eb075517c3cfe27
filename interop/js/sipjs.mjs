// SIP.js in a browser, over WebSocket.
import { Messager, Publisher, Registerer, RegistererState, Subscriber, SubscriptionState, UserAgent } from "/node_modules/sip.js/lib/index.js";
import { LIBRARY_VERSION } from "/node_modules/sip.js/lib/version.js";
import { obey, say } from "/js/leash.mjs";

const pidf = (s, activity, note) => `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:${s.user}@${s.domain}">
<tuple id="page"><status><basic>open</basic></status></tuple>
<dm:person id="me"><rpid:activities><rpid:${activity}/></rpid:activities><dm:note>${note}</dm:note></dm:person>
</presence>`;

await obey(async (s) => {
  const uri = (a) => UserAgent.makeURI(`sip:${a}`);
  const ua = new UserAgent({
    uri: uri(`${s.user}@${s.domain}`), authorizationUsername: s.user, authorizationPassword: s.password,
    transportOptions: { server: s.service }, logLevel: "warn",
    delegate: {
      onMessage: (m) => {
        say("message", { bare: m.request.from.uri.aor, body: m.request.body });
        m.accept();
      },
      onDisconnect: () => say("disconnected"),
    },
  });
  say("started", { version: LIBRARY_VERSION });
  await ua.start();
  const registerer = new Registerer(ua, { expires: 600 });
  registerer.stateChange.addListener((state) => {
    if (state === RegistererState.Registered) say("ready", { jid: `${s.user}@${s.domain}` });
    if (state === RegistererState.Unregistered) say("unregistered");
  });
  await registerer.register();
  let watch, publisher;
  return {
    watch: (c) => {
      watch = new Subscriber(ua, uri(c.to), "presence", { expires: 600, extraHeaders: ["Accept: application/pidf+xml"] });
      watch.delegate = {
        onNotify: (n) => {
          n.accept();
          say("notify", { state: n.request.getHeader("Subscription-State"), seq: n.request.cseq, body: n.request.body });
        },
      };
      watch.stateChange.addListener((state) => state === SubscriptionState.Terminated && say("terminated"));
      watch.subscribe();
    },
    unwatch: () => void watch.unsubscribe(),
    publish: (c) => {
      publisher ??= new Publisher(ua, uri(`${s.user}@${s.domain}`), "presence", { contentType: "application/pidf+xml", expires: 600, body: "" });
      publisher.publish(pidf(s, c.activity, c.note));
    },
    unpublish: () => void publisher.unpublish(),
    message: (c) =>
      new Promise((done, fail) =>
        new Messager(ua, uri(c.to), c.body).message({
          requestDelegate: { onAccept: () => done({}), onReject: (r) => fail(new Error(r.message.statusCode)) },
        })),
    quit: async () => {
      await registerer.unregister();
      await ua.stop();
      say("bye");
    },
  };
});
