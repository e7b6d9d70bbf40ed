"""The UI's pages: one call each, as the HTTP contract says."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from legato.core.records import ErrorDetail, LogLine
from legato.core.states import COMPLETED, FAILED, RUNNING
from legato.store.remote import RemoteStore

from tests.server.process import ServerProcess
from tests.store.make import add_deployment, add_queue, apply, at, begin, every, move, scheduled, step, task_of


def page(server: ServerProcess, path: str) -> Any:
    response = server.request("GET", f"/api/ui/{path}")
    assert response.status == 200, response.data
    return response.json()


def test_a_failed_run_says_where_and_why(server: ServerProcess, remote: RemoteStore) -> None:
    run = begin(remote, name="brisk-otter")
    load, train = task_of(run, 1, name="load-0", key="jobs.load"), task_of(run, 2, name="train-0", key="jobs.train")
    train = task_of(run, 2, name="train-0", upstream=(load.run_id,))
    error = ErrorDetail("ValueError", "no such column 'x'\nsecond line")
    remote.apply([load, step(load, RUNNING, 1), step(step(load, RUNNING, 1), COMPLETED, 2)])
    remote.apply([train, step(train, RUNNING, 2), step(step(train, RUNNING, 2), FAILED, 3.5, error=error)])
    remote.apply([], [LogLine(run.id, at(0), 40, "l", "oh no"), LogLine(run.id, at(0), 20, "l", "hm")])
    apply(remote, move(run, FAILED, 4))

    got = page(server, f"runs/{run.id}")

    assert got["answer"]["sentences"][0] == "Failed at train-0: ValueError: no such column 'x'"
    assert (got["answer"]["kind"], got["answer"]["task_run_id"]) == ("failed", train.run_id)
    assert got["counts"] == {"completed": 1, "failed": 1}
    assert got["logs"] == {"total": 2, "warnings": 0, "errors": 1}
    tasks = got["tasks"]
    assert (tasks["ids"], tasks["label"], tasks["state"]) == ([load.run_id, train.run_id], ["load-0", "train-0"], ["completed", "failed"])
    assert [tasks["names"][i] for i in tasks["name_ix"]] == ["load", "train"]
    assert (tasks["created_ms"], tasks["start_ms"], tasks["end_ms"]) == ([1000, 2000], [1000, 2000], [2000, 3500])
    assert got["edges"] == [0, 1]
    assert page(server, f"runs/{run.id[:-1]}")["run"]["id"] == run.id
    assert page(server, "runs/brisk-otter")["run"]["id"] == run.id
    assert page(server, f"tasks/{train.run_id}")["transitions"][-1]["state"]["type"] == "failed"
    assert page(server, f"tasks/{train.run_id}")["answer"]["sentences"][0] == "Failed: ValueError: no such column 'x'"
    assert server.request("GET", f"/api/task-runs/{train.run_id}/why").json()["kind"] == "failed"
    assert [line["message"] for line in page(server, f"runs/{run.id}/logs?min_level=30")["lines"]] == ["oh no"]


def test_child_runs_stand_among_the_tasks(server: ServerProcess, remote: RemoteStore) -> None:
    run = begin(remote)
    child = begin(remote, parent_run_id=run.id, flow_name="sub")

    got = page(server, f"runs/{run.id}")

    assert (got["tasks"]["sub"], got["tasks"]["names"]) == ([child.id], ["sub"])
    assert [each["id"] for each in got["children"]] == [child.id]
    assert page(server, f"runs/{child.id}")["parent"]["id"] == run.id


def test_a_late_run_says_what_it_waits_for(server: ServerProcess, remote: RemoteStore) -> None:
    deployment = add_deployment(remote, "late", flow_runner={"type": "late"})
    run = remote.create_flow_run(scheduled(deployment=deployment))
    assert re.match(
        r"Late by .*: no work queue takes it \(\d+ queues? looked at\)", page(server, f"runs/{run.id}")["answer"]["sentences"][0]
    )

    queue = add_queue(remote, "late", flow_runners=("late",))

    answer = page(server, f"runs/{run.id}")["answer"]
    assert re.match(r"Late by .*: queue 'late' has no live agent", answer["sentences"][0])
    assert answer["hint"] == "legato agent start late"
    assert server.request("GET", f"/api/flow-runs/{run.id}/why").json()["sentences"][1] == "It is next in line"
    attention = page(server, "home")["attention"]
    assert any(each["title"].startswith("queue late: 1 run late by up to") for each in attention)
    remote.delete_queue(queue.id)
    remote.request_cancel(run.id)


def test_the_list_of_runs_counts_what_is_in_them(server: ServerProcess, remote: RemoteStore) -> None:
    run = begin(remote, flow_name="listed", tags=("listed",))
    remote.apply([task_of(run)], [LogLine(run.id, at(0), 30, "l", "careful")])

    got = page(server, "runs?tag=listed")

    assert [(r["id"], r["tasks"], r["warnings"]) for r in got["runs"]] == [(run.id, {"pending": 1}, 1)]
    assert (got["counts"], got["tags"]) == ({"running": 1}, ["listed"])
    assert "listed" in got["flows"]


def test_a_deployment_shows_its_schedules_runs_and_queues(server: ServerProcess, remote: RemoteStore) -> None:
    deployment = add_deployment(remote, "shown", schedules=[every(3600)], tags=("shown",), parameters={"n": 1})
    add_queue(remote, "shown", tags=("shown",))
    created = server.request(
        "POST", "/api/deployments/etl/shown/runs", headers={"content-type": "application/json"}, body=json.dumps({"parameters": {"m": 2}})
    ).json()

    got = page(server, "deployments/etl/shown")

    row = got["deployment"]
    assert (row["schedule_words"], row["queues"]) == (["every hour"], ["shown"])
    assert created["parameters"] == {"n": 1, "m": 2}
    assert created["id"] in {run["id"] for run in got["runs"]}
    assert len(got["next_fires"][0]["at"]) == 10
    assert deployment.full_name in {f"{d['flow_name']}/{d['name']}" for d in page(server, "deployments")["deployments"]}
    preview = server.request(
        "POST", "/api/ui/queues/preview", headers={"content-type": "application/json"}, body=json.dumps({"tags": ["shown"]})
    ).json()
    assert (preview["deployments"], preview["runs_next_hour"]) == (["etl/shown"], 1)
    queue = page(server, "queues/shown")
    assert (queue["filter_words"], queue["upcoming"][0]["id"]) == ("runs tagged shown", created["id"])
    assert queue.get("running", 0) == len(queue.get("running_runs", []))
    assert "shown" in {each["queue"]["name"] for each in page(server, "queues")["queues"]}


def test_home_says_it_in_a_sentence(server: ServerProcess) -> None:
    got = page(server, "home")

    assert got["sentence"].endswith(".")
    assert len(got["history"]) == 24
    assert {"from"} <= set(got["history"][0])


@pytest.mark.parametrize(
    ("text", "kind"), [("brisk-search", "run"), ("flow-search", "flow"), ("deploy-search", "deployment"), ("queue-search", "queue")]
)
def test_everything_with_a_name_is_found(server: ServerProcess, remote: RemoteStore, text: str, kind: str) -> None:
    begin(remote, name="brisk-search", flow_name="flow-search")
    add_deployment(remote, "deploy-search")
    if not page(server, "search?q=queue-search")["items"]:
        add_queue(remote, "queue-search", tags=("search",))

    items = page(server, f"search?q={quote(text)}")["items"]

    assert (items[0]["kind"], items[0]["name"].endswith(text)) == (kind, True)
    assert page(server, "search")["items"] == []


def test_the_server_tells_what_it_is(server: ServerProcess) -> None:
    assert page(server, "server")["database"].endswith("legato.db")
    assert {state["type"] for state in page(server, "states")} >= {"scheduled", "completed"}
