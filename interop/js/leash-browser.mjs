// The browser side of interop's clients: commands come in as server-sent
// events, what happens is posted. It has the shape of leash.mjs.
let posts = Promise.resolve(); // one after another: the order is part of what is told

export function say(event, fields = {}) {
  const out = { event };
  for (const [k, v] of Object.entries(fields)) {
    if (v !== undefined && v !== null && v !== "") out[k] = v;
  }
  posts = posts.then(() => fetch("/said", { method: "POST", body: JSON.stringify(out) }));
}

addEventListener("error", (e) => say("failed", { text: e.message }));
addEventListener("unhandledrejection", (e) => say("failed", { text: String(e.reason?.stack ?? e.reason) }));

export async function obey(make) {
  let commands;
  const run = async (c) => {
    if (!commands) {
      commands = await make(c);
      return;
    }
    try {
      const result = await commands[c.do](c);
      if (result !== undefined) say("done", { what: c.do, ...result });
    } catch (e) {
      say("failed", { what: c.do, text: String(e?.message ?? e) });
    }
  };
  let turn = Promise.resolve();
  new EventSource("/commands").onmessage = (m) => {
    turn = turn.then(() => run(JSON.parse(m.data)));
  };
}
