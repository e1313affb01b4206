"""The real py2p as a conformance testee for codec cases: a JSON object a line in, an answer a line out."""

import json
import os
import struct
import sys
from importlib.metadata import version

import umsgpack
from py2p import base, mesh
from py2p.messages import InternalMessage

OUT = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
os.dup2(2, 1)  # py2p prints to stdout, which is kept for answers

VERSION = version("py2p")  # py2p.version says 0.7.870 here
ERROR_LENGTH = 200


class Unsupported(Exception):
    """The request, or a value in it, has no form here."""


# Values: objects with one key, their msgpack type


def from_value(value):
    if not isinstance(value, dict) or len(value) != 1:
        raise Unsupported("not a value")
    ((kind, inner),) = value.items()
    if kind == "nil":
        return None
    if kind == "bool" and isinstance(inner, bool):
        return inner
    if kind == "int":
        return int(inner)
    if kind == "float64":
        return struct.unpack(">d", bytes.fromhex(inner))[0]
    if kind == "str" and isinstance(inner, str):
        return inner
    if kind == "bin":
        return bytes.fromhex(inner)
    if kind == "array":
        return [from_value(item) for item in inner]
    if kind == "map":
        pairs = [(hashable(from_value(key)), from_value(item)) for key, item in inner]
        result = dict(pairs)
        if len(result) != len(pairs):
            raise Unsupported("a map with keys that are equal in Python")
        return result
    raise Unsupported("unknown type of value: " + kind)


def hashable(key):
    if isinstance(key, list):
        return tuple(hashable(item) for item in key)
    if isinstance(key, dict):
        raise Unsupported("a map as the key of a map")
    return key


def to_value(value):
    if value is None:
        return {"nil": None}
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float64": struct.pack(">d", value).hex()}
    if isinstance(value, str):
        return {"str": value}
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    if isinstance(value, (list, tuple)):
        return {"array": [to_value(item) for item in value]}
    if isinstance(value, dict):
        return {"map": [[to_value(key), to_value(item)] for key, item in value.items()]}
    if isinstance(value, umsgpack.Ext):
        raise Unsupported("an ext value")
    raise Unsupported("a value of type " + type(value).__name__)


# Operations. Arguments are read first, what py2p raises after that is its answer.


class Refused(Exception):
    """What py2p raised."""


def real(function, *args):
    try:
        return function(*args)
    except Exception as e:
        raise Refused(f"{type(e).__name__}: {e}"[:ERROR_LENGTH]) from e


def encode(request):
    msg_type = request["type"]
    msg_type = from_value(msg_type) if isinstance(msg_type, dict) else msg_type
    sender = from_value(request["sender"])
    payload = [from_value(item) for item in request["payload"]]
    codes = list(request.get("compression", []))
    seconds = request["time"]

    def build():
        msg = InternalMessage(msg_type, sender, payload, codes, seconds)
        msg.time = seconds  # the constructor takes 0 for "now"
        return {"frame": msg.string.hex(), "id": msg.id.hex()}

    return real(build)


def decode(request):
    frame = bytes.fromhex(request["frame"])
    codes = list(request.get("compression", []))
    msg = real(InternalMessage.feed_string, frame, False, codes)
    seconds = msg.time
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        seconds = to_value(seconds)
    return {
        "type": to_value(msg.msg_type),
        "sender": to_value(msg.sender),
        "time": seconds,
        "payload": [to_value(item) for item in msg.payload],
        "id": msg.id.hex(),
    }


def protocol_id(request):
    protocol = base.Protocol(str(request["subnet"]), str(request["encryption"]))
    return {"id": real(lambda: protocol.id.decode())}


def node_id(request):
    class Protocol:
        id = request["protocol"].encode()

    address = (request["host"], int(request["port"]))
    base.user_salt = request["salt"].encode()
    sock = real(base.BaseSocket, *address, Protocol, address)
    sock._BaseSocket__closed = True  # it never listened, so it has nothing to close
    return {"id": sock.id.decode()}


def base58_encode(request):
    number = int(request["hex"], 16)
    return {"text": real(base.b58encode_int, number).decode()}


def base58_decode(request):
    return {"hex": "{:x}".format(real(mesh.b58decode_int, request["text"]))}


def hello(_):
    return {"name": "py2p", "version": VERSION, "profile": "0.7", "ops": list(OPS)}


OPS = {
    function.__name__: function
    for function in (hello, encode, decode, protocol_id, node_id, base58_encode, base58_decode)
}


def answer(line):
    try:
        request = json.loads(line)
        return OPS[request["op"]](request)
    except Refused as e:
        return {"error": str(e)}
    except Exception as e:  # noqa: BLE001
        print(f"py2p_testee: {type(e).__name__}: {e}", file=sys.stderr)
        return {"unsupported": True}


def main():
    for line in sys.stdin.buffer:
        if line.strip():
            OUT.write(json.dumps(answer(line), separators=(",", ":")) + "\n")
            OUT.flush()


if __name__ == "__main__":
    main()
