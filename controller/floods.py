"""The floods of one gateway: the rules of its spots, the book of what is in force, and the policy that rules.

The book is one journal record, of which the journal keeps a copy in a file of its own beside it: which alarms stand,
which flood it is, whether it had its siren, and the newest policy. After a restart the newer of the two goes on. It is
given to the disk before a siren is asked for, and never waited for.

A policy comes from the file that gateway.toml names or from the local door, and rules while the trust list that rules
carries its signers; a version below one that ruled never comes back. The hub may acknowledge an alarm, and put it on
the shelf by a wish that is signed as a live order is; what latched is for those at the cabinet.
It refuses to know water, and what an order is.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from controller import shelf, wire
from controller.alarm import Acknowledge, Shelve, Unshelve
from controller.answers import line
from controller.config import Config
from controller.event import (
    Alarmed,
    Append,
    AppendFailed,
    Arrived,
    Ask,
    Changed,
    Clock,
    Durable,
    Notice,
    Publish,
    Record,
    Trusted,
)
from controller.lookout import Changes, Handed
from controller.policy import Ground, Refused, SignedPolicy, admit, spot_digest
from controller.rule import Grant, Rule, RuleEvent
from controller.scale import NAMES, colour_of
from controller.signers import TrustList
from controller.strictjson import is_number
from controller.voice import State as Speech
from controller.wall import Wall
from controller.wire import Ack
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Malformed, Problem
from firmware_bridge.event import Abort, Begin, Edged, Ended, Presence
from firmware_bridge.machine import S, Woken, earliest
from firmware_bridge.reading import Took

KIND, BESIDE = "flood", "flood-beside"
"""The journal's newest record, and the copy that it keeps beside itself."""
NOBODY_WAITS = -1
"""The token of a record without which all goes on."""
LEVEL, ROADSIDE = "level", "roadside"
"""Records of what the gauges of a wet spot showed, and of what changed beside the road: a flood, as proof."""
WET_CM = 3.0
"""From here on levels are kept, as while any colour is in force."""
LEVEL_US = 60 * S
"""One record a minute has six samples of each gauge: an hour of flood is sixty small rows."""
ROADSIDE_US = 1 * S
"""What stands beside the road is kept when it changes, and no faster."""
RETRY_US = 10 * S
"""How often a book that the disk refused is written again."""
DRAFT_S = 180
"""How long a siren sounds in a draft."""
SHELF_MIN = 60.0
"""A shelf without a time."""

NOT_LISTED = "只有 gateway.toml 中登记的人员可以 / only who is listed in gateway.toml may do this"
NO_SUCH_SPOT = "本网关没有这个积水点 / this gateway has no such spot; spots: "
NO_SUCH_ALARM = "没有这个告警 / no such alarm; alarms: "
NO_SUCH_GAUGE = "没有这个水位计 / no such gauge; gauges: "
BAD_MINUTES = "分钟数须为正数，最多 480 / say minutes, more than 0 and 480 at most"
BAD_DEPTH = "水深须为 0 至 3000 厘米 / say the depth in cm, 0 to 3000"
RULES = "规则已启用 / the policy rules"

FloodsEvent = (Took | Presence | Edged | Ended | Clock | Ask | Arrived | Trusted | Durable | AppendFailed | Woken)
FloodsEffect = Begin | Abort | Notice | Changed | Alarmed | Append | Publish


def ground(config: Config) -> Ground:
    """What a policy for this gateway is judged against."""
    spec, signals = config.spec, config.signals
    return Ground(config.id, spec.gateway.deployment, config.area,
                  {s.id: spot_digest(s, config.scales[s.scale]) for s in spec.spot},
                  frozenset(s.id for s in spec.siren),
                  {name: signals.digest(name) for name in (*signals.signals, *signals.programmes)})


