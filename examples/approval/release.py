"""A release that somebody must approve: the flow is suspended, its process ends, and it goes on with the answer.

python release.py
legato run resume RUN -p ok=true
"""

from pydantic import BaseModel

from legato import flow, suspend_flow_run, task
from legato.core.errors import RunSuspended


class Approval(BaseModel):
    ok: bool
    reason: str = ""


@task
def test(version: str) -> str:
    print(f"testing {version}")
    return f"{version} passed 12 of 12"


@task
def publish(version: str, report: str) -> str:
    return f"published {version} ({report})"


@flow(persist_result=True, flow_run_name="release-{version}")
def release(version: str = "1.0") -> str:
    report = test(version)
    approval = suspend_flow_run(Approval, prompt=f"Release {version}? {report}")
    return publish(version, report) if approval.ok else f"not published: {approval.reason}"


if __name__ == "__main__":
    try:
        print(release())
    except RunSuspended as error:
        print(error.message)
