"""Templates of payments files to download."""
