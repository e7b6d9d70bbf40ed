"""What commands do to the store, what they refuse, and how they say it. In process, on the embedded store."""

import io
import itertools
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from legato.core.records import LogLine
from legato.core.states import FAILED, StateType
from legato.store.port import Store
from legato.system import SystemClock

from tests.cli.conftest import Command, add_deployment, add_run


def test_alone_it_says_what_is_here_and_makes_nothing(legato: Command, legato_home: Path) -> None:
    answer = legato()

    assert answer.code == 0
    assert "legato run FILE" in answer.out
    assert not (legato_home / "legato.db").exists()


# ------------------------------------------------------------------ what was meant


def test_a_run_is_found_by_name_id_and_prefix(legato: Command, store: Store) -> None:
    run = add_run(store, "amber-heron")

    for text in ("amber-heron", run.id, run.id[:20]):
        assert json.loads(legato("run", "show", text, "-o", "json").out)["id"] == run.id


def test_an_ambiguous_name_lists_the_candidates(legato: Command, store: Store) -> None:
    runs = [add_run(store, "amber-heron") for _ in range(2)]

    answer = legato("run", "show", "amber-heron")

    assert answer.code == 2
    assert all(run.id in answer.err for run in runs)


@pytest.mark.parametrize(
    ("line", "code", "wanted"),
    [
        ("rnu ls", 2, "Did you mean  run ?"),
        ("run sow x", 2, "did you mean  legato run show ?"),
        ("deployment creat x.py", 2, "Did you mean  create"),
        ("run ls --stat failed", 2, "--state"),
        ("run ls --state faild", 2, "Did you mean  failed"),
        ("run ls --filter stat:failed", 2, "Did you mean  state"),
        ("run ls --since soon", 2, "write it like"),
        ("run show nothing-there", 3, "legato run ls"),
        ("run nothing.py", 3, "no file 'nothing.py'"),
        ("deployment run etl/prdo", 3, "Did you mean  etl/prod ?"),
        ("deployment run prod -p m=3", 2, "its parameters are n, who"),
        ("deployment run prod -p n=x", 2, "should be of type integer"),
        ("deployment run prod -p n", 2, "write -p name=value"),
        ("deployment run prod --at yesterdayish", 2, "is no time"),
        ("deployment run prod --timeout 5m", 2, "add --wait or --watch"),
        ("work-queue show defalt", 3, "Did you mean  default ?"),
        ("work-queue create default", 5, "already"),
        ("work-queue set-limit default -1", 2, "limit"),
        ("work-queue set-limit default many", 2, "'many' is no whole number"),
        ("agent start defalt", 3, "--create"),
        ("config set lgo_level=DEBUG", 2, "did you mean log_level?"),
        ("config set log_level=LOUD", 2, "use one of DEBUG"),
        ("config set log_level", 2, "has no value"),
        ("profile use prd", 3, "legato profile create prd"),
        ("--profile prd run ls", 2, "there is no profile 'prd'"),
        ("schedule preview 61,*,*,*,*", 2, "cron"),
        ("schedule preview etl/prod", 2, "legato deployment preview etl/prod"),
        ("server stop", 3, "no server"),
        ("api GET health", 6, "legato server start"),
        ("run rm amber-heron", 2, "add --yes"),
        ("run cancel amber-heron", 5, "Completed already"),
        ("task show amber-heron/lod-0", 3, "legato task ls"),
        ("flow show elt", 3, "Did you mean  etl ?"),
    ],
)
def test_a_mistake_is_answered_in_few_lines_with_a_way_on(line: str, code: int, wanted: str, legato: Command, store: Store) -> None:
    add_run(store, "amber-heron")
    add_deployment(store)
    legato("work-queue", "create", "default")

    answer = legato(*line.split())

    assert answer.code == code, answer.err
    assert wanted in answer.err
    assert answer.err.startswith("Error: ")
    assert len(answer.err.splitlines()) <= 4
    assert "Traceback" not in answer.err


