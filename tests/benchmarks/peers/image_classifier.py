"""MediaPipe's ImageClassifier on the frames that OpenCV gives; runs in .venv-peers.

An OpenCV frame is BGR and MediaPipe takes RGB: the conversion belongs to the frame's time, and
`classify() alone` is told beside it.
"""

import sys
import time

import cv2
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision

from peers.feeds import Feed
from peers.stopwatch import Stopwatch, arguments

args = arguments()
options = vision.ImageClassifierOptions(
    base_options=BaseOptions(model_asset_path=str(args.model)), max_results=1
)
try:
    classifier = vision.ImageClassifier.create_from_options(options)
except (ValueError, RuntimeError) as error:
    reason = " ".join(str(error).split())[:200]
    sys.exit(f"it takes RGB models with TFLite metadata, and not this one: {reason}")

cap = Feed(args.feed, args.frames, args.fps)
watch = Stopwatch(args.seconds)
while watch.running():
    ok, frame = cap.read()
    if not ok:
        break
    image = Image(image_format=ImageFormat.SRGB, data=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    began_ns = time.monotonic_ns()
    result = classifier.classify(image)
    watch.also("classify() alone", began_ns)
    best = result.classifications[0].categories[0]
    watch.ready(cap.since_ns, picture=cap.picture, answer=best.index)
print(watch.report())
