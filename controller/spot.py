"""A spot: a low-lying place of a road with its gauges, its warning colours and what stands beside it, as documents.

`[[spot]]` of gateway.toml names its scale (`scale.py`), its gauges, and the sign, beacon, voice and boom beside it.
What is wrong is told in two languages: who mounts a gauge reads it.
It refuses to know what water does, and who may let a siren sound for it (`policy.py`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from controller.scale import NAMES, ColourName, ScaleFile, colour_of
from controller.wire import Code
from firmware_bridge.document import Document
from firmware_bridge.errors import Problem
from firmware_bridge.profile import OutputClass, Profile

PointRef = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.[a-z][a-z0-9_]*$")]
"""`device.point`."""


def _one_spelling(ref: str) -> str:
    """`relay-1.02` is `relay-1.2`: references are compared as they stand, and an output has one purpose."""
    device, dot, channel = ref.partition(".")
    return f"{device}.{int(channel)}" if dot else ref


DriveRef = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*(\.[0-9]{1,2})?$"), AfterValidator(_one_spelling)]
"""`device` or `device.channel`."""
HourMinute = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

CM = {"m": 100.0, "cm": 1.0, "mm": 0.1}
"""What a depth may be measured in, and centimetres in one of it."""
RAIN_UNITS = ("mm/h", "mm")
"""An intensity, or the count of a tipping bucket, from which the intensity is made."""
POLL_MS = 5000
"""The slowest poll by which a flood is seen in time: five samples make a level."""
GaugeKind = Literal["pressure", "radar", "ultrasonic", "staff", "float", "rain"]
STILL_S: Mapping[str, int | None] = {"pressure": 3600, "radar": 900, "ultrasonic": 900, "staff": None, "float": None,
                                     "rain": None}
"""Water over the road is never still to the last digit: a gauge of this kind that shows it so for so long is stuck."""
LOOKS_DOWN = ("radar", "ultrasonic")
"""Kinds that hang over the road, and see the roofs of vehicles."""
VEHICLE_S = 10.0
"""How long a moving vehicle, or two that meet, hides the water from a gauge overhead."""


class GaugeSection(Document):
    """One gauge of a spot: where its value comes from, and what of it can be true."""

    id: Code
    kind: GaugeKind
    """What it works by: votes are counted over unlike kinds."""
    point: PointRef
    unit: str | None = None
    """The point's unit, said again: whoever writes it here has looked. m, cm or mm; for rain mm/h, or mm (a count)."""
    range: tuple[float, float] | None = None
    """What the gauge can measure, in that unit. Anything else is no value."""
    mount_cm: Annotated[float, Field(gt=0, le=3000)] | None = None
    """The point is the distance down to the water, from so high over the road's lowest place."""
    zero_cm: Annotated[float, Field(ge=-3000, le=3000)] = 0.0
    """What it shows when the water just reaches the road's lowest place: `sirenctl flood wetcheck` measures it."""
    wet_cm: Annotated[float, Field(gt=0, le=500)] | None = None
    """A float closes at this depth."""
    weight: Annotated[float, Field(gt=0, le=10)] | None = None
    """In a vote. Default: 1, and 0.5 for rain, which only supports."""
    slew_cm_per_s: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """Water does not rise or fall faster."""
    median: Annotated[int, Field(ge=1, le=31)] = 5
    """Samples of which the middle one counts."""
    vehicle_s: Annotated[float, Field(ge=0, le=120)] | None = None
    """The lowest level of so long counts. Default: 10 s for a gauge that looks down, 0 for others."""
    still_s: Annotated[int, Field(ge=60, le=86400)] | None = None
    """Not one digit changed for so long while wet: it is stuck. Default: by kind."""
    max_age_s: Annotated[float, Field(ge=1, le=300)] = 15.0
    """An older value is no value."""
    heavy_mm_h: Annotated[float, Field(gt=0, le=500)] = 20.0
    """Rain from here on supports a vote."""

    @property
    def counts(self) -> float:
        """Its weight."""
        return self.weight if self.weight is not None else 0.5 if self.kind == "rain" else 1.0

    @property
    def window_s(self) -> float:
        return self.vehicle_s if self.vehicle_s is not None else VEHICLE_S if self.kind in LOOKS_DOWN else 0.0

    @property
    def still(self) -> int | None:
        return self.still_s or STILL_S[self.kind]


