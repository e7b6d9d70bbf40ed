"""One workload on one system in a process of its own: `python -m benchmarks.one SYSTEM WORKLOAD N HOME`. Prints one line of JSON.

A first, small run of the same shape is not measured: what is imported, connected and created then, is paid once.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS, Unsupported


def measured(system_name: str, workload_name: str, n: int, home: Path) -> dict[str, Any]:
    """Seconds of wall time and of this process's CPU (its children's included), and how many tasks that were."""
    system_module = importlib.import_module(f"benchmarks.systems.{system_name}")
    workload = WORKLOADS[workload_name]
    with system_module.open_system(home) as system:
        workload.on(system, min(10, n // 10))
        cpu, began = sum(os.times()[:4]), time.perf_counter()
        tasks = workload.on(system, n)
        wall = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tasks": tasks, "wall_s": wall, "cpu_s": sum(os.times()[:4]) - cpu, "peak_mb": peak_mb, "version": system.version}


def main() -> None:
    """Measure what the arguments say."""
    system, workload, n, home = sys.argv[1:]
    try:
        answer = measured(system, workload, int(n), Path(home))
    except Unsupported as missing:
        answer = {"unsupported": str(missing)}
    except Exception as error:  # noqa: BLE001 a peer may fail in any way; the table says how
        answer = {"failed": f"{type(error).__name__}: {str(error).strip()[:200]}"}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # what a peer leaves running is not waited for


if __name__ == "__main__":
    main()
