"""`sunledger demo`: the sample through the real path, and what became of it."""
