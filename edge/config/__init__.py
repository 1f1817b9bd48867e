"""The device YAML: its models, its positions, its errors, its schema. No cv2, engine or paho."""
