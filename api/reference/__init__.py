"""/docs: the API described for people, from files of this installation."""
