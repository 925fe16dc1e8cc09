"""The trust list from root keys to real gateways: over a real broker, by hand, through kills and exchanged cards."""

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller import admission, wire
from controller.wire import Birth, Receipt
from hub import keys, listing
from simulators.city import City, mosquitto
from tests.system.shortened import ctl, run, status

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto() is None, reason="NO MOSQUITTO: a retained list was NOT tried"),
]

GATEWAY, FILE = "gw-jinshui", "gateway.toml"


@pytest.fixture(scope="module")
def city() -> Iterator[City]:
    """One for all: each test goes on from the list that rules, as a gateway would."""
    with City([FILE]) as city:
        yield city


def hub(city: City, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("hub", *arguments, *city.hub_arguments)


def made(city: City, *remove: str, after: Path | None = None, roots: tuple[int, ...] = (1, 3)) -> Path:
    """A list of the next version that some demo roots signed."""
    before = json.loads(admission.peek((after or newest(city)).read_bytes()).payload)
    draft = listing.draft(before, time.time_ns() // 1000, (), remove, (), None)
    (city.demo / f"draft-{draft['version']}.json").write_text(listing.text(draft))
    holders = [keys.load_key(city.demo / f"roots/root-{n}.jwk", root=True) for n in roots]
    out = city.demo / f"list-{draft['version']}.json"
    out.write_bytes(keys.sign_list(listing.payload(draft), holders))
    return out


def newest(city: City) -> Path:
    """The list that rules, from the gateway's journal."""
    with closing(sqlite3.connect(city.demo / "run" / "gw-jinshui.db")) as db:
        ((body,),) = db.execute("SELECT body FROM record WHERE kind = 'trust' ORDER BY n DESC LIMIT 1").fetchall()
    out = city.demo / "newest.json"
    out.write_text(json.loads(body)["list"])
    return out


def births(city: City) -> list[int]:
    """The versions that the gateway said it has, each as often as it said so."""
    return [wire.decode(Birth, payload).trust_version for _, topic, payload in city.messages
            if topic.endswith(f"/{GATEWAY}/birth") and payload]


def rules(city: City) -> int:
    return int(status(city, GATEWAY)["trust_version"])


def events(city: City) -> list[tuple[str, str]]:
    return [(e.what, e.subject) for e in city.events()]


def drill(city: City, key: str, *more: str) -> "subprocess.CompletedProcess[str]":
    """Given at a desk of its own: the hub's judgement is not asked."""
    return hub(city, "order", "sound", "--signal", "demo-air-raid", "--area", "41/01/05", "--siren", "s-101", "--mode",
               "drill", "--key", str(city.demo / f"keys/{key}.jwk"), "--direct", "--json", *more)


def test_the_hub_takes_no_list_that_gateways_would_refuse(city: City) -> None:
    done = hub(city, "trust", "send", str(made(city, roots=(1,))))
    assert done.returncode == 2
    assert "1 of 2" in done.stderr
    assert rules(city) == 1


def test_a_list_by_hand_at_the_cabinet(city: City) -> None:
    second = made(city)
    third = made(city, after=second)
    forged = json.loads(third.read_text())
    forged["signatures"][0]["signature"] = forged["signatures"][1]["signature"]
    (city.demo / "forged.json").write_text(json.dumps(forged))
    refused = ctl(city, GATEWAY, "--json", "trust", str(city.demo / "forged.json"))
    assert (refused.returncode, json.loads(refused.stdout)["reason"]) == (1, "bad-signature")
    done = ctl(city, GATEWAY, "trust", str(third))
    assert (done.returncode, done.stderr) == (0, "")
    assert "名单已启用" in done.stdout
    assert rules(city) == 3
    assert "已是现行名单" in ctl(city, GATEWAY, "trust", str(third)).stdout
    old = ctl(city, GATEWAY, "trust", str(second))
    assert (old.returncode, "older" in old.stdout) == (1, True)
    draft = ctl(city, GATEWAY, "--json", "trust", str(city.demo / "draft-3.json"))
    assert json.loads(draft.stdout)["reason"] == "unsigned"
    assert ctl(city, GATEWAY, "trust", "nowhere.json").returncode == 2
    city.wait_for(lambda: {("trust-refused", r) for r in ("unsigned", "older", "bad-signature")} <= set(events(city)),
                  "the events")
    city.wait_for(lambda: births(city)[-1] == 3, "a birth")


def test_what_waits_for_its_time_is_taken_back_when_its_signer_leaves(city: City) -> None:
    given = drill(city, "operator-1", "--at", "+3000", "--no-wait")
    order = json.loads(given.stdout.splitlines()[-1])["order"]

    def stages() -> list[tuple[str, str]]:
        return [(r.stage.value, r.reason) for r in (wire.decode(Receipt, p) for _, t, p in city.messages
                if t.endswith("/receipt")) if r.order == order and r.siren]

    city.wait_for(lambda: ("accepted", "") in stages(), "an armed siren")
    assert status(city, GATEWAY)["sirens"]["s-101"]["state"] == "ARMED"
    done = hub(city, "trust", "send", str(made(city, "Li Wei")))
    assert (done.returncode, done.stderr) == (0, "")
    city.wait_for(lambda: ("stopped", "key-withdrawn") in stages(), "the last word")
    city.wait_for(lambda: status(city, GATEWAY)["sirens"]["s-101"]["state"] == "IDLE", "an idle siren")
    assert ("order-withdrawn", order) in events(city)
    assert [s for s, _ in stages()].count("stopped") == 1
    refused = drill(city, "operator-1")
    assert "unknown-key" in refused.stdout + refused.stderr


def exchange_card(city: City) -> None:
    """What the gateway kept on its disk is gone."""
    for kept in (city.demo / "run").glob("gw-jinshui.db*"):
        if kept.is_dir():
            shutil.rmtree(kept)
        else:
            kept.unlink()


def test_a_list_outlives_kills_and_is_brought_back_to_an_exchanged_card(city: City) -> None:
    version = rules(city)
    city.stop(FILE, signal.SIGKILL)
    city.start_gateway(FILE)
    assert rules(city) == version, "the file beside gateway.toml is version 1"
    kept = newest(city).read_text()
    city.stop(FILE)
    exchange_card(city)
    known, said = len(births(city)), len(city.said("hub"))
    city.start_gateway(FILE)
    # What the broker retains makes it the same again; whether anybody saw the old version is a matter of moments.
    city.wait_for(lambda: rules(city) == version, "the list on the new card")
    city.wait_for(lambda: births(city)[known:][-1:] == [version], "a birth")
    if 1 in births(city)[known:]:
        city.wait_for(lambda: "trust-went-back" in city.said("hub")[said:], "the hub's word")
    assert newest(city).read_text() == kept


def test_a_file_that_is_damaged_does_not_stop_a_gateway_that_has_a_list(city: City) -> None:
    version = rules(city)
    city.stop(FILE)
    (city.demo / "trust.json").write_bytes(b"\0" * 100)
    settings = [part for one in city.gateway_settings(FILE) for part in ("--set", one)]
    check = run("controller.daemon", "check", str(city.demo / FILE), *settings)
    assert check.returncode == 2
    assert "trust.json: file = " in check.stderr
    city.start_gateway(FILE)
    assert rules(city) == version
    city.wait_for(lambda: ("trust-refused", "file") in events(city), "the event")
    # Without any list at all it does not start, and says why.
    city.stop(FILE)
    exchange_card(city)
    done = run("controller.daemon", "run", str(city.demo / FILE), *settings)
    assert (done.returncode, done.stderr) == (2, check.stderr)
    assert not list((city.demo / "run").glob("gw-*.sock"))
