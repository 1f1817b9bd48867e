"""The bare forward pass: `invoke()` again and again, paced by the clock that paces the others."""

import importlib
import threading
import time

from edge.engines.choose import choose
from edge.engines.delegates import MODULES
from edge.sources.pacing import Pacer
from peers.stopwatch import Stopwatch, arguments

args = arguments()
interpreter = importlib.import_module(MODULES[choose("auto").name]).Interpreter(
    model_path=str(args.model), num_threads=1
)
interpreter.allocate_tensors()
pacer = Pacer(args.fps) if args.fps else None
never = threading.Event()
watch = Stopwatch(args.seconds)
while watch.running():
    if pacer is not None:
        pacer.next(never)
    began_ns = time.monotonic_ns()
    interpreter.invoke()
    watch.ready(began_ns)
print(watch.report())
