"""Why an Edge TPU cannot be used, on a Pi with the stick or the card in each of its states."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from raspberry_pi import lay_out

from edge.accelerators.base import Cause, Explained, Step, Trouble
from edge.accelerators.coral import causes, usb
from edge.accelerators.coral.causes import Wanted
from edge.accelerators.coral.devices import EdgeTpu, Machine, find_edge_tpus, holder_of, meant
from edge.accelerators.delegate import DelegateOptions
from edge.accelerators.edgetpu import EdgeTpuOptions

ANY = Wanted("Edge TPU", "any", "libedgetpu.so.1")
BLANK, LOADED = ("1a6e", "089a"), ("18d1", "9302")
ABORTED = "killed by SIGABRT; F driver/usb/usb_driver.cc:857] transfer on tag 0 failed. Abort."


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing plugged in."""
    folders = Machine(tmp_path / "sys", tmp_path / "dev", tmp_path / "proc")
    for folder in folders:
        folder.mkdir()
    return folders


def plug_in(
    machine: Machine, port: str = "2-1", *, ids: tuple[str, str] = LOADED, mbps: int = 5000
) -> Path:
    """Plug a stick into USB; its device node is a file."""
    folder, number = f"sys/bus/usb/devices/{port}", int(port[-1]) + 2
    files = {"idVendor": ids[0], "idProduct": ids[1], "busnum": "2", "devnum": str(number)}
    told = {
        f"{folder}/{name}": f"{text}\n" for name, text in (files | {"speed": str(mbps)}).items()
    }
    lay_out(machine.sys.parent, told | {f"dev/bus/usb/002/{number:03}": ""})
    return machine.dev / f"bus/usb/002/{number:03}"


def put_in(machine: Machine, *, driver: bool) -> None:
    """Put a card into a PCIe slot, with its driver or without."""
    folder = "sys/bus/pci/devices/0000:01:00.0"
    files = {f"{folder}/vendor": "0x1ac1\n", f"{folder}/device": "0x089a\n"}
    lay_out(machine.sys.parent, files | ({"dev/apex_0": ""} if driver else {}))


def explained(
    machine: Machine,
    said: str = "",
    *,
    step: Step = "delegate",
    cause: Cause = "failed",
    wanted: Wanted = ANY,
    engine: str = "litert",
) -> Explained:
    return causes.explain(wanted, Trouble(step, engine, said, cause), machine)


def named(device: str) -> Wanted:
    return Wanted(f"Edge TPU {device}", device, "libedgetpu.so.1")


def test_nothing_is_plugged_in(machine: Machine) -> None:
    cause, message = explained(machine)
    assert cause == "no_device"
    assert "neither on USB (1a6e:089a or 18d1:9302) nor on PCIe (1ac1:089a): plug it in" in message


def test_what_is_plugged_in_is_not_what_was_named(machine: Machine) -> None:
    plug_in(machine)
    cause, message = explained(machine, wanted=named("pci"))
    assert cause == "no_device"
    assert "on PCIe (1ac1:089a), but one is on USB (2-1): correct `device`" in message
    cause, message = explained(machine, wanted=named("usb:1"))
    assert (cause, message) == (
        "no_device",
        "there is no Edge TPU usb:1, only `usb:0`: correct `device`",
    )
    plug_in(machine, "2-2")
    assert "only `usb:0` to `usb:1`" in explained(machine, wanted=named("usb:4")).message


def test_a_card_without_its_driver(machine: Machine) -> None:
    put_in(machine, driver=False)
    cause, message = explained(machine)
    assert cause == "no_device"
    assert "on PCIe (0000:01:00.0), but its driver is not loaded" in message
    assert "gasket" in message


def test_a_stick_whose_node_is_not_in_this_container(machine: Machine) -> None:
    plug_in(machine).unlink()
    cause, message = explained(machine)
    assert cause == "no_device"
    assert "hand /dev/bus/usb to this container or service" in message