class SignSection(Document):
    """A sign beside the road. It always shows what is so, also that it is dry."""

    device: Code
    again_s: Annotated[float, Field(ge=5, le=3600)] = 60.0
    """It is told again so often: a card that lost power has forgotten its text."""


class BeaconSection(Document):
    """A light: a relay, or a device with the actions `light` and `dark`."""

    drive: DriveRef
    from_: Annotated[ColourName, Field(alias="from")] = "yellow"


class VoiceSection(Document):
    """A module that plays recorded announcements. It sounds, so that it needs a vote."""

    device: Code
    from_: Annotated[ColourName, Field(alias="from")] = "orange"
    tracks: Annotated[dict[ColourName, Annotated[int, Field(ge=1, le=9999)]], Field(min_length=1)]
    """What is said at each colour. One without a track says that of the colour below."""
    depth_tracks: dict[Annotated[str, Field(pattern=r"^[0-9]{1,3}$")], Annotated[int, Field(ge=1, le=9999)]] = {}
    """Centimetres -> the track that says this depth; the greatest that is reached is played after the text."""
    track_s: Annotated[float, Field(ge=1, le=120)] = 8.0
    """How long one track is."""
    times: Annotated[int, Field(ge=1, le=10)] = 3
    pause_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Of silence after so many times."""
    volume: Annotated[int, Field(ge=0, le=100)] = 30
    night_volume: Annotated[int, Field(ge=0, le=100)] = 15
    night: tuple[HourMinute, HourMinute] = ("22:00", "06:00")
    """Local time. While the clock is not believed it is day."""


class BoomSection(Document):
    """The request to a boom's own controller that it should close: a contact. The boom decides how."""

    drive: DriveRef
    from_: Annotated[ColourName, Field(alias="from")] = "red"
    closed: PointRef | None = None
    """A bool point that tells that it is down."""
    within_s: Annotated[float, Field(ge=1, le=300)] = 20.0


class FloodSection(Document):
    """`[flood]`: what all spots of this gateway have in common."""

    policy: str | None = None
    """The signed rules by which sirens may sound of themselves. Without it they never do."""
    utc_offset_h: Annotated[float, Field(ge=-12, le=14)] = 8.0


class SpotSection(Document):
    """One low-lying place."""

    id: Code
    name: str = ""
    scale: str
    """The file of its colours, relative to this one."""
    quorum: Annotated[float, Field(gt=0, le=20)] = 2.0
    """The weights of the gauges that must agree, of at least two kinds, before anything sounds."""
    hysteresis_cm: Annotated[float, Field(ge=1, le=50)] = 4.0
    """So far below a colour's depth the water must fall ..."""
    release_min: Annotated[float, Field(ge=1, le=120)] = 10.0
    """... and stay for so long, before the colour ends."""
    disagree_cm: Annotated[float, Field(gt=0, le=200)] = 10.0
    disagree_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    rise_1_cm: Annotated[float, Field(gt=0, le=100)] = 3.0
    """Water that rose so much in one minute ..."""
    rise_5_cm: Annotated[float, Field(gt=0, le=200)] = 8.0
    """... or so much in five is taken for one colour deeper than it is."""
    latch: tuple[ColourName, ...] = ()
    """Colours that stay until a person at the cabinet acknowledges that they are over."""
    cool_down_min: Annotated[float, Field(ge=1, le=1440)] = 30.0
    """Between two sirens' soundings that this spot asks for."""
    position: tuple[float, float] | None = None
    gauge: Annotated[tuple[GaugeSection, ...], Field(min_length=1, max_length=16)]
    sign: SignSection | None = None
    beacon: BeaconSection | None = None
    voice: VoiceSection | None = None
    boom: BoomSection | None = None

    @property
    def devices(self) -> set[str]:
        """Whose readings and presence concern it."""
        points = [g.point for g in self.gauge] + ([self.boom.closed] if self.boom and self.boom.closed else [])
        outputs = [s.drive for s in (self.beacon, self.boom) if s] + [s.device for s in (self.sign, self.voice) if s]
        return {ref.partition(".")[0] for ref in (*points, *outputs)}

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """Key and reference of every output it drives."""
        return [(f"{key}.drive", section.drive) for key, section in (("beacon", self.beacon), ("boom", self.boom))
                if section is not None]


