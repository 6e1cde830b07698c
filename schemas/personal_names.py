"""Names of unknown columns that sound like a person, in the languages of Africa's programmes.

English, French, Portuguese, Spanish, Swahili and some words of Hausa, Kinyarwanda, Malagasy, Amharic and
Arabic, the last two in their own letters too. When in doubt a name is personal: analysts lose a plain value
by it, where the other mistake shows them a person. docs/decisions/0037 says what is not found.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from schemas.fields import ALIASES, NAMES, PERSONAL


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PARTS: Final = tuple(
    _listed(
        "name phone telefon mobile msisdn whatsapp telegram mail address adresse agent note comment coment"
        " location contact contato passport passeport passaporte birth naissance nascimento nextofkin"
        " latitud longitud coordina coordonn coorden"
        " nationalid idcard recipient remark remarque observa signat fingerprint selfie photo guarantor"
        " person nomcl nomecl nomdu nomedo jinala yasimu identite identidade kitambulisho proprieta"
        " اسم هاتف جوال عنوان ملاحظ عميل زبون ስም ስልክ አድራሻ"
    )
)
"""Found anywhere in a name, make it personal."""
_WORDS: Final = _listed(
    # people and what they are called
    "nom prenom surnom nome apelido sobrenome nombre apellido jina majina suna oruko amazina anarana magac"
    " magaca ism esm alism initials alias surname payer payee payeur pagador mlipaji payor remitter sender"
    " receiver depositor holder cardholder titulaire titular owner dono mmiliki kin spouse wife husband epoux"
    " epouse conjoint conjuge esposa esposo marido mari mume mke father mother pere mere parent parente"
    " guardian relative ndugu head landlord locataire inquilino witness temoin testemunha garant garants"
    " fiador avalista mdhamini kafil surety cosigner beneficiary beneficiaire beneficiario destinataire"
    " destinatario expediteur remetente interlocuteur correspondant responsable responsavel employee employe"
    # people who sell and collect
    " salesman salesrep rep technician technicien tecnico installer installateur cashier caissier teller"
    " officer staff seller vendeur vendedor promoter ambassador collector wakala mwakilishi"
    # where they are reached
    " tel cell gsm momo mpesa wallet sim simu essimu finday hatif hatef jawal gawal silk waya portable"
    " telemovel celular movil fax courriel correo correio barua skype facebook instagram twitter imei imsi"
    " lat lon lng geo gps"
    " mawasiliano addr anwani morada endereco direccion adireshi adiresy adrasha unwan enwan anwan street rue"
    " rua domicile domicilio mahali postcode"
    # papers and accounts
    " dob kra nin bvn ssn cni nif nuit nida nid tin cin iban voter"
    # free words
    " memo nota notas maoni maelezo dokezo ujumbe mulahazat narration narrative message messages msg feedback"
)
"""As a word of a name by itself, make it personal."""
_PEOPLE: Final = _listed(
    "customer customers cust client clients cliente clientes mteja wateja user users utilisateur usuario"
    " utilizador subscriber abonne consumer buyer acheteur comprador tenant borrower debtor member ameel"
    " amil zabun zaboun description details detail"
)
"""Make a name personal unless every other word in it says that it is about something else."""
_HARMLESS: Final = _listed(
    "id ids type types category categories categorie categoria segment since class classe group groupe grupo"
    " zone region status statut estado state tariff tarif plan count number no num total code ref key uuid"
    " date balance amount age tipo product produit device item package fault error"
)
_LAST: Final = _listed("by par por na")
"""At the end of a name of several words, in front of whoever did it: PAID_BY, PAYE_PAR, IMELIPWA_NA."""
_WORD: Final = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+")


def _plain(name: str) -> str:
    """A name without accents and what nobody sees, in compatible letters: full-width ones become plain."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in decomposed if unicodedata.category(letter) not in ("Mn", "Me", "Cf"))


def _squeezed(name: str) -> str:
    return "".join(filter(str.isalnum, _plain(name))).casefold()


_SPELLINGS: Final = frozenset(
    map(_squeezed, (*PERSONAL, *(alias for alias, name in ALIASES.items() if name in PERSONAL)))
)


@lru_cache(maxsize=4096)
def sounds_personal(name: str) -> bool:
    """Whether an unknown column's name sounds like a person.

    A name that mixes scripts, such as Latin and Cyrillic, does: nobody can see what it says.
    """
    if name in NAMES:
        return False
    squeezed = _squeezed(name)
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in squeezed if letter.isalpha()}
    if squeezed in _SPELLINGS or len(scripts) > 1 or any(part in squeezed for part in _PARTS):
        return True
    words = [word.casefold() for word in _WORD.findall(_plain(name))]
    if not _WORDS.isdisjoint(words) or (len(words) > 1 and words[-1] in _LAST):
        return True
    others = [word for word in words if word not in _PEOPLE]
    return len(others) < len(words) and not (others and _HARMLESS.issuperset(others))
