"""The loop in a process of its own: capture, mailbox, preprocess, forward pass, decode. No paho."""