def problems(file: str, spots: Iterable[SpotSection], scales: Mapping[str, ScaleFile],
             devices: Mapping[str, Profile], taken: Mapping[str, str]) -> Iterator[Problem]:
    """What the sections cannot see alone. `devices` are those with a profile; `taken` are outputs of sirens."""
    owners = dict(taken)
    for spot in spots:
        here = f"spot[{spot.id}]"
        scale = scales.get(spot.scale)
        yield from _votes(file, here, spot)
        if scale is not None:
            yield from _steps(file, here, spot, scale)
        for key, ref in spot.outputs:
            if ref in owners:
                yield Problem(file, f"{here}.{key}", ref,
                              f"已用于 {owners[ref]} / already drives {owners[ref]}; an output has one purpose")
            owners[ref] = f"{spot.id} ({key.partition('.')[0]})"
        for gauge in spot.gauge:
            yield from _gauge(file, f"{here}.gauge[{gauge.id}]", gauge, devices)
        yield from _roadside(file, here, spot, devices)


def _votes(file: str, here: str, spot: SpotSection) -> Iterator[Problem]:
    ids = [g.id for g in spot.gauge]
    for id in sorted({i for i in ids if ids.count(i) > 1}):
        yield Problem(file, f"{here}.gauge[{id}].id", id,
                      f"出现 {ids.count(id)} 次 / stands {ids.count(id)} times; every gauge needs its own id")
    kinds: dict[str, float] = {}
    for gauge in spot.gauge:
        if gauge.kind != "rain":
            kinds[gauge.kind] = max(kinds.get(gauge.kind, 0.0), gauge.counts)
    if not kinds:
        yield Problem(file, f"{here}.gauge", ids, "只有雨量计 / rain alone is no depth; add a gauge of the water")
    sounds = spot.voice is not None or spot.boom is not None
    if sounds and (len(kinds) < 2 or sum(kinds.values()) < spot.quorum):
        yield Problem(file, f"{here}.quorum", spot.quorum,
                      f"不同原理的水位计合计权重只有 {sum(kinds.values()):g}，永远达不到 / the gauges of unlike kinds"
                      f" weigh {sum(kinds.values()):g} together, so that voice and boom would never act; add a gauge of"
                      " another kind, or drop voice and boom")


def _steps(file: str, here: str, spot: SpotSection, scale: ScaleFile) -> Iterator[Problem]:
    below = 0.0
    for colour, section in scale.colours.items():
        if 0 < section.at_cm - below <= spot.hysteresis_cm:
            yield Problem(file, f"{here}.hysteresis_cm", spot.hysteresis_cm,
                          f"大于等于 {NAMES[colour]} 与下一级的间距 {section.at_cm - below:g} 厘米 / not smaller than"
                          f" the step below {NAMES[colour]} ({section.at_cm - below:g} cm); make it smaller")
        below = section.at_cm
    known = {NAMES[c] for c in scale.colours}
    names = [("latch", name) for name in spot.latch]
    names += [(f"{key}.from", s.from_) for key, s in (("beacon", spot.beacon), ("voice", spot.voice),
                                                      ("boom", spot.boom)) if s is not None]
    if spot.voice is not None:
        names += [(f"voice.tracks.{name}", name) for name in spot.voice.tracks]
    for key, name in names:
        if name not in known:
            yield Problem(file, f"{here}.{key}", name,
                          f"{spot.scale} 中没有这一级 / {spot.scale} has no such colour; it has {', '.join(known)}")
    if spot.voice is not None and not any(colour_of(t) <= colour_of(spot.voice.from_) for t in spot.voice.tracks):
        yield Problem(file, f"{here}.voice.tracks", dict(spot.voice.tracks),
                      f"{spot.voice.from_} 没有可播放的曲目 / nothing to say at {spot.voice.from_}; give it a track")


