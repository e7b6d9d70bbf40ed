"""Words of other systems, and what does the same here: for the command line, for imports, and for arguments that belong elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "automation": "hooks do that: @flow(on_failure=…), @flow(on_completion=…)",
    "automations": "hooks do that: @flow(on_failure=…), @flow(on_completion=…)",
    "notification": "hooks do that: @flow(on_failure=…)",
    "block": "values that flows read are variables: legato variable set; secrets come from the agent's environment",
    "blocks": "values that flows read are variables: legato variable set; secrets come from the agent's environment",
    "connections": "values that flows read are variables: legato variable set; secrets come from the agent's environment",
    "secret": "secrets come from the agent's environment: set them where the agent runs; other values are variables: legato variable set",
    "secrets": "secrets come from the agent's environment: set them where the agent runs; other values are variables: legato variable set",
    "worker": "agents do what workers do: legato agent start QUEUE",
    "workers": "agents do what workers do: legato agent start QUEUE",
    "celery": "agents do what workers do: legato agent start QUEUE",
    "daemon": "legato server start plans what is scheduled, legato agent start QUEUE runs it",
    "scheduler": "the server plans what is scheduled: legato server start",
    "webserver": "legato server start",
    "work-pool": "work queues do that: legato work-queue create NAME",
    "work-pools": "work queues do that: legato work-queue create NAME",
    "pools": "work queues do that: legato work-queue create NAME --limit N",
    "global-concurrency-limit": "runs with a tag have one: legato limit create TAG N; a queue has one: legato work-queue create NAME --limit N",
    "gcl": "runs with a tag have one: legato limit create TAG N; a queue has one: legato work-queue create NAME --limit N",
    "storage": "source is packed when it is deployed, results lie in the home folder: there is nothing to set up",
    "result": "results are shown with their run: legato run show RUN",
    "logs": "the log of a run: legato run logs RUN",
    "log": "the log of a run: legato run logs RUN",
    "dags": "flows are listed by legato flow ls, what runs on schedules by legato deployment ls",
    "dag": "flows are listed by legato flow ls, what runs on schedules by legato deployment ls",
    "jobs": "runs are listed by legato run ls",
    "job": "runs are listed by legato run ls",
    "pipeline": "flows are listed by legato flow ls",
    "workflow": "flows are listed by legato flow ls",
    "assets": "what runs have made to look at: legato artifact ls",
    "asset": "what runs have made to look at: legato artifact ls",
    "backfill": "for each date: legato deployment run NAME -p day=… --at TIME",
    "deploy": "legato deployment create FILE",
    "serve": "legato deployment create FILE registers a flow, legato up runs server and agent",
    "init": "nothing has to be set up: write a flow and run it, python flow.py",
    "db": "the database is made and brought up to date by itself",
    "cloud": "there is none: legato server start is the server",
    "ui": "legato open",
    "dashboard": "legato open",
    "start": "legato up starts server, agent and browser; legato server start and legato agent start one of them",
    "login": "set the key in your profile: legato config set api_key=KEY",
    "dev": "legato up",
    "shell": "python, and `from legato import …`",
    "gc": "legato run gc",
    "prune": "legato run gc",
    "event": "legato run watch RUN shows what happens to a run",
    "events": "legato run watch RUN shows what happens to a run",
    "state": "legato why RUN says what a run is in, and why",
    "restart": "legato run retry RUN",
    "kubernetes": "there is no flow runner for it yet: agents start processes",
    "docker": "there is no flow runner for it yet: agents start processes",
}
"""Nouns that people type."""

VERBS: Mapping[tuple[str, str], str] = {
    ("limit", "reset"): "places come back by themselves, of a lost run when its lease runs out: legato limit show TAG",
    ("limit", "set"): "legato limit create TAG N sets it, and sets it anew",
    ("limit", "update"): "legato limit create TAG N sets it, and sets it anew",
    ("deployment", "build"): "legato deployment create FILE packs, checks and saves in one step; --dry-run only checks",
    ("deployment", "apply"): "legato deployment create FILE packs, checks and saves in one step; --dry-run only checks",
    ("deployment", "deploy"): "legato deployment create FILE",
    ("deployment", "schedule"): "schedules stand in the file: Deployment(…, schedule=CronSchedule('0 8 * * *'))",
    ("deployment", "backfill"): "for each date: legato deployment run NAME -p day=… --at TIME",
    ("deployment", "trigger"): "legato deployment run NAME",
    ("flow", "serve"): "legato deployment create FILE registers a flow, legato up runs server and agent",
    ("flow", "run"): "legato run FILE",
    ("flow", "deploy"): "legato deployment create FILE",
    ("work-queue", "read-runs"): "legato work-queue preview QUEUE",
    ("config", "edit"): "legato config set NAME=VALUE",
}
"""Verbs that people add to our nouns."""

NAMES: Mapping[str, str] = {
    "DeploymentSpec": "Deployment(flow=…, name=…)",
    "Secret": "secrets come from the environment: os.environ['NAME']; other values are Variable.get('name')",
    "Block": "values that flows read are Variable.get('name')",
    "serve": "legato deployment create FILE registers a flow, legato up runs server and agent",
    "deploy": "legato deployment create FILE",
    "DAG": "a flow: @flow over a function that calls tasks",
    "PythonOperator": "a task: @task over the function",
    "BaseOperator": "a task: @task over a function",
    "Asset": "what a flow makes is returned, or shown with create_table_artifact(…)",
    "asset": "what a flow makes is returned, or shown with create_table_artifact(…)",
    "op": "@task",
    "job": "@flow",
    "step": "@task",
    "workflow": "@flow",
    "materialize": "call the task",
    "tags": "tags=… of @flow, @task and Deployment(…)",
    "get_client": "legato api, or the HTTP API: /api/docs at the server",
    "Parameter": "parameters are the flow's own arguments",
    "KubernetesFlowRunner": "there is none yet: SubprocessFlowRunner",
    "DockerFlowRunner": "there is SubprocessFlowRunner, and no other yet",
    "UniversalFlowRunner": "SubprocessFlowRunner",
    "ProcessPoolTaskRunner": "ProcessTaskRunner",
    "ThreadPoolTaskRunner": "ThreadTaskRunner",
}
"""Names that people import."""

DEPLOYMENT_OPTIONS: Mapping[str, str] = {
    "retries": "retries belong to the flow: @flow(retries=…)",
    "retry_delay_seconds": "retries belong to the flow: @flow(retries=…, retry_delay_seconds=…)",
    "timeout_seconds": "timeouts belong to the flow: @flow(timeout_seconds=…)",
    "cron": "write schedule=CronSchedule('0 8 * * *')",
    "interval": "write schedule=IntervalSchedule(interval=timedelta(…))",
    "rrule": "write schedule=RRuleSchedule('FREQ=DAILY')",
    "work_queue_name": "queues choose runs by tags: tags=[…] here, and legato work-queue create NAME --tag …",
    "work_queue": "queues choose runs by tags: tags=[…] here, and legato work-queue create NAME --tag …",
    "work_pool_name": "queues choose runs by tags: tags=[…] here, and legato work-queue create NAME --tag …",
    "queue": "queues choose runs by tags: tags=[…] here, and legato work-queue create NAME --tag …",
    "infrastructure": "write flow_runner=SubprocessFlowRunner(…)",
    "storage": "source is packed by itself; path=… says which folder",
    "flow_name": "the first argument is the flow itself",
    "flow_location": "write entrypoint='file.py:flow'",
    "env": "write flow_runner=SubprocessFlowRunner(env={…})",
    "python": "write flow_runner=SubprocessFlowRunner(python=…)",
    "is_schedule_active": "write paused=True or False",
    "start_date": "write schedule=IntervalSchedule(interval=…, anchor_date=…)",
    "schedule_interval": "write schedule=CronSchedule('0 8 * * *')",
}
"""Arguments of a deployment that belong elsewhere."""


def about_command(words: tuple[str, ...]) -> str:
    """What to do instead of a command of another system; "" for a word that nobody knows."""
    if len(words) == 1:
        return COMMANDS.get(words[0].lower().replace("_", "-"), "")
    return VERBS.get((words[0], words[1].lower().replace("_", "-")), "")
