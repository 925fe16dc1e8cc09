"""The roadside: the sign, the beacon and the boom of a spot. Each is asked for a state and is held to it.

An acknowledgement of the wire is not enough: a sign's action ends with the card saying that it shows, a boom has a
contact that tells that it is down, a relay has the state that it reads. What is not confirmed within FAULT_US is a
fault and is told, once, and again when it is over; it is tried again for as long as it is wanted.
It refuses to know why something is wanted (`rule.py`), and anything that sounds (`voice.py`, `siren.py`).
"""

from collections.abc import Iterable, Iterator, Mapping

from controller.config import Drive
from controller.event import Notice
from controller.phase import Off, On, Switched
from controller.spot import BeaconSection, BoomSection, SignSection
from controller.switch import SETTLE_US, State, Switch
from firmware_bridge.event import Abort, Begin, Edged, Ended, Presence
from firmware_bridge.machine import S, Woken, earliest
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Quality, Reading

RETRY_US = 5 * S
"""Between tries of an action that failed: a sign takes seconds, and its line is not to be filled by a dead one."""
FLIGHT_US = 30 * S
"""An action that has not ended by then is begun anew."""
FAULT_US = 20 * S
"""What is wanted for so long without being confirmed is told (HONEST: 30 s)."""
LIGHT_US = 60 * S
"""How often a light that is switched by an action is told again: the device may have lost power."""

Args = Mapping[str, float | int | bool | str]
Event = Ended | Edged | Presence | Woken
Effect = Begin | Abort | Notice


class Fault:
    """What is wrong with one thing of the roadside, told when it begins and when it is over."""

    def __init__(self, what: str, subject: str) -> None:
        self.why = ""
        self._what, self._subject = what, subject

    def be(self, why: str) -> list[Notice]:
        before, self.why = self.why, why
        if bool(before) == bool(why):
            return []
        what = self._what if why else f"{self._what}-ended"
        return [Notice(what, self._subject, why, urgent=bool(why))]


class Kept:
    """An action that is to have been done on a device: tried until it is, and done again each `again_us`."""

    def __init__(self, device: str, again_us: int, tokens: Iterator[int]) -> None:
        self.device = device
        self.why = ""
        """Why it is not done."""
        self._failed = ""
        """What came of the newest try that failed."""
        self._again_us = again_us
        self._tokens = tokens
        self._wanted: tuple[str, Args] | None = None
        self._due_us: int | None = None
        self._flight: tuple[int, tuple[str, Args], int] | None = None
        """Token, what was begun, and until when it is waited for."""
        self._since_us: int | None = None
        """Since when it is wanted and not confirmed."""

    @property
    def deadline(self) -> int | None:
        overdue_us = None if self._since_us is None else self._since_us + FAULT_US
        return earliest(self._due_us, self._flight[2] if self._flight else None, overdue_us if not self.why else None)

    @property
    def confirmed(self) -> bool:
        return self._wanted is not None and self._since_us is None

    def want(self, now_us: int, action: str, args: Args) -> None:
        if self._wanted != (action, args):
            self._wanted = action, args
            self._due_us = now_us
            self._since_us = now_us if self._since_us is None else self._since_us

    def lost(self, now_us: int, why: str) -> None:
        """What was confirmed turned out not to hold: do it again. What was not yet is told when it is overdue, and not
        when a line is not open yet at the start."""
        if self._since_us is not None or self._wanted is None:
            self._failed = why
            return
        self._since_us, self._due_us = now_us, now_us
        self.why = self.why or why

    def handle(self, now_us: int, event: Event) -> list[Begin]:
        match event:
            case Ended(_, token, _, done, why) if self._flight is not None and token == self._flight[0]:
                current = self._flight[1] == self._wanted
                self._flight = None
                if not current:
                    self._due_us = now_us
                elif done:
                    self._since_us, self.why, self._failed = None, "", ""
                    self._due_us = now_us + self._again_us
                else:
                    self._since_us = now_us if self._since_us is None else self._since_us
                    self._due_us, self._failed = now_us + RETRY_US, why
            case Presence(device, True) if device == self.device and self._wanted is not None:
                # Back from a power cut, perhaps: it has forgotten.
                self._due_us = now_us
            case _:
                pass
        if self._flight is not None and self._flight[2] <= now_us:
            self._flight, self._due_us = None, now_us
        if self._since_us is not None and now_us - self._since_us >= FAULT_US:
            self.why = self.why or self._failed or "not confirmed"
        if self._due_us is None or self._due_us > now_us or self._wanted is None:
            return []
        self._due_us = None
        if self._flight is not None:
            # What is under way ends first; its end begins what is wanted by then.
            return []
        action, args = self._wanted
        self._flight = next(self._tokens), self._wanted, now_us + FLIGHT_US
        return [Begin(self.device, action, self._flight[0], None, args)]


