"""Linphone's library on a leash: commands come in as JSON lines on standard
input, what happens goes out as JSON lines. The first line holds the settings:
user, domain, password, server (a SIP URI), ca; and list, the URI of a resource
list server, when friends are to be watched as one list. Started by interop's driver.
"""
import ctypes
import ctypes.util
import glob
import json
import os
import select
import sys

ACTIVITIES = ("appointment away breakfast busy dinner holiday in-transit looking-for-work lunch meal "
              "meeting on-the-phone other performance permanent-absence playing presentation shopping sleeping "
              "spectator steering travel tv unknown vacation working worship").split()
REGISTRATION = "none progress ok cleared failed refreshing".split()

path = (glob.glob("/usr/lib/*/liblinphone.so.*") + [None])[0]
lib = ctypes.CDLL(path)
pointer, text = ctypes.c_void_p, ctypes.c_char_p


def call(name, *args, gives=pointer):
    f = getattr(lib, "linphone_" + name)
    f.restype = gives
    f.argtypes = [pointer if a is None or isinstance(a, Ref) else text if isinstance(a, bytes) else ctypes.c_long if isinstance(a, int)
                  else pointer for a in args]
    out = f(*[a.p if isinstance(a, Ref) else a for a in args])
    return Ref(out) if gives is pointer and out else out


class Ref:
    """An object of the library; kept apart from numbers."""
    def __init__(self, p):
        self.p = p


def say(event, **fields):
    print(json.dumps({"event": event, **{k: v for k, v in fields.items() if v not in ("", None)}}, sort_keys=True), flush=True)


kept = []  # callbacks that the library holds


def on(cbs, name, function, arguments):
    cb = ctypes.CFUNCTYPE(None, *arguments)(function)
    kept.append(cb)
    f = getattr(lib, "linphone_core_cbs_set_" + name)
    f.restype, f.argtypes = None, [pointer, pointer]
    f(cbs.p, ctypes.cast(cb, pointer))


def uri(address):
    return call("address_as_string_uri_only", address, gives=text).decode()


def bare(address):
    return call("address_get_username", address, gives=text).decode() + "@" + call("address_get_domain", address, gives=text).decode()


