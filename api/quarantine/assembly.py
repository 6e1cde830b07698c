"""The desk put together from the parts of the API."""

from api.db import Database
from api.parts import ApiParts
from api.quarantine.desk import Desk
from api.quarantine.drafts import Drafts
from api.quarantine.originals import Opener
from api.quarantine.records import ReplayRecords
from api.quarantine.settling import Settler
from api.store import Store
from producers.rows import RowRecords
from schemas.origins import OriginSigner
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS


def make_desk(parts: ApiParts, db: Database, store: Store, settler: Settler) -> Desk:
    """The desk of one application; its secrets are those of the producers and workers."""
    settings = parts.settings
    sealer = Sealer(settings.seal_secret)
    pseudonymizer = Pseudonymizer(settings.pseudonym_secret, settings.pseudonym_profile)
    opener = Opener(sealer, pseudonymizer)
    rows = RowRecords(PAYMENTS.full_name(settings.topic_prefix), pseudonymizer, sealer)
    records = ReplayRecords(opener, rows, OriginSigner(settings.seal_secret))
    drafts = Drafts(db, store, records)
    return Desk(db, store, parts.publisher, opener, drafts, settler, settings.publish_timeout_s)
