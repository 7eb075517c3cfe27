// converse.js in a browser, over WebSocket: the whole application, driven
// through its own plugin interface.
import converse from "/node_modules/converse.js/dist/converse.min.js";
import { obey, say } from "/js/leash.mjs";

await obey(async (s) => {
  let api;
  converse.plugins.add("leash", {
    initialize() {
      ({ api } = this._converse);
      say("started", { version: converse.VERSION ?? this._converse.VERSION_NAME });
      const show = (c) => say("presence", { bare: c.get("jid"), show: c.getStatus(), status: c.presence.getStatusMessage?.() ?? c.get("status_message") });
      api.listen.on("contactPresenceChanged", show);
      api.listen.on("contactRequest", (c) => say("request", { from: c.get("jid") }));
      api.listen.on("message", ({ attrs }) => attrs.body && say("message", { bare: attrs.from?.split("/")[0], body: attrs.body }));
      api.listen.on("rosterContactsFetched", () => say("ready", { jid: s.user + "@" + s.domain }));
      api.listen.on("will-reconnect", () => say("disconnected"));
      api.listen.on("disconnected", () => say("disconnected"));
    },
  });
  await converse.initialize({
    authentication: "login", auto_login: true, jid: `${s.user}@${s.domain}/${s.resource}`, password: s.password,
    websocket_url: s.service, discover_connection_methods: false, view_mode: "fullscreen",
    whitelisted_plugins: ["leash"], assets_path: "/node_modules/converse.js/dist/", i18n: "en", theme: "classic",
    auto_subscribe: false, allow_non_roster_messaging: true, notify_all_room_messages: false, play_sounds: false,
  });
  return {
    presence: (c) => void api.user.status.set(c.show, c.status),
    subscribe: async (c) => {
      await api.contacts.add({ jid: c.to, name: c.to });
      return {};
    },
    subscribed: async (c) => void (await api.contacts.get(c.to)).authorize(),
    message: async (c) => void (await api.chats.open(c.to, {}, true)).sendMessage({ body: c.body }),
    roster: async () => ({ items: (await Promise.all((await api.contacts.get()).map((c) => `${c.get("jid")} ${c.get("subscription")}`))) }),
    quit: async () => {
      await api.user.logout();
      say("bye");
    },
  };
});