PERMITTED = """
import os, sys
from pathlib import Path
from edge.accelerators.coral.causes import Wanted, unavailable
from edge.accelerators.coral.devices import Machine
root = Path(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
machine = Machine(root / "sys", root / "dev", root / "proc")
told = unavailable(Wanted("Edge TPU", "any", ""), machine)
print(*told if told else "")
"""


@pytest.mark.parametrize(
    ("mode", "cure"), [(0o660, "`sudo usermod -aG "), (0o600, "60-edge-runtime.rules")]
)
def test_a_node_that_this_user_may_not_open(
    mode: int, cure: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with_all_open = Path("/tmp") if os.geteuid() == 0 else tmp_path_factory.mktemp("open")  # noqa: S108
    root = with_all_open / f"edge-coral-{os.getpid()}-{mode:o}"
    machine = Machine(root / "sys", root / "dev", root / "proc")
    node = plug_in(machine)
    try:
        if os.geteuid() == 0:
            os.chown(node, 0, 46)  # plugdev, on Debian
            node.chmod(mode)
        else:
            node.chmod(mode & 0o060)
        done = subprocess.run(
            [sys.executable, "-c", PERMITTED, str(root)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    finally:
        subprocess.run(["rm", "-r", str(root)], check=True)
    assert done.stdout.startswith("no_permission")
    assert f"({node}, of group" in done.stdout
    assert cure in done.stdout


def test_a_device_that_another_process_has_open(machine: Machine) -> None:
    node = plug_in(machine)
    lay_out(machine.proc.parent, {"proc/4711/comm": "frigate.detecto\n"})
    (machine.proc / "4711/fd").mkdir()
    (machine.proc / "4711/fd/9").symlink_to(node)
    cause, message = explained(machine)
    assert cause == "busy"
    assert "in use by process 4711 (frigate.detecto)" in message
    other = plug_in(machine, "2-2")
    assert explained(machine, wanted=named("usb:0")).cause == "busy"
    assert explained(machine, wanted=named("usb:1")).cause == "refused"
    assert holder_of(other, machine) is None


def test_our_own_descriptors_are_nobody_elses(machine: Machine) -> None:
    node = plug_in(machine)
    with node.open() as _held:
        assert holder_of(node, Machine()) is None


@pytest.mark.parametrize(("ids", "fresh"), [(BLANK, True), (LOADED, False)])
def test_a_stick_that_is_refused_is_to_be_plugged_in_again(
    ids: tuple[str, str], fresh: bool, machine: Machine
) -> None:
    plug_in(machine, ids=ids)
    cause, message = explained(machine)
    assert cause == "refused"
    assert ("still without its firmware" in message) == fresh
    assert "on USB (2-1)" in message
    assert "pull it out and plug it in again, straight into a USB 3 port" in message


def test_a_model_that_needs_a_newer_runtime(machine: Machine) -> None:
    # As in google-coral/edgetpu issue 435.
    said = (
        "Failed to prepare for TPU. Failed precondition: Package requires runtime version (14), "
        "which is newer than this runtime version (13). Node number 2 "
        "(EdgeTpuDelegateForCustomOp) failed to prepare."
    )
    cause, message = explained(machine, said, step="model")
    assert cause == "runtime_too_old"
    assert "compiled for the Edge TPU's runtime 14, and the libedgetpu here has 13" in message
    assert "`edgetpu_compiler --min_runtime_version 13`" in message


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Internal: Unsupported data type in custom op handler: 0", "failed"),  # issue 259
        ("Internal: :159 batches * single_input_size != input->bytes", "failed"),  # issue 71
        ("killed by SIGSEGV", "crashed"),  # issue 812
    ],
)
@pytest.mark.parametrize(
    ("engine", "release"), [("litert", "16.0TF2.19.1-1"), ("tflite-runtime", "v16.0TF2.13.1-2")]
)
def test_a_library_that_was_built_for_another_tflite(
    said: str, cause: Cause, engine: str, release: str, machine: Machine
) -> None:
    plug_in(machine)
    told = explained(machine, said, step="model", cause=cause, engine=engine)
    assert told.cause == "incompatible_library"
    assert f"libedgetpu.so.1 and {engine} do not go together" in told.message
    assert told.message.endswith(f"/tag/{release}, which is reported to work with {engine}")


def test_a_stick_that_is_lost_or_locks_up(machine: Machine) -> None:
    plug_in(machine)
    hung = explained(machine, step="invoke", cause="hung")
    assert hung.cause == "hung"
    assert hung.message.startswith(
        "the Edge TPU did not answer in a forward pass, with litert: pull"
    )
    lost = explained(machine, ABORTED, step="invoke", cause="crashed")
    assert lost.cause == "crashed"
    assert "transfer on tag 0 failed" in lost.message
    assert "its own cable" in lost.message


def test_a_card_that_does_not_answer_is_not_told_of_ports(machine: Machine) -> None:
    put_in(machine, driver=True)
    assert "in its slot, and restart" in explained(machine, step="invoke", cause="hung").message
    assert "on PCIe (0000:01:00.0)" in explained(machine).message


def test_a_stick_that_was_pulled_out_is_no_crash(machine: Machine) -> None:
    told = explained(machine, ABORTED, step="invoke", cause="crashed")
    assert told.cause == "no_device"


def test_a_slow_port_is_worth_a_word(machine: Machine) -> None:
    plug_in(machine, mbps=480)
    (told,) = causes.remarks(ANY, machine)
    assert "at 480 Mbit/s, the speed of USB 2" in told
    plug_in(machine, mbps=5000)
    assert not list(causes.remarks(ANY, machine))


def test_which_one_is_meant() -> None:
    found = [EdgeTpu("usb", "1-1", None), EdgeTpu("usb", "1-2", None), EdgeTpu("pci", "0", None)]
    assert meant("any", found) == found
    assert meant("usb", found) == found[:2]
    assert meant("usb:1", found) == [found[1]]
    assert meant("pci:0", found) == [found[2]]
    assert meant("pci:1", found) == []


def test_the_card_is_found_with_its_node(machine: Machine) -> None:
    put_in(machine, driver=True)
    (found,) = find_edge_tpus(machine)
    assert (found.bus, found.node) == ("pci", machine.dev / "apex_0")
    assert causes.unavailable(ANY, machine) is None


def test_a_reset_says_what_became_of_it(machine: Machine) -> None:
    assert usb.reset("any", machine) == ""
    node = plug_in(machine)
    told = usb.reset("any", machine)  # a file is no device: the kernel refuses
    assert told.startswith("the Edge TPU on USB (2-1) could not be reset: Inappropriate ioctl")
    node.unlink()
    assert "No such file" in usb.reset("any", machine)
    plug_in(machine, "2-2")
    assert "none of the 2 Edge TPUs on USB was reset" in usb.reset("any", machine)
    put_in(machine, driver=True)
    assert usb.reset("pci", machine) == ""


@pytest.mark.parametrize(
    ("one", "other", "excluded"),
    [
        ("any", "any", True),
        ("any", "pci:1", True),
        ("usb", "usb", True),
        ("usb", "usb:1", True),
        ("usb", "pci", False),
        ("usb:0", "usb:1", False),
        ("usb:0", "usb:00", True),
        ("usb:0", "pci:0", False),
    ],
)
def test_two_may_want_the_same_device(one: str, other: str, excluded: bool) -> None:
    first = EdgeTpuOptions(type="edgetpu", device=one)
    second = EdgeTpuOptions(type="edgetpu", device=other)
    assert first.excludes(second) == second.excludes(first) == excluded
    assert not first.excludes(DelegateOptions(type="delegate", library="x.so"))
