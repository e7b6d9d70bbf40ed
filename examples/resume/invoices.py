"""A flow that dies in its middle, and goes on: python invoices.py

The first process is killed after the third invoice was made and before that is recorded. The second retries the run: two invoices are reused,
the third is made again (nobody knows that it was made), the rest for the first time.
"""

import os
import subprocess
import sys
from pathlib import Path

from legato import flow, task

CUSTOMERS = ["ann", "bob", "cleo", "dan", "eve"]


@task(task_run_name="invoice for {customer}")
def invoice(customer: str) -> str:
    """Make an invoice. Its name is the customer's, so that making it twice leaves one."""
    print(f"making the invoice for {customer}", flush=True)
    path = Path("invoices") / f"{customer}.txt"
    path.write_text(f"Dear {customer}, ...\n", encoding="utf-8")
    return path.name


@flow(persist_result=True)
def invoices() -> str:
    """All of them."""
    Path("invoices").mkdir(exist_ok=True)
    return ", ".join([invoice(customer) for customer in CUSTOMERS])


def legato(*words: str, crash_at: str = "") -> int:
    """Run a command line in a process of its own; returns its exit code, negative for a signal."""
    environ = {**os.environ, "LEGATO_CRASH_AT": crash_at}
    return subprocess.run([sys.executable, "-m", "legato.cli", *words], env=environ, check=False).returncode


def main() -> int:
    """Be killed, and go on."""
    code = legato("run", __file__, crash_at="task.after_code:3")
    print(f"the first process ended with {code}", flush=True)
    said = subprocess.run(
        [sys.executable, "-m", "legato.cli", "run", "ls", "--limit", "1", "-o", "name"], capture_output=True, text=True, check=True
    )
    return legato("run", "retry", said.stdout.strip())


if __name__ == "__main__":
    sys.exit(main())
