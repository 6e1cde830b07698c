"""Uploads: a file comes in, is kept sealed on disk, checked, and published row by row beside the requests."""
