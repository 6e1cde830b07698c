"""What templates there are; apart from their making, so that naming one loads nothing."""

from typing import Literal

TemplateFormat = Literal["csv", "xlsx"]
TemplateProfile = Literal["s3", "sheet", "upload", "api", "pull"]
"""The profiles of `schemas.fields.PROFILES`."""
