"""The order of the tests: `make test` runs four files at a time, and nobody is to wait for the longest at the end."""

from pathlib import Path

import pytest

LONGEST_FIRST = (
    "system/test_city", "simulators/test_swarm", "system/test_hard_times", "bench/test_flood_bench",
    "system/test_daemon", "system/test_flood_centre", "hub/test_hub_system", "system/test_trust",
    "firmware_bridge/test_probe", "system/test_record", "system/test_probe_command", "controller/test_ctl",
    "controller/test_mqtt", "simulators/test_serve", "simulators/test_faults_served", "firmware_bridge/test_bus_noise",
    "system/test_two_steps", "transport/test_clones", "transport/test_acl", "system/test_crashes",
    "controller/test_mqtt_inbox", "controller/test_siren_promises", "controller/test_gateway", "system/test_check",
    "peers/test_mbpoll", "system/test_blackbox_command", "attacks/test_attack_bench", "attacks/test_named_attacks",
    "bench/test_fuzz", "transport/test_tls", "controller/test_journal", "firmware_bridge/test_hostile",
    "attacks/test_bounds", "simulators/test_promises", "controller/test_flood_in_the_world",
)
"""Files that take ten seconds or more, from two minutes downwards. Half of them wait for real processes and lines,
half compute (200 lives of the swarm take a minute and a half of one core), and so the two share the cores."""
PLACE = {name: place for place, name in enumerate(LONGEST_FIRST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: PLACE.get("/".join(Path(item.path).with_suffix("").parts[-2:]), len(PLACE)))
