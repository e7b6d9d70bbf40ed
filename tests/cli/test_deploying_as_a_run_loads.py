"""`deployment create` finds out what a run would: each flow is loaded from its packed bundle, in a fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FLOW = "from legato import Deployment, flow\n{imports}\n@flow\ndef main():\n    return 1\nDeployment(main, name='d')\n"


def legato(home: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "LEGATO_HOME": str(home), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "legato.cli", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"deploy.py": FLOW.format(imports="import helper"), "helper.py": ""}, ""),
        ({"deploy.py": "from legato import Deployment\nfrom pkg.w import main\nDeployment(main, name='d')\n", "pkg/__init__.py": "", "pkg/h.py": "", "pkg/w.py": "from legato import flow\nfrom .h import __name__ as n\n@flow\ndef main(): pass\n"}, ""),
        ({"deploy.py": "from legato import Deployment\nfrom pkg.w import main\nDeployment(main, name='d')\n", "pkg/h.py": "", "pkg/w.py": "from legato import flow\nfrom . import h\n@flow\ndef main(): pass\n"}, ""),
        ({"deploy.py": FLOW.format(imports="import os\nif os.path.basename(os.getcwd()).startswith('legato-bundle-'): os._exit(3)")}, "cannot be loaded from its bundle"),
        ({"deploy.py": FLOW.format(imports="import sys; sys.path.insert(0, '../outside'); import far")}, "No module named 'far'"),
        ({"deploy.py": FLOW.format(imports="open(__file__.replace('deploy.py', '.env')).read()"), ".env": "A=1"}, ".env is left out"),
    ],
    ids=["a helper", "a package", "a package without __init__", "it exits", "a module elsewhere", "a file that is left out"],
)  # fmt: skip
def test_what_a_run_would_meet_is_met_at_create(files: dict[str, str], says: str, tmp_path: Path) -> None:
    write(tmp_path / "p", files)
    write(tmp_path / "outside", {"far.py": ""})

    made = legato(tmp_path / "home", "deployment", "create", "deploy.py", cwd=tmp_path / "p")

    assert (made.returncode == 0) is (says == ""), made.stderr
    assert says in made.stderr
    if says:
        assert "Traceback" not in made.stderr
        listed = legato(tmp_path / "home", "deployment", "ls", "-o", "json", cwd=tmp_path)
        assert json.loads(listed.stdout) == []


@pytest.mark.parametrize("cwd", [".", "deploy", "src"])
def test_a_path_is_meant_from_the_file_that_says_it(cwd: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "src/etl.py": "from legato import flow\n@flow\ndef etl(): pass\n",
            "deploy/deploy.py": "from legato import Deployment\nDeployment(entrypoint='etl.py:etl', path='../src', name='d')\n",
        },
    )

    made = legato(tmp_path / "home", "deployment", "create", str(tmp_path / "deploy/deploy.py"), cwd=tmp_path / cwd)

    assert made.returncode == 0, made.stderr


def test_two_helpers_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    job = "from legato import flow\nimport helpers\n@flow(name='{x}')\ndef go(which: str = helpers.NAME): return helpers.NAME\n"
    for x in "ab":
        write(tmp_path, {f"jobs/{x}/helpers.py": f"NAME = '{x}'\n", f"jobs/{x}/job.py": job.replace("{x}", x)})
    write(
        tmp_path,
        {
            "deploy.py": "from legato import Deployment\n"
            + "".join(f"Deployment(entrypoint='jobs/{x}/job.py:go', name='d')\n" for x in "ab")
        },
    )

    made = legato(tmp_path / "home", "deployment", "create", "deploy.py", "-o", "json", cwd=tmp_path)

    defaults = {one["flow_name"]: one["parameter_schema"]["properties"]["which"]["default"] for one in json.loads(made.stdout)}
    assert defaults == {"a": "a", "b": "b"}
