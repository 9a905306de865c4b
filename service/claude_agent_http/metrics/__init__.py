"""Metrics for Prometheus: what the engine tells of itself, counted, and how the service is when asked.

Modules are imported by name, so that the client library is loaded only where metrics are on.
"""
