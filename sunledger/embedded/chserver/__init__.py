"""ClickHouse's HTTP protocol over chDB: the pieces of `clickhouse_server`, in the order a request meets them.

`app` (HTTP) → `request` (parameters, credentials) → `statement` (what kind, which format) → `compression` →
`pool` (connections, settings) → `errors` (codes).
"""