class Phone:
    def __init__(self, s):
        self.domain, self.list = s["domain"], s.get("list")
        factory = call("factory_get")
        os.makedirs(os.path.expanduser("~/.local/share/linphone"), exist_ok=True)  # its database; else it does not start
        self.core = core = call("factory_create_core_3", factory, None, None, None)
        cbs = call("factory_create_core_cbs", factory)
        on(cbs, "account_registration_state_changed", self.registration, [pointer, pointer, ctypes.c_int, text])
        on(cbs, "notify_presence_received", self.presence, [pointer, pointer])
        on(cbs, "message_received", self.message, [pointer, pointer, pointer])
        call("core_add_callbacks", core, cbs, gives=None)
        call("core_set_root_ca", core, s["ca"].encode(), gives=None)
        call("core_enable_ipv6", core, 0, gives=None)
        transports = call("factory_create_transports", factory)
        for kind in ("udp", "tcp", "tls"):
            call(f"transports_set_{kind}_port", transports, -1 if f"transport={kind}" in s["server"] else 0, gives=None)  # -1: a free one
        call("core_set_transports", core, transports, gives=ctypes.c_int)
        if self.list:  # as in the file linphonerc
            config = call("core_get_config", core)
            call("config_set_string", config, b"sip", b"rls_uri", self.list.encode(), gives=None)
            call("config_set_int", config, b"net", b"friendlist_subscription_enabled", 1, gives=None)
        if call("core_start", core, gives=ctypes.c_int) != 0:
            raise RuntimeError("core does not start")
        say("started", version=call("core_get_version", gives=text).decode())
        call("core_set_user_agent", core, b"Linphone-interop", b"", gives=None)
        identity = f"sip:{s['user']}@{s['domain']}"
        call("core_add_auth_info", core, call("factory_create_auth_info", factory, s["user"].encode(), None, s["password"].encode(), None, None, None), gives=None)
        params = call("core_create_account_params", core)
        call("account_params_set_identity_address", params, call("factory_create_address", factory, identity.encode()), gives=ctypes.c_int)
        call("account_params_set_server_address", params, call("factory_create_address", factory, s["server"].encode()), gives=ctypes.c_int)
        call("account_params_set_outbound_proxy_enabled", params, 1, gives=None)
        call("account_params_set_register_enabled", params, 1, gives=None)
        call("account_params_set_publish_enabled", params, 1, gives=None)
        call("account_params_set_publish_expires", params, 600, gives=None)
        call("account_params_set_expires", params, 600, gives=None)
        self.factory, self.friends = factory, {}
        self.account = call("core_create_account", core, params)
        call("core_add_account", core, self.account, gives=ctypes.c_int)
        call("core_set_default_account", core, self.account, gives=None)

    def registration(self, core, account, state, words):
        say("registration", state=REGISTRATION[state], text=(words or b"").decode())

    def presence(self, core, friend):
        friend = Ref(friend)
        model = call("friend_get_presence_model", friend)
        if model is None:
            return
        activity = call("presence_model_get_activity", model)
        note = call("presence_model_get_note", model, b"en") or call("presence_model_get_note", model, None)
        say("presence", bare=bare(call("friend_get_address", friend)),
            basic=["open", "closed"][call("presence_model_get_basic_status", model, gives=ctypes.c_int)],
            activity=ACTIVITIES[call("presence_activity_get_type", activity, gives=ctypes.c_int)] if activity else "",
            note=call("presence_note_get_content", note, gives=text).decode() if note else "")

    def message(self, core, room, message):
        message = Ref(message)
        words = call("chat_message_get_utf8_text", message, gives=text)
        if words:
            say("message", bare=bare(call("chat_message_get_from_address", message)), body=words.decode())

    def do(self, c):
        what = c["do"]
        if what == "watch":
            friend = call("core_create_friend_with_address", self.core, f"sip:{c['to']}".encode())
            call("friend_enable_subscribes", friend, 0 if self.list else 1, gives=ctypes.c_int)
            friends = call("core_get_default_friend_list", self.core)
            call("friend_list_add_local_friend", friends, friend, gives=ctypes.c_int)
            if not self.list:
                call("friend_list_enable_subscriptions", friends, 1, gives=None)
            call("friend_list_update_subscriptions", friends, gives=None)
            self.friends[c["to"]] = friend
        elif what == "list":
            friends = call("core_get_default_friend_list", self.core)
            call("friend_list_set_subscription_bodyless", friends, 1, gives=None)
            call("friend_list_update_subscriptions", friends, gives=None)
        elif what == "publish":
            model = call("core_create_presence_model_with_activity", self.core, ACTIVITIES.index(c["activity"]), None)
            if c.get("note"):
                call("presence_model_add_note", model, c["note"].encode(), None, gives=ctypes.c_int)
            call("core_set_presence_model", self.core, model, gives=None)
        elif what == "message":
            to = call("factory_create_address", self.factory, f"sip:{c['to']}".encode())
            room = call("core_get_chat_room", self.core, to)
            call("chat_message_send", call("chat_room_create_message_from_utf8", room, c["body"].encode()), gives=None)
        elif what == "quit":
            call("core_stop", self.core, gives=None)  # takes back presence, subscriptions, registration
            say("bye")
            sys.stdout.flush()
            os._exit(0)
        else:
            raise ValueError(what)

    def run(self, stdin):
        buffered = b""
        while True:
            call("core_iterate", self.core, gives=None)
            if not select.select([stdin], [], [], 0.01)[0]:
                continue
            got = os.read(stdin.fileno(), 65536)
            if not got:
                return
            *lines, buffered = (buffered + got).split(b"\n")
            for line in lines:
                self.do(json.loads(line))


stdin = sys.stdin.buffer.raw
phone = Phone(json.loads(stdin.readline()))
phone.run(stdin)
