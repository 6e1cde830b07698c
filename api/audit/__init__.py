"""Who did what to what, and when: entries are appended and never changed."""
