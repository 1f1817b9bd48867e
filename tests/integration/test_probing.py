"""Accelerators are tried in processes that may crash or hang, with the engines that are here."""

import ctypes.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trial_delegate import TrialDelegate

from edge.config.model import Model
from edge.engines.choose import installed
from edge.supervisor.probing import Probed, probe_now

ENGINES = [
    "litert",
    pytest.param(
        "tflite-runtime",
        marks=pytest.mark.skipif(
            sys.version_info >= (3, 12),
            reason="tflite-runtime has no wheel for Python 3.12 and newer",
        ),
    ),
]
DIGITS = Path(__file__).parents[2] / "models/digits/digits.tflite"
BOTH = len(installed()) > 1


def tried(accelerator: Any, engine: str = "auto", path: Path = DIGITS, **more: Any) -> Probed:
    model = Model.model_validate({"path": path, "engine": engine, "accelerator": accelerator})
    return probe_now(model, **more)


def made(delegate: TrialDelegate, **options: str) -> dict[str, Any]:
    return {"library": str(delegate.library), "options": delegate.options(**options)}


@pytest.mark.parametrize("engine", ENGINES)
def test_one_that_works_is_used_in_either_engine(engine: str, delegate: TrialDelegate) -> None:
    found = tried(made(delegate), engine)
    assert (found.ok, found.engine, found.remarks) == (True, engine, ())


@pytest.mark.parametrize("engine", ENGINES)
def test_one_that_takes_a_part_of_the_model_is_told(engine: str, delegate: TrialDelegate) -> None:
    found = tried(made(delegate, takes="2"), engine)
    assert found.ok
    (remark,) = found.remarks
    assert remark.startswith("libtrial.so takes 2 of the model's ")


@pytest.mark.parametrize("engine", ENGINES)
def test_one_that_takes_nothing_is_not_in_use(engine: str, delegate: TrialDelegate) -> None:
    found = tried(made(delegate, takes="none"), engine)
    assert found.cause == "takes_nothing"
    assert "all of it would run on the CPU" in found.trouble


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("step", "cause", "says"),
    [
        ("create", "refused", "libtrial.so refused to make a delegate (there is no such chip)"),
        ("prepare", "failed", "failed while the model was handed to it (there is no such chip)"),
        ("invoke", "failed", "failed in a forward pass (there is no such chip Node number"),
    ],
)
def test_what_it_says_itself_is_told(
    step: str, cause: str, says: str, engine: str, delegate: TrialDelegate
) -> None:
    delegate.be("error")
    found = tried(made(delegate, in_=step, says="there is no such chip"), engine)
    assert found.cause == cause
    assert says in found.trouble
    assert "Failed to load" not in found.trouble
    assert "Restored" not in found.trouble


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("create", "while its delegate was made"),
        ("prepare", "while the model was handed to it"),
        ("invoke", "in a forward pass"),
    ],
)
def test_one_that_crashes_is_survived(
    step: str, when: str, engine: str, delegate: TrialDelegate
) -> None:
    delegate.be("crash")
    found = tried(made(delegate, in_=step), engine)
    assert found.cause == "crashed"
    assert f"libtrial.so crashed {when} (killed by SIGSEGV" in found.trouble


@pytest.mark.parametrize("step", ["create", "invoke"])
def test_one_that_hangs_is_given_up_and_not_tried_with_another_engine(
    step: str, delegate: TrialDelegate
) -> None:
    delegate.be("hang")
    found = tried(made(delegate, in_=step), limit_s=4.0)
    assert (found.cause, found.engine) == ("hung", "litert")
    assert "did not answer" in found.trouble
    assert "no better" not in found.trouble


def test_one_that_is_slow_is_used(delegate: TrialDelegate) -> None:
    delegate.be("slow 300")
    found = tried(made(delegate, in_="invoke"))
    assert found.ok
    assert found.seconds > 0.3


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for Python 3.12 and newer"
)
def test_both_engines_are_tried_and_that_is_told(delegate: TrialDelegate) -> None:
    delegate.be("crash")
    found = tried(made(delegate, in_="prepare"))
    assert BOTH
    assert found.trouble.endswith("; with tflite-runtime it is no better")


@pytest.mark.usefixtures("delegate_library")  # needs a compiler, too
def test_a_library_that_is_no_delegate(tmp_path: Path) -> None:
    source, library = tmp_path / "none.c", tmp_path / "libnone.so"
    source.write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    found = tried({"library": str(library)})
    assert found.cause == "library_unusable"
    assert "is no TFLite delegate" in found.trouble


@pytest.mark.usefixtures("delegate_library")  # needs a compiler, too
def test_what_a_library_prints_is_not_taken_for_the_probes_word(tmp_path: Path) -> None:
    source, library = tmp_path / "loud.c", tmp_path / "libloud.so"
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) static void loud(void)\n"
        '{ puts("{\\"ok\\": true, \\"remarks\\": []}"); fflush(stdout); }\n'
        "void *tflite_plugin_create_delegate(void) { return 0; }\n"
        "void tflite_plugin_destroy_delegate(void) {}\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    assert tried({"library": str(library)}).cause == "refused"


def test_a_model_that_is_not_compiled_for_the_edge_tpu_is_found_before(testdata: Path) -> None:
    path = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    found = tried("edgetpu", path=path)
    assert found.cause == "not_compiled"
    assert f"{path}: is not compiled for the Edge TPU" in found.trouble


def test_the_edge_tpu_runtime_of_another_machine(testdata: Path) -> None:
    path = testdata / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    library = testdata / "lib/libedgetpu-armv7l.so.1"
    found = tried({"type": "edgetpu", "library": str(library)}, path=path)
    assert found.cause == "library_unusable"
    assert "is built for 32-bit ARM, and this Python for " in found.trouble


@pytest.mark.skipif(
    ctypes.util.find_library("usb-1.0") is None,
    reason="no libusb for the Edge TPU's runtime: sudo apt install libusb-1.0-0",
)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("with_model", [True, False])
def test_the_real_runtime_finds_no_device_here(
    with_model: bool, engine: str, testdata: Path
) -> None:
    path = testdata / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    library = testdata / "lib/libedgetpu-x86_64.so.1"
    accelerator = {"type": "edgetpu", "library": str(library)}
    found = tried(accelerator, engine, path, with_model=with_model)
    assert found.cause == "no_device"
    assert "plug it in" in found.trouble


def test_a_compiled_model_runs_on_what_takes_its_operator(
    testdata: Path, delegate: TrialDelegate
) -> None:
    path = testdata / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    assert tried(made(delegate, computes="nothing"), path=path).ok
