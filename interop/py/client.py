"""slixmpp on a leash: commands come in as JSON lines on standard input, what
happens goes out as JSON lines. Started by interop's slixmpp driver.

Usage: client.py JID HOST PORT CAFILE [feature...]      password: first input line
Features: carbons sm tls1.2 pep
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
        if "pep" in features:
            for plugin in ("xep_0049", "xep_0054", "xep_0080", "xep_0084", "xep_0107", "xep_0108", "xep_0118", "xep_0172"):
                self.register_plugin(plugin)
            for kind in ("publish", "retract", "purge", "delete"):
                self.add_event_handler("pubsub_" + kind, lambda m, kind=kind: self.on_pep(kind, m))
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
        say("presence", photo=p.xml.findtext("{vcard-temp:x:update}x/{vcard-temp:x:update}photo"),
            **{"from": p["from"].full, "bare": p["from"].bare, "type": p["type"], "status": p["status"],
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

    def on_pep(self, kind, m):
        event = m["pubsub_event"]
        if kind in ("purge", "delete"):
            return say("pep", kind=kind, node=event[kind]["node"], **{"from": m["from"].full})
        for item in list(event["items"]["substanzas"]):  # iterating would share a cursor with slixmpp's own loop
            says = {}
            if kind == "publish":
                for child in item.xml:
                    name = child.tag.split("}")[1]
                    if name in ("mood", "activity"):
                        value = item[name]["value"]
                        says = {"value": "/".join(v for v in value if v) if isinstance(value, tuple) else value, "text": item[name]["text"]}
                    elif name == "metadata":
                        says = {"value": " ".join(i["id"] for i in item["avatar_metadata"]["items"])}
                    else:
                        says = {"value": "".join(child.itertext())}
            say("pep", kind=kind, node=event["items"]["node"], id=item["id"], **{"from": m["from"].full}, **says)

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
        elif what == "mood":
            await self["xep_0107"].publish_mood(c["value"], c.get("text"))
            say("done", what=what)
        elif what == "no mood":
            await self["xep_0107"].stop()
            say("done", what=what)
        elif what == "activity":
            await self["xep_0108"].publish_activity(c["value"], c.get("specific"), c.get("text"))
            say("done", what=what)
        elif what == "place":
            await self["xep_0080"].publish_location(lat=c["lat"], lon=c["lon"], locality=c["locality"])
            say("done", what=what)
        elif what == "tune":
            await self["xep_0118"].publish_tune(artist=c["artist"], title=c["title"])
            say("done", what=what)
        elif what == "nick":
            await self["xep_0172"].publish_nick(c["nick"])
            say("done", what=what)
        elif what == "avatar":
            data = c["data"].encode()
            avatar = self["xep_0084"]
            await avatar.publish_avatar(data)
            ident = avatar.generate_id(data)
            await avatar.publish_avatar_metadata([{"id": ident, "type": "image/png", "bytes": str(len(data))}])
            say("done", what=what, id=ident)
        elif what == "get avatar":
            got = await self["xep_0084"].retrieve_avatar(slixmpp.JID(c["to"]), c["id"])
            say("done", what=what, data=got["pubsub"]["items"]["item"]["avatar_data"]["value"].decode())
        elif what == "vcard":
            card = self["xep_0054"].make_vcard()
            card["FN"] = c["name"]
            if "photo" in c:
                card["PHOTO"]["TYPE"] = "image/png"
                card["PHOTO"]["BINVAL"] = c["photo"].encode()
            await self["xep_0054"].publish_vcard(card)
            say("done", what=what)
        elif what == "get vcard":
            card = (await self["xep_0054"].get_vcard(slixmpp.JID(c["to"]), local=False))["vcard_temp"]
            photo = card["PHOTO"]["BINVAL"]
            say("done", what=what, name=card["FN"], photo=photo.decode() if photo else "")
        elif what == "nodes":
            items = await self["xep_0060"].get_nodes(slixmpp.JID(c["to"]))
            say("done", what=what, items=sorted(i[1] for i in items["disco_items"]["items"] if i[1]))
        elif what == "publish":  # any element, perhaps with options of the node
            options = None
            if "options" in c:
                options = self["xep_0004"].make_form(ftype="submit")
                options.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#publish-options")
                for var, value in c["options"].items():
                    options.add_field(var=var, value=value)
            await self["xep_0060"].publish(None, c["node"], id=c["id"], payload=ET.fromstring(c["xml"]), options=options)
            say("done", what=what)
        elif what == "retract":
            await self["xep_0060"].retract(None, c["node"], c["id"], notify=True)
            say("done", what=what)
        elif what == "get items":
            got = await self["xep_0060"].get_items(slixmpp.JID(c["to"]), c["node"])
            say("done", what=what, items=[i["id"] for i in got["pubsub"]["items"]["substanzas"]])
        elif what == "configuration":
            form = (await self["xep_0060"].get_node_config(None, c["node"]))["pubsub_owner"]["configure"]["form"]
            say("done", what=what, **{k.split("#")[1]: str(v) for k, v in form.get_values().items() if "#" in k and k != "FORM_TYPE"})
        elif what == "delete node":
            await self["xep_0060"].delete_node(None, c["node"])
            say("done", what=what)
        elif what == "keep":
            iq = self.make_iq_set()
            query = ET.SubElement(iq.xml, "{jabber:iq:private}query")
            query.append(ET.fromstring(c["xml"]))
            await iq.send()
            say("done", what=what)
        elif what == "kept":
            iq = self.make_iq_get()
            query = ET.SubElement(iq.xml, "{jabber:iq:private}query")
            query.append(ET.fromstring(c["xml"]))
            got = (await iq.send()).xml.find("{jabber:iq:private}query")[0]
            say("done", what=what, text="".join(got.itertext()))
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
