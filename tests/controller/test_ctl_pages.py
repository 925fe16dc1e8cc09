"""Every `sirenctl` command that a page shows is one."""

import re
import shlex
from pathlib import Path

import pytest

from controller.ctl.__main__ import commands_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"`(sirenctl [^`]+)`|^(sirenctl .+)$", re.MULTILINE)
COMMANDS = sorted({(path.name, re.sub(r"\s#.*", "", found[1] or found[2]).strip())
                   for path in PAGES for found in SHOWN.finditer(path.read_text(encoding="utf-8"))})


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_on_a_page_is_understood(page: str, command: str) -> None:
    if re.fullmatch(r"sirenctl [a-z-]+", command):
        assert f"{command.split()[1]}" in commands_parser().format_help(), "named without its arguments"
    else:
        commands_parser().parse_args(shlex.split(command)[1:])


def test_the_tools_for_a_new_device_are_on_the_page_about_profiles() -> None:
    shown = " ".join(command for page, command in COMMANDS if page == "profiles.md")
    for verb in ("probe", "record", "read"):
        assert f"sirenctl {verb}" in shown
    assert "siren-sim check" in (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
