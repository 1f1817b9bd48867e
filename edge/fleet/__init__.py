"""What is known of many devices from what they say over MQTT; no client, no terminal."""
