"""The attack bench: what it does to the gateway as it is, and that a verifier with one fault does not pass it."""

import inspect
import json
from collections.abc import Callable
from textwrap import dedent
from types import FunctionType

import pytest

from bench import authority, forge, measure, office
from bench.attack import Attack, verification_ms
from bench.office import CHEN, DEPLOYMENT, LI, LI_SECOND, MALLORY, NARROW, OLD, SIGNERS, WANG, ZHANG, Key
from controller import intake, trust
from controller.wire import Action
from firmware_bridge.machine import S

SEED = 7
MOST = 9_000
"""Mutants after which a fault must have been found."""


def test_no_mutant_is_accepted_and_no_true_order_is_kept_out() -> None:
    found = Attack(SEED).run(3_000)
    assert found.stories == []
    assert (found.accepted, found.true_orders_kept_out, found.unanswered) == (0, 0, 0)
    assert found.fed >= 3_000
    assert found.true_orders > 20
    assert found.left_out > 50
    assert found.refused.keys() >= {"malformed", "bad-signature", "unknown-key", "too-few-persons", "wrong-area",
                                    "wrong-mode", "wrong-action", "key-not-valid", "wrong-deployment", "too-large"}
    assert found.octets["journal"] < 200_000


def test_no_mutant_is_accepted_by_a_gateway_on_a_serial_line() -> None:
    found = Attack(SEED + 1, "gateway.toml").run(1_000)
    assert (found.accepted, found.true_orders_kept_out, found.unanswered) == (0, 0, 0)


def test_a_seed_gives_the_same_attack() -> None:
    one, two = (Attack(SEED).run(600) for _ in range(2))
    assert one == two
    assert one != Attack(SEED + 1).run(600)


def test_two_signatures_are_verified_fast() -> None:
    # The bar is 1 ms; a busy machine is given five.
    assert verification_ms(200) < 5


# A verifier with one fault.


def functions() -> list[tuple[object, str, FunctionType]]:
    """Those that stand in the file itself; a dataclass has others."""
    return [(home, name, f) for home in (trust, trust.Signed) for name, f in vars(home).items()
            if isinstance(f, FunctionType) and f.__code__.co_filename == trust.__file__]


