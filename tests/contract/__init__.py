"""Contract tests: one set of tests for each port, run against its fake and against the real server."""
