"""Users in SQL."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.tables import User


def normal_email(email: str) -> str:
    """The form in which e-mails are compared."""
    return email.strip().casefold()


def by_email(session: Session, email: str) -> User | None:
    """The user with this e-mail, in any case."""
    return session.scalar(select(User).where(User.email == normal_email(email)))