def draft(config: Config, issued_at: str, sound: str, version: int) -> dict[str, Any]:
    """A policy for this gateway as it is, to be changed and signed: every spot's deepest colour, every siren."""
    here = ground(config)
    if sound not in here.signals:
        raise BadDocument([Problem(str(config.file), "sound", sound, "没有这个信号 / no such signal;"
                                   f" {document.meant(sound, here.signals, 'signals')}")])
    rules = [{"spot": s.id, "digest": here.spots[s.id], "from": NAMES[max(config.scales[s.scale].colours)],
              "sirens": sorted(here.sirens), "sound": sound, "sound_digest": here.signals[sound],
              "max_duration_s": DRAFT_S} for s in config.spec.spot]
    return {"v": 1, "version": version, "deployment": here.deployment, "gateway": here.gateway, "area": here.area,
            "issued_at": issued_at, "rule": rules}


class Floods:
    """The machine. `file` is the policy that gateway.toml names, or nothing; `boot` tells this run from all others."""

    def __init__(self, config: Config, trust: TrustList, file: bytes, records: Iterable[Record], boot: str) -> None:
        spec = config.spec
        profiles = {d.id: config.profile_of(d.id) for d in spec.device}
        tokens: Iterator[int] = count(1)
        self.rules = {s.id: Rule(config.id, boot, spec.flood.utc_offset_h, s, config.scales[s.scale], profiles, tokens)
                      for s in spec.spot}
        self.hears = frozenset(device for s in spec.spot for device in s.devices)
        """The devices whose readings and presence concern a spot."""
        self.policy: SignedPolicy | None = None
        self._persons = {**spec.local.technicians, **spec.local.commanders}
        self._ground = ground(config)
        self._trust = trust
        self._wall = Wall()
        self._n = 0
        self._floor = 0
        self._text = ""
        self._dirty = False
        self._token = 0
        self._again_us: int | None = None
        self._started = False
        self._levels_us: dict[str, int] = {}
        """When the levels of a spot were last kept."""
        self._roadside: dict[str, tuple[int, dict[str, Any]]] = {}
        """What was last kept of sign, light, boom and voice, and when: of spots in a flood, and until all is back."""
        self._file = file
        self._out: list[FloodsEffect] = []
        self._restore(records)

    @property
    def deadline(self) -> int | None:
        return earliest(self._again_us, *(rule.deadline for rule in self.rules.values()))

    def handle(self, now_us: int, event: FloodsEvent) -> list[FloodsEffect]:
        self._out, self._wall.now_us = [], now_us
        if not self._started:
            self._started = True
            self._begin(now_us)
        match event:
            case Took(device) | Presence(device):
                for rule in self.rules.values():
                    if device in rule.spot.devices:
                        self._tell(now_us, rule, event)
            case Edged() | Ended() | Clock():
                if isinstance(event, Clock):
                    self._wall.take(event)
                for rule in self.rules.values():
                    self._tell(now_us, rule, event)
            case Ask():
                self._asked(now_us, event)
            case Arrived(topic, payload):
                if topic.endswith("/shelf"):
                    self._shelved(now_us, payload)
                else:
                    self._arrived(now_us, payload)
            case Trusted(trust):
                self._trust = trust
                if self._text:
                    self._admit(now_us, self._text.encode(), "the journal, by another trust list")
            case AppendFailed(token, _) if token == self._token:
                self._again_us = now_us + RETRY_US
            case Durable() | AppendFailed() | Woken():
                pass
        for rule in self.rules.values():
            if rule.deadline <= now_us:
                self._tell(now_us, rule, Woken())
        for rule in self.rules.values():
            self._keep_levels(now_us, rule)
            self._keep_roadside(now_us, rule)
        if self._again_us is not None and self._again_us <= now_us:
            self._dirty = True
        self._write()
        return self._out

    def _tell(self, now_us: int, rule: Rule, event: RuleEvent) -> None:
        for effect in rule.handle(now_us, event):
            if isinstance(effect, Changes):
                self._dirty = True
            else:
                if isinstance(effect, Alarmed):
                    self._write()
                self._out.append(effect)

    # The book.

    def _restore(self, records: Iterable[Record]) -> None:
        books = [r.body for r in records if r.kind in (KIND, BESIDE) and isinstance(r.body.get("n"), int)]
        book = max(books, key=lambda body: int(body["n"]), default=None)
        if book is None:
            return
        spots, version, text = book.get("spots"), book.get("policy"), book.get("text")
        self._n = int(book["n"])
        self._floor = version if isinstance(version, int) else 0
        self._text = text if isinstance(text, str) else ""
        for id, kept in spots.items() if isinstance(spots, Mapping) else ():
            if id in self.rules and isinstance(kept, Mapping):
                self.rules[id].restore(kept)

    def _write(self) -> None:
        if self._dirty:
            self._dirty, self._again_us = False, None
            self._n += 1
            self._token += 1
            body = {"n": self._n, "policy": self._floor, "text": self._text,
                    "spots": {id: rule.snapshot for id, rule in self.rules.items()}}
            self._out.append(Append(self._token, Record(KIND, body)))

    def _keep_levels(self, now_us: int, rule: Rule) -> None:
        """While the road is wet; the first time with all that the gauges still know. Nobody waits for the disk."""
        look, last_us = rule.lookout, self._levels_us.get(rule.id)
        wet = rule.flood.id or (look.vote.level_cm or 0.0) >= WET_CM
        if not wet or (last_us is not None and now_us < last_us + LEVEL_US):
            return
        first = last_us is None or now_us >= last_us + 2 * LEVEL_US
        self._levels_us[rule.id] = now_us
        samples = {gauge: [[ago_s, value] for ago_s, value in told if first or ago_s * S < LEVEL_US]
                   for gauge, told in look.samples(now_us).items()}
        body = {"spot": rule.id, "depths": {NAMES[c]: cm for c, cm in look.depths.items()}, "samples": samples,
                "kinds": {gauge.id: gauge.section.kind for gauge in look.gauges.values()},
                "bad": [s.id for s in look.sights if not s.good], "confirmed": look.confirmed.name,
                "suspected": look.local.name}
        self._out.append(Append(NOBODY_WAITS, Record(LEVEL, body)))

    def _keep_roadside(self, now_us: int, rule: Rule) -> None:
        """What was done beside the road, as proof: each change, from the first colour of a flood until all is back."""
        last_us, before = self._roadside.get(rule.id, (-ROADSIDE_US, {}))
        if not (before or rule.flood.id) or now_us < last_us + ROADSIDE_US:
            return
        stands: dict[str, Any] = {}
        # A text is kept when the sign has confirmed it; that it has not is an event.
        if rule.sign is not None and rule.sign.shown:
            stands["sign"] = rule.sign.shown
        if rule.beacon is not None:
            stands["beacon"] = rule.beacon.on
        if rule.boom is not None:
            stands |= {"boom_asked": rule.boom.on, "boom_closed": rule.boom.closed}
        if rule.voice is not None:
            stands["voice"] = rule.voice.state in (Speech.SPEAKING, Speech.PAUSING)
        changed = {what: how for what, how in stands.items() if what not in before or before[what] != how}
        if changed:
            self._roadside[rule.id] = now_us, before | changed
            self._out.append(Append(NOBODY_WAITS, Record(ROADSIDE, {"spot": rule.id, "changed": changed})))
        elif not rule.flood.id and (rule.sign is None or "sign" in stands) and not any(
                stands.get(what) for what in ("beacon", "boom_asked", "boom_closed", "voice")):
            del self._roadside[rule.id]

    # The policy.

    def _begin(self, now_us: int) -> None:
        """The policy of the book, then that of the file where it is newer or the same."""
        for text, whence in ((self._text.encode(), "the journal"), (self._file, "the file")):
            if text and not (whence == "the file" and text.decode(errors="replace") == self._text):
                self._admit(now_us, text, whence)

    def _admit(self, now_us: int, data: bytes, whence: str) -> Refused | None:
        """Let it rule, or tell why not. One that ruled and is not carried any more rules no longer."""
        try:
            found = admit(data, self._trust, self._ground, self._floor, ruled=self._text)
        except Refused as refused:
            ended = self.policy is not None and data == self.policy.text.encode()
            what = "policy-ended" if ended else "policy-refused"
            self._out.append(Notice(what, refused.reason, f"{refused.problem} (from {whence})", urgent=True))
            if ended:
                self._rule(now_us, None)
            return refused
        before = self.policy
        self._rule(now_us, found)
        if before is None or before.digest != found.digest or self._text != found.text:
            self._dirty = self._dirty or self._text != found.text
            self._floor, self._text = found.policy.version, found.text
            self._out.append(Notice("policy", str(found.policy.version), f"{found.by} (from {whence})"))
        return None

    def _rule(self, now_us: int, policy: SignedPolicy | None) -> None:
        self.policy = policy
        sections = {} if policy is None else {r.spot: r for r in policy.policy.rule}
        for rule in self.rules.values():
            one = sections.get(rule.id)
            grant = Grant() if one is None or policy is None else Grant(
                colour_of(one.from_), one.sirens, one.sound, one.sound_digest, one.max_duration_s, policy.by,
                policy.persons)
            self._tell(now_us, rule, grant)

    # People.

    def _arrived(self, now_us: int, payload: bytes) -> None:
        """The hub acknowledges. Unsigned: it ends nothing, it only says that somebody there knows."""
        try:
            ack = wire.decode(Ack, payload)
        except Malformed as error:
            if payload:
                self._out.append(Notice("ack-refused", "", str(error)[:200]))
            return
        rule = self.rules.get(ack.spot)
        if rule is None or (ack.alarm is not None and ack.alarm not in rule.lookout.alarms):
            self._out.append(Notice("ack-refused", ack.spot, "no such spot or alarm"))
            return
        self._tell(now_us, rule, Handed(ack.alarm, Acknowledge(f"hub: {ack.by}", cabinet=False)))

    def _shelved(self, now_us: int, payload: bytes) -> None:
        """Two persons at the centre keep an alarm silent for a while, or put it back."""
        try:
            wish, persons, us = shelf.admit(payload, self._trust, self._ground.gateway, self._ground.area,
                                            self._wall.believed_us)
        except shelf.Refused as refused:
            if payload:
                self._out.append(Notice("shelf-refused", "", str(refused)))
            return
        rule = self.rules.get(wish.spot)
        if rule is None or wish.alarm not in rule.lookout.alarms:
            self._out.append(Notice("shelf-refused", wish.spot, NO_SUCH_ALARM + wish.alarm))
            return
        by = f"{persons}: {wish.reason}"
        self._tell(now_us, rule, Handed(wish.alarm, Shelve(by, us) if us else Unshelve(by)))

    def _asked(self, now_us: int, ask: Ask) -> None:
        args = ask.args
        if ask.verb == "policy":
            refused = self._admit(now_us, str(args.get("text") or "?").encode(errors="replace"), ask.user)
            if refused is not None:
                self._out.append(line(ask.client, True, error=str(refused.problem), reason=refused.reason))
            else:
                self._out.append(line(ask.client, True, policy=self._floor, text=RULES))
            return
        if ask.verb == "flood":
            self._out.append(line(ask.client, True, **self.shown(now_us)))
            return
        rule = self.rules.get(str(args.get("spot")))
        if rule is None:
            self._out.append(line(ask.client, True, error=NO_SUCH_SPOT + (", ".join(self.rules) or "-")))
        elif ask.verb == "wetcheck":
            self._out.append(line(ask.client, True, **wetcheck(now_us, rule, args)))
        else:
            self._hand(now_us, ask, rule)

    def _hand(self, now_us: int, ask: Ask, rule: Rule) -> None:
        person, alarm, minutes = self._persons.get(ask.user), ask.args.get("alarm"), ask.args.get("minutes", SHELF_MIN)
        wrong = ""
        if person is None:
            wrong = NOT_LISTED
        elif (alarm is not None or ask.verb != "ack") and not (isinstance(alarm, str) and alarm in rule.lookout.alarms):
            wrong = NO_SUCH_ALARM + ", ".join(rule.lookout.alarms)
        elif not is_number(minutes) or not 0 < minutes <= 480:
            wrong = BAD_MINUTES
        if wrong:
            self._out.append(Notice("local-refused", ask.user, f"{ask.verb}: {wrong.rpartition(' / ')[2]}"))
            self._out.append(line(ask.client, True, error=wrong))
            return
        by = str(person)
        what: Acknowledge | Shelve | Unshelve = Acknowledge(by)
        if ask.verb != "ack":
            what = Unshelve(by) if ask.verb == "unshelve" else Shelve(by, round(float(str(minutes)) * 60 * S))
        self._tell(now_us, rule, Handed(None if alarm is None else str(alarm), what))
        self._out.append(line(ask.client, True, spots={rule.id: self._spot(now_us, rule)}))

    # Looks.

    def shown(self, now_us: int) -> dict[str, Any]:
        """Every spot and the policy, for who looks."""
        policy = self.policy
        return {
            "policy": None if policy is None else {"version": policy.policy.version, "persons": policy.persons,
                                                   "spots": [r.spot for r in policy.policy.rule]},
            "spots": {id: self._spot(now_us, rule) for id, rule in self.rules.items()},
        }

    def _spot(self, now_us: int, rule: Rule) -> dict[str, Any]:
        look, shown = rule.lookout, rule.shown
        return {
            "name": rule.spot.name, "digest": self._ground.spots[rule.id],
            "state": "UNKNOWN" if shown is None else shown.state, "why": "" if shown is None else shown.why,
            "points": {} if shown is None else shown.points,
            "depths": {NAMES[c]: cm for c, cm in look.depths.items()},
            "alarms": {a.id: {"state": a.state.value, "high": a.high, "raised_last_hour": a.raises(now_us)}
                       for a in look.alarms.values()},
            "gauges": {s.id: {"kind": s.kind, "good": s.good, "value": s.value, "why": s.why} for s in look.sights},
            "flood": rule.flood.id, "siren_asked": rule.flood.asked,
        }


