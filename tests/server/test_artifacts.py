"""Artifacts and variables over HTTP: images are handed out safely, those who watch are told, and a bad artifact is refused alone."""

from typing import Any

from legato.core.records import Artifact, ArtifactKind, Variable
from legato.engine.images import image_data
from legato.storage.local import LocalStorage
from legato.store.remote import RemoteStore
from legato.system import SystemClock, new_id

from tests.server.process import ServerProcess
from tests.server.test_stream import events
from tests.store.make import NOON, begin

PNG = b"\x89PNG\r\n\x1a\n"


def add(remote: RemoteStore, data: Any, kind: ArtifactKind = ArtifactKind.IMAGE, **particulars: Any) -> Artifact:
    now = SystemClock().now()
    one = Artifact(id=new_id(), kind=kind, created_at=now, updated_at=now, data=data, **particulars)
    remote.apply([], [], [one])
    return one


def test_images_are_handed_out_from_the_artifact_and_from_storage_and_cannot_run_anything(
    server: ServerProcess, remote: RemoteStore
) -> None:
    blobs = LocalStorage(server.home / "storage")
    for image in (PNG + b"small", PNG + bytes(9000)):
        one = add(remote, image_data(image, blobs))

        answer = server.request("GET", f"/api/artifacts/{one.id}/image")

        assert (answer.status, answer.data, answer.headers["content-type"]) == (200, image, "image/png")
        assert answer.headers["content-disposition"] == "attachment"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_images_are_handed_out_as_images(server: ServerProcess, remote: RemoteStore) -> None:
    blobs = LocalStorage(server.home / "storage")
    page = blobs.put(b"<html><script>alert(1)</script>" + bytes(5000))
    cases = [
        (add(remote, {"type": "text/html", "size": 9, "blob": page}), 422, "no image"),
        (add(remote, {"type": "image/png", "size": 9, "blob": "0" * 64}), 404, "written on another machine"),
        (add(remote, {"type": "image/png", "size": 9, "blob": "../../legato.db"}), 404, "no storage key"),
        (add(remote, {"type": "image/png", "size": 9, "inline": "*"}), 422, "no image"),
        (add(remote, {"url": "https://example.com/a.png"}), 404, "https://example.com/a.png"),
        (add(remote, "text", ArtifactKind.MARKDOWN), 404, "it is no image"),
    ]
    for one, status, says in cases:
        answer = server.request("GET", f"/api/artifacts/{one.id}/image")

        assert (answer.status, says in answer.data.decode()) == (status, True), answer.data


def test_those_who_watch_a_run_are_told_of_its_artifacts_and_everybody_of_variables(server: ServerProcess, remote: RemoteStore) -> None:
    run = begin(remote)
    with events(server, f"?run={run.id}") as stream:
        add(remote, "hello", ArtifactKind.MARKDOWN, flow_run_id=run.id)
        assert stream.next("artifacts") == {"flow_run_id": run.id}

        remote.set_variable(Variable(name="limit", value=1, updated_at=NOON))
        assert stream.next("changed") == {"what": "variable"}


def test_a_request_that_makes_no_sense_is_answered_with_what_would(server: ServerProcess) -> None:
    for path, says in (
        ("artifacts?kind=poem", "poem"),
        ("artifacts?cursor=x", "is not a cursor"),
        ("artifacts/nothing-there", "no artifact"),
    ):
        answer = server.request("GET", f"/api/{path}")

        assert 400 <= answer.status < 500
        assert says in answer.data.decode(), answer.data
