"""The writing: what orders give to the journal, and what they give it again because it did not take it.

A warning that sounded without the disk is known by its id to this run of the gateway alone. So what was refused, or
passed over by a disk that answers again, is given once more with the next record that is taken; an order's then says
how each of its sirens stood, for its receipts may lie before it, or nowhere. Of pulses only the newest counts.

It refuses to know what a record means, and whether anything waits for it.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from controller.event import Append, Record
from controller.ledger import Entry

WAITING_LIMIT = 256
"""Records kept for a disk that does not take them, the oldest give way: as many as warnings and stops have room for."""
PULSE = "alive"


@dataclass(frozen=True, slots=True)
class Page:
    """One record; `entry`: the order that it tells of, where it is an order's own."""

    record: Record
    entry: Entry | None

    @property
    def late(self) -> Record:
        """It as it is written afterwards."""
        if self.entry is None:
            return self.record
        stands = {siren: str(part.stands) for siren, part in self.entry.parts.items()}
        return Record(self.record.kind, {**self.record.body, "late": stands})


class Writing:
    """Numbers records, and keeps each until it is on the disk. One that is given again keeps its number."""

    def __init__(self) -> None:
        self.token = 0
        """Of the newest record."""
        self._given: OrderedDict[int, Page] = OrderedDict()
        self._refused: OrderedDict[int, Page] = OrderedDict()

    def give(self, kind: str, body: Mapping[str, object], entry: Entry | None = None) -> Append:
        self.token += 1
        page = Page(Record(kind, body), entry)
        if kind == PULSE:
            # A disk that answers nothing for long: its pulses push no order out.
            self._given = OrderedDict((token, old) for token, old in self._given.items() if old.record.kind != PULSE)
        _keep(self._given, self.token, page)
        return Append(self.token, page.record)

    def refused(self, token: int) -> None:
        """The disk did not take this one."""
        page = self._given.pop(token, None)
        if page is not None and page.record.kind != PULSE:
            _keep(self._refused, token, page)

    def took(self, token: int) -> list[Append]:
        """The disk has this one. What it had before and does not have is given to it again, oldest first."""
        if token in self._given:
            while (first := next(iter(self._given))) != token:
                # One writer answers in order: of what lies before and has no answer nothing was kept.
                self.refused(first)
            del self._given[token]
        self._refused.pop(token, None)
        again, self._refused = sorted(self._refused.items()), OrderedDict()
        for number, page in again:
            _keep(self._given, number, page)
        return [Append(number, page.late) for number, page in again]


def _keep(pages: OrderedDict[int, Page], token: int, page: Page) -> None:
    pages[token] = page
    if len(pages) > WAITING_LIMIT:
        pages.popitem(last=False)
