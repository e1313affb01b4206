"""One real py2p node as a process: JSON lines in, JSON lines out.

A subset of what `peernet node --json` speaks; README.md lists it.
"""

import argparse
import json
import math
import os
import socket
import struct
import sys
import threading
import time
from collections import OrderedDict

import umsgpack
from py2p import base, flags, mesh, messages, sync

OUT = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
os.dup2(2, 1)  # py2p prints to stdout, which is kept for JSON lines

POLL = 0.02
CONNECT_TIMEOUT = 5.0
REPLIES_KEPT = 1024
SAFE_INT = 2**53
CODES = {name: getattr(flags, name) for name in ("zlib", "gzip", "bz2", "lzma", "snappy")}

out_lock = threading.Lock()


def emit(event, **fields):
    line = json.dumps({"event": event, **fields}, separators=(",", ":"))
    with out_lock:
        try:
            OUT.write(line + "\n")
            OUT.flush()
        except (OSError, ValueError):
            os._exit(1)  # nobody reads us any more


class CommandError(Exception):
    def __init__(self, text, code="failed"):
        super().__init__(text)
        self.code = code


# Values


def to_json(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INT else {"$int": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float64": struct.pack(">d", value).hex()}
    if isinstance(value, (bytes, bytearray)):
        return {"$bin": bytes(value).hex()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        keys = list(value)
        if all(isinstance(key, str) for key in keys) and not (len(keys) == 1 and keys[0].startswith("$")):
            return {key: to_json(item) for key, item in value.items()}
        return {"$map": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, umsgpack.Ext):
        return {"$ext": [value.type, value.data.hex()]}
    return {"$unknown": type(value).__name__}


def from_json(value):
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$bin":
            return bytes.fromhex(inner)
        if key == "$int":
            return int(inner)
        if key == "$float64":
            return struct.unpack(">d", bytes.fromhex(inner))[0]
        if key == "$map":
            pairs = [(hashable(from_json(k)), from_json(v)) for k, v in inner]
            result = dict(pairs)
            if len(result) != len(pairs):
                raise CommandError(
                    "py2p cannot hold a map with equal keys (1, 1.0 and true are equal to it)", "unsupported"
                )
            return result
        if key.startswith("$"):
            raise CommandError("unknown form of value: " + key, "usage")
    return {key: from_json(item) for key, item in value.items()}


def hashable(key):
    if isinstance(key, list):
        return tuple(hashable(item) for item in key)
    if isinstance(key, dict):
        raise CommandError("py2p cannot hold a map as the key of a map", "unsupported")
    return key


def key_json(key):
    """A key as it is filed: bytes that are UTF-8 as text, other keys marked as what they are."""
    if not isinstance(key, bytes):
        return {"$unknown": type(key).__name__}
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        return {"$bin": key.hex()}


def text(node_id):
    return node_id.decode("utf-8", "replace") if isinstance(node_id, (bytes, bytearray)) else str(node_id)


def address_text(addr):
    return "{}:{}".format(*addr) if addr else None


def split_address(address):
    host, _, port = address.rpartition("@")[2].rpartition(":")
    if not host or not port.isdigit():
        raise CommandError("not an address, host:port is wanted: " + address, "usage")
    return host.strip("[]"), int(port)


# The node


def listen_again_at_once():
    """Lets a node that was killed come back to its port at once, which py2p itself does not ask for."""
    real = base.get_socket

    def get_socket(protocol, serverside=False):
        sock = real(protocol, serverside)
        if serverside:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock

    base.get_socket = get_socket


class LateThread(threading.Thread):
    """py2p's thread begins while the node that it serves is half made, and dies of whoever dials it then."""

    def start(self):
        pass

    def begin(self):
        super().start()


sent = threading.local()


def record_sent():
    """Notes each message that a call of ours makes py2p send, to learn its id."""
    real = mesh.MeshConnection.send_InternalMessage

    def send_InternalMessage(self, msg):
        result = real(self, msg)
        if result is not None and getattr(sent, "log", None) is not None:
            sent.log.append((result.payload, result.id.hex()))
        return result

    mesh.MeshConnection.send_InternalMessage = send_InternalMessage


def sent_by(function, *args):
    sent.log = []
    try:
        function(*args)
        return sent.log
    finally:
        sent.log = None


def open_socket(host, port, subnet, encryption, advertise, leasing):
    protocol = base.Protocol(subnet, encryption)
    if leasing is None:
        return mesh.MeshSocket(host, port, out_addr=advertise, prot=protocol)
    return sync.SyncSocket(host, port, out_addr=advertise, prot=protocol, leasing=leasing)


class Node:
    def __init__(self, host, port, subnet, encryption, advertise, leasing):
        base.Thread = LateThread
        self.sock = open_socket(host, port, subnet, encryption, advertise, leasing)
        self.sock.daemon.daemon.begin()
        self.known = {}
        self.messages = OrderedDict()
        self.wake = threading.Event()
        self.closing = False
        self.reported_dead = False
        emit(
            "listening",
            address=address_text((host, port)),
            id=text(self.sock.id),
            protocol=text(self.sock.protocol.id),
        )
        self.sock.on("message", lambda _: self.wake.set())
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def neighbours(self):
        """The peers whose handshake is done, by id as text."""
        while True:
            try:
                entries = list(self.sock.routing_table.items())
                break
            except RuntimeError:  # py2p's thread changed the table while we read it
                continue
        return {text(key): (key, handler) for key, handler in entries if handler.addr}

    def watch(self):
        while not self.closing:
            self.wake.wait(POLL)
            self.wake.clear()
            self.look()

    def look(self):
        arrived = []
        while True:
            msg = self.sock.recv()
            if msg is None:
                break
            arrived.append(msg)
        now = {peer: address_text(handler.addr) for peer, (_, handler) in self.neighbours().items()}
        before, self.known = self.known, now
        for peer in now.keys() - before.keys():
            emit("connected", peer=peer, address=now[peer])
        for msg in arrived:
            self.deliver(msg)
        for peer in before.keys() - now.keys():
            emit("disconnected", peer=peer)
        if not self.sock.daemon.daemon.is_alive() and not self.closing and not self.reported_dead:
            self.reported_dead = True
            emit("error", error="the thread of py2p that reads its sockets has ended", code="dead")

    def deliver(self, msg):
        if msg.packets[0] == flags.store:
            return  # a pair that py2p has already, which it takes for a message
        message_id = msg.id.hex()
        self.messages[message_id] = msg
        self.messages.move_to_end(message_id)
        while len(self.messages) > REPLIES_KEPT:
            self.messages.popitem(last=False)
        packets = msg.packets
        emit(
            "message",
            kind="broadcast" if packets[0] == flags.broadcast else "whisper",
            id=message_id,
            sender=text(msg.sender),
            time=to_json(msg.time),
            payload=to_json(packets[1:]),
        )

    def handler(self, peer):
        entry = self.neighbours().get(peer)
        if entry is None:
            raise CommandError("not a neighbour: " + str(peer), "unreachable")
        return entry[1]

    def connect(self, address):
        host, port = split_address(address)
        made = []

        def connection(*args, **kwargs):
            made.append(mesh.MeshConnection(*args, **kwargs))
            return made[0]

        if self.sock.connect(host, port, conn_type=connection) is False:
            raise CommandError("py2p will not dial its own address: " + address, "refused")
        handler = made[0]
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while time.monotonic() < deadline:
            waiting = handler in self.sock.awaiting_ids
            if handler.addr:
                self.wake.set()
                return {"peer": text(handler.id)}
            if not waiting:
                raise CommandError("the link ended before the handshake: " + address, "refused")
            time.sleep(POLL)
        raise CommandError(f"no handshake within {CONNECT_TIMEOUT:g} s: {address}", "timeout")

    def broadcast(self, payload):
        ids = [message_id for _, message_id in sent_by(self.sock.send, *payload)]
        value = {"id": ids[0] if ids else None, "links": len(ids)}
        if len(set(ids)) > 1:
            value["ids"] = sorted(set(ids))
        return value

    def reply(self, message_id, payload):
        msg = self.messages.get(message_id)
        if msg is None:
            raise CommandError("no such message to reply to: " + str(message_id), "unknown")
        log = sent_by(msg.reply, *payload)
        whispers = [sent_id for packets, sent_id in log if packets[0] == flags.whisper]
        return {"id": whispers[0] if whispers else None}

    def whisper(self, handler, msg_type, packets):
        log = sent_by(handler.send, msg_type, *packets)
        if not log:
            raise CommandError("py2p could not write to this peer", "unreachable")
        return {"id": log[0][1]}

    def run(self, command):
        do = command["do"]
        payload = from_json(command.get("payload", []))
        if do == "connect":
            return self.connect(command["address"])
        if do == "peers":
            return [
                {"id": peer, "address": address_text(handler.addr)}
                for peer, (_, handler) in self.neighbours().items()
            ]
        if do == "broadcast":
            return self.broadcast(payload)
        if do == "send":
            return self.whisper(self.handler(command["peer"]), flags.whisper, [flags.whisper, *payload])
        if do == "reply":
            return self.reply(command["to"], payload)
        if do == "raw":
            return self.whisper(self.handler(command["peer"]), from_json(command["type"]), payload)
        if do == "status":
            return self.sock.status
        if do in ("set", "get", "delta", "delete", "keys"):
            return self.table(do, command)
        if do == "close":
            return None
        raise CommandError("this node does not offer: " + str(do), "usage")

    def table(self, do, command):
        """Runs one command on a table, under py2p's own rules."""
        if do == "keys":
            while True:
                try:
                    keys = list(self.sock.keys())
                    return [key_json(key) for key in keys]
                except RuntimeError:  # py2p's thread changed the table while we read it
                    continue
        key = from_json(command["key"])
        try:
            if do == "get":
                return to_json(self.sock.get(key))
            if do == "set":
                self.sock[key] = from_json(command["value"])
            elif do == "delta":
                self.sock.apply_delta(key, from_json(command["value"]))
            else:
                del self.sock[key]
        except KeyError as e:
            code = "lease" if "permission" in str(e) else "absent"
            raise CommandError(f"KeyError: {e}", code) from e
        return None

    def answer(self, line):
        """Runs one command; says whether to go on."""
        ref = {}
        try:
            command = json.loads(line)
            if not isinstance(command, dict):
                raise CommandError("a command is a JSON object", "usage")
            ref = {"ref": command["ref"]} if "ref" in command else {}
            value = self.run(command)
        except CommandError as e:
            emit("error", **ref, error=str(e), code=e.code)
            return True
        except json.JSONDecodeError as e:
            emit("error", error=f"not JSON: {e}", code="usage")
            return True
        except Exception as e:  # noqa: BLE001
            emit("error", **ref, error=f"{type(e).__name__}: {e}", code="failed")
            return True
        if command["do"] == "close":
            self.leave()
        emit("result", **ref, value=value)
        return command["do"] != "close"

    def leave(self):
        self.closing = True
        self.watcher.join(1)
        self.sock.close()


def free_port(host):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description="one real py2p node, JSON lines on stdin and stdout")
    parser.add_argument("host")
    parser.add_argument("port", type=int, help="0 takes a free one")
    parser.add_argument("--network", default="mesh", choices=("mesh", "sync"))
    parser.add_argument("--subnet", help="the kind of network")
    parser.add_argument("--no-leases", action="store_true", help="a table without leases")
    parser.add_argument("--encryption", default="Plaintext", choices=("Plaintext", "SSL"))
    parser.add_argument("--connect", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--advertise", metavar="HOST:PORT", help="the address others are told")
    parser.add_argument("--compression", choices=("none", *CODES), help="offer and use only this method")
    args = parser.parse_args()

    if args.compression:
        wanted = [] if args.compression == "none" else [CODES[args.compression]]
        if not set(wanted) <= set(messages.compression):
            parser.error("this py2p could not load " + args.compression)
        messages.compression[:] = wanted  # the one list that base and mesh share
    record_sent()
    listen_again_at_once()
    advertise = split_address(args.advertise) if args.advertise else None
    try:
        port = args.port or free_port(args.host)
        subnet = args.network if args.subnet is None else args.subnet
        leasing = None if args.network == "mesh" else not args.no_leases
        node = Node(args.host, port, subnet, args.encryption, advertise, leasing)
    except (OSError, OverflowError) as e:
        print(f"py2p_node: cannot listen on {args.host}:{args.port}: {e}", file=sys.stderr, flush=True)
        os._exit(1)  # py2p's half-made socket would only add a traceback
    for address in args.connect:
        try:
            node.connect(address)
        except Exception as e:  # noqa: BLE001
            emit("error", error=f"{address}: {e}", code=getattr(e, "code", "failed"))
    for line in sys.stdin.buffer:
        if line.strip() and not node.answer(line):
            return 0
    node.look()
    node.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
