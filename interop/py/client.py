"""slixmpp on a leash: commands come in as JSON lines on standard input, what
happens goes out as JSON lines. Started by interop's slixmpp driver.

Usage: client.py JID HOST PORT CAFILE [feature...]      password: first input line
Features: carbons sm tls1.2
"""
import asyncio
import json
import ssl
import sys
import time

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath


def say(event, **fields):
    fields = {k: v for k, v in fields.items() if v not in ("", None)}
    print(json.dumps({"event": event, **fields}, sort_keys=True), flush=True)


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca, features):
        super().__init__(jid, password)
        self.ca_certs = ca
        self.auto_authorize = None  # the story says who is approved
        self.auto_subscribe = False
        for plugin in ("xep_0030", "xep_0092", "xep_0191", "xep_0199", "xep_0202", "xep_0280"):
            self.register_plugin(plugin)
        if "sm" in features:
            self.register_plugin("xep_0198")
        self.features_asked = features
        if "tls1.2" in features:
            self.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.leaving = False
        for name in ("session_start", "session_resumed", "disconnected", "failed_auth", "sm_enabled", "sm_failed"):
            self.add_event_handler(name, lambda data, name=name: self.happened(name, data))
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("stream_error", lambda e: say("stream_error", condition=e["condition"], text=e["text"]))
        self.register_handler(Callback("each message", StanzaPath("message"), self.on_message))
        self.add_event_handler("carbon_received", lambda m: self.on_carbon("received", m["carbon_received"]))
        self.add_event_handler("carbon_sent", lambda m: self.on_carbon("sent", m["carbon_sent"]))
        self.add_event_handler("roster_update", self.on_roster)
        self.register_handler(Callback("each presence", StanzaPath("presence"), self.on_presence))

    def happened(self, name, data):
        say(name, jid=self.boundjid.full, mechanism=self["feature_mechanisms"].mech.name
            if name == "session_start" and self["feature_mechanisms"].mech else "",
            cipher=(self.transport.get_extra_info("cipher") or [""])[1]
            if name == "session_start" and self.transport else "")
        if name == "disconnected" and self.leaving:
            asyncio.get_event_loop().call_soon(self.loop.stop)

    async def begin(self, _):
        try:
            await self.get_roster()
            if "carbons" in self.features_asked:
                await self["xep_0280"].enable()
            self.send_presence()
            say("ready", jid=self.boundjid.full)
        except (IqError, IqTimeout) as e:
            say("failed", what="login", condition=e.condition, text=e.text)

    def on_presence(self, p):
        say("presence", **{"from": p["from"].full, "bare": p["from"].bare, "type": p["type"], "status": p["status"],
                           "show": p.xml.findtext("{jabber:client}show"),
                           "priority": p.xml.findtext("{jabber:client}priority"),
                           "delayed": p.xml.find("{urn:xmpp:delay}delay") is not None or None,
                           "condition": p["error"]["condition"] if p["type"] == "error" else ""})

    def on_message(self, m):
        if m.xml.find("{urn:xmpp:carbons:2}sent") is not None or m.xml.find("{urn:xmpp:carbons:2}received") is not None:
            return  # told as carbons
        say("message", **{"from": m["from"].full, "bare": m["from"].bare, "type": m["type"], "body": m["body"],
                          "delayed": m.xml.find("{urn:xmpp:delay}delay") is not None or None,
                          "condition": m["error"]["condition"] if m["type"] == "error" else ""})

    def on_carbon(self, which, m):
        say("carbon", which=which, body=m["body"], **{"from": m["from"].full, "to": m["to"].full})

    def on_roster(self, iq):
        for jid, item in iq["roster"]["items"].items():
            say("roster", jid=str(jid), subscription=item["subscription"], ask=item["ask"], name=item["name"],
                groups=sorted(item["groups"]))

    async def do(self, c):
        what = c["do"]
        if what == "presence":
            self.send_presence(pto=c.get("to"), pshow=c.get("show"), pstatus=c.get("status"),
                               ppriority=c.get("priority"), ptype=c.get("type"))
        elif what in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            self.send_presence_subscription(pto=c["to"], ptype=what)
        elif what == "message":
            self.send_message(mto=c["to"], mbody=c["body"], mtype="chat")
        elif what == "roster set":
            await self.update_roster(c["jid"], name=c.get("name"), groups=c.get("groups", []))
            say("done", what=what)
        elif what == "roster remove":
            await self.del_roster_item(c["jid"])
            say("done", what=what)
        elif what == "roster":
            self.on_roster(await self.get_roster())
            say("done", what=what)
        elif what == "ping":
            t = time.monotonic()
            await self["xep_0199"].ping(jid=c.get("to"), timeout=5)
            say("done", what=what, ms=round((time.monotonic() - t) * 1000, 1))
        elif what == "disco":
            info = (await self["xep_0030"].get_info(jid=c["to"]))["disco_info"]
            say("done", what=what, features=sorted(info["features"]),
                identities=sorted("/".join(x or "" for x in i[:2]) for i in info["identities"]))
        elif what == "items":
            items = (await self["xep_0030"].get_items(jid=c["to"]))["disco_items"]
            say("done", what=what, items=[i[0] for i in items["items"]])
        elif what == "version":
            v = (await self["xep_0092"].get_version(c["to"]))["software_version"]
            say("done", what=what, name=v["name"], version=v["version"])
        elif what == "time":
            iq = self.make_iq_get(ito=c["to"])
            iq.append(ET.Element("{urn:xmpp:time}time"))
            utc = (await iq.send()).xml.findtext("{urn:xmpp:time}time/{urn:xmpp:time}utc")
            say("done", what=what, utc=utc)
        elif what == "block":
            await self["xep_0191"].block(c["jid"])
            say("done", what=what)
        elif what == "unblock":
            await self["xep_0191"].unblock(c["jid"])
            say("done", what=what)
        elif what == "blocked":
            got = await self["xep_0191"].get_blocked()
            say("done", what=what, items=sorted(str(j) for j in got["blocklist"]["items"]))
        elif what == "drop":  # as a lost network does: no goodbye
            self.abort()
        elif what == "connect":  # slixmpp 1.8 does not by itself after a loss
            self.connect(self.address, force_starttls=True)
        elif what == "quit":
            self.leaving = True
            self.disconnect()
        else:
            raise ValueError(what)

    async def obey(self):
        reader = self.commands = asyncio.StreamReader()
        await self.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            c = json.loads(line)
            try:
                await self.do(c)
            except IqError as e:
                say("failed", what=c["do"], condition=e.condition, type=e.etype, text=e.text)
            except IqTimeout:
                say("failed", what=c["do"], condition="timeout")


def main():
    jid, host, port, ca = sys.argv[1:5]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    client = Client(jid, sys.stdin.buffer.raw.readline().decode().rstrip("\n"), ca, sys.argv[5:])
    say("started", version=slixmpp.__version__)
    client.address = (host, int(port))
    client.connect(client.address, force_starttls=True)
    obeying = loop.create_task(client.obey())  # kept: the loop's own reference is weak
    loop.run_forever()
    obeying.cancel()


main()
