"""Writes `docs/library.md`, the table of all models: `python3 tools/dev.py library`.

Everything in it stands in the profiles; a test holds the page to them. It refuses to know any model by name.
"""

from pathlib import Path

from firmware_bridge.profile import OutputClass, Profile, load_all

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "library.md"
KINDS = {"siren": "Sirens", "relay": "Relay boards", "annunciator": "Annunciators", "voice": "Voice modules",
         "input": "Inputs and meters", "gauge": "Level gauges", "power": "Power", "sign": "Signs"}
"""The order of the page, and its headings."""

TABLE = "| profile | model | protocol | class | source |\n| --- | --- | --- | --- | --- |\n"

HEAD = """\
# The library

Every model in `configs/profiles/`, drawn from the profiles by `python3 tools/dev.py library`; a test holds this page to
them. What a profile says comes from the source named beside it. None of these units has been on a line of ours: where
frames of others were found, `tests/captures` holds the profile to them.
Before a siren hangs on one, do what `docs/profiles.md` says under "From datasheet to profile in 15 minutes".

The output class is what ends the output when nobody speaks any more: A the board's watchdog, B a lease, B' the head
itself, C nothing (refused for a siren without a timer relay). A dash: it has no output, so no siren can have it as its
drive; a sign, a voice module or a gauge may have actions all the same.

What was looked at and has no file, a Whelen siren among it, stands with the reason in `docs/profiles.md` under "Models
that have no file, and why".
"""


def page(profiles: dict[str, Profile]) -> str:
    """The text of the page."""
    parts = [HEAD]
    for kind, heading in KINDS.items():
        models = [p for p in profiles.values() if p.spec.kind == kind]
        if not models:
            continue
        parts.append(f"\n## {heading}\n\n{TABLE}")
        parts += [_row(p) for p in models]
        for p in models:
            parts.append(f"\n### {p.spec.make} {p.spec.model}\n\n`{p.id}`: {_points(p)}.\n\n")
            parts += [f"- {note}\n" for note in p.spec.notes]
    parts.append(f"\n{len(profiles)} models.\n")
    return "".join(parts)


def _row(p: Profile) -> str:
    cells = (f"`{p.id}`", f"{p.spec.make} {p.spec.model}", f"{p.spec.protocol} {_wire(p)}", _class(p), p.spec.source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _wire(p: Profile) -> str:
    return "TCP" if "TCP" in p.spec.model else f"{p.line.baud} 8{p.line.parity}{p.line.stop_bits}"


def _class(p: Profile) -> str:
    if p.output is None:
        return "-"
    match p.output.class_:
        case OutputClass.A:
            return f"A, {p.output.watchdog_s:g} s"
        case OutputClass.B:
            return f"B, {p.output.lease_max_s:g} s"
        case OutputClass.B_PRIME:
            return f"B', {p.output.self_limit_s:g} s" if p.output.self_limit_s else f"B', by `{p.output.limit}`"
        case OutputClass.C:
            return "C"


def _points(p: Profile) -> str:
    proof = [f"`{name}` ({spec.evidence})" for name, spec in p.spec.points.items() if spec.evidence]
    said = [f"points {', '.join(f'`{name}`' for name in p.spec.points)}"]
    said += [f"actions {', '.join(f'`{name}`' for name in p.actions)}"] if p.actions else []
    said += [f"proof of sound {', '.join(proof)}"] if proof else []
    said += [f"{p.channels} channels"] if p.channels else []
    return "; ".join(said)


def main() -> None:
    PAGE.write_text(page(load_all(ROOT / "configs" / "profiles")), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
