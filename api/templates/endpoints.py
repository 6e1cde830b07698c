"""/v1/templates: a link to send to whoever fills the file in; it needs no login."""

from functools import lru_cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from api.errors import responses
from producers.template_names import TemplateFormat, TemplateProfile
from producers.templates import payments_template

router = APIRouter(prefix="/v1/templates", tags=["templates"])

_TYPES: Final[dict[TemplateFormat, str]] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_made = lru_cache(maxsize=16)(payments_template)
Profile = Annotated[TemplateProfile, Query(description="Whose required fields and columns it has.")]


def _answers(form: TemplateFormat) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {_TYPES[form]: {"schema": {}}}}, **responses()}


@router.get("/payments.csv", responses=_answers("csv"), response_class=Response)
def get_csv(profile: Profile = "s3") -> Response:
    """Download the template as CSV: the header and one good row."""
    return _download(profile, "csv")


@router.get("/payments.xlsx", responses=_answers("xlsx"), response_class=Response)
def get_xlsx(profile: Profile = "s3") -> Response:
    """Download the template as a workbook: the payments, and a sheet that explains the columns."""
    return _download(profile, "xlsx")


def _download(profile: TemplateProfile, form: TemplateFormat) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="ELECTRICITY_PAYMENT.{form}"'}
    return Response(_made(profile, form), media_type=_TYPES[form], headers=headers)
