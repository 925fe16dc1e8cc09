"""What is asked for without a signature of its own: at the cabinet by a person, or by the rule of a spot at a flood.

Both become an order of the gateway's own, or are declined. It refuses to know who may sign, and what becomes of it.
"""

from controller import answers
from controller.event import Alarmed, Ask, Notice, Publish
from controller.ledger import Accept, Ledger
from controller.regime import ONLY_LIVE, Regime
from controller.site import Declined, Site
from controller.trust import Reason
from controller.wall import Wall
from controller.wire import Action

VERBS = ("stop", "activate", "growl", "quiet-test")
"""What a person may ask for."""


def judge(event: Ask | Alarmed, site: Site, regime: Regime, ledger: Ledger, wall: Wall) -> Accept | Declined:
    """It as an order of our own, or why not. A stop there always works."""
    if isinstance(event, Ask):
        accept = site.asked(event, wall.text, wall.us)
        if isinstance(accept, Declined) or accept.action is Action.STOP:
            return accept
    else:
        accept = site.automatic(event, wall.text, wall.us)
        unfit = site.unfit(accept) or (None if accept.sirens else Reason.NO_TARGET)
        if unfit is not None:
            return Declined(unfit, "")
    if (reason := regime.refuses(accept)) is not None:
        return Declined(reason, ONLY_LIVE if reason is Reason.SAFE_MIN else "")
    if not ledger.make_room(isinstance(event, Alarmed), wall.us):
        return Declined(Reason.BUSY, "")
    return accept.model_copy(update={"undated": wall.believed_us is None})


def said(event: Ask | Alarmed, accept: Accept | Declined) -> list[Notice | Publish]:
    """What is told of it at once; a rule tells by itself what it asks for."""
    match event, accept:
        case Alarmed(), Declined(reason):
            return [Notice("flood-siren-refused", event.spot, reason, urgent=True)]
        case Ask(), Declined(reason, text):
            return answers.declined(event, reason, text)
        case Ask(), Accept(action=Action.STOP):
            return [Notice("local-stop", str(event.args.get("siren") or "all"), event.user, urgent=True)]
        case Ask(), Accept():
            return [Notice("local-" + event.verb, accept.sirens[0], accept.by)]
    return []