def wetcheck(now_us: int, rule: Rule, args: Mapping[str, Any]) -> dict[str, Any]:
    """One gauge as it reads now, against the depth that a ruler shows: what it would have to be set to."""
    gauge = rule.lookout.gauges.get(str(args.get("gauge")))
    if gauge is None:
        return {"error": NO_SUCH_GAUGE + ", ".join(rule.lookout.gauges)}
    sight, section, depth = gauge.sight(now_us), gauge.section, args.get("depth_cm")
    # Whoever is at the door may say any number of JSON, also one that no float can hold.
    if depth is not None and not (is_number(depth) and 0 <= depth <= 3000):
        return {"error": BAD_DEPTH}
    out: dict[str, Any] = {"spot": rule.id, "gauge": gauge.id, "kind": section.kind, "raw": gauge.raw,
                           "unit": section.unit, "good": sight.good, "why": sight.why, "level_cm": sight.value,
                           "primed": gauge.primed, "last_minutes": gauge.samples(now_us)[-6:]}
    if depth is not None and section.kind not in ("float", "rain"):
        out["depth_cm"] = depth
        if sight.good and sight.value is not None:
            off = sight.value - depth
            out["off_cm"] = round(off, 1)
            key = "zero_cm" if section.mount_cm is None else "mount_cm"
            now = section.zero_cm if section.mount_cm is None else section.mount_cm
            out["set"] = {key: round(now + off if section.mount_cm is None else now - off, 1)}
            if depth and not 0.5 <= sight.value / depth <= 2:
                out["doubt"] = ("相差数倍，单位或小数位可能不对 / wrong by a factor: its unit or decimals are not"
                                " what the profile says")
    return out
