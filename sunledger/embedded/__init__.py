"""The embedded stack: real Kafka, ClickHouse, Redis and S3 parts as local processes, without Docker.

Ways in: `stack.Stack` for tests and scripts, `supervisor.up/down/status` for the command line.
"""
