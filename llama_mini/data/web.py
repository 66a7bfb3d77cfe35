"""A small web, made on the spot, in which the truth about every page is known.

Tales of the story world stand on sites that wrap them in menus and notices, copy them and edit the copies;
between them lie shops, code, other languages, machine-repeated and shuffled text, and text decoded wrongly.
A cleaner sees `url` and `text`; `kind` and `copy_of` are the answers by which it is judged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from llama_mini.data import stories

SHARES = {
    "tale": 0.56,
    "dialect": 0.04,
    "chinese": 0.07,
    "french": 0.06,
    "code": 0.06,
    "shop": 0.07,
    "repeated": 0.05,
    "shuffled": 0.06,
    "broken": 0.03,
}
COPIED = 0.45  # the share of the tales that are copies of an earlier page: as it was, or edited

SITES = (
    "haybarn", "muddyboots", "oldmill", "farmtales", "henhouse", "goosepond", "talesforall", "freepages",
    "meadowpost", "bestreads", "storymirror", "copycorner",
)  # fmt: skip
MENUS = (
    "Home | Tales | Contact", "Start · Archive · About us · Search", "Menu  Login  Register  Help",
    "Tales of the day » All tales » This tale",
)  # fmt: skip
NOTICES = (
    "We use cookies to make your visit better. Accept all / Settings",
    "© 2021 {site}.example. All rights reserved.",
    "Share this page: mail, print, save",
    "Sign up for the {site} newsletter and never miss a tale!",
    "You may also like: ten ways to paint a barn",
)
NORTHERN = {
    "the": "th'", "and": "an'", "of": "o'", "with": "wi'", "was": "wor", "had": "'ad", "his": "'is",
    "her": "'er", "he": "'e", "him": "'im", "have": "'ave", "house": "'ouse", "nothing": "nowt",
    "old": "owd", "over": "ower", "you": "tha",
}  # fmt: skip
FRENCH = (
    (
        "Il était une fois un petit {animal} qui vivait près de {place}.",
        "Un {animal} habitait derrière {place}.",
    ),
    (
        "Un jour d'hiver, il avait très faim.",
        "Un matin, il perdit son chemin.",
        "Le soir, il eut peur de l'orage.",
    ),
    ("Il demanda de l'aide, mais personne ne vint.", "Il attendit longtemps devant la porte."),
    (
        "Une fille gentille lui donna du pain.",
        "Un vieux fermier le ramena à la maison.",
        "Un garçon le chassa.",
    ),
    ("Depuis ce jour, ils sont amis.", "Cette nuit-là, il dormit bien.", "Il resta seul et triste."),
)
GOODS = ("hay", "rope", "buckets", "fence wire", "boots", "apple trees", "milk cans", "horse blankets")
SALES = (
    "{good} from {price} coins, add to basket", "buy {good} online, best {good} near you",
    "{good} {good} cheap {good}", "in stock: {price} {good}",
    "customers who bought {good} also bought {other}",
)  # fmt: skip


@dataclass(frozen=True)
class Page:
    """A page of the crawl: what a crawler sees, and what is true of it.

    kind is one of SHARES. copy_of is the index of the page it was copied from (itself perhaps a copy).
    """

    url: str
    text: str
    kind: str
    copy_of: int | None = None


def crawl(seed: int, n: int, shares: Mapping[str, float] = SHARES) -> list[Page]:
    """The first n pages of a web, the same for the same seed."""
    rng, pages = Random(seed), list[Page]()
    bodies: list[str] = []  # without what the sites put around them
    tales: list[int] = []
    for i in range(n):
        (kind,) = rng.choices([*shares], [*shares.values()])
        source = None
        if kind == "tale" and tales and rng.random() < COPIED:
            source = rng.choice(tales)  # a page copied often is found more often, and copied again
        body = written(kind, rng) if source is None else copied(bodies[source], rng)
        if source is not None and body == bodies[source] and rng.random() < 0.3:
            page = pages[source]  # the same address, crawled twice
        else:
            page = on_a_site(body, kind, i, rng)
        pages.append(replace(page, copy_of=source))
        bodies.append(body)
        if kind == "tale":
            tales.append(i)
    return pages


def original(pages: list[Page], i: int) -> int:
    """The index of the page that page i goes back to, copy by copy; itself for an original."""
    while (source := pages[i].copy_of) is not None:
        i = source
    return i


def on_a_site(body: str, kind: str, number: int, rng: Random) -> Page:
    """A page of some site: each has its own menu and its own notices, the same on all its pages."""
    site = rng.choice(SITES)
    own = Random(site)
    menu, notices = own.choice(MENUS), own.sample(NOTICES, own.randint(0, 3))
    lines = [menu, body, *(notice.format(site=site) for notice in notices)]
    return Page(f"{site}.example/{number}", "\n".join(lines), kind)


def written(kind: str, rng: Random) -> str:
    """The body of a new page of one kind."""
    tale = stories.sample(rng)
    match kind:
        case "dialect":
            return northern(tale.text)
        case "chinese":
            return stories.chinese(tale)
        case "broken":
            return stories.chinese(tale).encode().decode("cp1252", "replace")
        case "french":
            animal, place = rng.choice(["chat", "cochon", "chien"]), rng.choice(["la grange", "la ferme"])
            return " ".join(rng.choice(ways).format(animal=animal, place=place) for ways in FRENCH)
        case "code":
            return "\n".join(stories.sample(rng, kind="function").text for _ in range(rng.randint(2, 4)))
        case "shop":
            return "\n".join(offer(rng) for _ in range(rng.randint(6, 20)))
        case "repeated":
            sentence = rng.choice(re.findall(r"[^.]+\.", tale.text)).strip()
            return " ".join([sentence] * rng.randint(8, 25))
        case "shuffled":
            return " ".join(rng.sample(words := tale.text.split(), len(words)))
        case _:
            return tale.text


def offer(rng: Random) -> str:
    """A line of a shop."""
    good, other = rng.sample(GOODS, 2)
    return rng.choice(SALES).format(good=good, other=other, price=rng.randint(2, 90))


def northern(text: str) -> str:
    """A tale spelled as it is spoken in the north."""
    text = re.sub(r"\w+", lambda word: NORTHERN.get(word[0], word[0]), text)
    return re.sub(r"ing\b", "in'", text)


def copied(text: str, rng: Random) -> str:
    """A copy: two of five are exact, the others have one to four small changes."""
    if rng.random() < 0.4:
        return text
    for _ in range(rng.randint(1, 4)):
        text = edited(text, rng)
    return text


def edited(text: str, rng: Random) -> str:
    """A tale after one change: a word misspelled, the last sentence lost, one added, the hero renamed."""
    match rng.choice(("misspell", "misspell", "cut", "add", "rename")):
        case "misspell":
            words = text.split(" ")
            at = rng.randrange(len(words))
            words[at] = words[at][:1] + words[at][2:3] + words[at][1:2] + words[at][3:]
            return " ".join(words)
        case "cut":
            sentences = re.findall(r"[^.]+\.?", text)
            return "".join(sentences[:-1]) if len(sentences) > 5 else text
        case "add":
            return text + " " + rng.choice(("More of this soon.", "Told by my aunt.", "Copied with love."))
        case _:
            hero = re.search(r"(?:named|tale of) (\w+)", text)
            return text.replace(hero[1], rng.choice(("Otto", "Mimi", "Zara", "Hugo"))) if hero else text