def breaks(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """Put one function of trust.py in its place again, with one thing wrong in it."""
    found = [(home, name, source) for home, name, f in functions() if right in (source := dedent(inspect.getsource(f)))]
    assert len(found) == 1, f"{right!r} stands in {[name for _, name, _ in found]}: say here how the code has it now"
    home, name, source = found[0]
    assert source.count(right) == 1
    made: dict[str, Callable[..., object]] = {}
    exec(compile(source.replace(right, wrong), trust.__file__, "exec"), vars(trust), made)
    monkeypatch.setattr(home, name, made[name])


FAULTS = {
    "counts signatures, not persons": (
        "all(signer.person != c.person and signer.key.x != c.key.x for _, c in counted)", "True"),
    "counts keys, not persons": ("signer.person != c.person and ", ""),
    "bad signatures are let through": (
        "raise Rejected(Reason.BAD_SIGNATURE, body.id, str(error)) from None", "pass"),
    "dates of keys are not looked at": ("raise Rejected(Reason.KEY_NOT_VALID", "(Reason.KEY_NOT_VALID"),
    "areas are not looked at": ("lacking.append(Reason.WRONG_AREA)", "counted.append(signer)"),
    "actions are not looked at": ("lacking.append(Reason.WRONG_ACTION)", "counted.append(signer)"),
    "modes are not looked at": ("lacking.append(Reason.WRONG_MODE)", "counted.append(signer)"),
    "one person is enough": (">= need.persons", ">= 1"),
    "no commander is needed": (">= need.commanders", ">= 0"),
    "roles are not looked at": ("s.roles & need.roles", "s.roles"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_verifier_with_one_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, *FAULTS[fault])
    assert caught()


def test_a_gateway_that_does_not_look_at_the_time_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "untimely", lambda *_: None)
    assert caught()


def test_a_gateway_that_keeps_true_orders_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It remembers of what it does not believe that it was refused."""
    attack = Attack(SEED)
    seen: set[str] = set()
    check = trust.check

    def remembering(order: trust.Unverified, *rest: object) -> trust.Signed:
        try:
            if order.body.id in seen:
                raise trust.Rejected(trust.Reason.BAD_SIGNATURE, order.body.id)
            return check(order, *rest)  # type: ignore[arg-type]
        except trust.Rejected:
            seen.add(order.body.id)
            raise

    monkeypatch.setattr(trust, "check", remembering)
    assert attack.run(300).true_orders_kept_out > 0


def caught() -> bool:
    attack = Attack(SEED)
    for mutants in range(500, MOST + 1, 500):
        if attack.run(mutants).accepted:
            assert attack.found.stories
            return True
    return False


def test_bars_that_fall_end_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        measure.report({"accepted": 1}, {"accepted = 0": False})
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["reached"] == {"accepted = 0": False}


# The judge.


@pytest.mark.parametrize(("who", "changes", "may"), [
    ((LI, ZHANG), {}, True),
    ((LI_SECOND, WANG), {}, True),
    ((LI, LI_SECOND), {}, False),
    ((LI, WANG), {}, False),
    ((ZHANG, CHEN), {}, True),
    ((LI, NARROW), {}, False),
    ((LI, OLD), {}, False),
    ((LI, ZHANG, OLD), {}, False),
    ((LI, ZHANG, MALLORY), {}, False),
    ((LI,), {"mode": "drill"}, True),
    ((LI,), {"mode": "drill", "area": "42"}, False),
    ((LI, ZHANG), {"deployment": "city"}, False),
    ((LI, ZHANG), {"life_s": 301}, False),
])
def test_the_judge_and_the_gateway_agree(who: tuple[Key, ...], changes: dict[str, object], may: bool) -> None:
    attack = Attack(SEED)
    now = attack.world.wall_us
    order = attack.desk.order(now, *who, **changes)  # type: ignore[arg-type]
    assert authority.authorised(order.data, SIGNERS, DEPLOYMENT, now) is may
    attack._give([order])
    assert attack.found.true_orders_kept_out == 0
    # Asked without the judge: was it written down as believed?
    assert any(r.body.get("order") == order.body.id and r.kind in ("accept", "refuse")
               for _, r in attack.station.records) is may


def test_the_judge_and_the_gateway_read_the_same_orders() -> None:
    """Seed 52639: `sirens` was no list, rightly signed. The judge said yes to what no gateway can read."""
    now = 1_789_696_800 * S
    body = json.loads(office.unb64(json.loads(office.Desk(Attack(SEED).config.signals).live(now).data)["payload"]))
    said = {True: 0, False: 0}
    for changed in (body | {name: value} for name, values in forge.HOSTILE.items() for value in values):
        data = office.dump(office.enveloped(office.dump(changed), (LI, ZHANG)))
        may = authorised(data, now)
        said[may] += 1
        assert not may or trust.peek(data), changed
    assert min(said.values()) > 15, said


def test_the_judge_calls_nothing_authorised_that_is_spelled_otherwise() -> None:
    now = 1_789_696_800 * S
    order = office.Desk(Attack(SEED).config.signals).live(now)
    asked = [order.data, order.data + b" ", order.data.replace(b'"payload"', b'"payload":"","payload"'),
             order.data.replace(b'"}]', b'="}]')]
    assert [authorised(data, now) for data in asked] == [True, True, False, False]
    assert not authorised(order.data, now + 300 * S)
    assert not authorised(order.data, now - 10 * S)
    assert order.body.action is Action.SOUND


def test_for_who_does_not_know_the_time_nothing_is_too_old_and_no_key() -> None:
    now = 1_789_696_800 * S
    desk = office.Desk(Attack(SEED).config.signals)
    for order in (desk.stop(now, LI, OLD), desk.stop(now - 3600 * S, LI)):
        assert authority.authorised(order.data, SIGNERS, DEPLOYMENT, None)
        assert not authorised(order.data, now)
    assert not authority.authorised(desk.stop(now, LI, MALLORY).data, SIGNERS, DEPLOYMENT, None)


def authorised(data: bytes, wall_us: int) -> bool:
    return authority.authorised(data, SIGNERS, DEPLOYMENT, wall_us)
