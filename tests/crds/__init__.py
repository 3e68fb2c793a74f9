"""The custom resource definitions on a real API server."""
