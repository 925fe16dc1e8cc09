"""Finds whole frames of a few forms in whatever comes on a plain line, and does not look at the same octets for ever.

A line that babbles must not take the processor from the other lines, and what it says may begin like a frame at every
octet. So each place is looked at when it comes, and again only when what it lacked is there: so many octets, or the
octet that ends a field. It refuses to know time, and which answer was waited for.
"""

from heapq import heappop, heappush

from firmware_bridge.scan import KEPT
from firmware_bridge.text import Template

FORMS_LIMIT = 32
"""Forms of answers that are looked for on a plain line; two models of eight messages have as many."""

Found = tuple[dict[str, bytes], bytes]
"""The fields of a frame, and the whole of it."""


class Sieve:
    """What has come on a plain line and is not yet a frame. Places are counted from the beginning of time."""

    def __init__(self) -> None:
        self._forms: dict[Template, None] = {}
        """What has answered, or may; the newest last."""
        self._heads: frozenset[int | None] = frozenset()
        """The octets with which one of them begins: at others there is nothing to look for."""
        self._octets = b""
        self._base = 0
        """How many octets came before those kept."""
        self._looked = 0
        """Up to where places were looked at."""
        self._due: list[tuple[int, int, int, Template]] = []
        """Places that lack octets, by how many there must be: (octets, a number, place, form)."""
        self._until: dict[bytes, list[tuple[int, Template]]] = {}
        """Places in whose field everything goes on, by what would end it."""
        self._n = 0

    def __len__(self) -> int:
        """Octets that are no frame yet, or never will be."""
        return len(self._octets)

    def expect(self, form: Template) -> None:
        """An answer of this form may come; before others that fit the same octets."""
        if form not in self._forms:
            # What is here already may be the beginning of one.
            self._forget(self._octets)
        self._forms.pop(form, None)
        self._forms[form] = None
        while len(self._forms) > FORMS_LIMIT:
            del self._forms[next(iter(self._forms))]
        self._heads = frozenset(one.head for one in self._forms)

    def clear(self) -> None:
        if self._octets:
            self._forget(b"")

    def _forget(self, but: bytes) -> None:
        """All places; of the octets these are left."""
        self._base += len(self._octets) - len(but)
        self._octets, self._looked = but, self._base
        self._due, self._until = [], {}

    def feed(self, data: bytes) -> list[Found]:
        """The frames that these octets complete. Of two that overlap the one that begins first counts."""
        before = len(self._octets)
        self._octets += data
        newest = {form: -n for n, form in enumerate(self._forms)}
        hits: list[tuple[int, int, int, dict[str, bytes]]] = []
        for place, form in self._worth(before):
            start = place - self._base
            found = form.look(self._octets, start) if start >= 0 and form in newest else None
            match found:
                case tuple():
                    hits.append((start, newest[form], found[1], found[0]))
                case int():
                    self._n += 1
                    heappush(self._due, (self._base + found, self._n, place, form))
                case bytes():
                    self._until.setdefault(found, []).append((place, form))
        out: list[Found] = []
        kept = 0
        for start, _, end, fields in sorted(hits, key=lambda hit: hit[:2]):
            if start >= kept:
                out.append((fields, self._octets[start:end]))
                kept = end
        rest = self._octets[kept:][-KEPT:]
        self._base += len(self._octets) - len(rest)
        self._octets = rest
        return out

    def _worth(self, before: int) -> list[tuple[int, Template]]:
        """Places worth a look now, of which `before` octets were here already, and the forms to look for."""
        size, base = len(self._octets), self._base
        out: list[tuple[int, Template]] = []
        while self._due and self._due[0][0] <= base + size:
            _, _, place, form = heappop(self._due)
            out.append((place, form))
        for end in [end for end in self._until if self._octets.find(end, max(0, before - len(end) + 1)) >= 0]:
            out += self._until.pop(end)
        for end, places in self._until.items():
            if len(places) > 2 * KEPT:
                self._until[end] = [one for one in places if one[0] >= base]
        first = max(self._looked - base, 0)
        anywhere = None in self._heads
        out += [(base + at, form) for at in range(first, size) if anywhere or self._octets[at] in self._heads
                for form in self._forms]
        self._looked = base + size
        return out
