"""Inference on the device itself, in real time: capture, forward pass, prediction, MQTT."""

__version__ = "0.1.0"