def _gauge(file: str, here: str, gauge: GaugeSection, devices: Mapping[str, Profile]) -> Iterator[Problem]:
    device, _, name = gauge.point.partition(".")
    profile = devices.get(device)
    if profile is None:
        if devices:
            yield Problem(file, f"{here}.point", gauge.point,
                          f"没有此设备 / no such device; devices: {', '.join(devices)}")
        return
    point = profile.points.get(name)
    if point is None:
        yield Problem(file, f"{here}.point", gauge.point,
                      f"没有此点 / no such point; points: {', '.join(profile.points)}")
        return
    poll_ms = point.spec.poll_ms
    if not poll_ms or poll_ms > POLL_MS:
        yield Problem(file, f"{here}.point", gauge.point, f"轮询太慢，须不慢于 {POLL_MS} 毫秒 / must be polled each"
                                                          f" {POLL_MS} ms or oftener; set poll_ms in {profile.id}")
    if gauge.kind == "float":
        if point.type != "bool":
            yield Problem(file, f"{here}.point", gauge.point, "浮球是开关量 / a float is a bool; name a contact")
        if gauge.wet_cm is None:
            yield Problem(file, f"{here}.wet_cm", None, "缺少动作水深 / say at which depth it closes")
        return
    if point.type == "bool" or point.spec.values:
        yield Problem(file, f"{here}.point", gauge.point, f"不是数值 / is no number; a {gauge.kind} gauge is one")
    if gauge.range is None or gauge.range[0] >= gauge.range[1]:
        yield Problem(file, f"{here}.range", gauge.range,
                      "缺少量程 [低, 高] / say [low, high] from its plate, in its unit: without it nonsense passes")
    units = RAIN_UNITS if gauge.kind == "rain" else tuple(CM)
    if gauge.unit not in units:
        yield Problem(file, f"{here}.unit", gauge.unit, f"单位只能是 / say one of {', '.join(units)}")
    elif point.spec.unit != gauge.unit:
        yield Problem(file, f"{here}.unit", gauge.unit,
                      f"{profile.id} 的 {name} 是 {point.spec.unit or '无单位'} / {profile.id} gives {name} in"
                      f" {point.spec.unit or 'no unit'}; say the same, or mend the profile")
    if gauge.kind in ("pressure", "staff", "rain") and gauge.mount_cm is not None:
        yield Problem(file, f"{here}.mount_cm", gauge.mount_cm,
                      "只用于测距式 / only for a radar or ultrasonic point that is a distance; drop it")
    if name.startswith("distance") and gauge.mount_cm is None:
        yield Problem(file, f"{here}.mount_cm", None,
                      f"{name} 是到水面的距离，缺少安装高度 / {name} is a distance; say how high over the road"
                      " the gauge hangs")


def _roadside(file: str, here: str, spot: SpotSection, devices: Mapping[str, Profile]) -> Iterator[Problem]:
    needs: list[tuple[str, str, tuple[str, ...]]] = []
    needs += [("sign.device", spot.sign.device, ("show",))] if spot.sign else []
    needs += [("voice.device", spot.voice.device, ("play", "stop"))] if spot.voice else []
    for key, ref in spot.outputs:
        profile = devices.get(ref.partition(".")[0])
        if profile is not None and profile.output is not None and profile.spec.kind == "relay":
            channel = ref.partition(".")[2]
            if profile.channels and not (channel and 1 <= int(channel) <= profile.channels):
                device = ref.partition(".")[0]
                yield Problem(file, f"{here}.{key}", ref, f"通道不对 / say {device}.1 to {device}.{profile.channels}")
            if key == "boom.drive" and profile.output.class_ is OutputClass.B_PRIME:
                yield Problem(file, f"{here}.{key}", ref, "不能保持 / cannot hold a contact; use a relay")
        else:
            needs.append((key, ref, ("light", "dark")))
    for key, ref, actions in needs:
        profile = devices.get(ref)
        if profile is None:
            if devices:
                yield Problem(file, f"{here}.{key}", ref, f"没有此设备 / no such device; devices: {', '.join(devices)}")
        elif missing := [a for a in actions if a not in profile.actions]:
            yield Problem(file, f"{here}.{key}", ref, f"{profile.id} 没有动作 / {profile.id} has no action"
                                                      f" {', '.join(missing)}; choose another model, or add it there")
    closed = spot.boom.closed if spot.boom else None
    if closed is not None:
        device, _, name = closed.partition(".")
        found = devices[device].points.get(name) if device in devices else None
        if devices and (found is None or found.type != "bool" or not found.spec.poll_ms):
            yield Problem(file, f"{here}.boom.closed", closed,
                          "须为被轮询的开关量 / must be a bool point that is polled")
