"""How we speak MQTT, for all who do: the only room that imports paho."""
