"""The Grafana dashboards against a real Prometheus: what their queries answer, and a picture of it."""
