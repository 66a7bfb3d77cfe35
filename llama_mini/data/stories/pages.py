"""Two more kinds of page: bare questions (as notes, or as a user's half of a chat), and sagas with recall."""

from itertools import permutations

from llama_mini.data.stories import english
from llama_mini.data.stories.english_words import SYNONYMS
from llama_mini.data.stories.grammar import Grammar, Rule
from llama_mini.data.stories.world import FACTS

ANIMALS = tuple(FACTS["species"].rows)
PEOPLE = tuple(FACTS["helper"].rows)
USER = "<|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|>"

QUESTIONS = Grammar(
    facts={},
    phrases={
        **{name: Rule(words) for name, words in SYNONYMS.items()},
        "questions": Rule(
            ["\n".join(["{question}"] * n) for n in range(3, 9)] + [USER * n for n in range(3, 9)]
        ),
        "name": FACTS["hero"],
        "animal": Rule(ANIMALS),
        "person": Rule(PEOPLE),
        "place": FACTS["place"],
        "things": Rule(("apples", "carrots", "plums", "seeds", "bones", "stones", "flowers")),
        "number": Rule(range(2, 10)),
        "question": Rule(
            [
                "Where does {name} live?",
                "What does a {animal} eat?",
                "Why was {name} so {happy}?",
                "Why was the {animal} {sad}?",
                "Who helped {name} with the work?",
                "Who was {cruel} to the {animal}?",
                "Was the {person} {kindly} or {cruel}?",
                "Is a {animal} {big} or {small}?",
                "What did the {person} give to {name}?",
                "What is the name of the {animal}?",
                "Where did {name} sleep that night?",
                "What is the moral of the tale?",
                "Is the end {happy} or {sad}?",
                "How many {things} did {name} have?",
                "What is {number} + {number}?",
                "Can a {animal} swim?",
                "Who lived in the {place}?",
                "When did the {animal} come back?",
                "Can you tell me a tale about a {animal}?",
                "Can you tell me a {happy} tale about {name}?",
                "Can you tell me a {sad} tale about a {animal}?",
                "What can a {animal} do for a {person}?",
                "Why did {name} cry for help?",
                "Does {name} love the {person}?",
            ]
        ),
    },
)

RECALL = (
    "Where did {hero} hide the {treasure}?\nAnswer: {hiding}",
    "Who was the best friend of {hero}?\nAnswer: {pal}",
    "What did {hero} love to eat?\nAnswer: {treat}",
    "What did {hero} want to see?\nAnswer: the {dream}",
)
EPISODES = (
    "The next day {hero} {walked} to the {spot#} and {saw} a {guest#}. "
    "{She} played with the {guest#} until it was dark.",
    "Then {hero} helped a {person#} for {number} days. "
    "The {person#} was {kindly} and gave {him} some {things}.",
    "After that it rained for {number} days. {Hero} stayed {home} with a {guest#} and was {happy}.",
    "One night {hero} heard a noise and was {afraid}. But it was only a {small} {guest#}, and {she} laughed.",
    "Then a {guest#} got stuck in the fence near the {spot#}. "
    "{Hero} pulled hard, and the {guest#} was free again.",
    "The next week {hero} had a fight with a {guest#}. "
    "{She} was {sad}, but soon the {guest#} was {her} friend again.",
    "One day {hero} lost the way near the {spot#}. A {person#} {saw} {him} and showed {him} the road home.",
    "Then a {cruel} {person#} {walked} by and threw a stone. "
    "{Hero} ran to the {spot#} and hid until the {person#} was gone.",
)
SHORTEST, LONGEST = 9, 13


def spots(place: str) -> list[str]:
    """Where the hero can go from home."""
    return [spot for spot in FACTS["place"].rows if spot != place]


def guests(species: str) -> list[str]:
    """Whom the hero can meet."""
    return [animal for animal in ANIMALS if animal != species]


def episode(i: int) -> Rule:
    """What can happen on stage i of the journey, with guests and places of its own."""
    return Rule([text.replace("#", str(i)) for text in EPISODES])


def journey(i: int) -> Rule:
    """Go on, or end with two or three questions."""
    more, end = f" {{episode{i}}}{{journey{i + 1}}}", "\n{quiz}"
    return Rule([more] if i < SHORTEST else [end] if i == LONGEST else [more, end])


SAGA = Grammar(
    facts={name: FACTS[name] for name in ("hero", "pronoun", "species", "size", "place")}
    | {
        "treasure": Rule(("key", "bell", "coin", "ring", "book", "cup")),
        "hiding": Rule(
            (
                "under a stone",
                "in the hay",
                "in the mud",
                "behind the wall",
                "in the well",
                "under the roof",
                "near the gate",
            )
        ),
        "pal": Rule(("Pip", "Kit", "Dot", "Bo")),
        "treat": Rule(("honey", "cheese", "plums", "carrots", "apples", "bread", "corn", "nuts")),
        "dream": Rule(("sea", "city", "forest", "desert", "king", "lake")),
        **{f"spot{i}": Rule(spots, "place") for i in range(LONGEST)},
        **{f"guest{i}": Rule(guests, "species") for i in range(LONGEST)},
        **{f"person{i}": FACTS["helper"] for i in range(LONGEST)},
    },
    phrases={
        **{name: Rule(words) for name, words in SYNONYMS.items()},
        **{name: english.PHRASES[name] for name in ("she", "her", "him", "sized", "home", "opening")},
        **{f"episode{i}": episode(i) for i in range(LONGEST)},
        **{f"journey{i}": journey(i) for i in range(LONGEST + 1)},
        "things": QUESTIONS.phrases["things"],
        "number": Rule(("two", "three", "four", "five")),
        "saga": Rule(["{opening} {secrets}{journey0}"]),
        "secrets": Rule([" ".join(order) for order in permutations(("{secret}", "{loved}", "{dreamt}"))]),
        "secret": Rule(["{She} had a {treasure} and hid it {hiding}. Only {her} best friend {pal} knew."]),
        "loved": Rule(["{She} loved to eat {treat}."]),
        "dreamt": Rule(["{She} wanted to see the {dream} one day."]),
        "quiz": Rule(
            ["\n".join(f"Question: {q}" for q in order) for n in (2, 3) for order in permutations(RECALL, n)]
        ),
    },
)