class Contact:
    """A light or a request: a relay that is held, or a device that has the actions `light` and `dark`."""

    def __init__(self, ref: str, profile: Profile, tokens: Iterator[int]) -> None:
        drive = Drive.of(ref)
        self.device = drive.device
        self._held = Switch(drive, profile, tokens) if profile.spec.kind == "relay" else None
        self._kept = Kept(drive.device, LIGHT_US, tokens)
        self._on: bool | None = None
        self._n = 0
        self._since_us: int | None = None
        """Since when a relay is not as it is wanted, or nobody knows."""
        self._acked_us = 0
        """When its device last acknowledged an edge."""
        self._doubt = ""
        """What speaks against it."""
        self._late = False

    @property
    def deadline(self) -> int | None:
        if self._held is None:
            return self._kept.deadline
        overdue_us = None if self._since_us is None or self._late else self._since_us + FAULT_US
        return earliest(self._held.deadline, overdue_us)

    @property
    def why(self) -> str:
        """Why it is not as it is wanted; empty: it is, or may still become so."""
        return self._kept.why if self._held is None else self._doubt if self._late else ""

    def want(self, now_us: int, on: bool) -> list[Effect]:
        if on == self._on:
            return []
        self._on = on
        if self._held is None:
            self._kept.want(now_us, "light" if on else "dark", {})
            return self.handle(now_us, Woken())
        self._n += 1
        self._since_us, self._doubt = now_us, "the output did not acknowledge it"
        return self._told(now_us, self._held.handle(now_us, On(self._n, now_us, None) if on else Off()))

    def handle(self, now_us: int, event: Event) -> list[Effect]:
        if self._held is None:
            return [*self._kept.handle(now_us, event)]
        if isinstance(event, Presence) and event.device == self.device and not event.online:
            self._lost(now_us, f"silent: {event.why}")
        return self._told(now_us, self._held.handle(now_us, event))

    def took(self, now_us: int, reading: Reading) -> list[Effect]:
        """A relay that reads otherwise than it was told: its board lost its power for a moment, or somebody's hand."""
        seen = None if self._held is None else self._held.read(reading)
        if self._held is None or seen is None or self._on is None:
            return []
        off = False
        if seen.on is not self._on and seen.at_us > self._acked_us + SETTLE_US:
            off = seen.on and self._held.idle
            self._lost(now_us, f"the output reads {'on' if seen.on else 'off'}")
        elif seen.on is self._on and self._held.state is (State.ON if seen.on else State.OFF):
            self._since_us = None
        return self._told(now_us, self._held.handle(now_us, Off() if off else seen))

    def _lost(self, now_us: int, why: str) -> None:
        """What was confirmed turned out not to hold."""
        if self._since_us is None and self._on is not None:
            self._since_us, self._doubt = now_us, why

    def _told(self, now_us: int, effects: Iterable[object]) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            match effect:
                case Switched(on, _, edge_us) if on == self._on:
                    self._since_us, self._acked_us = None, edge_us
                case Begin() | Abort():
                    out.append(effect)
                case _:
                    pass
        self._late = self._since_us is not None and now_us - self._since_us >= FAULT_US
        return out


