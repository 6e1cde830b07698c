"""What templates there are; apart from their making, so that naming one loads nothing."""

from typing import Final, Literal

TemplateFormat = Literal["csv", "xlsx"]
TemplateProfile = Literal["s3", "sheet", "upload", "api", "pull"]
"""The profiles of `schemas.fields.PROFILES`."""
NOTES_SHEET: Final = "Notes"
"""The sheet of a template that explains the columns; no table of payments."""
