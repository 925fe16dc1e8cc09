"""The store is deleted: the journal that knows which orders were done is gone, and an old order comes again.

What is right stands in the safety reference (§3.5): a gateway whose store is lost or broken accepts nothing that was
issued before the first trusted time after it came back, so that a replay has [boot, expiry] and no more. A file that
is not there at all is lost as well: nobody can tell it from that of a gateway which never had one, and a new gateway
loses nothing by refusing what was issued before it was there.
"""

from pathlib import Path

import pytest

from controller.wire import Stage
from tests.attacks.ground import Ground
from tests.attacks.store import reopened

HOW = ["delete", "spoil", "in use"]


@pytest.fixture
def ground() -> Ground:
    return Ground()


def test_attack_store_kept(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To compare with: the file is there, and the same order is answered and not done again."""
    order = ground.desk.live(ground.now)
    ground.send(order, 60)
    sounded = ground.onsets
    reopened(ground, tmp_path, monkeypatch)
    ground.send(order, 20)
    assert ground.onsets == sounded > 0
    ground.must_take(ground.desk.live(ground.now))


@pytest.mark.parametrize("how", HOW)
def test_attack_store_deleted(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Inside its lifetime, after it had sounded to its end."""
    order = ground.desk.live(ground.now)
    ground.send(order, 60)
    sounded = ground.onsets
    assert sounded > 0
    reopened(ground, tmp_path, monkeypatch, **{how.replace(" ", "_"): True})
    said = ground.send(order, 20)
    assert ground.onsets == sounded
    assert said.of(order) == [(Stage.REJECTED, "no-journal")]
    assert any(e.what == "journal-lost" and e.urgent for e in ground.events())
    ground.must_take(ground.desk.live(ground.now))


@pytest.mark.parametrize("how", HOW)
def test_attack_store_deleted_and_with_it_a_stop(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 how: str) -> None:
    """Somebody held an order back, and lets it go when the gateway cannot know any more that it was stopped."""
    held = ground.desk.live(ground.now)
    ground.wait(1)
    ground.send(ground.desk.stop(ground.now), 2)
    reopened(ground, tmp_path, monkeypatch, **{how.replace(" ", "_"): True})
    ground.send(held, 20)
    assert ground.onsets == 0


def test_attack_store_deleted_and_the_office_goes_on(ground: Ground, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused of the past: what is issued from now on is done, and a stop always."""
    before = ground.desk.stop(ground.now)
    ground.send(ground.desk.live(ground.now, sound="air-raid"), 2)
    reopened(ground, tmp_path, monkeypatch, delete=True)
    ground.must_take(ground.desk.live(ground.now))
    said = ground.send(before, 2)
    assert Stage.FINISHED in said.stages(before)


def test_attack_store_deleted_does_not_revive_what_is_expired(ground: Ground, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    order = ground.desk.live(ground.now, life_s=60)
    ground.send(order, 61)
    sounded = ground.onsets
    reopened(ground, tmp_path, monkeypatch, delete=True)
    said = ground.send(order, 5)
    assert ground.onsets == sounded
    assert said.of(order) == [(Stage.REJECTED, "expired")]
