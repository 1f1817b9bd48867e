"""The script that people write: OpenCV in, LiteRT, argmax, paho out. Its lines are not ours.

Beside the usual lines it only tells the stopwatch when a result is ready, and when it was
published; `Feed` stands where cv2.VideoCapture does.
"""

import json

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from ai_edge_litert.interpreter import Interpreter
from paho.mqtt.enums import CallbackAPIVersion

from peers.feeds import Feed
from peers.stopwatch import Stopwatch, arguments

args = arguments()

client = mqtt.Client(CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", args.port)
client.loop_start()

interpreter = Interpreter(model_path=str(args.model), num_threads=1)
interpreter.allocate_tensors()
model_input = interpreter.get_input_details()[0]
model_output = interpreter.get_output_details()[0]
_, height, width, channels = model_input["shape"]
scale, zero_point = model_output["quantization"]

cap = Feed(args.feed, args.frames, args.fps)
watch = Stopwatch(args.seconds)
acknowledged = 0
published = 0


def count(*_: object) -> None:
    """Count what the broker acknowledged."""
    global acknowledged  # noqa: PLW0603
    acknowledged += 1


client.on_publish = count

while watch.running():
    ok, frame = cap.read()
    if not ok:
        break
    image = cv2.resize(frame, (int(width), int(height)))
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY)
    if model_input["dtype"] == np.int8:
        image = (image.astype(np.int16) - 128).astype(np.int8)
    tensor = np.expand_dims(image.reshape(height, width, channels), axis=0)
    interpreter.set_tensor(model_input["index"], tensor)
    interpreter.invoke()
    output = interpreter.get_tensor(model_output["index"])[0]
    best = int(np.argmax(output))
    score = float((output[best] - zero_point) * scale)
    watch.ready(cap.since_ns, picture=cap.picture, answer=best)
    client.publish("naive/predictions", json.dumps({"label": best, "score": score}), qos=1)
    watch.also("published", cap.since_ns)
    published += 1

watch.extra["not acknowledged at the end"] = published - acknowledged
print(watch.report())