class Sign:
    """The sign. The action `show` of its profile ends when the card says that it shows."""

    def __init__(self, spot: str, section: SignSection, tokens: Iterator[int]) -> None:
        self.device = section.device
        self.text = ""
        self.fault = Fault("sign-unconfirmed", spot)
        self._kept = Kept(section.device, round(section.again_s * S), tokens)

    @property
    def deadline(self) -> int | None:
        return self._kept.deadline

    @property
    def shown(self) -> str:
        """What it is confirmed to show; empty where it is not."""
        return self.text if self._kept.confirmed else ""

    def show(self, now_us: int, text: str) -> list[Effect]:
        self.text = text
        self._kept.want(now_us, "show", {"text": text})
        return self.handle(now_us, Woken())

    def took(self, now_us: int, reading: Reading) -> list[Effect]:
        """A card that says that its screen is off does not show what it was told."""
        if reading.device != self.device or reading.point != "powered":
            return []
        if reading.quality is Quality.GOOD and reading.value is False:
            self._kept.lost(now_us, "the card says that its screen is off")
        return self.handle(now_us, Woken())

    def handle(self, now_us: int, event: Event) -> list[Effect]:
        if isinstance(event, Presence) and event.device == self.device and not event.online:
            self._kept.lost(now_us, f"silent: {event.why}")
        out: list[Effect] = [*self._kept.handle(now_us, event)]
        return out + self.fault.be(self._kept.why)


class Beacon:
    """The light at the road's edge."""

    def __init__(self, spot: str, section: BeaconSection, profile: Profile, tokens: Iterator[int]) -> None:
        self.fault = Fault("beacon-unconfirmed", spot)
        self.on: bool | None = None
        self._contact = Contact(section.drive, profile, tokens)

    @property
    def deadline(self) -> int | None:
        return self._contact.deadline

    @property
    def lit(self) -> bool | None:
        """None: it is not as it is wanted, or nobody knows."""
        return None if self.fault.why else self.on

    def light(self, now_us: int, on: bool) -> list[Effect]:
        self.on = on
        return self._contact.want(now_us, on) + self.handle(now_us, Woken())

    def took(self, now_us: int, reading: Reading) -> list[Effect]:
        out = self._contact.took(now_us, reading)
        return out + self.fault.be(self._contact.why)

    def handle(self, now_us: int, event: Event) -> list[Effect]:
        out = self._contact.handle(now_us, event)
        return out + self.fault.be(self._contact.why)


class Boom:
    """The request to close, and what tells that the boom is down. It is never taken for down because it was asked."""

    def __init__(self, spot: str, section: BoomSection, profile: Profile, tokens: Iterator[int]) -> None:
        self.fault = Fault("boom-fault", spot)
        self.on: bool | None = None
        self.closed: bool | None = None
        """By its contact; None: nobody knows."""
        self._section = section
        self._contact = Contact(section.drive, profile, tokens)
        self._asked_us: int | None = None

    @property
    def deadline(self) -> int | None:
        return earliest(self._contact.deadline, self._late_us if self._wrong else None)

    @property
    def _late_us(self) -> int | None:
        return None if self._asked_us is None else self._asked_us + round(self._section.within_s * S)

    @property
    def _wrong(self) -> bool:
        """Its contact does not say what was asked, and that was not told yet."""
        return self._section.closed is not None and self.closed is not self.on and not self.fault.why

    def close(self, now_us: int, on: bool) -> list[Effect]:
        if on != self.on:
            self.on, self._asked_us = on, now_us
        return self._contact.want(now_us, on) + self.handle(now_us, Woken())

    def took(self, now_us: int, reading: Reading) -> list[Effect]:
        out = self._contact.took(now_us, reading)
        if self._section.closed == f"{reading.device}.{reading.point}":
            self.closed = bool(reading.value) if reading.quality is Quality.GOOD else None
        return out + self.handle(now_us, Woken())

    def handle(self, now_us: int, event: Event) -> list[Effect]:
        out = self._contact.handle(now_us, event)
        why = self._contact.why
        late = self._late_us is not None and self._late_us <= now_us
        if not why and late and self._section.closed is not None and self.closed is not self.on:
            why = "its contact cannot be read" if self.closed is None else f"does not {'close' if self.on else 'open'}"
        return out + self.fault.be(why)
