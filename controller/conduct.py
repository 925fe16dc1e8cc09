"""The conduct of a siren: what it does, as hub and technician see it, and what may follow on what.

It refuses to know why a siren does it (`siren.py`).
"""

from enum import Enum, StrEnum

UNKNOWN = "UNKNOWN"
"""What is shown in place of IDLE while the siren's output is not read."""


class State(StrEnum):
    """What a siren does, as hub and technician see it.

    IDLE: silent, and nothing waits.

    ARMED: silent; at least one activation waits for its instant.

    STARTING: an activation has the siren, and the device has not acknowledged an edge of it yet.

    SOUNDING: an edge was acknowledged; the silences between phases belong to it. Or it sounds, but not by our order
    (panel, key, line fault): then it is told and not cut.

    STOPPING: it is to be silent, and the device has not confirmed it.

    FAULT: it did not become silent: the off stays unconfirmed, or feedback still shows sound. The second off-path
    is used where there is one, and held if the siren's own off does not work, until it is ordered to sound again.
    """

    IDLE = "IDLE"
    ARMED = "ARMED"
    STARTING = "STARTING"
    SOUNDING = "SOUNDING"
    STOPPING = "STOPPING"
    FAULT = "FAULT"


class Move(Enum):
    ARM = "an activation waits"
    DISARM = "none waits any more"
    START = "an activation takes the siren"
    EDGE = "the device acknowledged its first edge"
    END = "it is to be silent"
    SILENT = "the device confirmed the off"
    STUCK = "it did not become silent"
    CLEAR = "it is silent after all"
    ADOPT = "it sounds without our order"
    RELEASE = "the sound that was not ours has ended"


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.IDLE, Move.ARM): State.ARMED,
    (State.ARMED, Move.DISARM): State.IDLE,
    **{(state, Move.START): State.STARTING for state in State},
    (State.STARTING, Move.EDGE): State.SOUNDING,
    **{(state, Move.END): State.STOPPING for state in State if state is not State.FAULT},
    (State.STOPPING, Move.SILENT): State.IDLE,
    **{(state, Move.STUCK): State.FAULT for state in State if state is not State.FAULT},
    (State.FAULT, Move.CLEAR): State.IDLE,
    (State.IDLE, Move.ADOPT): State.SOUNDING,
    (State.ARMED, Move.ADOPT): State.SOUNDING,
    (State.SOUNDING, Move.RELEASE): State.IDLE,
}
