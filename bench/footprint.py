"""What a sirend costs: memory, CPU, and the time from its start until it is ready.

Four lines at 19200 baud, on each a board with two sirens and six meters of ten registers that are read five times a
second: 32 polls a second and line, with the broker connected. The hardware is another process.
"""

import statistics
import time

from bench import measure, rig
from bench.rig import Rig

STARTS = 7
SETTLED_S = 30.0
"""Memory is read this long after READY=1."""
CPU_OVER_S = 20.0
RSS_MIB, CPU_SHARE, READY_S = 60.0, 0.10, 1.5


def run() -> dict[str, object]:
    steal, load = measure.steal_ticks(), rig.load()
    with Rig("lines") as here:
        starts = [here.ready_s, *(here.restart_sirend() for _ in range(STARTS - 1))]
        pid = here.sirend.pid
        time.sleep(SETTLED_S - CPU_OVER_S)
        frames, cpu, began = len(here.site.frames_seen()), rig.cpu_s(pid), time.monotonic()
        time.sleep(CPU_OVER_S)
        rss, elapsed = rig.rss_mib(pid), time.monotonic() - began
        used = rig.cpu_s(pid) - cpu
        polls = len(here.site.frames_seen()) - frames
    return {"rss_mib": round(rss, 1), "cpu_share": round(used / elapsed, 4),
            "cpu_us_per_poll": round(used / polls * 1e6) if polls else None,
            "polls_per_s_and_line": round(polls / elapsed / 4, 1),
            "ready_s": {"best": round(min(starts), 3), "median": round(statistics.median(starts), 3),
                        "all": [round(s, 3) for s in starts]},
            "steal_ticks": measure.steal_ticks() - steal, "load": round(load, 2)}


def main() -> None:
    figures = run()
    ready = figures["ready_s"]
    assert isinstance(ready, dict)
    measure.report(figures, {
        f"rss <= {RSS_MIB:g} MiB": float(str(figures["rss_mib"])) <= RSS_MIB,
        f"cpu <= {CPU_SHARE:.0%} of a core": float(str(figures["cpu_share"])) <= CPU_SHARE,
        f"ready <= {READY_S} s": ready["best"] <= READY_S,
    })


if __name__ == "__main__":
    main()
