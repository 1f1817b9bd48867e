"""The house rules of the package, as tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 400


def test_the_rooms_import_one_another_only_as_they_may() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(  # where the contracts are written down: pyproject.toml
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module", sorted((ROOT / "edge").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_module_can_be_read_in_one_go(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that are loaded after a statement in a fresh Python."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"numpy", "cv2", "paho", "pydantic", "yaml", "rich", "tflite", "ai_edge_litert"}


def test_the_help_is_there_at_once_because_commands_import_late() -> None:
    loaded = modules_after(
        "import contextlib, io\nfrom edge.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])"
    )
    assert not loaded & (HEAVY | {"asyncio"})


def test_the_supervisor_loads_no_numpy_no_opencv_and_no_engine() -> None:
    loaded = modules_after("import edge.supervisor.daemon, edge.config.load")
    assert not loaded & {"numpy", "cv2", "ai_edge_litert", "tflite_runtime", "tflite", "rich"}
    assert not loaded & {"cryptography", "http"}  # it checks no signature and asks no server


def test_the_worker_loads_no_paho_and_no_asyncio() -> None:
    loaded = modules_after("import edge.worker.main")
    assert not loaded & {"paho", "asyncio", "rich", "iotcore", "cryptography"}


def test_the_daemon_and_its_workers_never_load_the_lab_nor_the_doctor() -> None:
    code = (
        "import edge.supervisor.daemon, edge.worker.main, sys\n"
        "print(*[name for name in sys.modules if name.startswith(('edge.lab', 'edge.doctor'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
