"""The contract of the topics, for integrators: JSON Schema and AsyncAPI."""
