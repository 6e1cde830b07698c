"""What a worker tells admins and producers: a dataset whose rows fail. Published to the topic `alerts`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DatasetFailing(BaseModel):
    """Too many rows of a dataset are refused; whoever produces them should stop, and somebody look.

    Without a dataset (a direct publisher's rows) `dataset_id` is empty: nobody can pause those, an admin
    is told all the same.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["dataset_failing"] = "dataset_failing"
    organization_id: str
    dataset_id: str = Field(description="Empty for rows without a dataset.")
    dataset_version: int = Field(description="Version of the dataset under which they failed; 0 without one.")
    topic: str = Field(description="Topic, without the installation's prefix.")
    rows: int = Field(ge=1, description="Rows looked at, the latest ones.")
    bad: int = Field(ge=0, description="How many of them were refused.")
    run: int = Field(ge=0, description="Refused rows one after the other, the longest run.")
    reasons: list[str] = Field(description="The most frequent reasons, each `code` or `code:FIELD`.")
    at: datetime = Field(description="When it was noticed, UTC.")

    @property
    def summary(self) -> str:
        """One line for people: numbers and reasons, never a value of a row."""
        return (
            f"{self.bad} of the latest {self.rows} rows refused, {self.run} of them one after the other: "
            f"{', '.join(self.reasons)}"
        )
