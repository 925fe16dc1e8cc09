"""What an attacker makes of orders that were really signed: changed, cut up, put together anew, signed by the wrong.

He has all that ever went over the wire, keys that nobody lists, and the key of every single person of the office, so
that he can do what that person alone could. By chance he makes something that is allowed; `authority.py` says so.
Everything comes from the seed of the chance that is handed in.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from bench import office
from bench.office import INSIDERS, OUTSIDERS, Key, Order, b64, dump, unb64

ORDER_OF_BASE = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's base point: a signature with it added to S is the same to who does not look."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ID = "{:032x}"

HOSTILE: dict[str, Sequence[object]] = {
    "area": ("41", "4", "41/01", "41/01/03/001/001", "41/1/3", "", "41/", "41/01/0３", "４１", "41/01/03\u200b", None,
             ["41"]),
    "mode": ("live", "drill", "silent", "LIVE", "live ", "ｌｉｖｅ", None, True),
    "action": ("sound", "stop", "quiet-test", "test", "Sound", None),
    "deployment": ("city", "demo ", "Demo", "dеmo", "", None, 7),
    "id": ("f" * 32, "F" * 32, "0" * 31, "0" * 33, "", None, 5, "\u0660" * 32),
    "issued_at": ("2027-01-01T00:00:00.000Z", "2016-01-01T00:00:00.000Z", "2026-09-18T02:00:00Z", "now", 0, None),
    "not_before": ("2016-01-01T00:00:00.000Z", "2036-01-01T00:00:00.000Z", "2026-02-30T00:00:00.000Z", None),
    "expires_at": ("2036-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "0000-00-00T00:00:00.000Z", None),
    "sound": (None, {}, {"name": "air-raid", "digest": "0" * 32}, {"name": "air-raid"}, "air-raid",
              {"name": "all-clear", "digest": "0" * 32, "start_at": "2036-01-01T00:00:00.000Z"}),
    "sirens": ([], ["s-301"], "s-301", ["s-301"] * 300, [None], {"s-301": 1}),
    "layer": ("surface", "underground", "both", 0),
    "stops": ("0" * 32, "f" * 32, "", None),
    "max_duration_s": (1, 2700, 2701, 10**9, -1, 0, 1.5, "60", True, 1e400),
    "trust_version": (0, 1, 10**9, -1, "7", 7.0, None),
    "sequence": (-1, 2**53, 1e3, "1", None, [], True),
    "v": (1.0, "1", 2, True, None, [1]),
    "nonce": ("", "x" * 20_000, 1),
    "priority": (9,),
    "header": ({"kid": "x"},),
}
"""A member of an order, and what might be made of it."""
HEADERS: Sequence[Callable[[Key], object]] = (
    lambda k: {"alg": "none", "kid": k["kid"]}, lambda k: {"alg": "HS256", "kid": k["kid"]},
    lambda k: {"alg": "EdDSA", "kid": k["kid"]}, lambda k: {"alg": "ed25519", "kid": k["kid"]},
    lambda k: {"alg": "Ed25519"}, lambda k: {"kid": k["kid"]}, lambda k: {"alg": "Ed25519", "kid": [k["kid"]]},
    lambda k: {"alg": "Ed25519", "kid": k["kid"], "b64": False, "crit": ["b64"]},
    lambda k: {"alg": "Ed25519", "kid": k["kid"], "jwk": {"kty": "OKP", "crv": "Ed25519", "x": k["x"]}},
    lambda k: {"alg": "Ed25519", "kid": k["kid"] + "="}, lambda k: {"alg": "Ed25519", "kid": ""},
    lambda k: {"alg": "Ed25519", "kid": k["kid"], "x5u": "https://attacker.example/"}, lambda k: [k["kid"]],
)


class Forger:
    """`orders` are what was seen on the wire; more may be added, and old ones stay."""

    def __init__(self, chance: Random, orders: list[Order]) -> None:
        self._chance = chance
        self.orders = orders
        self._tricks = [getattr(self, name) for name in sorted(dir(type(self))) if name.startswith("_by_")]

    @property
    def tricks(self) -> list[str]:
        return [trick.__name__.removeprefix("_by_") for trick in self._tricks]

    def mutant(self) -> tuple[str, bytes]:
        """The name of a trick, and what came of it."""
        trick = self._chance.choice(self._tricks)
        return trick.__name__.removeprefix("_by_"), trick()

    # What it takes.

    def _any(self) -> Order:
        return self._chance.choice(self.orders)

    def _outer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._any().data)
        return found

    def _inner(self, outer: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(unb64(outer["payload"]))
        return found

    def _member(self, outer: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._chance.choice(outer["signatures"])
        return found

    def _some(self, keys: Sequence[Key], most: int = 4) -> list[Key]:
        return self._chance.choices(keys, k=self._chance.randint(1, most))

    def _changed(self, inner: dict[str, Any]) -> dict[str, Any]:
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            name = self._chance.choice(sorted(HOSTILE))
            inner[name] = self._chance.choice(HOSTILE[name])
            if inner[name] is None and self._chance.random() < 0.7:
                del inner[name]
        return inner

    def _hurt(self, data: bytes, times: int = 3) -> bytes:
        chance, out = self._chance, bytearray(data)
        for _ in range(chance.randint(1, times)):
            at = chance.randrange(len(out)) if out else 0
            match chance.randrange(6) if out else 5:
                case 0:
                    out[at] ^= 1 << chance.randrange(8)
                case 1:
                    del out[at : at + chance.randint(1, 40)]
                case 2:
                    out[at:at] = out[at : at + chance.randint(1, 40)]
                case 3:
                    out[at] = chance.choice(b'{}[],:"AZaz09-_= \\')
                case 4:
                    to = chance.randrange(len(out))
                    out[at], out[to] = out[to], out[at]
                case _:
                    out[at:at] = chance.randbytes(chance.randint(1, 4))
        return bytes(out)

    # The bytes as they went over the wire.

    def _by_bits_of_the_envelope(self) -> bytes:
        out = bytearray(self._any().data)
        for _ in range(self._chance.randint(1, 8)):
            out[self._chance.randrange(len(out))] ^= 1 << self._chance.randrange(8)
        return bytes(out)

    def _by_bytes_of_the_envelope(self) -> bytes:
        return self._hurt(self._any().data)

    def _by_cutting_and_joining(self) -> bytes:
        one, two, chance = self._any().data, self._any().data, self._chance
        cut = chance.randrange(1, len(one))
        return chance.choice((
            one[:cut], one[cut:], one + two, one[:cut] + two[cut:], b"[" + one + b"]", one + b" " * 17_000,
            b"\xef\xbb\xbf" + one, one.decode().encode("utf-16"), b"[" * 6_000 + one, b"null", b"\x00" + one,
            one.replace(b'"payload"', b'"p\\u0061yload"') + b"x", one.replace(b"e", b"\xc1\xa5", 1),
        ))

    def _by_members_of_the_envelope(self) -> bytes:
        outer, chance = self._outer(), self._chance
        one = self._member(outer)
        match chance.randrange(10):
            case 0:
                one["header"] = {"kid": chance.choice(INSIDERS)["kid"]}
            case 1:
                outer["header"] = {"alg": "none"}
            case 2:
                del outer[chance.choice(sorted(outer))]
            case 3:
                del one[chance.choice(sorted(one))]
            case 4:
                outer["signatures"] = chance.choice(([], None, one, {"0": one}, [one] * 5, [[one]], ["x"], 7))
            case 5:
                outer["payload"] = chance.choice((None, "", 7, [outer["payload"]], self._inner(outer), "e30", "bnVsbA"))
            case 6:
                one["signature"] = chance.choice((None, "", b64(bytes(64)), b64(b"\xff" * 64), b64(bytes(63)), 7))
            case 7:
                outer["Payload"] = outer.pop("payload")
            case 8:
                outer |= {"protected": one["protected"], "signature": one["signature"]}
            case _:
                outer = {"payload": outer["payload"], "protected": one["protected"], "signature": one["signature"]}
        return dump(outer)

    def _by_a_member_twice(self) -> bytes:
        order, chance = self._any(), self._chance
        outer = json.loads(order.data)
        payload = unb64(outer["payload"])
        other = self._outer()
        match chance.randrange(4):
            case 0:
                return b'{"payload":"%b",' % str(other["payload"]).encode() + order.data[1:]
            case 1:
                return order.data[:-1] + b',"signatures":' + dump(other["signatures"]) + b"}"
            case 2:
                first = b'{"mode":"live","area":"41",'
                return dump(outer | {"payload": b64(first + payload[1:])})
            case _:
                one = self._member(outer)
                head = unb64(one["protected"]).decode()
                one["protected"] = b64(f'{{"kid":"{chance.choice(INSIDERS)["kid"]}",{head[1:]}'.encode())
                return dump(outer)

    def _by_another_base64(self) -> bytes:
        outer, chance = self._outer(), self._chance
        place = chance.choice([outer, *outer["signatures"]])
        name = "payload" if place is outer else chance.choice(("protected", "signature"))
        text = place[name]
        place[name] = chance.choice((
            text + "=" * (-len(text) % 4 or 4), text + "\n", " " + text, text[:8] + "\n" + text[8:], text + "A",
            text[:-1] + ALPHABET[ALPHABET.index(text[-1]) ^ chance.choice((1, 2, 3, 4, 8))],
            text.replace("-", "+").replace("_", "/") + ("=" if "-" not in text and "_" not in text else ""),
            "".join(f"%{ord(c):02x}" for c in text[:3]) + text[3:], text.swapcase(), text[::-1],
            text[:-1] + chr(0xFF21), unb64(text).hex(), text + "\u0000",
        ))
        return dump(outer)

    # What was signed.

    def _by_bytes_of_the_payload(self) -> bytes:
        outer = self._outer()
        return dump(outer | {"payload": b64(self._hurt(unb64(outer["payload"])))})

    def _by_members_of_the_payload(self) -> bytes:
        outer = self._outer()
        return dump(outer | {"payload": b64(dump(self._changed(self._inner(outer))))})

    def _by_the_same_said_otherwise(self) -> bytes:
        """The payload means what it meant, in other bytes."""
        outer, chance = self._outer(), self._chance
        inner = self._inner(outer)
        text = chance.choice((
            json.dumps(inner), json.dumps(inner, indent=1), json.dumps(dict(reversed(inner.items()))),
            dump(inner).decode().replace("demo", "d\\u0065mo", 1), dump(inner).decode().replace('"v":1', '"v":1.0'),
            dump(inner).decode().replace('"v":1', '"v":1e0'), dump(inner).decode() + "\n",
            dump(inner).decode().replace('"trust_version":7', '"trust_version":0.7e1'),
            dump(inner | {"layer": None}).decode(),
            dump(inner).decode().replace("41/", "41\\/"), dump(inner | {"v": True}).decode(),
        ))
        return dump(outer | {"payload": b64(text.encode())})

    # Who signed.

    def _by_other_signatures(self) -> bytes:
        one, two = self._outer(), self._outer()
        return dump({"payload": one["payload"], "signatures": two["signatures"]})

    def _by_mixing_signatures(self) -> bytes:
        one, pool = self._outer(), [s for _ in range(3) for s in self._outer()["signatures"]]
        return dump(one | {"signatures": [*one["signatures"], *self._chance.sample(pool, self._chance.randint(1, 2))]})

    def _by_mixing_headers_and_signatures(self) -> bytes:
        one, two = self._outer(), self._outer()
        name = self._chance.choice(("protected", "signature"))
        self._member(one)[name] = self._member(two)[name]
        return dump(one)

    def _by_dropping_signatures(self) -> bytes:
        outer = self._outer()
        keep = self._chance.randint(0, max(0, len(outer["signatures"]) - 1))
        return dump(outer | {"signatures": self._chance.sample(outer["signatures"], keep)})

    def _by_the_same_signature_again(self) -> bytes:
        outer = self._outer()
        one = self._member(outer)
        return dump(outer | {"signatures": [one] * self._chance.randint(2, 5)})

    def _by_another_name_of_the_key(self) -> bytes:
        outer, chance = self._outer(), self._chance
        one = self._member(outer)
        kid = chance.choice((*INSIDERS, *OUTSIDERS))["kid"]
        kid = chance.choice((kid, kid, kid[:-1], kid.lower(), "other"))
        one["protected"] = b64(dump({"alg": "Ed25519", "kid": kid}))
        return dump(outer)

    def _by_another_header(self) -> bytes:
        """Signed anew by the key's holder, under a header that is not ours."""
        outer, chance = self._outer(), self._chance
        who = chance.choice(INSIDERS)
        outer["signatures"][0] = office.member(outer["payload"], who, chance.choice(HEADERS)(who))
        return dump(outer)

    def _by_an_altered_signature(self) -> bytes:
        """S and S + L are the same number to whoever does not look; R may be a point of small order."""
        outer, chance = self._outer(), self._chance
        one = self._member(outer)
        raw = unb64(one["signature"])
        s = int.from_bytes(raw[32:], "little")
        s += ORDER_OF_BASE * chance.choice((1, 2, -1, 15))
        small = chance.choice((bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"))
        one["signature"] = b64(chance.choice((
            raw[:32] + (s % 2**256).to_bytes(32, "little"), small + raw[32:], small + bytes(32), raw[32:] + raw[:32],
        )))
        return dump(outer)

    def _by_a_foreign_signature_beside(self) -> bytes:
        outer = self._outer()
        outer["signatures"].insert(0, office.member(outer["payload"], self._chance.choice(OUTSIDERS)))
        return dump(outer)

    def _by_a_foreign_signature_under_a_known_name(self) -> bytes:
        outer, chance = self._outer(), self._chance
        header = office.protected(chance.choice(INSIDERS))
        outer["signatures"].append(office.member(outer["payload"], chance.choice(OUTSIDERS), header))
        return dump(outer)

    def _by_foreign_keys_alone(self) -> bytes:
        outer = self._outer()
        payload = dump(self._changed(self._inner(outer))) if self._chance.random() < 0.5 else unb64(outer["payload"])
        return dump(office.enveloped(payload, self._some(OUTSIDERS)))

    def _by_some_of_the_office(self) -> bytes:
        """What persons of the office could do together, and mostly may not."""
        outer = self._outer()
        inner = self._inner(outer)
        if self._chance.random() < 0.3:
            inner |= {"mode": "live", "action": "sound"}
        if self._chance.random() < 0.5:
            inner |= {"area": self._chance.choice(("41", "41/01", "41/01/05", "42", "41/01/03"))}
        inner["id"] = ID.format(self._chance.getrandbits(128))
        return dump(office.enveloped(dump(inner), self._some(INSIDERS, 3)))

    def _by_some_of_the_office_on_something_else(self) -> bytes:
        inner = self._changed(self._inner(self._outer()))
        return dump(office.enveloped(dump(inner), self._some(INSIDERS, 3)))
