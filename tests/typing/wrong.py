"""What is wrong, and must be an error in both checkers. Not run: an expected error that does not come is one itself (test_type_checkers.py)."""

# ruff: noqa: B018
from __future__ import annotations

from legato import Variable, any_failed, flow, pause_flow_run, runtime, task
from legato.engine.futures import wait


@task
def load(month: int) -> list[int]:
    return [month]


@task
async def fetch(url: str) -> bytes:
    return b""


class Model:
    @task
    def fit(self, rows: list[int]) -> float:
        return 0.1


@flow
def main(month: int) -> str:
    load("march")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    load(1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    load()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    load(mnth=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    load.submit(1).result().upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    load.submit(1).append(1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    fetch("u").decode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Model().fit("rows")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Model().fit(Model(), [1])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    load(1, return_state=True).result().upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    wait([load.submit(1)], return_when="last")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pause_flow_run(wait_for_input=bool).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    runtime.flow_rnu.id  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    runtime.flow_run.id  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    Variable.set("n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return load(month)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@task(retires=3)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue]
def misspelt() -> None: ...


@task(retries="three")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def mistaken() -> None: ...


@flow(timeout_seconds="soon")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def late() -> None: ...


@task(on_failure=lambda: None)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
def unhooked() -> None: ...


main("march")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
main(3).result()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
main.submit(3)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
any_failed("load")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
