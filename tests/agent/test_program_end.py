"""What a flow's program leaves to its end is done, warm or cold: a run forked from a warm parent ends as a Python program does.

The measure is Python itself: what the same runs leave when they are started cold, as programs of their own.
"""

import gzip
import json
from pathlib import Path

import pytest

from tests.agent.conftest import Workplace

LEAVE = '''
import atexit, builtins, gzip, io, logging, logging.handlers, multiprocessing, shelve, signal, tempfile, threading, types, weakref, zipfile
from concurrent.futures import ThreadPoolExecutor

KEPT = []

class Late:
    """Says something when it goes."""
    def __init__(self, path):
        self.path = path
    def __del__(self):
        with open(self.path, "a") as file:
            file.write("gone")

def say(path, text="said", after_s=0.0):
    time.sleep(after_s)
    with open(path, "a") as file:
        file.write(text)

def fail():
    raise ValueError("at the end")

def kept(one):
    KEPT.append(one)
    return one

def text(path): kept(open(path, "w")).write("text")
def binary(path): kept(open(path, "wb")).write(b"bytes")
def both_ways(path):
    say(path, "....")
    kept(open(path, "r+b")).write(b"ab")
def over_another(path): kept(io.TextIOWrapper(io.BufferedWriter(io.FileIO(path, "w")))).write("wrapped")
def compressed(path): kept(gzip.open(path, "wt")).write("packed")
def archive(path): kept(zipfile.ZipFile(path, "w")).writestr("name", "inside")
def shelf(path): kept(shelve.open(path, writeback=True)).setdefault("list", []).append(1)
def at_exit(path): atexit.register(say, path)
def at_exit_that_fails(path):
    atexit.register(say, path)
    atexit.register(fail)
def at_exit_of_at_exit(path): atexit.register(lambda: atexit.register(say, path))
def in_order(path):
    for word in "cba":
        atexit.register(say, path, word)
def thread(path): threading.Thread(target=say, args=(path,), kwargs={"after_s": 0.2}, daemon=False).start()
def thread_of_thread(path): threading.Thread(target=lambda: thread(path), daemon=False).start()
def pool(path): kept(ThreadPoolExecutor(1)).submit(say, path, after_s=0.1)
def process(path): multiprocessing.get_context("fork").Process(target=say, args=(path,), kwargs={"after_s": 0.1}).start()
def object_that_goes(path): kept(Late(path))
def object_in_a_circle(path):
    one = kept(Late(path))
    one.itself = one
def object_of_a_class(path): kept(type("Class", (), {"held": Late(path)}))
def object_of_a_function(path): say.held = kept(Late(path))
def object_of_a_module(path):
    module = sys.modules["made_here"] = types.ModuleType("made_here")
    module.held = Late(path)
def object_under_a_private_name(path): globals()["_private"] = Late(path)
def finalizer(path):
    weakref.finalize(kept(type("Plain", (), {})()), say, path)
def generator(path):
    def steps():
        try:
            yield
        finally:
            say(path)
    next(kept(steps()))
def folder_that_goes(path): say(path, kept(tempfile.TemporaryDirectory(dir=os.path.dirname(path))).name[:5])
def file_that_goes(path): kept(tempfile.NamedTemporaryFile(dir=os.path.dirname(path))).write(b"x")
def log_kept_back(path):
    handler = logging.handlers.MemoryHandler(100, target=logging.FileHandler(path))
    logger = logging.getLogger(path)
    logger.addHandler(handler)
    logger.propagate = False
    logger.warning("kept back")
def file_of_builtins(path):
    builtins.kept_file = open(path, "w")
    builtins.kept_file.write("there")

KINDS = [text, binary, both_ways, over_another, compressed, archive, shelf, at_exit, at_exit_that_fails, at_exit_of_at_exit, in_order, thread,
         thread_of_thread, pool, process, object_that_goes, object_in_a_circle, object_of_a_class, object_of_a_function, object_of_a_module,
         object_under_a_private_name, finalizer, generator, folder_that_goes, file_that_goes, log_kept_back, file_of_builtins]

def leave(folder, place):
    for kind in KINDS:
        kind(os.path.join(folder, f"{kind.__name__} in {place}"))

@task
def in_task(folder, place): leave(folder, place)

@flow
def main(folder: str, daemon: bool = False, fails: bool = False):
    os.makedirs(folder)
    leave(folder, "flow")
    in_task(folder, "task")
    in_task.submit(folder, "thread").result()
    if daemon:
        threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(10**9)], daemon=True).start()
    if fails:
        raise ValueError("the flow's own")
'''


def unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except EOFError:
        return b"cut off"


def files_of(folder: Path) -> dict[str, bytes]:
    """What there is, by name; of compressed files only that they can be read to their end."""
    found = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        name = "file_that_goes" if path.name.startswith("tmp") else path.name
        found[name] = unpacked(data) if path.name.startswith("compressed") else b"" if path.name.startswith("archive") else data
    return found


@pytest.mark.parametrize("ending", [{}, {"daemon": True}, {"fails": True}], ids=["plain", "with a daemon thread", "after a failure"])
def test_what_a_program_leaves_to_its_end_is_done_as_by_python_itself(place: Workplace, tmp_path: Path, ending: dict[str, bool]) -> None:
    deployment = place.deploy("import sys\n" + LEAVE)
    left = {}
    for warm in (False, True):
        run_id = place.schedule(deployment, folder=str(tmp_path / f"warm {warm}"), **ending)
        assert place.agent(warm=warm, once=True).wait(30) == 0  # when the process has ended, not only the run
        ended = place.ended(run_id)
        assert ended.state.name == ("Failed" if ending.get("fails") else "Completed"), ended.state.message
        left[warm] = files_of(tmp_path / f"warm {warm}")

    assert {name: left[True].get(name) for name in left[False]} == left[False]  # Python leaves some undone that are done here
    assert len(left[False]) > 60


def test_what_the_parents_packages_left_to_its_end_is_not_done_by_its_children(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that the warm parent has learned removes its folder when it ends: the parent's folder, which all runs share."""
    packages = place.source.parent / "site-packages"
    packages.mkdir()
    (packages / "with_folder.py").write_text(
        "import atexit, os, shutil, tempfile, weakref\nFOLDER = tempfile.mkdtemp()\natexit.register(shutil.rmtree, FOLDER)\n"
        "SPARE = tempfile.TemporaryDirectory()\nPID = os.getpid()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(packages))
    source = "import sys\n@flow\ndef main():\n    import with_folder as w\n    return [w.PID, os.path.isdir(w.FOLDER), os.path.isdir(w.SPARE.name)]\n"
    deployment = place.deploy(source)
    place.agent()

    def folders() -> list[int]:  # a process, and two booleans
        result = place.ended(place.schedule(deployment)).result
        assert result is not None
        return json.loads(result.preview.replace("True", "true").replace("False", "false"))

    seen = [folders()]
    while len({pid for pid, _, _ in seen}) == len(seen):  # until two runs had it from one parent
        assert len(seen) < 30
        seen.append(folders())
    seen.append(folders())

    assert all(there and spare for _, there, spare in seen)


def test_a_thread_that_goes_on_is_waited_for_and_the_run_has_ended_meanwhile(place: Workplace) -> None:
    source = """
import threading
def wait():
    while not os.path.exists(LEDGER + ".go"): time.sleep(0.02)
    with open(LEDGER, "a") as file: file.write(f"late:{os.getpid()}\\n")
@flow
def main(): threading.Thread(target=wait).start()
"""
    run_id = place.schedule(place.deploy(source))
    agent = place.agent(once=True)

    assert place.ended(run_id).state.name == "Completed"
    assert agent.poll() is None
    Path(f"{place.ledger}.go").touch()
    assert agent.wait(20) == 0
    assert len(place.lines()) == 1
