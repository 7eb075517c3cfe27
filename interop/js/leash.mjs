// The node side of interop's clients: commands come in as JSON lines on
// standard input, what happens goes out as JSON lines. The first line holds the
// settings: user, domain, password, resource, service.
import readline from "node:readline";

export function say(event, fields = {}) {
  const out = { event };
  for (const [k, v] of Object.entries(fields)) {
    if (v !== undefined && v !== null && v !== "") out[k] = v;
  }
  process.stdout.write(JSON.stringify(out) + "\n");
}

// obey reads the settings, makes the client by make(settings), which returns
// its commands by name, and runs the commands one after another.
export async function obey(make) {
  process.on("unhandledRejection", (e) => say("failed", { text: String(e?.stack ?? e) }));
  let commands;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const c = JSON.parse(line);
    if (!commands) {
      commands = await make(c);
      continue;
    }
    try {
      const result = await commands[c.do](c);
      if (result !== undefined) say("done", { what: c.do, ...result });
    } catch (e) {
      say("failed", { what: c.do, condition: e?.condition ?? e?.error?.condition, text: String(e?.message ?? e) });
    }
  }
}
