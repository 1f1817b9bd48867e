"""MLPerf LoadGen as an outside witness of our latency figures. `make witness`."""