def test_a_home_that_cannot_be_written_is_no_mistake_of_ours(legato: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LEGATO_HOME", str(tmp_path / "file" / "home"))

    answer = legato("run", "ls")

    assert answer.code == 6
    assert "set LEGATO_HOME" in answer.err
    assert legato("doctor").code == 1


def test_a_broken_profile_is_found_by_doctor_and_mended_by_unset(legato: Command, legato_home: Path) -> None:
    legato("config", "set", "log_level=DEBUG")
    file = legato_home / "profiles.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("log_level", "lgo_level"), encoding="utf-8")

    assert legato("run", "ls").code == 2
    assert "lgo_level" in legato("doctor").out
    assert legato("config", "unset", "lgo_level").code == 0
    assert legato("run", "ls").code == 0


def test_a_noun_alone_shows_its_help(legato: Command) -> None:
    answer = legato("run")

    assert answer.code == 2
    assert answer.err.startswith("Usage: legato run")


def test_for_programs_an_error_is_an_object(legato: Command) -> None:
    for line in (["run", "show", "nothing-there", "-o", "json"], ["-o", "json", "rnu"], ["rnu", "-o", "json"]):
        answer = legato(*line)

        assert answer.out == ""
        assert json.loads(answer.err)["exit_code"] == answer.code


def test_an_unreachable_server_is_explained_in_three_lines(legato: Command) -> None:
    answer = legato("run", "ls", "--api-url", "http://127.0.0.1:9/api")

    assert answer.code == 6
    first, second, third = answer.err.splitlines()
    assert first.startswith("Error: cannot reach the server at http://127.0.0.1:9")
    assert second == "Start one:    legato server start          Other server:  legato profile use NAME"
    assert third == "Check:        legato doctor"


def test_our_own_mistake_is_one_line_and_a_file(legato: Command, legato_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("legato.cli.finding.find_run", broken)

    answer = legato("run", "show", "x")

    assert answer.code == 1
    assert "Traceback" not in answer.err
    [file] = (legato_home / "logs").glob("error-*.txt")
    assert str(file) in answer.err
    assert "ZeroDivisionError: oh" in file.read_text(encoding="utf-8")
    assert "Traceback" in legato("run", "show", "x", "-vv").err


# ------------------------------------------------------------------ runs


def test_lists_are_filtered_by_options_and_by_the_filter_line(legato: Command, store: Store) -> None:
    add_run(store, "amber-heron", tags=("prod",))
    add_run(store, "brave-otter", ended=FAILED, tags=("prod", "ml"))
    add_run(store, "calm-pike", ended=FAILED, flow="train")

    def names(*line: str) -> set[str]:
        return {record["name"] for record in json.loads(legato("run", "ls", "-o", "json", *line).out)}

    assert names("--state", "failed") == {"brave-otter", "calm-pike"}
    assert names("--state", "failed", "--tag", "prod") == {"brave-otter"}
    assert names("--flow", "train") == {"calm-pike"}
    assert names("--since", "1h") == {"amber-heron", "brave-otter", "calm-pike"}
    assert names("--filter", "state:failed tag:ml") == {"brave-otter"}
    assert names("--filter", "heron") == {"amber-heron"}


def test_runs_planned_for_later_do_not_crowd_the_list(legato: Command, store: Store) -> None:
    add_deployment(store)
    legato("deployment", "run", "prod", "--at", "in 1h", "--name", "later")

    assert legato("run", "ls", "-o", "name").out == ""
    assert len(legato("run", "ls", "-o", "name", "--upcoming").out.split()) == 1
    assert len(legato("run", "ls", "-o", "name", "--state", "scheduled").out.split()) == 1


def test_logs_are_printed_from_a_level_up(legato: Command, store: Store) -> None:
    run = add_run(store, "amber-heron")
    at = SystemClock().now()
    store.apply([], [LogLine(run.id, at, 20, "run", "loading"), LogLine(run.id, at, 40, "run", "no data")])

    assert "loading" in legato("run", "logs", "amber-heron").out
    assert "loading" not in legato("run", "logs", "amber-heron", "--level", "warning").out
    assert json.loads(legato("run", "logs", "amber-heron", "--level", "error", "-o", "jsonl").out)["message"] == "no data"


@pytest.mark.parametrize(("ended", "code"), [("completed", 0), ("failed", 1), ("crashed", 8), ("cancelled", 9)])
def test_watching_a_run_ends_with_its_fate(ended: str, code: int, legato: Command, store: Store) -> None:
    add_run(store, "amber-heron", ended=StateType(ended))

    answer = legato("run", "watch", "amber-heron")

    assert answer.code == code
    assert [line.split()[1] for line in answer.out.splitlines()] == ["Running", ended.capitalize()]


def test_watching_gives_up_in_time(legato: Command, store: Store) -> None:
    add_run(store, "amber-heron", ended=None)

    assert legato("run", "watch", "amber-heron", "--timeout", "0").code == 7


def test_cancelling_and_removing_by_filter_asks_first(legato: Command, store: Store) -> None:
    add_run(store, "amber-heron", ended=None, tags=("dev",))
    add_run(store, "brave-otter", tags=("dev",))

    assert legato("run", "cancel", "--filter", "tag:dev").code == 2
    assert "amber-heron was asked to stop" in legato("run", "cancel", "--filter", "tag:dev", "--yes").err
    assert legato("run", "rm", "--filter", "tag:dev", "--yes").code == 0
    assert [run.name for run in store.list_flow_runs().items] == ["amber-heron"]


# ------------------------------------------------------------------ deployments and queues


def test_running_a_deployment_keeps_text_text_and_says_what_is_missing(legato: Command, store: Store) -> None:
    add_deployment(store)

    answer = legato("deployment", "run", "prod", "-p", "who=42", "-p", "n=3")

    [run] = store.list_flow_runs().items
    assert run.parameters == {"who": "42", "n": 3}
    assert "Nothing will run it yet" in answer.err
    assert f"legato run watch {run.name}" in answer.err


def test_the_hint_names_the_queue_that_would_take_it(legato: Command, store: Store) -> None:
    add_deployment(store, tags=("gpu",))
    legato("work-queue", "create", "cpu", "-t", "cpu")
    legato("work-queue", "create", "gpu", "-t", "gpu", "--limit", "2")

    answer = legato("deployment", "run", "prod")

    assert "legato agent start gpu" in answer.err
    assert "gpu" in legato("deployment", "show", "prod").out
    assert len(legato("work-queue", "preview", "gpu", "-o", "name").out.split()) == 1
    assert legato("work-queue", "preview", "cpu", "-o", "name").out == ""


def test_a_preview_notes_clock_changes(legato: Command, store: Store) -> None:
    add_deployment(store)

    fires = json.loads(legato("deployment", "preview", "prod", "--count", "370", "-o", "json").out)

    notes = [fire["note"] for fire in fires if fire["note"]]
    assert len(fires) == 370
    assert len(notes) >= 2  # a year has two clock changes, and 02:30 in Rome meets both
    gaps = {datetime.fromisoformat(b["at"]) - datetime.fromisoformat(a["at"]) for a, b in itertools.pairwise(fires)}
    assert timedelta(hours=24) in gaps


def test_a_deployment_is_paused_resumed_and_removed(legato: Command, store: Store) -> None:
    add_deployment(store)

    assert legato("deployment", "pause", "etl/prod").code == 0
    assert store.get_deployment("etl/prod").paused
    assert legato("deployment", "resume", "etl/prod").code == 0
    assert not store.get_deployment("etl/prod").paused
    assert legato("deployment", "delete", "etl/prod").code == 2
    assert legato("deployment", "delete", "etl/prod", "-y").code == 0
    assert store.list_deployments() == []


def test_a_queue_is_changed_by_name_or_id(legato: Command, store: Store) -> None:
    legato("work-queue", "create", "gpu", "-t", "gpu", "-r", "subprocess", "--priority", "5", "--description", "cards")
    id_ = store.get_queue("gpu").queue.id

    assert legato("work-queue", "set-limit", id_, "3").code == 0
    assert legato("work-queue", "pause", id_[:23]).code == 0
    changed = store.get_queue("gpu").queue
    assert (changed.concurrency_limit, changed.paused, changed.priority, changed.filter.tags) == (3, True, 5, ("gpu",))
    legato("work-queue", "clear-limit", "gpu")
    legato("work-queue", "resume", "gpu")
    changed = store.get_queue("gpu").queue
    assert (changed.concurrency_limit, changed.paused) == (None, False)
    assert json.loads(legato("work-queue", "ls", "--json", "queue.name,waiting").out) == [{"queue.name": "gpu", "waiting": 0}]
    assert legato("work-queue", "rm", "gpu", "--yes").code == 0
    assert store.list_queues() == []


# ------------------------------------------------------------------ settings


def test_settings_are_written_into_the_active_profile(legato: Command, legato_home: Path) -> None:
    assert legato("config", "set", "log_level=DEBUG").code == 0

    found = {one["name"]: one for one in json.loads(legato("config", "view", "-o", "json").out)}
    assert (found["log_level"]["value"], found["log_level"]["source"]) == ("DEBUG", "profile default")
    assert legato("config", "unset", "LEGATO_LOG_LEVEL").code == 0
    found = {one["name"]: one for one in json.loads(legato("config", "view", "-o", "json").out)}
    assert found["log_level"]["source"] == "default"


def test_a_key_can_be_given_without_being_seen_in_the_list_of_processes(legato: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert legato("config", "set", "api_key=-").code == 0

    found = {one["name"]: one for one in json.loads(legato("config", "view", "--show-secrets", "-o", "json").out)}
    assert found["api_key"]["value"] == "s3cret"


def test_the_course_notes_spelling_of_settings_works(legato: Command) -> None:
    answer = legato("config", "set", "PREFECT_ORION_URL=http://127.0.0.1:4200/api")

    assert answer.code == 0
    assert "is called api_url here" in answer.err
    assert "no longer needed" in legato("config", "set", "PREFECT_ORION_UI_API_URL=http://x/api").err
    assert "http://127.0.0.1:4200/api" in legato("config", "view").out


def test_secrets_are_not_shown_unless_asked_for(legato: Command) -> None:
    legato("config", "set", "api_key=hunter2")

    assert "hunter2" not in legato("config", "view").out
    assert "hunter2" in legato("config", "view", "--show-secrets").out


def test_profiles_are_made_used_and_removed(legato: Command) -> None:
    legato("profile", "create", "prod", "log_level=ERROR")
    legato("profile", "create", "dev", "log_level=DEBUG", "--use")

    assert "DEBUG" in legato("config", "view").out
    assert legato("profile", "use", "prod").code == 0
    assert "ERROR" in legato("config", "view").out
    assert legato("profile", "rm", "prod", "--yes").code == 0
    assert legato("profile", "ls", "-o", "name").out.split() == ["dev"]


def test_a_variable_that_is_no_setting_is_pointed_out(legato: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGATO_LOG_LEVLE", "DEBUG")

    assert "Did you mean LEGATO_LOG_LEVEL?" in legato("config", "validate").err
    assert "LEGATO_LOG_LEVLE" in legato("doctor").out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_is_printed(shell: str, legato: Command) -> None:
    assert "_LEGATO_COMPLETE" in legato("completion", "show", shell).out


def test_doctor_finds_a_queue_without_an_agent(legato: Command, store: Store) -> None:
    add_deployment(store)
    legato("work-queue", "create", "default")
    assert legato("doctor").code == 0
    legato("deployment", "run", "prod")

    answer = legato("doctor")

    assert answer.code == 1
    assert "legato agent start default" in answer.out


def test_agents_are_listed_with_the_runs_they_hold(legato: Command, store: Store) -> None:
    """What an agent says of itself is seconds old, and stays as it was when it is killed."""
    from legato.core.planning import run_of
    from legato.core.records import Agent, ClaimRequest, WorkQueue
    from legato.system import new_id

    now = SystemClock().now()
    store.save_queue(WorkQueue(id=new_id(), name="q", created_at=now))
    store.save_agent(Agent(id="a", name="one", queues=("q",), started_at=now, last_seen_at=now, capacity=4, host="box", pid=7))
    deployment = add_deployment(store)
    for _ in range(2):
        store.create_flow_run(run_of(deployment, id=new_id(), due_at=now, now=now, trigger="t"))
    claims = store.claim_runs(ClaimRequest(agent_id="a", queues=("q",), limit=4))

    assert json.loads(legato("agent", "ls", "-o", "json").out)[0]["running"] == 2
    assert "2/4" in legato("agent", "ls").out
    assert "LINGERING" not in legato("agent", "ls").out
    assert "one, process 7 on box" in legato("run", "show", claims[0].flow_run.id).out
    store.save_agent(Agent(id="a", name="one", queues=("q",), started_at=now, last_seen_at=now, capacity=4, lingering=("calm-otter",)))
    assert "calm-otter" in legato("agent", "ls").out


def test_a_flow_that_there_is_not_is_told_from_one_without_runs(legato: Command, store: Store) -> None:
    add_run(store, "amber-heron")

    assert "there is no flow 'elt'. Did you mean  etl ?" in legato("run", "ls", "--flow", "elt").err
    assert "No run matches." in legato("run", "ls", "--flow", "etl", "--state", "failed").err


def test_a_queue_for_a_flow_runner_that_there_is_not_is_refused(legato: Command) -> None:
    answer = legato("work-queue", "create", "gpu", "-r", "subproces")

    assert answer.code == 2
    assert "Did you mean  subprocess" in answer.err
    assert legato("work-queue", "show", "gpu").code == 3
